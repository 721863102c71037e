"""Tests the measure linear-gap: its kernels against plain Python, what it separates, and bands that select by it."""

from itertools import pairwise

import numpy as np
import pytest
from conftest import SETTINGS, error_of, make, run_here
from hypothesis import given, settings
from hypothesis import strategies as st

import ncagen
from ncagen import philox
from ncagen.factory.settings import from_settings
from ncagen.row_format import Rows
from ncagen.sources import grid_tokens
from ncagen.sources.nca import batch, structure
from ncagen.sources.nca.devices import backend
from ncagen.sources.nca.options import settings_of
from ncagen.sources.nca.settings import Settings
from ncagen.sources.nca.source import Nca
from ncagen.view import webpage

TRAIN = 0, philox.STREAMS["train"]
GAP = {"measure": "linear-gap", "bands": ["0.1-0.2", "0.2-0.3"]}


class Voted:
    """The lookup's entries for whole neighbourhoods or crosses: state and votes by key."""

    def __init__(self):
        self.entries: dict[int, tuple[int, int]] = {}

    def vote(self, key: int, state: int) -> None:
        held, votes = self.entries.get(key, (state, 0))
        if held == state:
            self.entries[key] = state, votes + 1
        else:
            self.entries[key] = (held, votes - 1) if votes > 1 else (state, 1)


def defined_right(chosen: Settings, grids: np.ndarray) -> tuple[int, int]:
    """Both counts for one row, as the docstring of `structure` says it. grids: uint8[frame, y, x]."""
    n, whole, cross, centres = chosen.states, Voted(), Voted(), {}
    weights = np.zeros((9, n, n), int)
    lookup = linear = 0
    for before, after in pairwise(grids):
        for y in range(chosen.height):
            for x in range(chosen.width):
                places = [((y + i - 1) % chosen.height, (x + j - 1) % chosen.width) for i in range(3) for j in range(3)]
                around, state = [int(before[place]) for place in places], int(after[y, x])
                wide = sum(s * n**i for i, s in enumerate(around)) % 2**64
                some = tuple(around[i] for i in (1, 3, 4, 5, 7))
                counts, best = centres.setdefault(around[4], ([0] * n, [0]))
                found = whole.entries.get(wide) or cross.entries.get(some) or (best[0], 0)
                lookup += found[0] == state
                whole.vote(wide, state)
                cross.vote(some, state)
                counts[state] += 1
                if counts[state] > counts[best[0]]:
                    best[0] = state
                z = sum(weights[i, s] for i, s in enumerate(around))
                linear += int(z.argmax()) == state
                others = [s for s in range(n) if s != state]
                rival = max(others, key=lambda s: (z[s], -s))
                if z[rival] + 4 >= z[state]:
                    for i, s in enumerate(around):
                        weights[i, s, state] += 1
                        weights[i, s, rival] -= 1
    return lookup, linear


CASES = {
    "released": {},
    "noise": {"temperature": 1.0},
    "two states": {"states": 2, "patch": 3, "grid": 9},
    "sixteen states": {"states": 16, "grid": "4x6", "temperature": 0.01},
    "wide": {"states": 40, "grid": "3x21", "patch": 1, "temperature": 0.01},
    "all states": {"states": 256, "grid": 6, "patch": 1, "warmup": 1, "temperature": 1.0},
}


def scored_cells(chosen: Settings, made: batch.NcaBatch) -> np.ndarray:
    """The cells of scored grids: uint8[candidate, frame, cell]."""
    return grid_tokens.patch_grids(chosen, made.patches).reshape(*made.patches.shape[:2], -1)


@pytest.mark.parametrize("name", CASES)
def test_kernels_equal_plain_python(name):
    chosen = settings_of(CASES[name], 1024)
    scored = scored_cells(chosen, batch.run(chosen, TRAIN, np.arange(3, dtype=np.uint64)))
    found = structure.right_cells(chosen, scored)
    grids = scored.reshape(*scored.shape[:2], chosen.height, chosen.width)
    assert found.tolist() == [list(defined_right(chosen, row)) for row in grids]


@given(st.integers(2, 256), st.integers(3, 5), st.integers(3, 6), st.integers(2, 5), st.integers(0, 2**32))
@settings(max_examples=30, deadline=None)
def test_kernels_equal_plain_python_on_any_grids(states, height, width, frames, seed):
    chosen = Settings(states=states, height=height, width=width, patch=1)
    few = np.random.default_rng(seed)
    grids = few.integers(0, few.integers(1, states + 1), (frames, height, width)).astype(np.uint8)
    found = structure.right_cells(chosen, grids.reshape(1, frames, -1))
    assert found.tolist() == [list(defined_right(chosen, grids))]


def test_pinned():
    made = Nca(Settings(measure="linear-gap")).batch(TRAIN, np.arange(8, dtype=np.uint64))
    assert made.score.dtype == np.int32 and made.score.tolist() == [210, 3, 265, 255, 0, 187, 0, 40]


def test_it_separates_rules_from_noise_which_gzip_does_not():
    """Of rows in gzip's high band: most at the default temperature have a gap of a tenth, few at 0.1, none at 1."""
    shares = []
    for temperature in (1e-4, 0.1, 1.0):
        made = batch.run(Settings(temperature=temperature), TRAIN, np.arange(300, dtype=np.uint64))
        high = made.score >= 720
        gaps = structure.linear_gaps(Settings(), scored_cells(Settings(), made)[high])
        shares.append((gaps >= 130).mean())
    assert shares[0] > 0.75 and shares[1] < 0.08 and shares[2] == 0


def test_what_can_be_remembered_or_does_not_change_has_no_gap():
    chosen = Settings()
    still = np.repeat(np.random.default_rng(0).integers(0, 10, (1, 1, 144)), 10, axis=1).astype(np.uint8)
    lookup, linear = structure.right_cells(chosen, still)[0]
    assert lookup >= 8 * 144 and structure.linear_gaps(chosen, still)[0] == max(0, linear - lookup)
    assert structure.linear_gaps(chosen, np.zeros((2, 10, 144), np.uint8)).tolist() == [0, 0]


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gap") / "rows"
    spec = from_settings(SETTINGS | GAP | {"facts": "oracle"})
    make(folder, spec)
    return folder


def test_bands_select_by_it(stored):
    dataset = ncagen.open(stored, band="0.2-0.3")
    rows = dataset.rows(np.arange(len(dataset)))
    assert [c.name for c in dataset.row_format.facts] == [
        "gzip_bytes",
        "gzip_ratio",
        "linear_gap",
        "linear_gap_ratio",
        "oracle_micronats",
    ]
    assert rows["linear_gap"].min() >= 260 and rows["linear_gap"].max() < 389
    assert np.array_equal(rows["linear_gap_ratio"], (rows["linear_gap"] / 1296).astype(np.float32))
    tried = Nca(Settings()).batch(TRAIN, rows["candidate"])
    assert np.array_equal(tried.score, rows["gzip_bytes"])
    assert np.array_equal(tried.rows(np.arange(len(rows["candidate"])))["input_ids"], rows["input_ids"])
    assert len(ncagen.open(stored, band="0.2-0.3", where="linear_gap >= 300")) == (rows["linear_gap"] >= 300).sum()
    report = ncagen.verify(stored, regenerate=1.0)
    assert report.problems == [] and report.rebuilt == 440


def test_card_show_and_page_name_it(stored):
    card = (stored / "README.md").read_text()
    assert "| band | linear gap ratio |" in card and "by how many of 1,296 cells" in card
    shown = run_here("show", stored).out
    assert "linear gap ratios of the first shard's rows (0.1-0.2 train)" in shown and "linear-gap\n" in shown
    page = webpage.page(stored)
    assert '"twin":null' in page and '"measured":false' in page and '"linear_gap":[' in page


@pytest.mark.parametrize(
    ("column", "problem"),
    [
        ("gzip_bytes", "gzip_bytes is not the length of the row's tokens"),
        ("linear_gap", "linear_gap is not that of the row's grids"),
        ("linear_gap_ratio", "linear_gap_ratio is not linear_gap by predicted cells"),
        ("input_ids", "tokens are not well formed"),
    ],
)
def test_a_changed_value_is_a_problem_of_its_row(column, problem):
    source = Nca(Settings(measure="linear-gap"))
    rows = source.batch(TRAIN, np.arange(3, dtype=np.uint64)).rows(np.arange(3))
    assert all(right.all() for right in source.problems(rows).values())
    changed = rows[column].copy()
    changed.reshape(3, -1)[1, 0] += 1
    assert source.problems(Rows(rows.columns | {column: changed}))[problem].tolist() == [True, False, True]


def test_devices_have_the_same_score():
    chosen = Settings(measure="linear-gap")
    numbers = np.arange(4, dtype=np.uint64)
    found, wanted = (batch.run(chosen, TRAIN, numbers, backend=backend(name)).score for name in ("host", "cpu"))
    assert np.array_equal(found, wanted)


def test_the_gzip_spec_is_unchanged():
    assert "measure" not in Nca(Settings()).to_dict()
    assert Nca(Settings(measure="linear-gap")).to_dict()["measure"] == "linear-gap"
    values = Nca(Settings()).to_dict() | {"measure": "gzip"}
    assert error_of(Nca.from_dict, values, 1024) == "setting 'measure' of source nca is 'gzip': leave it out"


def test_bad_input():
    assert error_of(settings_of, {"measure": "zip"}, 1024) == "measure 'zip' is not known: use gzip or linear-gap"
    wanted = "measure linear-gap needs rows of two grids or more: use a seq_len of 16386 or more, or a smaller grid"
    assert error_of(settings_of, {"measure": "linear-gap", "grid": 128, "patch": 1}, 1024) == wanted
    for named in ({"band": "high"}, {"for": "web"}):
        assert error_of(from_settings, {"tokens": "1M", "measure": "linear-gap", **named}) == (
            "band 'high' is a range of gzip ratios, and bands select by linear_gap: use limits, as in --band 0.1-0.3"
        )


def test_a_plan_has_no_score_of_noise():
    found = run_here("build", "--tokens=20K", "--validation=0", "--measure=linear-gap", "--band=0.1-0.3", "--plan")
    assert (found.status, found.err) == (0, "") and "pure noise" not in found.out and "kept: 0.1-0.3" in found.out
