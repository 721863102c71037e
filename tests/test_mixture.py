"""Mixtures: exact counts at any row in closed form, and later weights that may change while earlier rows stay."""

import json
import pickle
from fractions import Fraction
from itertools import accumulate, pairwise

import numpy as np
import pytest
from conftest import error_of, make, spec_of
from hypothesis import given, settings
from hypothesis import strategies as st

import ncagen
from ncagen.dataset.mixture import CYCLE, Mixture
from ncagen.dataset.schedule import ONE, Schedule, units
from ncagen.dataset.stream import Stream
from ncagen.numbers import shares, shown

WEIGHT = st.one_of(st.sampled_from([0, 0, 1, 1e-6, 1e3]), st.floats(0, 1))


@st.composite
def weights_of(draw, parts: int):
    return draw(st.lists(WEIGHT, min_size=parts, max_size=parts).filter(any))


@st.composite
def points_of(draw, parts: int, least: int = 0, most: int = 5000):
    """A schedule's points: (row, weights), rising."""
    rows = sorted(draw(st.sets(st.integers(least, most), min_size=1, max_size=4)))
    return [(row, draw(weights_of(parts))) for row in rows]


def in_units(points):
    return [(row, units(shares("weights", weights))) for row, weights in points]


def due(points, row: int) -> list[Fraction]:
    """The rows due to each part before a row: the integral of its weight, which is straight between points."""
    found = [Fraction(0)] * len(points[0][1])
    flat = [(0, points[0][1])] * (points[0][0] > 0) + points + [(max(row, points[-1][0]) + 1, points[-1][1])]
    for (first, low), (last, high) in pairwise(flat):
        rows = max(0, min(row, last) - first)
        for i, (a, b) in enumerate(zip(low, high, strict=True)):
            at_end = a + Fraction((b - a) * rows, last - first)
            found[i] += rows * (a + at_end) / 2 / ONE
    return found


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 9).flatmap(points_of), st.sets(st.integers(0, 6000), max_size=30))
def test_counts_add_up_never_fall_and_stay_near_their_due(points, rows):
    points = in_units(points)
    schedule, halvings = Schedule(points), (len(points[0][1]) - 1).bit_length()
    # Within one line half a row for each halving; where one starts with what another left over, once more of each.
    most = Fraction(halvings, 2) if len(points) == 1 else Fraction(halvings * (halvings + 1), 4)
    near = sorted({row + step for row in rows for step in range(4)} | {0})
    counts = [schedule.given(row) for row in near]
    for row, here in zip(near, counts, strict=True):
        assert sum(here) == row and all(type(count) is int for count in here)
        assert all(abs(a - b) <= most + Fraction(1, 10**6) for a, b in zip(here, due(points, row), strict=True))
    for before, after in pairwise(counts):
        assert all(a <= b for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize("points", [[(0, [1, 2, 4])], [(0, [1, 0, 0]), (3000, [0, 1, 1]), (3500, [5, 0, 1])]])
def test_every_row_goes_to_one_part(points):
    schedule = Schedule(in_units(points))
    given_rows = np.array([schedule.given(row) for row in range(5000)])
    steps = np.diff(given_rows, axis=0)
    assert steps.min() == 0 and (steps.sum(axis=1) == 1).all()


def test_many_points_leave_no_error_behind():
    """What a line rounds is given in the next: 1,500 lines of some rows each end as near as one."""
    points = in_units([(7 * i, [1 + i % 3, 2, 1 + i % 7]) for i in range(1500)])
    assert all(abs(a - b) < 1.5 for a, b in zip(Schedule(points).given(10_600), due(points, 10_600), strict=True))


def test_counts_of_a_far_row_are_as_exact():
    points = in_units([(0, [0.5, 0.3, 0.2]), (10**12, [1, 1, 5])])
    row = 10**12 - 12345
    before, after = (Schedule(points).given(some) for some in (row, row + CYCLE))
    assert sum(before) == row and sum(after) == row + CYCLE
    assert all(0 <= b - a <= CYCLE for a, b in zip(before, after, strict=True))
    assert all(abs(a - b) <= 1 for a, b in zip(before, due(points, row), strict=True))


def test_the_counts_are_written_down(high, medium):
    """A change of these is a change of every mixture's order, and needs a new ORDER_VERSION."""
    schedule = Schedule(in_units([(0, [5, 2, 1]), (1000, [0, 1, 3])]))
    assert [schedule.given(row) for row in (1, 100, 999, 5000)] == WRITTEN
    part, before = Mixture([high, medium], weights=[3, 1], rows=3000).at(7, 2, np.arange(1490, 1498))
    assert (part.tolist(), before.tolist()) == (PARTS, BEFORE)


WRITTEN = [(1, 0, 0), (59, 25, 16), (312, 250, 437), (313, 1250, 3437)]
PARTS, BEFORE = [0, 0, 0, 1, 0, 1, 0, 0], [5795, 5677, 6004, 1956, 6028, 2006, 5298, 5363]


def test_a_far_row_of_a_mixture_is_found_at_once(high, medium):
    """Its cycles are not walked through: there are a thousand million of them."""
    mixture = Mixture([high, medium, high], weights=[0.5, 0.3, 0.2], rows=2**40)
    positions = np.arange(2**40 - 3 * CYCLE, 2**40)
    part, before = mixture.at(1, 5, positions)
    assert (mixture.at(1, 5, positions[1000:1100])[1] == before[1000:1100]).all()
    for i, weight in enumerate((0.5, 0.3, 0.2)):
        assert (np.diff(np.sort(before[part == i])) == 1).all()
        assert abs(before[part == i].max() + 1 - 6 * weight * 2**40) < 12


@pytest.mark.parametrize(
    "weights",
    [[2, 6], (1, 3), np.array([1, 3]), np.array([0.25, 0.75], np.float32), [0.1, 0.3], [0.25, Fraction(3, 4)]],
    ids=repr,
)
def test_weights_of_any_type_and_unit_are_the_same(high, medium, weights):
    mixture, same = Mixture([high, medium], weights=[1, 3]), Mixture([high, medium], weights=weights)
    assert len(same) == len(mixture) == 266
    assert same.identity() == mixture.identity()
    both = (some.at(3, 1, np.arange(266)) for some in (mixture, same))
    assert all(np.array_equal(a, b) for a, b in zip(*both, strict=True))
    points = Mixture([high, medium], schedule=[(np.int64(0), weights)], rows=np.int32(266))
    assert points.identity() == mixture.identity()


def test_weights_of_torch(high, medium):
    torch = pytest.importorskip("torch")
    mixture = Mixture([high, medium], weights=torch.tensor([1.0, 3.0]), rows=torch.tensor(500))
    assert mixture.identity() == Mixture([high, medium], weights=[1, 3], rows=500).identity()


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 8).flatmap(weights_of))
def test_left_out_rows_are_the_most_for_which_no_part_gives_one_twice(high, weights):
    mixture = Mixture([high] * len(weights), weights=weights)
    schedule = Schedule([(0, units(shares("weights", weights)))])
    assert max(schedule.given(len(mixture))) <= 200
    ends = accumulate(schedule.given(len(mixture)))
    part, before = mixture.at(0, 0, np.arange(len(mixture)))
    assert np.bincount(part, minlength=len(weights)).cumsum().tolist() == list(ends) and before.max() < 200
    assert max(due([(0, units(shares("weights", weights)))], len(mixture))) > 198


def given_rows(mixture: Mixture, rows: int) -> list[tuple[int, int]]:
    """Part and number of the first rows, over all epochs."""
    found, length = [], len(mixture)
    for epoch in range(-(-rows // length)):
        part, before = mixture.at(4, epoch, np.arange(min(length, rows - epoch * length)))
        found += list(zip(part.tolist(), before.tolist(), strict=True))
    return found


CHANGES = st.lists(
    st.tuples(st.integers(0, 3000), st.one_of(weights_of(3), points_of(3, 0, 9000))), min_size=1, max_size=3
)


def changed(mixture: Mixture, row: int, to) -> Mixture:
    return mixture.then(row, schedule=to) if isinstance(to[0], tuple) else mixture.then(row, weights=to)


@settings(max_examples=60, deadline=None)
@given(points_of(3), st.integers(900, 6000), CHANGES)
def test_then_keeps_all_rows_before_it_and_loses_none_after(high, points, length, changes):
    mixture, row = Mixture([high] * 3, schedule=points, rows=length), 0
    for step, to in changes:
        row = mixture.identity(row + step)["end"]  # where a cycle ends, for the next change may not come before it
        later = changed(mixture, row - step % 2, to)
        assert later.identity(row) == mixture.identity(row)
        assert given_rows(later, row) == given_rows(mixture, row)
        mixture = later
    found = given_rows(mixture, mixture.identity(row + 2 * CYCLE)["end"])
    for i in range(3):
        numbers = sorted(number for part, number in found if part == i)
        assert numbers == list(range(len(numbers)))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_mixtures_of_one_identity_give_the_same_rows(high, data):
    """Two that differ in a later point, in their length or in a later change."""
    points, more = data.draw(points_of(2, 0, 4000)), data.draw(points_of(2, 4001, 5000))
    lengths = st.sampled_from([3000, 4096, 5000])
    one = Mixture([high] * 2, schedule=[*points, *data.draw(st.sampled_from([[], more]))], rows=data.draw(lengths))
    other = Mixture([high] * 2, schedule=points, rows=data.draw(lengths))
    if data.draw(st.booleans()):
        other = other.then(data.draw(st.integers(0, 5000)), data.draw(weights_of(2)))
    row = data.draw(st.integers(0, 6000))
    if json.dumps(one.identity(row)) == json.dumps(other.identity(row)):
        assert given_rows(one, row) == given_rows(other, row)


def test_an_identity_holds_what_decides_the_rows_before_it(high, medium):
    def identity(row, points, rows=160_000):
        return Mixture([high, medium], schedule=points, rows=rows).identity(row)

    points = [(0, [1, 0]), (80_000, [0, 1])]
    longer, changed_end = [*points, (90_000, [1, 0])], [(0, [1, 0]), (80_000, [1, 1])]
    assert identity(0, points) == identity(0, changed_end) == identity(0, points, 5)
    assert identity(70_000, points) == identity(70_000, longer) == identity(70_000, points, 200_000)
    assert identity(70_000, points) != identity(70_000, changed_end)
    assert identity(79_900, points) != identity(79_900, longer)  # the cycle in progress has rows of the next line
    assert identity(70_000, points) != identity(70_000, points, 70_001)  # its last cycle is shorter
    assert identity(160_000, points) != identity(160_000, points, 200_000)  # the next epoch starts there
    assert identity(None, points) != identity(None, longer)


def test_then_takes_effect_with_the_next_cycle(high, medium):
    mixture = Mixture([high, medium], weights=[1, 0], rows=5000)
    parts = [[part for part, _ in given_rows(mixture.then(row, [0, 1]), 10_000)] for row in (0, 1, 1024, 1025, 4999)]
    assert [row.index(1) for row in parts] == [0, 1024, 1024, 2048, 5000]
    assert all(sum(row) == 10_000 - row.index(1) for row in parts)
    assert [part for part, _ in given_rows(mixture.then(6000, [0, 1]), 10_000)].index(1) == 5000 + CYCLE


def test_a_mixture_can_be_pickled(high, medium):
    mixture = Mixture([high, medium], schedule=[(0, [1, 0]), (3000, [0, 1])], rows=5000).then(2000, [1, 1])
    assert given_rows(pickle.loads(pickle.dumps(mixture)), 6000) == given_rows(mixture, 6000)


def candidates(stream) -> list[int]:
    return [int(candidate) for batch in stream for candidate in batch["candidate"]]


def test_a_state_loads_where_the_same_rows_were_given(high, medium):
    """Other later weights, and weights in another unit; and the rows before the state are the old, after it the new."""
    mixture = Mixture([high, medium], weights=[1, 1], rows=3000)
    stream = Stream(mixture, 50, seed=3)
    whole = candidates(stream)
    state = json.loads(json.dumps(Stream(mixture, 50, seed=3).state_after(25)))
    row = state["epoch"] * len(mixture) + state["position"]
    same, longer = (
        Mixture([high, medium], weights=[2, 2], rows=3000),
        Mixture([high, medium], weights=[1, 1], rows=4000),
    )
    for other in (same, longer, mixture.then(row, [1, 3])):
        resumed = Stream(other, 7, seed=3)
        resumed.load_state_dict(state)
        rows = candidates(resumed)
        assert rows[:798] == whole[1250:2048]
        assert whole[:1250] + rows == candidates(Stream(other, 7, seed=3))
        assert (rows[798:] == whole[2048:]) == (other is same)
    later = Stream(mixture.then(row, [1, 3]), 50, seed=3).state_after(50)
    found = Stream(mixture, 50, seed=3)
    assert error_of(found.load_state_dict, later) == (
        f"the state is of another order (fingerprint {later['fingerprint']}, here {found.fingerprint_at(2500)}): open"
        " the same dataset, split, band and weights with the same shuffle and window; later weights may change by"
        " Mixture.then"
    )


EXAMPLE = "as in [(0, [1, 0]), (80_000, [0, 1])]"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": []}, "weights [] are no shares: give one number or more, as in [1, 3]"),
        ({"weights": "13"}, "weights '13' are not shares: use a list of numbers, as in [1, 3]"),
        ({"weights": [1]}, "weights [1] are 1, the datasets are 2: give one for each"),
        ({"weights": np.ones(3)}, "weights [1.0, 1.0, 1.0] are 3, the datasets are 2: give one for each"),
        ({"weights": [1, -1]}, "weights [1, -1] are not shares: use numbers of 0 or more, one of them above 0"),
        ({"weights": [1, 1], "schedule": [(0, [1, 1])]}, "weights and schedule are both given: use one"),
        (
            {"schedule": [(0, [1, 1])]},
            "rows is missing: a schedule needs the length of the training, as in rows=160_000",
        ),
        ({"schedule": [], "rows": 9}, f"schedule [] is not a list of points: use rows with weights, {EXAMPLE}"),
        ({"schedule": 3, "rows": 9}, f"schedule 3 is not a list of points: use rows with weights, {EXAMPLE}"),
        ({"schedule": [1], "rows": 9}, f"schedule [1] is not a list of points: use rows with weights, {EXAMPLE}"),
        (
            {"schedule": [(5, [1, 1]), (5, [1, 0])], "rows": 10},
            f"schedule at rows [5, 5]: use whole numbers that rise, {EXAMPLE}",
        ),
        ({"schedule": [(0.5, [1, 1])], "rows": 10}, "schedule row 0.5 is not a whole number: use 0 or more"),
        ({"schedule": [(-1, [1, 1])], "rows": 10}, "schedule row -1 is out of range: use 0 or more"),
        ({"rows": 0}, "rows 0 is out of range: use 1 to 1099511627776"),
        ({"rows": 1e6}, "rows 1000000.0 is not a whole number: use 1 to 1099511627776"),
    ],
)
def test_mixtures_that_cannot_be(high, medium, options, message):
    assert error_of(Mixture, [high, medium], **options) == message


def test_changes_that_cannot_be(high, medium):
    mixture = Mixture([high, medium], weights=[1, 1], rows=5000).then(1000, [1, 2])
    for arguments, message in [
        ((2000,), "weights and schedule are missing: use one"),
        ((2000, [1, 2], [(0, [1, 2])]), "weights and schedule are both given: use one"),
        ((1000, [1, 2]), "row 1000 is out of range: use 1024 or more"),
        ((2000.5, [1, 2]), "row 2000.5 is not a whole number: use 1024 or more"),
        ((2000, [1]), "weights [1] are 1, the datasets are 2: give one for each"),
    ]:
        assert error_of(mixture.then, *arguments) == message


def test_datasets_of_other_shapes_do_not_mix(high, tmp_path):
    make(tmp_path / "small", spec_of(states=8, tokens=10 * 1024, validation=0, bands=["high"]))
    other = ncagen.open(tmp_path / "small")
    assert error_of(Mixture, [high, other]) == (
        f"{tmp_path}/small has vocabulary 4098, {high.folder} has 10002: mix datasets of one shape"
    )
    assert error_of(Mixture, []) == "a mixture needs parts: give one dataset or more"


def test_parts_that_are_none(high):
    assert error_of(Mixture, high) == (
        f"the parts {shown(high)} are not a list: use a list of datasets, as in [low, high]"
    )
    assert error_of(Mixture, [high, "data/nca"]) == (
        "the part 'data/nca' is not a dataset: use ncagen.open(...) or ncagen.Tokens(...)"
    )
