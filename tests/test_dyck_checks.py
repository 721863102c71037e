"""What is checked of bracket words: rows by `ncagen verify`, settings by exact texts; whole commands."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import error_of, run_here
from conftest import make as make_dataset

pytest.importorskip("numba")

import ncagen
from ncagen import philox
from ncagen.factory.check_dataset import verify
from ncagen.factory.settings import from_settings
from ncagen.sources.dyck import make, parse
from ncagen.sources.dyck.source import Dyck

KEY = 7, philox.STREAMS["train"]


def dyck(seq_len: int = 64, **options) -> Dyck:
    return Dyck.from_options(options, seq_len)


def problems_of(source: Dyck, row: list[int]) -> list[str]:
    return [text for text, right in parse.problems(source, np.array([row], np.uint16)).items() if not right.all()]


UNMATCHED = "a bracket has no partner"
DEPTH = "a word has a depth outside 1 to 2"
LENGTH = "a word has a length that its settings do not give"


@pytest.mark.parametrize(
    ("row", "nested", "interleaved"),
    [
        ([0, 3, 1, 4, 6, 2, 1, 4, 5, 6], [], []),
        ([0, 1, 3, 4, 6, 2, 1, 4, 5, 6], [UNMATCHED], []),
        ([0, 3, 4, 1, 6, 2, 1, 4, 5, 6], [UNMATCHED], [UNMATCHED]),
        ([0, 3, 1, 4, 6, 2, 1, 4, 4, 6], [UNMATCHED], [UNMATCHED]),
        ([0, 3, 1, 1, 6, 2, 1, 4, 5, 6], [UNMATCHED], [UNMATCHED]),
        ([0, 3, 6, 6, 6, 2, 1, 4, 5, 6], [LENGTH], [LENGTH]),
        ([0, 3, 1, 4, 6, 2, 5, 6, 6, 6], [LENGTH], [LENGTH]),
        ([0, 3, 1, 4, 1, 4, 1, 4, 5, 2], [UNMATCHED, LENGTH], [UNMATCHED, LENGTH]),
        ([7, 3, 1, 4, 6, 2, 1, 4, 5, 6], [UNMATCHED, DEPTH], [UNMATCHED, DEPTH]),
    ],
)
def test_a_wrong_row_is_found(row, nested, interleaved):
    source = dyck(9, k=3, length=4)
    assert problems_of(source, row) == nested
    assert problems_of(replace(source, shuffle=True), row) == interleaved


def test_a_row_too_deep_or_too_flat_is_found():
    source = dyck(9, k=3, length=8, max_depth=2)
    assert problems_of(source, [0, 1, 4, 3, 2, 5, 0, 3, 6, 6]) == []
    assert problems_of(source, [0, 1, 2, 5, 4, 3, 0, 3, 6, 6]) == [DEPTH]
    assert problems_of(replace(source, min_depth=2), [0, 3, 1, 4, 2, 5, 0, 3, 6, 6]) == [
        "a word has a depth outside 2 to 2"
    ]


def test_verify_finds_a_wrong_depth():
    source = dyck(64)
    rows = source.batch(KEY, np.arange(2, dtype=np.uint64)).rows(np.arange(2))
    rows["depth"][1] += 1
    found = {text: right.tolist() for text, right in source.problems(rows).items() if not right.all()}
    assert found == {"depth is not that of the row's brackets": [True, False]}


def test_the_score_leaves_out_document_ends():
    for options in ({"length": 10}, {"length": 10, "min_length": 4}, {}):
        source = dyck(400, **options)
        rows = make.rows(source, KEY, np.arange(3, dtype=np.uint64))
        for row, content in zip(rows, source.scored_part(rows), strict=True):
            assert content.tolist() == row[row != 128][: len(content)].tolist()
            assert len(content) == min(360, source.content_tokens)


RANGE = "use a number above 0 and below 1, as in 0.5 or 1/3"


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"k": 0}, "k 0 is out of range: use 1 to 32,767"),
        ({"k": 40_000}, "k 40000 is out of range: use 1 to 32,767"),
        ({"k": "x"}, "k 'x' is out of range: use 1 to 32,767"),
        ({"shuffle": "yes"}, "shuffle 'yes' is not true or false"),
        ({"open_probability": 1.5}, f"open_probability 1.5 is out of range: {RANGE}"),
        ({"open_probability": "0"}, f"open_probability '0' is out of range: {RANGE}"),
        ({"open_probability": "1/0"}, f"open_probability '1/0' is out of range: {RANGE}"),
        ({"open_probability": "half"}, f"open_probability 'half' is out of range: {RANGE}"),
        ({"length": 63}, "length 63 is odd: use an even one, since brackets come in pairs"),
        ({"length": "x"}, "length 'x' is out of range: use 2 to 64"),
        ({"length": 100}, "length 100 is out of range: use 2 to 64"),
        ({"length": 20, "min_length": 22}, "min_length 22 is out of range: use 2 to 20"),
        ({"max_depth": 33}, "max_depth 33 is out of range: use 1 to 32, the depths of 64 tokens"),
        ({"length": 20, "min_depth": 11}, "min_depth 11 is out of range: use 1 to 10, the depths of 20 tokens"),
        ({"max_depth": 0}, "max_depth 0 is out of range: use 1 to 32, the depths of 64 tokens"),
        ({"min_depth": 9, "max_depth": 8}, "min_depth 9 is above max_depth 8: use less"),
        ({"ending": "open"}, "ending 'open' is not known: use closed or cut"),
        ({"ending": "cut", "length": 20}, "length and ending cut exclude each other: leave one of them out"),
        ({"ending": "cut", "uniform": True}, "uniform and ending cut exclude each other: leave one of them out"),
        (
            {"uniform": True, "open_probability": 0.5},
            "open_probability and uniform exclude each other: leave one of them out",
        ),
        (
            {"uniform": True, "shuffle": True, "max_depth": 30},
            "uniform cannot count interleaved words of 64 tokens to depth 30: use a smaller max_depth or length",
        ),
        (
            {"brackets": 3},
            "setting 'brackets' is not known: known are k, shuffle, open_probability, uniform, min_depth, max_depth,"
            " length, min_length, ending",
        ),
    ],
)
def test_wrong_settings_are_one_line(options, text):
    assert error_of(dyck, 64, **options) == text


def test_settings_are_stored_in_one_form():
    assert dyck(open_probability=0.5) == dyck(open_probability="1/2") == dyck(length=64, max_depth=16) == dyck()
    assert dyck(open_probability=0.55).to_dict()["open_probability"] == "11/20"
    stored = dyck(77, shuffle=True, length=10)
    assert stored.to_dict()["max_depth"] == 5 and Dyck.from_dict(stored.to_dict(), 77) == stored
    assert error_of(Dyck.from_dict, dyck().to_dict() | {"open_probability": "0.5"}, 64) == (
        "open_probability '0.5' is not a reduced fraction, as in 1/2"
    )


def test_a_dataset_is_built_and_verified_with_its_depths(tmp_path):
    spec = from_settings({"source": "dyck", "tokens": "10K", "validation": "1K", "seq_len": 128, "length": 30})
    make_dataset(tmp_path / "a", spec)
    assert verify(tmp_path / "a", share=1.0).problems == []
    rows = list(ncagen.open(tmp_path / "a"))
    assert rows[0]["input_ids"].tolist() == make.rows(dyck(128, length=30), (0, 0), np.zeros(1, np.uint64))[0].tolist()
    assert all(0 < row["mean_depth"] < row["depth"] <= 15 for row in rows)


def test_a_wrong_setting_ends_the_command_before_anything_is_written(tmp_path):
    ended = run_here("build", "--source=dyck", "--tokens=10K", "--max-depth=600", f"--out={tmp_path / 'a'}")
    assert (ended.status, ended.out) == (2, "")
    assert ended.err == "ncagen: max_depth 600 is out of range: use 1 to 512, the depths of 1,024 tokens\n"
    assert not (tmp_path / "a").exists()
