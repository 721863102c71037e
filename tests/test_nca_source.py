"""Tests automata as a source: rows of the definition, checks that find wrong rows, settings that are read back."""

import pickle
import sys
from contextlib import contextmanager
from fractions import Fraction

import numpy as np
import pytest
from conftest import Run, error_of, run, without
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ncagen.deflate.lengths import gzip_length
from ncagen.deflate.noise import NOISE_SAMPLES
from ncagen.row_format import Column, Measure, RowFormat, Rows
from ncagen.sources import grid_tokens
from ncagen.sources.nca import definition
from ncagen.sources.nca.noise import noise_lengths
from ncagen.sources.nca.settings import STARTS, Settings
from ncagen.sources.nca.source import Nca


@st.composite
def sources(draw) -> Nca:
    """Any source whose definition is computed quickly."""
    patch, high, wide = draw(st.sampled_from([1, 2, 3])), draw(st.integers(1, 5)), draw(st.integers(1, 5))
    states = draw(st.integers(2, 256))
    assume(states**patch**2 <= 2**32 - 2)
    return Nca(
        Settings(
            states=states,
            height=max(3 + -3 % patch, high * patch),
            width=max(3 + -3 % patch, wide * patch),
            patch=patch,
            warmup=draw(st.integers(0, 3)),
            stride=draw(st.integers(1, 2)),
            temperature=draw(st.sampled_from([0.0, 1e-4, 0.5])),
            identity_bias=draw(st.sampled_from([0.0, 0.25])),
            start=draw(st.sampled_from(STARTS)),
            channel_wrap=draw(st.booleans()),
            trajectories_per_rule=draw(st.integers(1, 2)),
            seq_len=draw(st.integers(1, 300)),
        )
    )


def defined_rows(source: Nca, key: tuple[int, int], candidates: np.ndarray) -> np.ndarray:
    grids = definition.trajectories(source.settings, key, candidates, source.settings.frames)
    return grid_tokens.rows(source.settings, grid_tokens.patch_tokens(source.settings, grids))


@given(sources(), st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 3))
@settings(max_examples=40, deadline=None)
def test_rows_are_the_definitions(source, seed, first):
    key, candidates = (seed, 1), np.arange(3, dtype=np.uint64) + np.uint64(first)
    batch = source.batch(key, candidates)
    chosen = np.array([2, 0])
    rows = batch.rows(chosen)
    assert list(rows.columns) == [column.name for column in source.row_format.columns]
    assert [rows[c.name].dtype.name for c in source.row_format.columns] == [c.dtype for c in source.row_format.columns]
    assert np.array_equal(rows.candidate, candidates[chosen])
    assert np.array_equal(rows.input_ids, defined_rows(source, key, candidates[chosen]))
    assert [gzip_length(text) for text in batch.scored_bytes()] == batch.score.tolist()
    assert np.array_equal(rows["gzip_bytes"], batch.score[chosen])
    scored = source.settings.scored_bytes
    assert np.array_equal(rows["gzip_ratio"], (batch.score[chosen] / scored).astype(np.float32))
    assert {len(text) for text in batch.scored_bytes()} == {scored}
    assert all(right.all() for right in source.problems(rows).values())


@given(sources())
def test_settings_are_written_and_read_back(source):
    values = source.to_dict()
    assert "seq_len" not in values and {type(value) for value in values.values()} <= {int, float, str, bool}
    assert Nca.from_dict(values, source.seq_len) == source
    assert Nca.from_dict(dict(sorted(values.items())), source.seq_len).to_dict() == values
    assert pickle.loads(pickle.dumps(source)) == source and hash(source) == hash(Nca(source.settings))


def test_a_setting_that_is_missing_or_unknown_is_refused():
    values = Nca(Settings()).to_dict()
    without = {name: value for name, value in values.items() if name != "width"}
    assert error_of(Nca.from_dict, without, 1024) == "source nca has no setting 'width'"
    assert error_of(Nca.from_dict, values | {"grid": 12}, 1024) == "setting 'grid' of source nca is not known"
    assert error_of(Nca.from_dict, values | {"width": 12.5}, 1024) == "width 12.5 is not a whole number"
    assert (
        error_of(Nca.from_dict, values | {"start": None}, 1024) == "start None is not known: use categorical or uniform"
    )


@pytest.mark.parametrize("grid", [12, "12", " 12X12 ", "12 x 12"])
def test_a_grid_is_a_side_or_height_by_width(grid):
    assert Nca.from_options({"grid": grid}, 1024) == Nca(Settings())


def test_options_are_read_as_users_type_them():
    typed = {"grid": "12x16", "preset": "paper", "temperature": 0, "identity_bias": -0.0, "channel_wrap": False}
    found = Nca.from_options(typed, 2048).settings
    assert found == Settings(height=12, width=16, start="uniform", temperature=0.0, channel_wrap=False, seq_len=2048)
    assert str(found.identity_bias) == "0.0"
    typed_otherwise = {"preset", "grid", "facts", "measure", "control", "rule_candidate", "change_at"}
    assert {option.name for option in Nca.options} - typed_otherwise == set(Nca(found).to_dict()) - {"height", "width"}


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"grid": "12x"}, "grid '12x' is not a size: use a side as in 12, or height x width as in 12x16"),
        ({"grid": 12.5}, "grid 12.5 is not a size: use a side as in 12, or height x width as in 12x16"),
        ({"grid": True}, "grid True is not a size: use a side as in 12, or height x width as in 12x16"),
        ({"grid": "-3"}, "grid '-3' is not a size: use a side as in 12, or height x width as in 12x16"),
        ({"grid": "٣x٣"}, "grid '٣x٣' is not a size: use a side as in 12, or height x width as in 12x16"),
        ({"grid": 2}, "grid 2 is out of range: use 3 to 128"),
        ({"grid": "12x130"}, "width 130 is out of range: use 3 to 128"),
        ({"grid": "2x12"}, "height 2 is out of range: use 3 to 128"),
        ({"grid": 9}, "grid 9 is not divisible by patch 2: use a patch of 1, 3, 9"),
        ({"grid": "12x15"}, "grid 12x15 is not divisible by patch 2: use a patch of 1, 3"),
        ({"states": 257}, "states 257 is out of range: use 2 to 256"),
        ({"temperature": 1e300}, "temperature 1e+300 is out of range: use 0 to 1"),
        ({"preset": "papre"}, "preset 'papre' is not known: use released or paper"),
        ({"preset": ["paper"]}, "preset ['paper'] is not known: use released or paper"),
        ({"height": 12}, "setting 'height' is not known: known are "),
    ],
)
def test_an_option_out_of_range_is_refused_in_one_line(options, line):
    assert error_of(Nca.from_options, options, 1024).startswith(line)


def test_the_row_format_of_the_default():
    facts = (Column("gzip_bytes", "int32"), Column("gzip_ratio", "float32"))
    assert Nca(Settings()).row_format == RowFormat(10_002, 1026, 1024, 38, (10_000, 10_001), facts)
    assert Nca(Settings()).measures == (Measure("gzip_bytes", "gzip_ratio", Fraction(1440)),)
    assert Nca(Settings(height=12, width=16)).row_format.unpredictable == 50


def test_stages_are_named_in_the_order_of_the_work():
    names = []

    @contextmanager
    def stage(name):
        names.append(name)
        yield

    batch = Nca(Settings()).batch((0, 0), np.arange(4, dtype=np.uint64), stage=stage)
    assert names == ["rules", "rollout", "tokens", "score"]
    batch.rows(np.arange(2))
    assert names[4:] == ["rollout"]


def test_a_score_below_at_least_may_be_0():
    candidates = np.arange(64, dtype=np.uint64)
    exact, bounded = (Nca(Settings()).batch((0, 0), candidates, at_least).score for at_least in (0, 720))
    assert (bounded == 0).any() and ((bounded == exact) | (bounded == 0) & (exact < 720)).all()


@pytest.mark.parametrize(
    ("column", "problem"),
    [
        ("input_ids", "tokens are not well formed"),
        ("gzip_bytes", "gzip_bytes is not the length of the row's tokens"),
        ("gzip_ratio", "gzip_ratio is not gzip_bytes by scored bytes"),
    ],
)
def test_a_changed_value_is_a_problem_of_its_row(column, problem):
    source = Nca(Settings(height=6, width=10))
    rows = source.batch((0, 0), np.arange(5, dtype=np.uint64)).rows(np.arange(5))
    changed = rows[column].copy()
    changed.reshape(5, -1)[3, 0] += 1
    wrong = source.problems(Rows(rows.columns | {column: changed}))[problem]
    assert wrong.tolist() == [True, True, True, False, True]


def test_noise_scores():
    """The only definition in the project, which gives the 0.670 of the docs."""
    lengths = Nca(Settings()).noise_scores()
    assert (lengths.dtype, len(lengths)) == (np.int32, NOISE_SAMPLES)
    assert f"{lengths.mean() / 1440:.3f} {lengths.max() / 1440:.3f}" == "0.670 0.675"
    wide = Settings(states=3, height=4, width=9, patch=1)
    assert len(set(noise_lengths(wide, 3).tolist())) > 1
    assert np.array_equal(noise_lengths(wide, 3), noise_lengths(Settings(states=3, height=9, width=4, patch=1), 3))


def test_settings_and_cards_need_neither_numba_nor_torch():
    program = f"""{without("numba")}
from ncagen.sources import SOURCES
source = SOURCES["nca"].from_options({{"grid": "12x16"}}, 1024)
print(source.row_format.row_tokens, source.card().tags[1], "torch" in sys.modules)
"""
    assert run("-c", program, program=(sys.executable,)) == Run(0, "1050 neural-cellular-automata False\n", "")


def test_the_card_has_the_values_of_the_settings():
    card = Nca(Settings(height=12, width=16, stride=2, temperature=0.01)).card()
    text = "\n".join((*card.what, *card.measure, *card.loss, *card.limits))
    for words in (
        "21 grids of 12 x 16 cells in 10 states, as 1,050 tokens: 2 x 2 patches",
        "(ids 0 to 9999) between start-of-grid (10000) and end-of-grid (10001). The vocabulary has 10,002 ids.",
        "| recorded | every 2 steps, after the first 10 |",
        "over the first 10 grids of the row itself, as 1,920 bytes of",
        "its first 50 tokens: leave it out of the loss",
        "- At temperature 0.01 much of a row is noise.",
    ):
        assert words in text
    assert [f"{column.name}: {column.doc}" for column in card.columns[2:]] == [
        "gzip_bytes: length of the compressed grids",
        "gzip_ratio: `gzip_bytes` by 1,920",
    ]
