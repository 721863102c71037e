"""The audit's kernels against NumPy and plain Python, bit for bit; any number of workers finds the same."""

import json
from collections import Counter

import numpy as np
import pytest
from conftest import make, run_here
from hypothesis import given, settings
from hypothesis import strategies as st

from ncagen.audit import entropy, figures, neighbours, token_figures
from ncagen.audit.neighbour_kernels import hash_rows
from ncagen.audit.neighbours import CLASSES, around, classes, neighbourhoods
from ncagen.dataset.reader import Dataset
from ncagen.factory.settings import from_settings

GRID, ROWS = 38, 120


@st.composite
def rows_of_grids(draw) -> tuple[np.ndarray, int]:
    """Rows uint8[row, frame, y, x] and their states: of few cells with few states, so that neighbourhoods repeat."""
    states = draw(st.sampled_from([2, 3, 10, 16, 17, 256]))
    shape = draw(st.tuples(st.integers(1, 4), st.integers(2, 6), st.integers(3, 6), st.integers(3, 6)))
    used = draw(st.integers(1, states))
    return np.random.default_rng(draw(st.integers(0, 2**32))).integers(0, used, shape, dtype=np.uint8), states


def same(made: np.ndarray, wanted: np.ndarray) -> bool:
    return made.dtype == wanted.dtype and made.shape == wanted.shape and made.tobytes() == wanted.tobytes()


def defined_shares(grids: np.ndarray, states: int) -> np.ndarray:
    n, rows = classes(states), len(grids)
    cells = (grids % n).astype(np.int32)
    base = np.arange(rows, dtype=np.int32)[:, None, None, None] * (n * n) + cells[:, 1:]
    counts = [np.bincount((base + there * n).ravel(), minlength=rows * n * n) for there in around(cells)]
    return (np.stack(counts).reshape(9, rows, n * n) / cells[0, 1:].size).swapaxes(0, 1).astype(np.float32)


def defined_steps(grids: np.ndarray, bits: np.ndarray, states: int) -> np.ndarray:
    n = classes(states)
    cells = (grids % n).astype(np.int32)
    found = np.zeros(cells[:, 1:].shape, np.float32)
    rows = np.arange(len(grids), dtype=np.int32)[:, None, None, None]
    for k, there in enumerate(around(cells)):
        found += bits[:, k].ravel()[rows * (n * n) + there * n + cells[:, 1:]]
    return found.mean(axis=(2, 3))


def transitions(grids: np.ndarray) -> list[tuple[bytes, int]]:
    """The neighbourhood of each cell of a row, in the order of time, and the state that it led to."""
    before = np.stack(list(around(grids)), axis=-1).reshape(-1, 9)
    return [(cells.tobytes(), int(after)) for cells, after in zip(before, grids[1:].ravel(), strict=True)]


def defined_agreement(grids: np.ndarray) -> tuple[int, int]:
    last, repeats, agreed = {}, 0, 0
    for cells, after in transitions(grids):
        repeats += cells in last
        agreed += last.get(cells) == after
        last[cells] = after
    return repeats, agreed


def defined_one_rule(a: np.ndarray, b: np.ndarray) -> bool:
    led = [{}, {}]
    for first, row in zip(led, (a, b), strict=True):
        for cells, after in transitions(row):
            if len(set(cells)) > 1:
                first.setdefault(cells, after)
    common = led[0].keys() & led[1].keys()
    to = Counter(led[0][cells] for cells in common)
    if len(common) - max(to.values(), default=0) < neighbours.COMMON:
        return False
    return sum(led[0][c] == led[1][c] for c in common) / len(common) >= neighbours.COMMON_AGREE


def defined_alike(shares: np.ndarray, bits: np.ndarray, other: tuple[np.ndarray, np.ndarray]) -> dict:
    """The score of each pair that could share a rule, with plain sums in the order of values."""
    share, bit, others_share, others_bit = (part.reshape(len(part), -1) for part in (shares, bits, *other))
    own, others_own = (share * bit).sum(axis=1), (others_share * others_bit).sum(axis=1)
    found = {}
    for a in range(len(share)):
        for b in range(len(others_share)):
            most = max(own[a], others_own[b], np.float32(neighbours.TESTABLE_BITS))
            there, back = np.float32(0), np.float32(0)
            for v in range(share.shape[1]):
                there += share[a, v] * others_bit[b, v]
                back += bit[a, v] * others_share[b, v]
            score = min(there / most, back / most)
            if score > neighbours.SAME_LEAST and max(there / most, back / most) < neighbours.SAME_MOST:
                found[a, b] = score
    return found


# --- kernels ---


@settings(deadline=None)
@given(rows_of_grids())
def test_counts_of_pairs_are_those_of_numpy(case):
    grids, states = case
    shares = neighbours.pair_shares(grids, states)
    assert same(shares, defined_shares(grids, states))
    bits = neighbours.pair_bits(shares, grids[0, 1:].size)
    assert same(neighbours.step_bits(grids, bits, states), defined_steps(grids, bits, states))


@settings(deadline=None)
@given(rows_of_grids())
def test_repeats_are_those_of_a_dictionary(case):
    grids, states = case
    repeats, agreed = neighbours.agreement(grids, states)
    assert list(zip(repeats.tolist(), agreed.tolist(), strict=True)) == [defined_agreement(row) for row in grids]


@settings(deadline=None)
@given(rows_of_grids(), st.integers(0, 3))
def test_one_rule_is_that_of_dictionaries(case, changed):
    grids, _ = case
    a, b = grids[0].copy(), grids[-1].copy()
    b[-1].ravel()[:changed] ^= 1
    assert neighbours.one_rule(a, b) == defined_one_rule(a, b)
    assert neighbours.one_rule(a, a) == defined_one_rule(a, a)


def test_rows_of_one_rule_are_proved():
    def row(seed: int, flips: int) -> np.ndarray:
        grids = np.random.default_rng(seed).integers(0, 2, (9, 12, 12), dtype=np.uint8)
        for step in range(8):  # the next state is the sum of the cells above and below
            grids[step + 1] = (np.roll(grids[step], 1, 0) + np.roll(grids[step], -1, 0)) % 2
        grids[1].ravel()[:flips] ^= 1
        return grids

    assert neighbours.one_rule(row(1, 0), row(2, 0)) and defined_one_rule(row(1, 0), row(2, 0))
    assert not neighbours.one_rule(row(1, 0), row(2, 100)) and not defined_one_rule(row(1, 0), row(2, 100))


@pytest.mark.parametrize("states", [2, 10, 200])
def test_alike_pairs_are_those_of_plain_sums(states):
    """Of sets of rows that share half of their grids, more than one block of them."""
    rng = np.random.default_rng(states)
    grids = rng.integers(0, 2, (70, 6, 4, 5), dtype=np.uint8) * min(states - 1, CLASSES - 1)
    other = np.concatenate([grids[:6], rng.integers(0, states, (2, 6, 4, 5)).astype(np.uint8)])
    other[:6, 4:] = 0
    tables = []
    for rows in (other, grids):
        shares = neighbours.pair_shares(rows, states)
        tables.append((shares, neighbours.pair_bits(shares, rows[0, 1:].size)))
    found = neighbours.alike(*tables[0], neighbours.others(*tables[1]))
    wanted = defined_alike(*tables[0], tables[1])
    assert len(found) > 6 and {tuple(pair) for pair in found.tolist()} == wanted.keys()
    scores = [wanted[tuple(pair)] for pair in found.tolist()]
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("dtype", ["uint16", "uint32"])
def test_hashes_of_rows_tell_rows_apart(dtype):
    rows = np.random.default_rng(0).integers(0, 3, (20_000, 8)).astype(dtype)
    names = figures.row_names(rows)
    assert len(np.unique(names)) == len(np.unique(rows, axis=0))
    assert (names == figures.row_names(rows.copy())).all()
    rows[:] = 0
    rows[:, 3] = np.arange(len(rows))
    assert len(np.unique(figures.row_names(rows))) == len(rows)


def test_a_hash_is_that_of_plain_integers():
    rows, found = np.array([[1, 65535, 0]], np.uint16), np.empty(1, np.uint64)
    hash_rows(rows, found)
    name = spread = 0x9E3779B97F4A7C15
    for value in rows[0].tolist():
        name = (name ^ value) * spread % 2**64
        name ^= name >> 32
    assert int(found[0]) == name


@given(st.lists(st.integers(0, 5)))
def test_counts_of_values(values):
    counts = entropy._counts(np.array(values, np.uint32))
    assert counts.tolist() == np.unique(np.array(values, np.uint32), return_counts=True)[1].tolist()


@pytest.mark.parametrize("ids", [2, 2**16, 2**16 + 1, 2**32])
def test_pairs_of_the_highest_ids_differ(ids):
    """One bit, where half of the ids follow one id and half another; none of the same ids shuffled."""
    before = np.repeat(np.array([0, ids - 1], np.uint64), 5000)
    assert entropy.told(before, before, ids) == pytest.approx(1, abs=1e-3)
    assert entropy.told(before, np.tile(before[::5000], 5000), ids) < 1e-3


def test_neighbourhoods_have_names_of_their_own():
    grids = np.random.default_rng(0).integers(0, 2, (3, 6, 6), dtype=np.uint8)
    names = neighbourhoods(grids).ravel().tolist()
    cells = [cells for cells, _ in transitions(grids)]
    assert len(set(names)) == len(set(cells)) == len(set(zip(names, cells, strict=True)))


# --- workers ---


@pytest.fixture
def damaged(smoke, tmp_path) -> list[str]:
    """Arguments of an audit of flat files in which many checks find something."""
    rows = Dataset(smoke(), band="high").rows(np.arange(ROWS), columns=("input_ids",))["input_ids"]
    other = rows[:20].copy()
    rows[7, 3], rows[8, GRID - 1] = 10_002, 10_000
    rows[10:15, 13 * GRID :] = rows[15:20, 13 * GRID :]
    rows[30], rows[31, GRID:] = rows[32], rows[33, GRID:]
    rows.tofile(tmp_path / "train.bin")
    other.tofile(tmp_path / "val.bin")
    return [str(tmp_path / "train.bin"), f"--validation={tmp_path / 'val.bin'}", "--row-tokens=1026"]


def reports(arguments: list[str]) -> set[tuple[int, str]]:
    """The statuses and JSON of audits by 1 and 5 workers."""
    done = [run_here("audit", *arguments, "--json", f"--workers={workers}") for workers in (1, 5)]
    return {(each.status, each.out) for each in done}


def test_any_number_of_workers_finds_the_same_faults(damaged, monkeypatch):
    monkeypatch.setattr(figures, "CHUNK_TOKENS", 1 << 13)  # 7 rows a chunk
    ((status, out),) = reports(damaged)
    checks = json.loads(out)["checks"]
    assert status == 1
    assert [checks[name]["verdict"] for name in ("aligned", "ids", "one rule", "leakage", "duplicates")] == [
        "bad",
        "bad",
        "bad",
        "bad",
        "look",
    ]
    assert checks["aligned"]["misaligned"] == checks["ids"]["out_of_range"] == 1


def test_any_number_of_workers_finds_the_same_in_a_dataset(smoke, monkeypatch):
    monkeypatch.setattr(figures, "CHUNK_TOKENS", 1 << 13)
    ((status, out),) = reports([str(smoke()), "--band=high", "--rows=50"])
    assert status == 0 and json.loads(out)["verdict"] == "ok"


def test_any_number_of_workers_finds_the_same_in_rows_of_another_source(tmp_path, monkeypatch):
    monkeypatch.setattr(token_figures, "CHUNK_TOKENS", 1 << 13)
    spec = from_settings({"source": "elementary", "tokens": 60 * 1024, "validation": 10 * 1024})
    make(tmp_path / "a", spec, "parquet", 1)
    ((_, out),) = reports([str(tmp_path / "a")])
    assert json.loads(out)["rows_of"] == "elementary"
