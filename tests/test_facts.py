"""Tests facts of grids and Langton's lambda: known answers, plain Python against NumPy and kernels, and the columns."""

import itertools
import json
import math
import subprocess
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from conftest import ROOT, SETTINGS, error_of, make, run_here
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import ncagen
from ncagen import philox
from ncagen.factory.settings import from_settings
from ncagen.row_format import Rows
from ncagen.sources import grid_facts, grid_tokens, logarithm
from ncagen.sources.cellular.rules import langton_counts
from ncagen.sources.elementary import Elementary
from ncagen.sources.fact_columns import GRID_FACTS, column_names
from ncagen.sources.life import Life
from ncagen.sources.nca import batch, definition, langton, rules
from ncagen.sources.nca.devices import backend
from ncagen.sources.nca.options import settings_of
from ncagen.sources.nca.rules import Rules
from ncagen.sources.nca.settings import FACTS, Settings
from ncagen.sources.nca.source import Nca
from ncagen.view import webpage

TRAIN = 0, philox.STREAMS["train"]
ALL = "oracle,lambda,period,changed,states,entropy"
COLUMNS = ["oracle_micronats", "langton_lambda", *column_names(GRID_FACTS)]


# --- definitions ---


def plain_log(number: int) -> int:
    """The logarithm as the docstring of `logarithm` says it."""
    exponent = number.bit_length() - 1
    entry, fraction = divmod((number << 30 - exponent) - 2**30, 2**20)
    low, high = (round(math.log1p((entry + i) / 1024) * 2**24) for i in (0, 1))
    return exponent * 11629080 + low + ((high - low) * fraction >> 20)


def plain(grids: list[list[int]]) -> dict[str, int]:
    """All facts of a row, as the docstring of `grid_facts` says them."""
    last = len(grids) - 1
    period = next((p for p in range(1, last + 1) if grids[last] == grids[last - p]), 0)
    transient = last + 1
    if period:
        transient = next(
            s for s in range(last + 1) if all(grids[i] == grids[i + period] for i in range(s, last + 1 - period))
        )
    counts = Counter(state for grid in grids for state in grid)
    total = counts.total()
    entropy = max(plain_log(total) - sum(c * plain_log(c) for c in counts.values()) // total, 0)
    return {
        "period": period,
        "transient": transient,
        "changed": sum(a != b for i in range(last) for a, b in zip(grids[i], grids[i + 1], strict=True)),
        "states": len(counts),
        "last_states": len(set(grids[last])),
        "entropy_micronats": entropy * 10**6 + 2**23 >> 24,
    }


@st.composite
def rows_of_grids(draw):
    """uint8[row, frame, cell]: random grids, of which some are repeated to the end with any period."""
    shape = draw(st.tuples(st.integers(1, 3), st.integers(1, 12), st.integers(1, 9)))
    most = draw(st.sampled_from([0, 1, 3, 255]))
    grids = draw(arrays.arrays(np.uint8, shape, elements=st.integers(0, most)))
    for row in grids:
        first, period = draw(st.integers(0, shape[1])), draw(st.integers(1, shape[1]))
        for frame in range(first + period, shape[1]):
            row[frame] = row[frame - period]
    return grids


@given(grids=rows_of_grids())
@settings(max_examples=200, deadline=None)
def test_kernels_numpy_and_plain_python_agree(grids):
    wanted = [plain(row.tolist()) for row in grids]
    for found in (grid_facts.computed(GRID_FACTS, grids), grid_facts.defined(GRID_FACTS, grids)):
        assert list(found) == column_names(GRID_FACTS) and {column.dtype for column in found.values()} == {
            np.dtype("i4")
        }
        assert [{name: int(column[row]) for name, column in found.items()} for row in range(len(grids))] == wanted


@given(numbers=arrays.arrays(np.int64, 20, elements=st.integers(1, 2**31 - 1)))
def test_logarithms_of_integers(numbers):
    found = logarithm.log_integers(numbers)
    assert found.tolist() == [plain_log(int(number)) for number in numbers]
    assert abs(found / 2**24 - np.log(numbers)).max() < 3e-7


def test_entropies_are_those_of_floating_point():
    cells = np.random.default_rng(0).geometric(0.3, (50, 27, 144)).clip(max=15).astype(np.uint8)
    chances = np.stack([np.bincount(row.ravel(), minlength=16) for row in cells]) / (27 * 144)
    wanted = -(chances * np.log(np.where(chances, chances, 1))).sum(axis=1)
    found = grid_facts.computed(["entropy"], cells)["entropy_micronats"]
    assert abs(found / 1e6 - wanted).max() < 1e-6


# --- known answers ---


def life(cells: list[tuple[int, int]], side: int, frames: int) -> np.ndarray:
    """Conway's Life on a torus: uint8[1, frame, cell]."""
    grid = np.zeros((side, side), np.uint8)
    grid[tuple(np.array(cells).T)] = 1
    grids = []
    for _ in range(frames):
        grids.append(grid.ravel())
        around = sum(np.roll(grid, (y, x), (0, 1)) for y in (-1, 0, 1) for x in (-1, 0, 1)) - grid
        grid = ((around == 3) | ((around == 2) & (grid == 1))).astype(np.uint8)
    return np.array([grids])


GLIDER = [(0, 1), (1, 2), (2, 0), (2, 1), (2, 2)]
BLINKER = [(4, 3), (4, 4), (4, 5)]
BLOCK = [(3, 3), (3, 4), (4, 3), (4, 4)]


@pytest.mark.parametrize(
    ("cells", "frames", "wanted"),
    [
        (GLIDER, 60, (48, 0, 4 * 59, 2, 2)),  # one cell down and right in four steps, round a torus of twelve; 4 change
        (GLIDER, 48, (0, 48, 4 * 47, 2, 2)),  # one grid too short
        (BLINKER, 27, (2, 0, 4 * 26, 2, 2)),
        (BLOCK, 27, (1, 0, 0, 2, 2)),
        (BLOCK[:3], 27, (1, 1, 1, 2, 2)),  # three cells become a block
        ([(5, 5)], 27, (1, 1, 1, 2, 1)),  # one cell dies
        ([(5, 5)], 1, (0, 1, 0, 2, 2)),  # a row of one grid
    ],
)
def test_patterns_of_life(cells, frames, wanted):
    found = grid_facts.computed(["period", "changed", "states"], life(cells, 12, frames))
    assert tuple(column[0] for column in found.values()) == wanted


def test_rows_of_one_state_and_of_equal_shares():
    constant = np.full((1, 27, 144), 7, np.uint8)
    assert [c[0] for c in grid_facts.computed(GRID_FACTS, constant).values()] == [1, 0, 0, 1, 1, 0]
    for states in (2, 4, 10, 256):
        row = np.resize(np.arange(states), (1, 27, 2560)).astype(np.uint8)
        found = grid_facts.computed(["entropy"], row)["entropy_micronats"][0]
        assert found == pytest.approx(math.log(states) * 1e6, abs=1)
    assert grid_facts.computed(["oracle", "lambda"], constant) == {}


def test_without_noise_the_first_grid_that_recurs_decides():
    """The smallest t with g[t] equal to an earlier g[t - p]: everything after it repeats with period p."""
    chosen = Settings(temperature=0.0, states=2, height=6, width=6, seq_len=400, facts="period")
    rows = Nca(chosen).batch(TRAIN, np.arange(200, dtype=np.uint64)).rows(np.arange(200))
    seen_periods = set()
    for ids, period, transient in zip(rows.input_ids, rows["period"], rows["transient"], strict=True):
        seen: dict[bytes, int] = {}
        grids = [grid.tobytes() for grid in ids.reshape(chosen.frames, -1)]
        first = next((t for t, grid in enumerate(grids) if seen.setdefault(grid, t) < t), None)
        earlier = len(grids) if first is None else seen[grids[first]]
        assert (period, transient) == (first - earlier if first else 0, earlier)
        seen_periods.add(int(period))
    assert {0, 1, 2} < seen_periods


@pytest.mark.parametrize(
    ("states", "patch", "height", "width"),
    [(10, 2, 12, 12), (255, 2, 4, 8), (2, 5, 10, 15), (11, 3, 9, 6), (16, 2, 4, 4), (256, 1, 3, 5)],
)
def test_patches_become_cells(states, patch, height, width):
    """Of ids whose digits are looked up, and of those above 2**16."""
    chosen = Settings(states=states, height=height, width=width, patch=patch)
    patches = np.random.default_rng(1).integers(0, chosen.patch_ids, (5, 3, chosen.patches))
    patches[0, 0, :2] = 0, chosen.patch_ids - 1
    wanted = grid_tokens.patch_grids(chosen, patches).reshape(5, 3, chosen.cells)
    assert np.array_equal(grid_facts.patch_cells(chosen, patches.astype(chosen.token_dtype)), wanted)


# --- Langton's lambda ---


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"states": 2},
        {"states": 40, "patch": 1, "channel_wrap": False},
        {"identity_bias": 1.5, "temperature": 0.1},
        {"grid": "4x6", "stride": 3, "warmup": 0, "measure": "linear-gap"},
    ],
)
def test_lambda_is_that_of_one_defined_step(options):
    """By the kernels, by the definition of the column, and by the definition of the automaton."""
    chosen, numbers = settings_of(options, 1024), np.arange(5, dtype=np.uint64)
    drawn = rules.sample_rules(chosen, TRAIN, numbers)
    n = chosen.states
    words = philox.words(0, 3, 10, np.zeros(1, np.uint64), 4096)[0]
    grid = np.array([int(word) * n >> 16 for word in words], np.uint8).reshape(64, 64)
    step = replace(chosen, height=64, width=64, patch=1, temperature=0.0, measure="gzip")
    after = definition.next_grids(step, TRAIN, numbers, drawn, np.stack([grid] * 5), 1)
    wanted = [4096 - max(Counter(cells.ravel().tolist()).values()) for cells in after]
    assert langton.counts(chosen, drawn).tolist() == langton.defined(chosen, drawn).tolist() == wanted


def test_lambda_of_known_rules():
    chosen = Settings(states=4)
    rule = Rules(np.zeros((1, 3, 3, 4, 4), np.int16), np.zeros((1, 16, 4), np.int16), np.zeros((1, 4, 16), np.int16))
    assert langton.counts(chosen, rule) == [0]  # everything becomes state 0
    stays = replace(chosen, identity_bias=1.0)  # every cell keeps its state
    wanted = 4096 - np.bincount(langton.start(4)).max()
    assert langton.counts(stays, rule) == [wanted] and langton.most(4) - wanted < 100
    assert [langton.most(n) for n in (2, 3, 10, 256)] == [2048, 2730, 3686, 4080]


def test_lambda_is_of_the_rule_alone():
    """Not of noise, the grid, its start, the steps, the row length or the dataset's seed."""
    numbers = np.arange(6, dtype=np.uint64)
    base = Settings(trajectories_per_rule=2, facts="lambda")
    found = Nca(base).batch(TRAIN, numbers).rows(np.arange(6))["langton_lambda"]
    assert (found[::2] == found[1::2]).all() and len(set(found.tolist())) == 3
    changes = {
        "temperature": 0.5,
        "height": 6,
        "width": 8,
        "start": "uniform",
        "stride": 2,
        "warmup": 3,
        "seq_len": 2048,
    }
    other = Nca(replace(base, **changes)).batch(TRAIN, numbers).rows(np.arange(6))["langton_lambda"]
    assert np.array_equal(found, other)


PINNED = {
    "oracle_micronats": [3337, 0, 7761, 7613, 0, 9188, 0, 587],
    "langton_lambda": [2583, 1911, 2634, 2675, 703, 2470, 1180, 1976],
    "period": [0, 2, 0, 0, 1, 0, 2, 4],
    "transient": [27, 4, 27, 27, 0, 27, 10, 10],
    "changed": [2849, 1555, 2766, 3028, 0, 2641, 3058, 3613],
    "states": [10, 2, 9, 9, 1, 7, 4, 6],
    "last_states": [8, 2, 8, 9, 1, 7, 2, 3],
    "entropy_micronats": [1773322, 689541, 1709693, 1749599, 0, 1339344, 707816, 1084136],
}


def test_the_columns_are_pinned():
    rows = Nca(Settings(facts=ALL)).batch(TRAIN, np.arange(8, dtype=np.uint64)).rows(np.arange(8))
    assert {name: rows[name].tolist() for name in COLUMNS} == PINNED


def test_devices_have_the_same_columns():
    chosen = Settings(facts=ALL, temperature=0.001, seq_len=1000)
    numbers, last = np.arange(3, dtype=np.uint64), np.array([2, 0])
    found, wanted = (batch.run(chosen, TRAIN, numbers, backend=backend(b)).rows(last) for b in ("host", "cpu"))
    assert all(np.array_equal(found[name], wanted[name]) for name in COLUMNS)


# --- settings ---


@pytest.mark.parametrize("typed", ["entropy,period", "period,entropy", " period , entropy"])
def test_equal_requests_have_equal_specs(typed):
    assert settings_of({"facts": typed}, 1024).facts == "period,entropy"
    spec = from_settings(SETTINGS | {"facts": typed})
    assert spec.sha256 == from_settings(SETTINGS | {"facts": "period,entropy"}).sha256


def test_all_facts_in_order():
    assert ",".join(FACTS) == ALL == settings_of({"facts": ",".join(reversed(FACTS))}, 1024).facts
    assert [c.name for c in Nca(Settings(facts=ALL)).row_format.facts] == ["gzip_bytes", "gzip_ratio", *COLUMNS]


@pytest.mark.parametrize("value", ["gzip", "period,period", "period,", ",", 3, True, ["period"]])
def test_facts_that_are_not_known(value):
    wanted = (
        f"facts {value!r} are not known: use some of oracle, lambda, period, changed, states, entropy, joined by"
        " commas, or leave them out"
    )
    assert error_of(settings_of, {"facts": value}, 1024) == wanted


def test_the_command_refuses_unknown_facts(tmp_path):
    found = run_here("build", "--tokens=20K", "--band=high", "--facts=periods", "--out", tmp_path / "a")
    assert (found.status, found.out) == (2, "")
    assert found.err == (
        "ncagen: facts 'periods' are not known: use some of oracle, lambda, period, changed, states, entropy, joined by"
        " commas, or leave them out\n"
    )
    assert not (tmp_path / "a").exists()


def test_a_spec_in_another_order_is_refused():
    values = Nca(Settings(facts="period,entropy")).to_dict() | {"facts": "entropy,period"}
    wanted = "facts 'entropy,period' are in another order than in a spec: use 'period,entropy'"
    assert error_of(Nca.from_dict, values, 1024) == wanted


# --- datasets ---


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    folder = tmp_path_factory.mktemp("facts") / "rows"
    make(folder, from_settings(SETTINGS | {"facts": ALL, "bands": ["low", "high"]}), "parquet")
    return folder


def test_rows_are_the_same_and_the_columns_are_more(smoke, stored):
    plain_rows, found = (ncagen.open(f, band="high").rows(np.arange(200)) for f in (smoke(), stored))
    assert set(found) - set(plain_rows) == set(COLUMNS)
    assert all(np.array_equal(column, found[name]) for name, column in plain_rows.items())


def test_verify_and_regenerate(stored):
    report = ncagen.verify(stored, regenerate=1.0)
    assert report.problems == [] and report.rebuilt == report.rows == 440


@pytest.mark.parametrize(
    ("where", "selects"),
    [
        ("period > 0", lambda row: row["period"] > 0),
        ("period == 1 and transient < 20", lambda row: row["period"] == 1 and row["transient"] < 20),
        ("entropy_micronats >= 700_000", lambda row: row["entropy_micronats"] >= 700_000),
        ("changed > 1000 and states <= 5", lambda row: row["changed"] > 1000 and row["states"] <= 5),
        ("langton_lambda < 2048", lambda row: row["langton_lambda"] < 2048),
        ("last_states == 2", lambda row: row["last_states"] == 2),
    ],
)
def test_rows_are_selected_by_facts(stored, where, selects):
    dataset = ncagen.open(stored, band="low")
    columns = dataset.rows(np.arange(len(dataset)))
    rows = [{name: int(columns[name][i]) for name in COLUMNS} for i in range(len(dataset))]
    wanted = [i for i, row in enumerate(rows) if selects(row)]
    found = ncagen.open(stored, band="low", where=where)
    assert 0 < len(found) < len(dataset)
    assert np.array_equal(found.rows(np.arange(len(found)))["candidate"], columns["candidate"][wanted])


def test_the_card_show_and_the_page_have_them(stored):
    card = (stored / "README.md").read_text()
    assert "| `period` | int32 | after how many recorded grids the last ones repeat: 1 is frozen, 0 none seen |" in card
    assert "| `transient` | int32 | grids before those that repeat, 27 if none do |" in card
    assert "| `changed` | int32 | cells that differ from the grid before, of 3,744 |" in card
    shown = run_here("show", stored, "--band", "low").out
    assert "langton lambda  mean " in shown and "entropy micronats  mean " in shown
    data = webpage.page(stored)
    assert all(f'"{name}":[' in data for name in COLUMNS)


@pytest.mark.parametrize("name", COLUMNS[1:])
def test_a_wrong_value_is_found(name):
    source = Nca(Settings(facts=ALL))
    rows = source.batch(TRAIN, np.arange(3, dtype=np.uint64)).rows(np.arange(3))
    problem = f"{name} is not that of the row's grids" if name != "langton_lambda" else f"{name} is not from 0 to 3686"
    assert source.problems(rows)[problem].all()
    changed = rows[name] + np.array([0, 1, -1], np.int32) * (1 if name != "langton_lambda" else 3687)
    assert source.problems(Rows(rows.columns | {name: changed}))[problem].tolist() == [True, False, False]


def test_tokens_that_are_no_patches_are_a_problem_of_their_own():
    source = Nca(Settings(facts=ALL))
    rows = source.batch(TRAIN, np.arange(2, dtype=np.uint64)).rows(np.arange(2))
    ids = rows.input_ids.copy()
    ids[1, 5] = 65535
    found = source.problems(Rows(rows.columns | {"input_ids": ids}))
    assert found["tokens are not well formed"].tolist() == [True, False]


FILTER = """
import json, sys
import datasets
rows = datasets.load_dataset(sys.argv[1], "low", split="train", cache_dir=sys.argv[2])
streamed = datasets.load_dataset(sys.argv[1], "low", split="train", streaming=True)
kept = [some.filter(lambda row: row["period"] > 0 and row["transient"] < 20) for some in (rows, streamed)]
print(json.dumps([[row["candidate"] for row in some] for some in kept]))
"""


@pytest.mark.slow
def test_datasets_filter_selects_the_same_rows(stored, tmp_path):
    python = ROOT / ".conformance/loaders/bin/python"
    if not python.exists():
        pytest.skip("there is no .conformance/loaders: make conformance")
    command = [str(python), "-c", FILTER, str(stored), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = ncagen.open(stored, band="low", where="period > 0 and transient < 20")
    wanted = rows.rows(np.arange(len(rows)))["candidate"].tolist()
    assert wanted and json.loads(done.stdout) == [wanted, wanted]


# --- life and elementary ---


@pytest.mark.parametrize(
    ("source", "rule", "wanted"),
    [
        (Life, "B3/S23", 140),  # 0.273, as published for Conway's rule
        (Life, "B/S", 0),
        (Life, "B012345678/S", 256),
        (Elementary, "110", 3),
        (Elementary, "30", 4),
        (Elementary, "255", 0),
    ],
)
def test_lambda_of_two_states_counts_all_neighbourhoods(source, rule, wanted):
    """Against one step of every neighbourhood, which is a whole grid of three by three cells, or a ring of three."""
    number = source.rule_number(rule)
    assert langton_counts(source.neighbourhoods, np.array([number], np.int32)).tolist() == [wanted]
    shape = (3, 3) if source is Life else (1, 3)
    every = np.array(list(itertools.product((0, 1), repeat=math.prod(shape))), np.uint8).reshape(-1, *shape)
    after = source.step(every, np.full(len(every), number, np.int32))[:, shape[0] // 2, 1]
    assert min(after.sum(), len(every) - after.sum()) == wanted


@pytest.mark.parametrize("name", ["life", "elementary"])
def test_sources_of_two_states_have_the_same_facts(name, tmp_path):
    asked = {"source": name, "tokens": 60 * 1024, "validation": 0, "facts": "entropy, states, lambda, changed, period"}
    manifest = make(tmp_path / name, from_settings(asked))
    assert manifest.spec.to_dict()["source"]["facts"] == "lambda,period,changed,states,entropy"
    assert ncagen.verify(tmp_path / name, regenerate=1.0).problems == []
    data = ncagen.open(tmp_path / name)
    columns = data.rows(np.arange(60))
    grids = ncagen.tokens_to_grids(data, columns["input_ids"]).reshape(60, -1, {"life": 144, "elementary": 64}[name])
    wanted = [plain(row.tolist()) for row in grids]
    assert [{fact: int(columns[fact][row]) for fact in wanted[0]} for row in range(60)] == wanted
    kept = ncagen.open(tmp_path / name, where="period > 0 and langton_lambda > 2")
    assert len(kept) == ((columns["period"] > 0) & (columns["langton_lambda"] > 2)).sum() > 0


def test_wrong_facts_of_two_states_are_found():
    source = Life(1024, facts="lambda,period,changed,states,entropy")
    assert source.self_check()
    rows = source.batch(TRAIN, np.arange(3, dtype=np.uint64)).rows(np.arange(3))
    assert all(right.all() for right in source.problems(rows).values())
    for name in ("langton_lambda", *column_names(GRID_FACTS)):
        changed = rows[name] + np.array([0, 1, -1], np.int32)
        found = source.problems(Rows(rows.columns | {name: changed}))[f"{name} is not that of the row"]
        assert found.tolist() == [True, False, False]


def test_facts_of_two_states_that_are_off_fail_the_self_check(monkeypatch):
    plain_facts = grid_facts.computed
    monkeypatch.setattr(grid_facts, "computed", lambda *asked: {name: c + 1 for name, c in plain_facts(*asked).items()})
    assert Elementary(1024).self_check() and not Elementary(1024, facts="entropy").self_check()


def test_facts_of_two_states_that_are_not_known():
    wanted = "facts 'oracle' are not known: use some of lambda, period, changed, states, entropy, joined by commas, or"
    assert error_of(Life.from_options, {"facts": "oracle"}, 1024) == wanted + " leave them out"


# --- controls ---


@pytest.mark.parametrize("control", ["shuffle-time", "shuffle-cells", "shuffle-row", "unigram", "noise", "new-rule"])
def test_facts_of_a_control_are_of_its_own_grids(control):
    asked = {"control": control, "facts": "period,changed,states,entropy"}
    source = Nca.from_options(asked, 1024)
    source.check()
    rows = source.batch(TRAIN, np.arange(3, dtype=np.uint64)).rows(np.arange(3))
    grids = source.grids().cells(rows.input_ids).reshape(3, 27, 144)
    assert [{name: int(rows[name][i]) for name in column_names(GRID_FACTS)} for i in range(3)] == [
        plain(row.tolist()) for row in grids
    ]
    follow = "two rules" if control == "new-rule" else "no rule"
    wanted = f"rows of control {control} follow {follow}: leave lambda out of the facts"
    assert error_of(settings_of, asked | {"facts": "lambda"}, 1024) == wanted


def test_all_rows_of_a_frozen_rule_have_its_lambda():
    source = Nca.from_options({"control": "frozen-rule", "rule_candidate": 5, "facts": "lambda"}, 1024)
    source.check()
    found = source.batch(TRAIN, np.arange(3, dtype=np.uint64)).rows(np.arange(3))["langton_lambda"]
    pilot = 0, philox.STREAMS["pilot"]
    plain_source = Nca(Settings(facts="lambda"))
    wanted = plain_source.batch(pilot, np.array([5], np.uint64)).rows(np.arange(1))["langton_lambda"][0]
    assert found.tolist() == [wanted] * 3
