"""`ncagen recommend`: the scores of real text, known answers, the proposal and its evidence, bad input."""

import json
import zlib
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, error_of, run, run_here
from textdata import compress, library, write_lines, write_parquet, write_tokenizer
from tokenizers import Tokenizer

import ncagen
from ncagen.deflate.lengths import gzip_length
from ncagen.evaluate.recommendation import propose

WINDOW = 1440


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory) -> Path:
    return write_tokenizer(tmp_path_factory.mktemp("tokenizer") / "tokenizer.json")


def windows(data: bytes) -> list[bytes]:
    return [data[at : at + WINDOW] for at in range(0, len(data) - WINDOW + 1, WINDOW)]


def test_the_counts_are_those_of_every_window_of_bytes_and_tokens(tokenizer):
    files = library(6)
    found = ncagen.recommend(files, tokenizer=tokenizer)
    data = b"".join(file.read_bytes() for file in files)
    want = np.bincount([gzip_length(window) for window in windows(data)])
    scores, tokens = found.scores
    assert np.trim_zeros(scores.counts, "b").tolist() == want.tolist()
    assert (found.documents, found.nbytes, scores.layout, tokens.layout) == (6, len(data), "bytes", "tokens")
    encoder = Tokenizer.from_file(str(tokenizer))
    ids = [i for file in files for i in encoder.encode(file.read_text(encoding="utf-8"), add_special_tokens=False).ids]
    want = np.bincount([gzip_length(window) for window in windows(np.array(ids, "<i4").tobytes())])
    assert np.trim_zeros(tokens.counts, "b").tolist() == want.tolist()


def test_the_length_is_what_zlib_gives(tmp_path):
    """On a zlib of madler's the same; on another one near to it."""
    data = library(1)[0].read_bytes()[:WINDOW]
    (tmp_path / "a.txt").write_bytes(data)
    found = ncagen.recommend(tmp_path / "a.txt").scores[0]
    assert abs(found.quantile(0.5) * WINDOW - len(zlib.compress(data, 9)) - 12) < 20


def test_quantiles_shares_and_the_histogram_are_exact(tmp_path):
    """Two windows of one letter, which gzip turns into 31 bytes, and one of every byte that ASCII has, at random."""
    noise = np.random.default_rng(0).integers(0, 128, WINDOW, np.uint8).tobytes()
    (tmp_path / "a.txt").write_bytes(b"a" * (2 * WINDOW) + noise)
    scores = ncagen.recommend(tmp_path / "a.txt").scores[0]
    low, high = gzip_length(b"a" * WINDOW), gzip_length(noise)
    assert (scores.windows, scores.counts[low], scores.counts[high]) == (3, 2, 1)
    assert scores.quantile(0.5) == scores.quantile(2 / 3) == low / WINDOW
    assert scores.quantile(0.67) == scores.quantile(1) == high / WINDOW
    assert scores.share(0, 0.1) == 2 / 3 and scores.share(high / WINDOW, 2) == 1 / 3
    assert scores.share(low / WINDOW, high / WINDOW) == 2 / 3
    assert abs(scores.mean - (2 * low + high) / 3 / WINDOW) < 1e-12
    assert scores.histogram()[1] == 2 and scores.histogram()[-1] == 1


def test_code_is_near_medium_and_prose_is_high():
    code = ncagen.recommend(library(60))
    prose = ncagen.recommend([ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))])
    assert code.band == "medium" and 0.35 < code.scores[0].quantile(0.5) < 0.44
    assert prose.band == "high" and 0.5 < prose.scores[0].quantile(0.5) < 0.58
    assert code.nca_noise == pytest.approx(0.67, abs=0.002)
    assert code.scores[0].noise == pytest.approx(1463 / 1440)  # bytes that deflate stores as they are


TESTED = "it is as complex as what the paper tested"
BETWEEN = "it lies between what the paper tested, and this band is the nearer"
BELOW = "the paper tested nothing as simple, and this band is the nearer"
WEB = "In the paper, web text and math, with ratios of 0.5 and more, gained most from this band."
CODE = "In the paper, code, with ratios of 0.3 to 0.4, gained most from this band."


@pytest.mark.parametrize(
    ("median", "band", "where", "paper"),
    [
        (0.52, "high", TESTED, WEB),
        (0.5, "high", TESTED, WEB),
        (0.45, "high", BETWEEN, WEB),
        (0.44, "medium", BETWEEN, CODE),
        (0.4, "medium", BETWEEN, CODE),
        (0.3, "medium", TESTED, CODE),
        (0.29, "medium", BELOW, CODE),
    ],
)
def test_the_proposal_says_what_it_rests_on(median, band, where, paper):
    assert propose(median) == (band, f"The median window scores {median:.3f}: {where}. {paper}")


def test_every_kind_of_file_scores_the_same(tmp_path):
    texts = [file.read_text(encoding="utf-8") for file in library(3)]
    lines = write_lines(tmp_path / "a.jsonl", [*texts, None])
    files = [lines, compress(lines, "zstd"), write_parquet(tmp_path / "a.parquet", [*texts, None])]
    counts = [ncagen.recommend(file).scores[0].counts.tolist() for file in files]
    assert counts[0] == counts[1] == counts[2]


def test_the_command_prints_the_distribution_and_the_proposal(tmp_path, tokenizer):
    done = run("recommend", *library(12), "--tokenizer", tokenizer)
    assert (done.status, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[0].startswith("text        12 documents, ")
    assert [line.split()[0] for line in lines if not line.startswith(" ")] == [
        *("text", "bytes", "tokens", "bands", "automata", "proposal", "evidence", "limits")
    ]
    assert "proposal    --band medium" in lines
    values = json.loads(run("recommend", *library(3), "--json").out)
    assert list(values) == ["documents", "bytes", "layouts", "nca", "band", "evidence", "limits"]
    assert sum(values["layouts"]["bytes"]["histogram"]["windows"]) == values["layouts"]["bytes"]["windows"]
    assert list(values["layouts"]["bytes"]["quantiles"]) == ["0.05", "0.25", "0.5", "0.75", "0.95"]


def test_few_windows_are_said_to_be_few(tmp_path):
    (tmp_path / "a.txt").write_bytes(library(1)[0].read_bytes()[: 3 * WINDOW])
    assert ncagen.recommend(tmp_path / "a.txt").limits[0] == "3 windows are few: the quantiles are rough."


def test_bad_input_is_one_line(tmp_path, tokenizer):
    (tmp_path / "a.txt").write_text("a" * 1439)
    assert error_of(ncagen.recommend, tmp_path / "a.txt") == (
        "these files have 1439 bytes of text: one window is 1440, give more"
    )
    (tmp_path / "b.txt").write_text("    " * 1000)
    assert error_of(ncagen.recommend, tmp_path / "b.txt", tokenizer=tokenizer) == (
        "these files have less than 360 tokens, one window: give more"
    )
    done = run_here("recommend", "no.txt", cwd=tmp_path)
    assert (done.status, done.out, done.err) == (
        2,
        "",
        "ncagen: file 'no.txt' cannot be read: there is no such file\n",
    )
    done = run_here("recommend", cwd=tmp_path)
    assert (done.status, done.err) == (2, "ncagen: Missing argument 'FILES...'; see ncagen recommend --help\n")
    done = run_here("recommend", "a.txt", "--tokenizer", "a.txt", cwd=tmp_path)
    assert done.status == 2 and done.err.startswith("ncagen: file 'a.txt' is not a tokenizer: use a tokenizer.json (")
