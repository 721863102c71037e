"""Rows selected by their integer columns: the very ones that Python's own integers select, in every way of reading."""

import pickle
import re
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_reader import SMALL, fabricate, raised

import ncagen
from ncagen.dataset.where import parse
from ncagen.factory.settings import from_settings
from ncagen.row_format import Rows
from ncagen.sources import source_of

COLUMNS = ("candidate", "gzip_bytes")
HAPPY = settings(deadline=None, database=None, suppress_health_check=list(HealthCheck))
COMPARE = {
    ">=": int.__ge__,
    ">": int.__gt__,
    "<=": int.__le__,
    "<": int.__lt__,
    "==": int.__eq__,
}


@pytest.fixture(scope="module", params=["parquet", "arrow"])
def made(request, tmp_path_factory) -> tuple:
    """A dataset of three shards of random rows, and its training rows."""
    folder = tmp_path_factory.mktemp("where") / request.param
    return folder, fabricate(folder, request.param, **SMALL)["train", "high"]


def chosen(rows: Rows, conditions) -> np.ndarray:
    """The rows that Python's integers select."""
    columns = {name: [int(value) for value in rows[name]] for name in COLUMNS}
    return np.array(
        [
            number
            for number in range(len(rows))
            if all(COMPARE[sign](columns[name][number], limit) for name, sign, limit in conditions)
        ],
        np.int64,
    )


limits = {
    "gzip_bytes": st.integers(480, 1420) | st.sampled_from([-1, 0, 2**31 - 1, 2**31, 2**64, 10**20]),
    "candidate": st.sampled_from([-1, 0, 5 * 10**5, 2**32, 2**32 + 5 * 10**5, 2**33, 2**63, 2**64 - 1, 2**64]),
}
conditions = st.lists(
    st.sampled_from(COLUMNS).flatmap(
        lambda name: st.tuples(st.just(name), st.sampled_from(list(COMPARE)), limits[name])
    ),
    min_size=1,
    max_size=4,
)


@given(some=conditions)
@settings(HAPPY, max_examples=60)
def test_the_selected_rows_are_those_of_exact_integers(made, some):
    folder, rows = made
    wanted, text = chosen(rows, some), " and ".join(f"{name} {sign} {limit}" for name, sign, limit in some)
    if not len(wanted):
        line = raised(lambda: ncagen.open(folder, where=text))
        assert line.startswith(f"{folder} has no train rows of band high where ")
        return
    found = ncagen.open(folder, where=text)
    assert len(found) == len(wanted) == found.shards.rows.sum()
    for name, column in found.rows(np.arange(len(found))).items():
        assert np.array_equal(column, rows[name][wanted])
    for number in (0, -1):
        assert found[number]["candidate"] == rows.candidate[wanted[number]]
    again = ncagen.open(folder, where=found.selection) if found.selection else found
    assert again.selection == found.selection and len(again) == len(found)


def test_a_selection_has_one_wording(made):
    for text in ("gzip_bytes>863 and gzip_bytes<1_000", "gzip_bytes <= 999  and\tgzip_bytes >= 864 and gzip_bytes > 5"):
        assert ncagen.open(made[0], where=text).selection == "gzip_bytes >= 864 and gzip_bytes <= 999"
    assert ncagen.open(made[0]).selection is None
    assert ncagen.open(made[0], where="candidate >= 0").selection is None
    assert str(parse("candidate == 7", source_of(from_settings(SMALL)).row_format, None)) == "candidate == 7"


def test_a_selection_is_read_in_every_way(made):
    folder, rows = made
    wanted = chosen(rows, [("gzip_bytes", ">=", 900)])
    found = pickle.loads(pickle.dumps(ncagen.open(folder, where="gzip_bytes >= 900", verify="always")))
    assert repr(found) == f"<ncagen.Dataset {folder}: {len(wanted):,} train rows of band high where gzip_bytes >= 900>"
    numbers = np.random.default_rng(1).permutation(len(wanted))[:70]
    assert np.array_equal(found.rows(numbers)["input_ids"], rows.input_ids[wanted[numbers]])
    parts = [found.shard(number).candidate for number in range(3)]
    assert np.array_equal(np.concatenate(parts), rows.candidate[wanted])
    with pytest.raises(IndexError, match=re.escape(f"use 0 to {len(wanted) - 1}")):
        found[len(wanted)]


@pytest.mark.parametrize("shuffle", [False, True])
def test_a_stream_gives_each_selected_row_once(made, shuffle):
    folder, rows = made
    wanted = chosen(rows, [("gzip_bytes", "<", 520)])  # few of each row group
    stream = ncagen.Stream(ncagen.open(folder, where="gzip_bytes < 520"), 4, seed=3, shuffle=shuffle)
    found = np.concatenate([batch["candidate"] for batch in stream])
    assert np.array_equal(np.sort(found), rows.candidate[wanted])
    assert np.array_equal(found, rows.candidate[wanted]) != shuffle


EXAMPLE = "where='gzip_bytes >= 720 and gzip_bytes < 1440'"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "gzip_bytes",
        "gzip_bytes = 5",
        "gzip_bytes != 5",
        "gzip_bytes > 5.5",
        "gzip_bytes > 1e3",
        "5 < gzip_bytes",
        "gzip_bytes > 5 or candidate < 3",
        "gzip_bytes > 5 and",
        "input_ids > 5",
        "__import__('os')",
        "gzip_bytes > " + "9" * 40,
        5,
        ["gzip_bytes > 5"],
    ],
)
def test_what_is_no_selection_is_refused(made, text):
    assert raised(lambda: ncagen.open(made[0], where=text)) == (
        f"where {text!r} is not a selection: compare candidate or gzip_bytes with whole numbers by <, <=, ==, >= or >,"
        f" joined by and, as in {EXAMPLE}"
    )


def test_nothing_selected_is_an_error(made):
    line = f"{made[0]} has no train rows of band high where gzip_bytes >= 5000"
    assert raised(lambda: ncagen.open(made[0], where="gzip_bytes >= 5000")) == line


@pytest.mark.parametrize("text", ["gzip_ratio > 0.6", "gzip_ratio  >  .6", "gzip_ratio > 0.60 and gzip_bytes < 1000"])
def test_a_threshold_of_the_ratio_is_named_in_bytes(made, text):
    part = text.split(" and ")[0]
    assert raised(lambda: ncagen.open(made[0], where=text)) == (
        f"where {part!r} compares a float32, which engines round in different ways: use 'gzip_bytes > 864', which is"
        " exact"
    )


@given(sign=st.sampled_from([">", ">=", "<", "<="]), digits=st.integers(0, 1500))
@settings(HAPPY, max_examples=100)
def test_the_named_threshold_selects_what_the_exact_ratio_does(made, sign, digits):
    text, source = f"{digits / 1000:.3f}", source_of(from_settings(SMALL))
    line = raised(lambda: ncagen.open(made[0], where=f"gzip_ratio {sign} {text}"))
    where = parse(re.search("use '(.*)'", line)[1], source.row_format, source.measures[0])
    ratio = Fraction(digits, 1000)
    exact = {">": ratio.__lt__, ">=": ratio.__le__, "<": ratio.__gt__, "<=": ratio.__ge__}[sign]
    lengths = np.arange(2000, dtype=np.int32)
    found = where.selects({"gzip_bytes": lengths}) if where.limits else np.ones(2000, bool)
    assert np.array_equal(found, [exact(Fraction(length, 1440)) for length in lengths.tolist()])
