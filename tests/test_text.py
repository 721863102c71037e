"""Source `text`: datasets equal the definition, splits are disjoint, no window is used twice, a spec has hashes."""

import json
import shutil
import socket
from pathlib import Path

import numpy as np
import pytest
from conftest import error_of, make, run, run_here
from hypothesis import given
from hypothesis import strategies as st
from textdata import END, library, write_lines, write_tokenizer
from tokenizers import Tokenizer

import ncagen
from ncagen.dataset.manifest import read_manifest
from ncagen.factory.check_dataset import verify
from ncagen.factory.settings import from_settings
from ncagen.sources import source_of
from ncagen.sources.text import corpus as corpora
from ncagen.sources.text import definition
from ncagen.sources.text.source import Text
from ncagen.view import terminal

FILES = library(40)
SETTINGS = {"source": "text", "tokens": 60_000, "validation": 5000, "test": 4000, "seq_len": 128, "rows_per_shard": 200}
PARTS = [("train", 0), ("validation", 1), ("test", 2)]


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A folder with a tokenizer and a corpus of FILES."""
    folder = tmp_path_factory.mktemp("text")
    write_tokenizer(folder / "tokenizer.json")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NCAGEN_CORPORA", str(folder / "corpora"))
        (folder / "sha256").write_text(ncagen.prepare_corpus(FILES, folder / "tokenizer.json").sha256)
    return folder


@pytest.fixture(autouse=True)
def at_home(home, monkeypatch):
    monkeypatch.setenv("NCAGEN_CORPORA", str(home / "corpora"))


@pytest.fixture
def settings(home) -> dict:
    return SETTINGS | {"corpus": (home / "sha256").read_text()}


@pytest.fixture(scope="module", params=["packed", "split"])
def built(request, home, tmp_path_factory) -> Path:
    """A dataset in each of the two ways to make rows of documents."""
    folder = tmp_path_factory.mktemp("built") / "a"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NCAGEN_CORPORA", str(home / "corpora"))
        given = SETTINGS | {"corpus": (home / "sha256").read_text(), "documents": request.param, "seed": 7}
        make(folder, from_settings(given))
    return folder


def defined(folder: Path, split: str, stream: int) -> np.ndarray:
    """All windows of a split of a dataset, by the definition: [window, token]."""
    source = source_of(read_manifest(folder).spec)
    places = {
        "train": range(source.validation_share, 65_536 - source.test_share),
        "validation": range(source.validation_share),
        "test": range(65_536 - source.test_share, 65_536),
    }
    corpus = corpora.find(source.corpus)
    order = definition.order(corpus, (7, stream), places[split])
    return np.array(list(getattr(definition, source.documents)(corpus, order, 128, source.document_end)))


def test_a_dataset_has_the_windows_of_the_definition(built):
    spec = read_manifest(built).spec
    for split, stream in PARTS:
        windows, rows = defined(built, split, stream), spec.rows(split)
        starts = [k * 200 for k in range(spec.shards(split))]
        numbers = [len(windows) * a // rows + i for a in starts for i in range(min(200, rows - a))]
        found = ncagen.open(built, split=split)
        assert np.array_equal(np.stack([row["input_ids"] for row in found]), windows[numbers]), split
        shards, places = np.divmod(np.array([int(row["candidate"]) for row in found]), 2**32)
        assert [len(windows) * 200 * k // rows + i for k, i in zip(shards, places, strict=True)] == numbers
        assert [int(row["content_tokens"]) for row in found] == (windows[numbers] != 500).sum(axis=1).tolist()


def test_a_row_reads_as_the_text_of_a_file(built, home):
    encoder = Tokenizer.from_file(str(home / "tokenizer.json"))
    texts = [file.read_text(encoding="utf-8") for file in FILES]
    for row in list(ncagen.open(built))[::100]:
        parts = np.split(row["input_ids"], np.flatnonzero(row["input_ids"] == 500))
        for part in parts:
            text = encoder.decode(part[part != 500].tolist()).strip("\ufffd")
            assert any(text in whole for whole in texts)


def test_validation_and_test_take_as_few_documents_as_their_rows_need(built):
    spec = read_manifest(built).spec
    source, digests = source_of(spec), corpora.find(source_of(spec).corpus).digests
    places = digests >> np.uint64(48)
    for split, stream, share in (("validation", 1, source.validation_share), ("test", 2, source.test_share)):
        assert len(defined(built, split, stream)) >= spec.rows(split)
        edge = share - 1 if split == "validation" else 65_536 - share
        assert (places == edge).any()  # without the documents there it would be too few


def test_more_training_tokens_keep_the_validation_documents(settings):
    few, many = (source_of(from_settings(settings | {"tokens": tokens})) for tokens in (1000, 60_000))
    assert (few.validation_share, few.test_share) == (many.validation_share, many.test_share)
    more = source_of(from_settings(settings | {"tokens": 1000, "validation": 100_000}))
    assert more.validation_share > few.validation_share and more.test_share == few.test_share


@given(st.integers(1, 10**12), st.integers(0, 10**12), st.integers(1, 10**6), st.integers(0, 10**6))
def test_shards_divide_the_windows_and_each_has_enough(rows, spare, per_shard, shard):
    source = Text(128, "", "", 500, 500, rows_per_shard=per_shard)
    windows, shards = rows + spare, -(-rows // per_shard)
    first, end = source._part(shard, rows, windows)
    assert end == source._part(shard + 1, rows, windows)[0]
    assert end - first >= max(0, min(per_shard, rows - shard * per_shard))
    assert source._part(0, rows, windows)[0] == 0 and source._part(shards - 1, rows, windows)[1] == windows


def test_shards_workers_and_formats_do_not_matter(built, tmp_path):
    spec = read_manifest(built).spec
    assert make(tmp_path / "b", spec, "arrow", workers=1).dataset_sha256 == read_manifest(built).dataset_sha256
    (shard,) = built.rglob("validation-*.parquet")
    whole = shard.read_bytes()
    shard.unlink()
    make(built, spec)
    assert shard.read_bytes() == whole
    assert verify(built, share=1.0).problems == []


def test_a_dataset_is_rebuilt_wherever_the_corpus_lies(built, home, tmp_path, monkeypatch):
    receipt = tmp_path / "r.zst"
    assert run("receipt", built, "--out", receipt).status == 0
    shutil.copytree(home / "corpora", tmp_path / "disk")
    monkeypatch.setenv("NCAGEN_CORPORA", str(tmp_path / "disk"))
    ncagen.rebuild(receipt, tmp_path / "again")
    assert read_manifest(tmp_path / "again") == read_manifest(built)


def test_reading_and_checking_need_no_corpus_and_making_says_what_is_missing(built, tmp_path, monkeypatch):
    monkeypatch.setenv("NCAGEN_CORPORA", str(tmp_path))
    assert len(ncagen.open(built)) == 469 and verify(built).problems == []
    sha256 = source_of(read_manifest(built).spec).corpus
    missing = (
        f"corpus {sha256} is not in {str(tmp_path)!r}: prepare it by ncagen corpus FILES --tokenizer FILE, or set"
        " NCAGEN_CORPORA to the folder that holds it"
    )
    assert error_of(verify, built, share=1.0) == missing
    assert error_of(ncagen.rebuild, built / "manifest.json", tmp_path / "again") == missing
    assert not (tmp_path / "again").exists()


def test_no_path_and_no_host_is_in_a_dataset(built, home):
    for file in ("manifest.json", "README.md"):
        text = (built / file).read_text()
        for name in (str(home), str(FILES[0].parent), "tokenizer.json", socket.gethostname()):
            assert name not in text, (file, name)
    card = (built / "README.md").read_text()
    assert "license: unknown\n" in card and "MIT" not in card
    assert "The text has the licence of the files it is from, which nobody stated here. Please cite ncagen." in card


def test_bands_select_windows_and_use_none_twice(settings, tmp_path):
    spec = from_settings(settings | {"tokens": 20_000, "band": ["0.4-0.45", "0.45-0.5"]})
    make(tmp_path / "a", spec)
    for split, _ in PARTS:
        seen = []
        for band in spec.bands:
            rows = ncagen.open(tmp_path / "a", split=split, band=band.name)
            assert all(band.low <= row["gzip_ratio"] < band.high for row in rows)
            seen += [row["input_ids"].tobytes() for row in rows]
        assert len(set(seen)) == len(seen) == 2 * spec.rows(split)
    assert verify(tmp_path / "a", share=1.0).problems == []


def test_files_in_a_build_are_the_corpus_that_the_command_prepares(settings, home, tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_bytes(FILES[0].read_bytes())
    write_lines(tmp_path / "b.jsonl", [file.read_text(encoding="utf-8") for file in FILES[1:]], "body")
    flags = ["--source", "text", "--tokens", "20K", "--validation", "0", "--seq-len", "128", "--quiet"]
    named = ["--files", "a.txt,*.jsonl", "--field", "body", "--tokenizer", home / "tokenizer.json"]
    assert run_here("build", *flags, *named, "--out", "one", cwd=tmp_path) == (0, "", "")
    by_hash = ["--corpus", settings["corpus"], "--out", "two"]
    assert run_here("build", *flags, *by_hash, cwd=tmp_path) == (0, "", "")
    assert read_manifest(tmp_path / "one") == read_manifest(tmp_path / "two")
    toml = "source = 'text'\ntokens = '20K'\nvalidation = 0\nseq_len = 128\n"
    toml += f"files = ['a.txt', '*.jsonl']\nfield = 'body'\ntokenizer = '{home / 'tokenizer.json'}'\n"
    (tmp_path / "spec.toml").write_text(toml)
    assert run_here("build", "spec.toml", "--out", "three", "--quiet", cwd=tmp_path) == (0, "", "")
    assert read_manifest(tmp_path / "three") == read_manifest(tmp_path / "two")


def test_figures_are_plain_text(settings, tmp_path):
    ncagen.build(settings | {"tokens": "5K", "validation": 0, "test": 0}, tmp_path / "a")
    figures = dict(terminal.figures(read_manifest(tmp_path / "a")))
    assert figures["row"] == "129 tokens of text"
    assert figures["corpus"] == settings["corpus"]


def test_a_document_ends_by_a_special_token_or_an_id_of_its_own(settings):
    own = source_of(from_settings(settings))
    assert (own.document_end, own.row_format.vocabulary, own.row_format.structural) == (500, 501, (500,))
    special = source_of(from_settings(settings | {"document_end": END}))
    assert (special.document_end, special.row_format.vocabulary, special.row_format.structural) == (0, 500, (0,))


def test_an_id_behind_65536_ids_makes_rows_of_32_bits(tmp_path):
    vocabulary = {"a": 0, "b": 65_535}
    (tmp_path / "t.json").write_text(
        json.dumps({"model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "a"}})
    )
    files = write_lines(tmp_path / "a.jsonl", ["b"] + [f"{'b' * n}" for n in range(2, 300)])
    given = {"source": "text", "files": [files], "tokenizer": tmp_path / "t.json", "tokens": 128, "validation": 0}
    spec = from_settings(given | {"seq_len": 64})
    make(tmp_path / "d", spec)
    row = ncagen.open(tmp_path / "d")[0]["input_ids"]
    assert row.dtype == np.uint32 and {65_536} < set(row.tolist()) <= {0, 65_535, 65_536}


def test_a_known_corpus_has_known_rows(tmp_path):
    """Pins corpora and rows: these hashes may change with the version of the source alone."""
    words = {word: i for i, word in enumerate(["?", *"abcdefghij"])}
    model = {"type": "WordLevel", "vocab": words, "unk_token": "?"}
    (tmp_path / "t.json").write_text(json.dumps({"pre_tokenizer": {"type": "Whitespace"}, "model": model}))
    texts = [" ".join("abcdefghijz"[i * k % 11] for k in range(20 + 7 * i)) for i in range(40)]
    corpus = ncagen.prepare_corpus(write_lines(tmp_path / "a.jsonl", texts), tmp_path / "t.json")
    assert corpus.sha256 == "fdc840e7bba8a1cc065f67eeac86a9ba1a6bf250fca67cb25860ab439c55a690"
    given = {"source": "text", "corpus": corpus.sha256, "tokens": 3000, "validation": 500, "test": 400, "seq_len": 64}
    found = {}
    for documents in ("packed", "split"):
        manifest = make(tmp_path / documents, from_settings(given | {"documents": documents, "rows_per_shard": 30}))
        found[documents] = [record.content_sha256[:16] for record in manifest.records]
    assert found == {
        "packed": ["05ce729e10c939c2", "e4a73e96d3846b11", "32c365561a3a94b5", "f6ebe562e23e376e"],
        "split": ["91436772e4724c1a", "938f804ae14685eb", "be2a3c499f2dcb22", "ee4f89b014148979"],
    }


def test_bad_settings_are_one_line(settings, tmp_path):
    sha256, bare = settings["corpus"], {name: value for name, value in settings.items() if name != "corpus"}
    for changed, line in [
        (bare, "no corpus is given: use --files 'a.txt,b/*.jsonl' --tokenizer tokenizer.json, or --corpus SHA256"),
        (bare | {"files": "a.txt"}, "no tokenizer is given: use --tokenizer tokenizer.json with --files"),
        (bare | {"files": 3, "tokenizer": "t"}, "files 3 is not a text or a list of texts"),
        (bare | {"files": "a", "tokenizer": 3}, "tokenizer 3 is not a text"),
        (settings | {"field": "a"}, "corpus and field are both given: a corpus has its text and tokenizer; use one"),
        (settings | {"documents": "cut"}, "documents 'cut' is not known: use packed or split"),
        (
            settings | {"document_end": "</s>"},
            f"document_end '</s>' is not a special token of the tokenizer: it has {END}; leave it out for an id of its"
            " own",
        ),
        (settings | {"corpus": "x"}, "corpus 'x' is not a sha256: use the 64 digits that ncagen corpus prints"),
        (settings | {"corpsu": sha256}, "setting 'corpsu' is not known: did you mean 'corpus'?"),
    ]:
        assert error_of(from_settings, changed) == line


def test_too_few_tokens_are_one_line_and_nothing_is_written(settings, tmp_path):
    about = corpora.find(settings["corpus"]).about
    begins = f"the corpus has {about.tokens:,} tokens in 40 documents, too few: "
    ends = "use fewer tokens, of validation and test too, or more text"
    total = (about.tokens + 40 - 1) // 128
    flags = ["--source", "text", "--corpus", settings["corpus"], "--seq-len", "128", "--out", "a"]
    done = run_here("build", *flags, "--tokens", "1B", "--validation", "0", cwd=tmp_path)
    line = f"{begins}{total:,} rows of 128 are left for train, and 7,812,500 are asked for; {ends}"
    assert (done.status, done.out, done.err) == (2, "", f"ncagen: {line}\n") and not (tmp_path / "a").exists()
    assert error_of(from_settings, settings | {"validation": 10**9}) == (
        f"{begins}{total:,} rows of 128 are left for validation, and 7,812,500 are asked for; {ends}"
    )
    assert error_of(from_settings, settings | {"tokens": total * 128 - 9000}).startswith(f"{begins}")
    found = error_of(from_settings, settings | {"tokens": total * 64, "validation": 0, "test": 0, "band": "0.5-0.6"})
    assert found.startswith(f"{begins}{total:,} rows of 128 are left for train, of which the bands keep about ")


def test_a_shard_that_uses_up_its_windows_says_so(settings, tmp_path):
    """Two of three windows are in the band, and shards of two rows have about three windows."""
    given = settings | {"validation": 0, "test": 0, "band": "0.4-0.5", "rows_per_shard": 2}
    source = source_of(from_settings(given | {"tokens": 128}))
    total = source._windows((0, 0)).count
    spec = from_settings(given | {"tokens": total * 64})
    line = error_of(make, tmp_path / "a", spec)
    assert line.startswith("train shard ") and line.endswith(
        f" of the {total:,} rows of 128 that the corpus has there: use fewer tokens, wider bands, or more text"
    )


def test_a_band_out_of_reach_says_what_text_scores(settings):
    line = error_of(ncagen.build, settings | {"band": "0.9-1.0"}, "nowhere")
    assert line.startswith("band 0.9-1 (0.9 to 1) is out of reach of 129 tokens of text: pure noise scores ")
