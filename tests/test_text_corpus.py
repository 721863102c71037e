"""Corpora: files to documents, documents to tokens on disk, exact duplicates dropped, one hash whatever the threads."""

import gzip
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import NCAGEN, error_of, run, run_here
from hypothesis import given
from hypothesis import strategies as st
from textdata import END, compress, library, write_lines, write_parquet, write_tokenizer
from tokenizers import Tokenizer

import ncagen
from ncagen.sources.text import corpus as corpora
from ncagen.sources.text.files import _pieces, documents, find
from ncagen.sources.text.seen import Seen

TEXTS = ["def f():\n    return 1\n", "", "Grüße, 世界 🌍", "x" * 500, "def f():\n    return 1\n", f"a{END}b"]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory) -> Path:
    return write_tokenizer(tmp_path_factory.mktemp("tokenizer") / "tokenizer.json")


@pytest.fixture(autouse=True)
def own_corpora(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("NCAGEN_CORPORA", str(tmp_path / "corpora"))
    return tmp_path / "corpora"


def texts_of(corpus, tokenizer) -> list[str]:
    """The texts of a corpus' documents, decoded."""
    parts = np.split(corpus.tokens, corpus.ends[:-1])
    return [Tokenizer.from_file(str(tokenizer)).decode(part.tolist(), skip_special_tokens=False) for part in parts]


@pytest.mark.parametrize("kind", [None, "gzip", "zstd"])
def test_every_kind_of_file_gives_the_same_documents(tmp_path, kind):
    files = [write_lines(tmp_path / "a.jsonl", TEXTS), write_lines(tmp_path / "b.json", TEXTS)]
    if kind:
        files = [compress(file, kind) for file in files]
    else:
        files.append(write_parquet(tmp_path / "c.parquet", TEXTS))
    for file in files:
        assert list(documents(file, "text")) == TEXTS, file
    plain = tmp_path / "d.md"
    plain.write_bytes(b"a\r\nb\n")
    assert list(documents(compress(plain, kind) if kind else plain, "text")) == ["a\r\nb\n"]


def test_a_gzip_file_of_several_members_is_read_to_its_end(tmp_path):
    file = tmp_path / "a.jsonl.gz"
    file.write_bytes(gzip.compress(b'{"text": "a"}\n') + gzip.compress(b'{"text": "b"}\n'))
    assert list(documents(file, "text")) == ["a", "b"]


class Trickle(io.BytesIO):
    """A file that gives a few bytes at a time."""

    def read(self, size=-1):
        return super().read(3)


@given(st.text("ab<|>\u00e9", max_size=40), st.sampled_from(["<|>", "a", "\u00e9", "ab"]))
def test_pieces_are_those_of_a_split_wherever_the_reads_end(text, separator):
    pieces = list(_pieces(Trickle(text.encode()), separator.encode()))
    assert [piece.decode() for piece in pieces] == text.split(separator)


def test_documents_of_a_text_file_may_have_a_separator(tmp_path, tokenizer):
    (tmp_path / "a.txt").write_text("one\n\ntwo\n\n\nthree\n\n")
    found = ncagen.prepare_corpus(tmp_path / "a.txt", tokenizer, separator="\n\n")
    assert texts_of(found, tokenizer) == ["one", "two", "\nthree"] and found.about.empty == 1
    typed = run_here("corpus", "a.txt", "--tokenizer", tokenizer, "--separator", r"\n\n", "--json", cwd=tmp_path)
    assert json.loads(typed.out)["sha256"] == found.sha256
    assert ncagen.prepare_corpus(tmp_path / "a.txt", tokenizer).about.documents == 1
    assert ncagen.recommend(library(3), separator="\n").documents > 100
    assert error_of(ncagen.prepare_corpus, tmp_path / "a.txt", tokenizer, separator="") == (
        "the separator is empty: leave it out where each file is one document"
    )
    (tmp_path / "a.txt").write_bytes(b"one--t\xffo")
    assert error_of(ncagen.prepare_corpus, tmp_path / "a.txt", tokenizer, separator="--") == (
        f"file '{tmp_path}/a.txt' is not UTF-8 text: byte 6 is 0xff"
    )


def test_names_and_patterns_come_in_the_order_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("b.txt", "c.txt", "a.txt", "[x].txt"):
        Path(name).write_text(name)
    assert list(map(str, find("c.txt,[ab].txt"))) == ["c.txt", "a.txt", "b.txt"]
    assert find(["[x].txt", Path("a.txt")]) == [Path("[x].txt"), Path("a.txt")]


def test_a_corpus_has_each_text_once_and_gives_it_back(tmp_path, tokenizer):
    files = [
        write_lines(tmp_path / "a.jsonl", TEXTS, "content"),
        write_parquet(tmp_path / "b.parquet", TEXTS, "content"),
    ]
    found = ncagen.prepare_corpus(files, tokenizer, field="content")
    assert texts_of(found, tokenizer) == [TEXTS[0], TEXTS[2], TEXTS[3], TEXTS[5]]
    about = found.about
    assert (about.documents, about.duplicates, about.empty, about.vocabulary) == (4, 6, 2, 500)
    assert about.tokens == len(found.tokens) == found.ends[-1] and found.tokens.dtype == np.uint16
    assert about.special == {END: 0} and 0 not in found.tokens  # the name of a special token is text
    assert about.tokenizer_sha256 == hashlib.sha256(tokenizer.read_bytes()).hexdigest()
    first = hashlib.sha256(TEXTS[0].encode()).digest()
    assert int(found.digests[0]) == int.from_bytes(first[:8], "big")
    found.check()


def test_nothing_of_the_machine_is_in_a_corpus(tmp_path, tokenizer, own_corpora):
    one = ncagen.prepare_corpus(write_lines(tmp_path / "a.jsonl", TEXTS), tokenizer)
    other = tmp_path / "elsewhere"
    other.mkdir()
    shutil.copy(tokenizer, other / "t.json")
    two = ncagen.prepare_corpus(str(write_parquet(other / "x.parquet", TEXTS)), other / "t.json")
    assert one.sha256 == two.sha256
    written = json.loads((own_corpora / one.sha256 / "corpus.json").read_text())
    names = [
        "documents",
        "duplicates",
        "empty",
        "files",
        "format",
        "special",
        "tokenizer_sha256",
        "tokens",
        "vocabulary",
    ]
    assert sorted(written) == names


def test_the_hash_covers_what_was_dropped_boundaries_and_the_tokenizer(tmp_path, tokenizer):
    def sha256(texts, tokenizer=tokenizer):
        return ncagen.prepare_corpus(write_lines(tmp_path / "a.jsonl", texts), tokenizer).sha256

    other = write_tokenizer(tmp_path / "other.json", 400)
    found = [sha256(["ab", "c"]), sha256(["a", "bc"]), sha256(["ab", "c", "c"]), sha256(["ab", "", "c"])]
    found += [sha256(["c", "ab"]), sha256(["ab", "c"], other)]
    assert len(set(found)) == len(found)


@pytest.mark.parametrize("threads", ["1", "3"])
def test_the_number_of_threads_changes_nothing(tmp_path, tokenizer, threads):
    want = ncagen.prepare_corpus(library(), tokenizer)
    environment = {**os.environ, "RAYON_NUM_THREADS": threads, "NCAGEN_CORPORA": str(tmp_path / "other")}
    done = run("corpus", *library(), "--tokenizer", tokenizer, "--json", env=environment)
    assert done.status == 0 and json.loads(done.out) == {
        "sha256": want.sha256,
        "folder": str(tmp_path / "other" / want.sha256),
        "documents": 12,
        "duplicates": 0,
        "empty": 0,
        "tokens": want.about.tokens,
        "vocabulary": 500,
    }


def test_known_inputs_are_not_tokenized_again(tmp_path, tokenizer, monkeypatch):
    file = write_lines(tmp_path / "a.jsonl", TEXTS)
    read = []
    first = ncagen.prepare_corpus(file, tokenizer, progress=read.append)
    assert sum(read) == sum(map(len, TEXTS))
    moved = shutil.copy(file, tmp_path / "b.jsonl")
    assert ncagen.prepare_corpus(moved, tokenizer, progress=read.append).sha256 == first.sha256
    assert sum(read) == sum(map(len, TEXTS))
    shutil.rmtree(first.folder.parent / "inputs")  # as for a second process that prepared the same at the same time
    assert ncagen.prepare_corpus(file, tokenizer).sha256 == first.sha256
    shutil.rmtree(first.folder)
    assert ncagen.prepare_corpus(file, tokenizer, progress=read.append).sha256 == first.sha256
    assert sum(read) == 2 * sum(map(len, TEXTS))


def test_a_killed_preparation_leaves_nothing_that_looks_whole_and_is_swept(tmp_path, tokenizer, own_corpora):
    text = library(1)[0].read_text(encoding="utf-8")[:100_000]
    large = write_lines(tmp_path / "large.jsonl", [f"{i} {text}" for i in range(500)])
    process = subprocess.Popen([*NCAGEN, "corpus", large, "--tokenizer", tokenizer], stderr=subprocess.DEVNULL)
    while not any(path.stat().st_size for path in own_corpora.glob(".*.tmp/tokens.bin")):
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(list(own_corpora.iterdir())) == 1
    found = ncagen.prepare_corpus(write_lines(tmp_path / "a.jsonl", TEXTS), tokenizer)
    assert sorted(path.name for path in own_corpora.iterdir()) == sorted([found.sha256, "inputs"])


def test_a_damaged_or_missing_corpus_is_named(tmp_path, tokenizer, own_corpora):
    found = ncagen.prepare_corpus(write_lines(tmp_path / "a.jsonl", TEXTS), tokenizer)
    damaged = f"corpus {found.sha256} is damaged: delete {str(found.folder)!r} and prepare it again"
    tokens = found.folder / "tokens.bin"
    data = tokens.read_bytes()
    tokens.write_bytes(b"\xff" + data[1:])
    assert error_of(corpora.find(found.sha256).check) == damaged
    tokens.write_bytes(data[:-1])
    assert error_of(lambda: corpora.find(found.sha256).tokens) == damaged
    (found.folder / "corpus.json").write_text("{}")
    assert error_of(corpora.find, found.sha256) == damaged
    missing = "0" * 64
    assert error_of(corpora.find, missing) == (
        f"corpus {missing} is not in {str(own_corpora)!r}: prepare it by ncagen corpus FILES --tokenizer FILE, or set"
        " NCAGEN_CORPORA to the folder that holds it"
    )
    assert error_of(corpora.find, "x") == "corpus 'x' is not a sha256: use the 64 digits that ncagen corpus prints"


@given(st.lists(st.lists(st.integers(1, 40), max_size=30), max_size=8))
def test_seen_recognises_what_came_before(batches):
    seen, before = Seen(slots=2), set()
    for batch in batches:
        digests = np.array([(n, n * 2**60 % 2**64) for n in batch], np.uint64).reshape(-1, 2)
        want = []
        for n in batch:
            want.append(n not in before)
            before.add(n)
        assert seen.add(digests).tolist() == want and len(seen) == len(before)


def refused(cwd: Path, *arguments: object) -> str:
    """The one line that a command prints; nothing was written."""
    done = run_here(*arguments, cwd=cwd)
    assert (done.status, done.out) == (2, "") and not list((cwd / "corpora").glob("*"))
    return done.err.removeprefix("ncagen: ").removesuffix("\n")


def test_bad_files_are_one_line(tmp_path, tokenizer):
    def corpus(name: str, data: bytes | None = None, *flags: str) -> str:
        if data is not None:
            (tmp_path / name).write_bytes(data)
        return refused(tmp_path, "corpus", name, "--tokenizer", tokenizer, *flags)

    assert corpus("no.txt") == "file 'no.txt' cannot be read: there is no such file"
    assert corpus("no*.txt") == "no file fits 'no*.txt'"
    (tmp_path / "folder").mkdir()
    assert corpus("folder") == "file 'folder' cannot be read: it is a folder: name its files, as in 'folder/*.jsonl'"
    assert corpus(",") == "no files are given: name text, JSON Lines or Parquet files, as in 'a.txt,b/*.jsonl'"
    assert corpus("a.txt", b"") == "'a.txt' has no text"
    assert corpus("a.txt,a.jsonl", None) == "file 'a.jsonl' cannot be read: there is no such file"
    (tmp_path / "a.jsonl").write_bytes(b'\n{"text": null}\n')
    assert corpus("a.txt,a.jsonl") == "the 2 files have no text"
    assert corpus("a.txt", b"abc\xff") == "file 'a.txt' is not UTF-8 text: byte 3 is 0xff"
    assert corpus("a.jsonl", b'{"text": "a"}\n{"text": \n') == (
        "file 'a.jsonl', line 2: this is not JSON; use a file with one JSON object a line"
    )
    assert corpus("a.jsonl", b'["a"]\n') == (
        "file 'a.jsonl', line 1: this is not a JSON object; use a file with one JSON object a line"
    )
    assert corpus("a.jsonl", b'{"text": "\xff"}') == "file 'a.jsonl', line 1 is not UTF-8 text: byte 10 is 0xff"
    assert corpus("a.jsonl", b'{"content": "a", "n": 1}') == (
        "file 'a.jsonl', line 1 has no field 'text': it has content, n; use --field"
    )
    assert corpus("a.jsonl", b'{"text": 3}') == (
        "file 'a.jsonl', line 1: field 'text' is not a text; use --field with the name of one"
    )
    assert corpus("a.jsonl", b'{"text": "\\ud800"}') == (
        "file 'a.jsonl', line 1: field 'text' has half of a character (a lone surrogate), which UTF-8 cannot hold"
    )
    assert corpus("a.jsonl.gz", gzip.compress(b'{"text": "a"}' * 9)[:-9]).startswith(
        "file 'a.jsonl.gz' cannot be read: "
    )
    assert corpus("a.txt.zst", b"none").startswith("file 'a.txt.zst' cannot be read: ")
    assert corpus("a.parquet", b"PAR1").startswith("file 'a.parquet' cannot be read: ")
    assert corpus("a.parquet.gz", b"") == (
        "file 'a.parquet.gz' is a compressed Parquet file: decompress it, its pages are compressed already"
    )
    write_parquet(tmp_path / "b.parquet", TEXTS)
    assert corpus("b.parquet", None, "--field", "body") == (
        "file 'b.parquet' has no field 'body': it has id, text; use --field"
    )
    assert corpus("b.parquet", None, "--field", "id") == (
        "file 'b.parquet': field 'id' is not a text; use --field with the name of one"
    )


def test_bad_tokenizers_are_one_line(tmp_path):
    (tmp_path / "a.txt").write_text("a")

    def corpus(text: str | None) -> str:
        if text is not None:
            (tmp_path / "t.json").write_text(text)
        return refused(tmp_path, "corpus", "a.txt", "--tokenizer", "t.json")

    def words(vocabulary: dict[str, int]) -> str:
        return json.dumps({"model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "a"}})

    assert corpus(None) == "file 't.json' cannot be read: No such file or directory"
    assert corpus("{}").startswith("file 't.json' is not a tokenizer: use a tokenizer.json (")
    assert corpus(words({})) == "tokenizer 't.json' has no tokens"
    assert corpus(words({"a": 2**32 - 1})) == (
        "tokenizer 't.json' has the id 4294967295: ids up to 2147483646 fit a row"
    )
    assert corpus(words({"a": 2**32})).startswith("file 't.json' is not a tokenizer: use a tokenizer.json (")


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path, tokenizer, monkeypatch):
    (tmp_path / "a.txt").write_text("a")
    monkeypatch.setenv("NCAGEN_CORPORA", str(tmp_path / "a.txt" / "corpora"))
    assert error_of(ncagen.prepare_corpus, tmp_path / "a.txt", tokenizer) == (
        f"corpora cannot be written to '{tmp_path}/a.txt/corpora': Not a directory"
    )


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path, tokenizer, tiny_disk, monkeypatch):
    monkeypatch.setenv("NCAGEN_CORPORA", str(tiny_disk / "corpora"))
    text = library(1)[0].read_text(encoding="utf-8")
    large = write_lines(tmp_path / "large.jsonl", [f"{i} {text}" for i in range(400)])
    assert error_of(ncagen.prepare_corpus, large, tokenizer) == (
        f"corpora cannot be written to '{tiny_disk}/corpora': No space left on device"
    )
    assert list((tiny_disk / "corpora").iterdir()) == []


def test_ids_over_16_bits_are_stored_in_32(tmp_path):
    vocabulary = {"a": 0, "b": 70_000}
    (tmp_path / "t.json").write_text(
        json.dumps({"model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "a"}})
    )
    (tmp_path / "a.txt").write_text("b")
    found = ncagen.prepare_corpus(tmp_path / "a.txt", tmp_path / "t.json")
    assert found.tokens.dtype == np.uint32 and found.tokens.tolist() == [70_000]
