"""The consumer's order: every row once, at any number of ranks and workers, with stops and changes in between."""

import json
import math
import pickle
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, pairwise

import numpy as np
import pytest
from conftest import error_of, make, spec_of
from hypothesis import given, settings
from hypothesis import strategies as st

import ncagen
from ncagen.dataset.division import Division
from ncagen.dataset.mixture import CYCLE, Mixture
from ncagen.dataset.order_keys import keys, words
from ncagen.dataset.passes import Passes, Span
from ncagen.dataset.shuffle import Shards, Shuffle, lane_order
from ncagen.dataset.stream import Stream


def shards_of(sizes: list[list[int]]) -> Shards:
    """Shards of any row groups. sizes: rows of each row group of each shard; the shorter shards get empty groups."""
    most = max(map(len, sizes))
    padded = np.array([groups + [0] * (most - len(groups)) for groups in sizes], np.int64)
    return Shards(padded.sum(axis=1), padded.reshape(-1), most)


SHARDS = st.one_of(
    st.lists(st.lists(st.integers(0, 40), min_size=1, max_size=9), min_size=1, max_size=30).map(shards_of),
    st.lists(st.integers(1, 3000), min_size=1, max_size=30).map(lambda rows: Shards(np.array(rows))),
).filter(lambda shards: shards.rows.sum())
LANE_COUNTS = st.sampled_from([1, 2, 5, 12, 48])


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """1,500 rows in two shards of six row groups and a short one."""
    spec = spec_of(tokens=1500 * 1024, validation=0, bands=["high"], rows_per_shard=1300)
    folder = tmp_path_factory.mktemp("wide") / "a"
    make(folder, spec, "arrow")
    return ncagen.open(folder)


@pytest.fixture(scope="module")
def shards_of_8(tmp_path_factory):
    """300 rows in more row groups than are shuffled together, so that lanes divide them."""
    folder = tmp_path_factory.mktemp("shards") / "a"
    make(folder, spec_of(tokens=300 * 1024, validation=0, bands=["high"], rows_per_shard=8), "arrow")
    return ncagen.open(folder)


def candidates(stream: Stream) -> list[int]:
    return [int(candidate) for batch in stream for candidate in batch["candidate"]]


@settings(deadline=None)
@given(SHARDS, st.integers(0, 2**32 - 1), st.integers(0, 2**31), st.one_of(st.none(), st.integers(1, 9)), LANE_COUNTS)
def test_an_epoch_has_every_row_once(shards, seed, epoch, window, lanes):
    for shuffle in (True, False):
        order = Shuffle(shards, seed, shuffle, window, lanes)
        rows = order.rows(epoch, np.arange(order.length))
        assert sorted(rows) == list(range(order.length))
        some = np.random.default_rng(seed).permutation(order.length)[:7]
        assert (Shuffle(shards, seed, shuffle, window, lanes).rows(epoch, some) == rows[some]).all()


@settings(deadline=None)
@given(SHARDS, st.integers(0, 2**32 - 1), st.one_of(st.none(), st.integers(1, 9)), LANE_COUNTS, st.booleans())
def test_the_row_groups_of_positions_hold_their_rows(shards, seed, window, lanes, shuffle):
    order = Shuffle(shards, seed, shuffle, window, lanes)
    positions = np.sort(np.random.default_rng(seed).permutation(order.length)[:50])
    named = order.row_groups(2, positions)
    held = {
        (shard, group): before + np.arange(size)
        for shard, first in enumerate(np.cumsum(shards.rows) - shards.rows)
        for group, (size, before) in enumerate(
            zip(shards.sizes(shard), first + np.cumsum(shards.sizes(shard)) - shards.sizes(shard), strict=True)
        )
    }
    rows = [held[some.shard, group] for some in named for group in range(some.first, some.end)]
    assert set(order.rows(2, positions)) <= set(np.concatenate(rows))
    assert len(set(named)) == len(named)
    assert window is None or not order.lanes > 1 or all(some.end - some.first <= window for some in named)


def sorted_by_keys(seed, stream, epoch, numbers):
    if stream == 17:
        block = {number: words(seed, stream, epoch, np.array([number // 4]))[0] for number in numbers}
        return sorted(numbers, key=lambda number: (int(block[number][number % 4]), number))
    return [number for _, number in sorted((int(keys(seed, stream, epoch, np.array([n]))[0]), n) for n in numbers)]


def order_by_definition(sizes, seed, epoch, window, lanes):
    """The rows of an epoch as the text of shuffle.py defines them, one by one. sizes: as for `shards_of`."""
    first, shards = 0, []  # each shard's windows, which are lists of row numbers
    for groups in sizes:
        ends = [first + sum(groups[: i + 1]) for i in range(len(groups))]
        borders = sorted({first, *ends[window - 1 :: window], ends[-1]})
        shards.append({a: list(range(a, b)) for a, b in pairwise(borders)})
        first = ends[-1]
    order = sorted_by_keys(seed, 16, epoch, [shard for shard, windows in enumerate(shards) if windows])
    if sum(size > 0 for groups in sizes for size in groups) <= 16:
        rows = [[row for window in shards[shard].values() for row in window] for shard in order]
        parts = rows[0], list(chain(*rows[1:]))
        return [row for some in parts for row in sorted_by_keys(seed, 17, epoch, sorted(some))]
    found = {}
    for section in (order[:1], order[1:]):
        windows = [shards[s][w] for s in section for w in sorted_by_keys(seed, 19, epoch, shards[s])]
        position, rows = len(found), [(number, row) for number, window in enumerate(windows) for row in window]
        for place, lane in enumerate(lane_order(lanes)):
            mine = [p for p in range(position, position + sum(map(len, windows))) if p % lanes == lane]
            span, rows = rows[: len(mine)], rows[len(mine) :]
            pieces = [[row for number, row in span if number == some] for some in range(len(windows))]
            shuffled = [row for piece in pieces for row in sorted_by_keys(seed, 17, epoch, piece)]
            found |= dict(zip(mine, shuffled[::-1] if place % 2 else shuffled, strict=True))
    return [found[p] for p in sorted(found)]


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=6), min_size=3, max_size=12),
    st.integers(0, 2**32 - 1),
    st.integers(1, 4),
    st.sampled_from([1, 4, 6]),
)
def test_the_order_is_that_of_its_definition(sizes, seed, window, lanes):
    order = Shuffle(shards_of([[*groups, 1] for groups in sizes]), seed, window=window, lanes=lanes)
    most = max(map(len, sizes)) + 1
    padded = [[*groups, 1] + [0] * (most - len(groups) - 1) for groups in sizes]
    assert order.rows(3, np.arange(order.length)).tolist() == order_by_definition(padded, seed, 3, window, lanes)


def test_the_order_is_written_down():
    """A change of these rows is a change of every reader's order, and needs a new ORDER_VERSION."""
    order = Shuffle(shards_of([[3, 2, 4], [1, 1], [5]] * 4), seed=7, window=2, lanes=4)
    assert [order.rows(epoch, np.arange(10)).tolist() for epoch in (0, 1)] == WRITTEN
    together = Shuffle(shards_of([[3, 2], [4]]), seed=7)
    assert [together.rows(epoch, np.arange(9)).tolist() for epoch in (0, 1)] == TOGETHER
    assert keys(7, 17, 3, np.array([2**33 + 5]))[0] == KEY


WRITTEN = [[21, 17, 16, 20, 22, 18, 24, 19, 23, 63], [41, 42, 45, 15, 20, 47, 46, 13, 16, 32]]
TOGETHER = [[7, 8, 5, 6, 2, 3, 0, 4, 1], [1, 2, 3, 4, 0, 7, 8, 6, 5]]
KEY = 1076562595385497966


def test_threads_see_one_order():
    shards, positions = Shards(np.full(30, 300)), np.arange(9000)
    order = Shuffle(shards, seed=2)
    expected = [Shuffle(shards, seed=2).rows(epoch, positions) for epoch in range(6)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(16) as pool:
            found = list(pool.map(lambda i: order.rows(i % 6, positions), range(300)))
    finally:
        sys.setswitchinterval(interval)
    assert all(np.array_equal(rows, expected[i % 6]) for i, rows in enumerate(found))


def test_lanes_that_a_rank_reads_are_side_by_side():
    order = lane_order(48)
    assert sorted(order) == list(range(48)) and lane_order(1) == (0,)
    for world in (2, 4, 8, 16):
        ranks = [lane % world for lane in order]
        assert sum(a != b for a, b in pairwise(ranks)) == world - 1


def test_a_pass_holds_few_row_groups_at_a_time():
    """A lane is in one window at a time, so a reader needs `lanes * window` row groups, and those of borders."""
    shards = Shards(np.full(100, 4096))
    order = Shuffle(shards, seed=1)
    groups = order.rows(0, np.arange(order.length)) // 256
    first, last = np.full((2, 1600), -1)
    last[groups] = np.arange(len(groups))
    first[groups[::-1]] = np.arange(len(groups))[::-1]
    open_at = np.cumsum(
        np.bincount(first, minlength=order.length + 1) - np.bincount(last + 1, minlength=order.length + 1)
    )
    assert open_at.max() <= 48 + 48  # a window more for the lanes that are between two


def test_rows_of_a_shard_part():
    """How far apart two neighbours of a shard end up, in positions: docs/reading.md has the figures."""
    order = Shuffle(Shards(np.full(400, 4096)), seed=1)
    position = np.empty(order.length, np.int64)
    position[order.rows(0, np.arange(order.length))] = np.arange(order.length)
    apart = np.abs(np.diff(position.reshape(400, 4096), axis=1))
    assert np.median(apart) > 48 * 256 / 4
    assert np.percentile(apart, 1) >= 48


def test_every_row_may_come_first_and_neighbours_part():
    order = Shuffle(shards_of([[4] * 8]), seed=3)
    epochs = [order.rows(epoch, np.arange(32)) for epoch in range(1600)]
    first = np.bincount([rows[0] for rows in epochs], minlength=32)
    assert ((first - 50) ** 2 / 50).sum() < 62.5  # chi-squared, 31 degrees of freedom, one in a thousand
    together = np.mean([abs(np.flatnonzero(rows == 0)[0] - np.flatnonzero(rows == 1)[0]) == 1 for rows in epochs])
    assert abs(together - 2 / 32) < 0.02  # as for any two of 32


def row_groups_read(shards: Shards, world: int, batch: int) -> float:
    """Row groups that all ranks of an epoch read together, by those of the dataset."""
    order, read = Shuffle(shards, seed=1), 0
    for rank in range(world):
        division = Division(0, order.length, order.length, rank, world, batch, 1, "uneven", False, order.lanes)
        groups = set()
        for first in range(0, len(division), 256):
            numbers = range(first, min(len(division), first + 256))
            for some in order.row_groups(0, division.positions(numbers)):
                groups |= {(some.shard, group) for group in range(some.first, some.end)}
        read += len(groups)
    return read / shards.groups


@pytest.mark.parametrize(
    ("world", "most"), [(1, 1), (2, 1.05), (4, 1.05), (8, 1.05), (16, 1.05), (5, 2), (7, 2), (20, 2)]
)
def test_ranks_together_read_little_more_than_the_dataset(world, most):
    """At the size of 164M tokens; at 2,385 shards benchmarks/remote.py does."""
    shards = Shards(np.array([4096] * 39 + [300]))
    for batch in (1, 8) if most == 2 else (8,):
        assert row_groups_read(shards, world, batch) <= most


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 400),
    st.integers(0, 300),
    st.integers(1, 9),
    st.integers(1, 5),
    st.integers(1, 3),
    st.sampled_from(["drop", "repeat", "uneven"]),
    st.sampled_from([1, 4, 12]),
)
def test_batches_of_one_number_are_the_next_positions(length, start, world, per_batch, pack, tail, lanes):
    """Whatever the world size: so a state after n batches of each rank is one position."""
    start, end, rows = start % length, 2 * length, per_batch * pack
    ranks = [Division(start, end, length, r, world, rows, pack, tail, False, lanes) for r in range(world)]
    for number in range(max(map(len, ranks))):
        here = [division.positions([number]).tolist() for division in ranks if division.has(number)]
        first = start + number * rows * world
        if first + rows * world <= end:
            assert all(some == sorted(some) and len(some) == rows for some in here)
            assert sorted(chain(*here)) == list(range(first, first + rows * world))
        elif tail != "repeat":
            assert all(first <= position < end for some in here for position in some)
            assert len(set(chain(*here))) == sum(map(len, here))


def counted(division: Division, number: int) -> list[int]:
    """Where a batch's rows are among the rows of all ranks; beyond the end for those that fill up a last batch."""
    rows = division.batch_rows * division.world
    if division.lanes % division.world and (number + 1) * rows <= division.end - division.start:
        return (division.positions([number]) - division.start).tolist()
    count = len(division.positions([number]))
    return ((number * division.batch_rows + np.arange(count)) * division.world + division.rank).tolist()


def run_ranks(data, state, world, workers, batch_size, batches, tail="drop", **options):
    """What every rank yields in `batches` batches, row by row in the order of positions, and the state afterwards."""
    streams = [Stream(data, batch_size, rank=r, world=world, tail=tail, **options) for r in range(world)]
    ranks, states = [], []
    for stream in streams:
        if state is not None:
            stream.load_state_dict(json.loads(json.dumps(state)))
        division = stream.begin()
        iterators = [stream.batches(division, j, max(workers, 1)) for j in range(max(workers, 1))]
        rows: list[tuple[int, int]] = []
        taken = 0
        while batches is None or taken < batches:
            number, batch = next(iterators[taken % len(iterators)], (None, None))
            if batch is None:
                break
            assert number == taken
            rows += zip(counted(division, number), batch["candidate"].tolist(), strict=True)
            taken += 1
        ranks.append(rows)
        states.append(stream.state_after(taken))
    together = [row for _, row in sorted(chain(*ranks))]
    assert all(other == states[0] for other in states)
    return together, states[0], [len(rows) for rows in ranks]


SEGMENTS = st.lists(
    st.tuples(st.sampled_from([1, 2, 3, 5, 8, 24]), st.integers(0, 3), st.integers(1, 7), st.integers(0, 6)), max_size=5
)


@settings(max_examples=80, deadline=None)
@given(SEGMENTS, st.integers(0, 2**32 - 1), st.sampled_from(["drop", "repeat", "uneven"]), st.integers(1, 2))
def test_stops_and_changes_of_ranks_workers_and_batches_lose_and_repeat_nothing(
    high, shards_of_8, segments, seed, tail, epochs
):
    data = (high, shards_of_8)[seed % 2]
    whole = candidates(Stream(data, 16, seed=seed, epochs=epochs))
    seen, state = [], None
    for world, workers, batch_size, batches in segments:
        rows, state, _ = run_ranks(data, state, world, workers, batch_size, batches, seed=seed, epochs=epochs)
        seen += rows
        assert seen == whole[: len(seen)]
        assert len(seen) % len(data) == state["position"] or len(seen) >= epochs * len(data) - 23
        if (state["epoch"], state["position"]) == (epochs, 0):
            break
    at = state["epoch"] * len(data) + state["position"] if state else 0
    if at == len(whole):  # the pass was over; what follows is a whole one
        whole = candidates(Stream(data, 16, seed=seed, epochs=2 * epochs))
    left = whole[at:]
    rows, state, lengths = run_ranks(data, state, 8, 3, 5, None, tail, seed=seed, epochs=epochs)
    assert (state["epoch"], state["position"]) == (len(whole) // len(data), 0)
    if tail == "drop":
        assert rows == left[: len(left) // 8 * 8] and len(set(lengths)) == 1
    elif tail == "uneven":
        assert rows == left and max(lengths) - min(lengths) <= 1
    else:
        more = -len(left) % 8
        assert rows == left + whole[-len(data) :][:more] and len(set(lengths)) == 1


def test_one_rank_gives_every_row_once_an_epoch_and_another_order_in_the_next(high):
    rows = candidates(Stream(high, 32, seed=5, epochs=2))
    stored = [int(row["candidate"]) for row in high]
    assert sorted(rows[:200]) == sorted(rows[200:]) == sorted(stored)
    assert rows[:200] != rows[200:] != stored
    assert candidates(Stream(high, 7, shuffle=False)) == stored


def test_the_format_does_not_change_the_order(smoke):
    one, other = (candidates(Stream(ncagen.open(smoke(f), band="high"), 8, seed=2)) for f in ("parquet", "arrow"))
    assert one == other


def test_a_batch_has_its_rows(high):
    for batch in Stream(high, 9, seed=4):
        for i, candidate in enumerate(batch["candidate"]):
            row = next(row for row in high if row["candidate"] == candidate)
            assert all((batch[name][i] == row[name]).all() for name in row)
        break


def test_lengths_and_short_batches(high):
    assert [len(b["candidate"]) for b in Stream(high, 64)] == [64, 64, 64, 8]
    assert [len(b["candidate"]) for b in Stream(high, 64, drop_last=True)] == [64, 64, 64]
    assert [len(Stream(high, 64, **o)) for o in ({}, {"drop_last": True}, {"world": 3}, {"epochs": 2})] == [4, 3, 2, 7]
    assert [len(Stream(high, 1, world=3, rank=r, tail="uneven")) for r in range(3)] == [67, 67, 66]
    with pytest.raises(TypeError):
        len(Stream(high, 1, epochs=None))


def test_a_stream_without_an_end_goes_on(high):
    stream, rows = Stream(high, 150, seed=1, epochs=None), []
    for batch in stream:
        rows += batch["candidate"].tolist()
        if len(rows) >= 900:
            break
    assert rows[:800] == candidates(Stream(high, 3, seed=1, epochs=4))
    assert (stream.state_dict()["epoch"], stream.state_dict()["position"]) == (4, 100)


def test_a_state_is_small_plain_and_follows_each_batch(high):
    stream = Stream(high, 16, seed=3, rank=1, world=2)
    states = [stream.state_dict() for _ in stream]
    assert [s["position"] for s in states] == [32, 64, 96, 128, 160, 192, 0]
    assert states[-1]["epoch"] == 1
    assert states[0] == {"epoch": 0, "position": 32, "seed": 3, "fingerprint": stream.fingerprint}
    assert states == [stream.state_after(n) for n in range(1, 8)]
    assert len(json.dumps(states[0])) < 100


def test_every_pass_is_the_next_epoch(high):
    epochs = [candidates(Stream(high, 200, seed=3, epochs=6))[at : at + 200] for at in range(0, 1200, 200)]
    stream = Stream(high, 50, seed=3)
    assert [candidates(stream) for _ in range(4)] == epochs[:4]
    stream.set_epoch(1)
    assert [candidates(stream) for _ in range(2)] == epochs[1:3]
    stream.set_epoch(5)
    stream.set_epoch(0)
    iter(stream)  # no pass begins without a batch
    assert candidates(stream) == epochs[0]
    pairs = Stream(high, 50, seed=3, epochs=2)
    assert [candidates(pairs) for _ in range(2)] == [epochs[0] + epochs[1], epochs[2] + epochs[3]]
    pairs.set_epoch(2)
    assert candidates(pairs) == epochs[2] + epochs[3]
    assert error_of(pairs.set_epoch, 3) == (
        "epoch 3 is within a pass of 2 epochs: use a multiple of 2, or epochs=1 with a trainer that calls set_epoch for"
        " each pass"
    )


def test_a_loaded_state_holds_for_one_pass(high):
    epochs = [candidates(Stream(high, 200, seed=3, epochs=6))[at : at + 200] for at in range(0, 1200, 200)]
    for epoch, batches in ((0, 0), (0, 2), (0, 4), (2, 1), (2, 4)):
        first = Stream(high, 50, seed=3)
        first.set_epoch(epoch)
        stream = Stream(high, 25, seed=3)
        stream.load_state_dict(first.state_after(batches))
        rest = epochs[epoch][50 * batches :] or epochs[epoch + 1]
        after = epoch + 1 + (batches == 4)
        assert (len(stream), stream.batches_left) == (8, len(rest) // 25)
        assert [candidates(stream) for _ in range(2)] == [rest, epochs[after]]
        assert (len(stream), stream.batches_left) == (8, 0)


def test_set_epoch_keeps_a_state_within_that_epoch(high):
    epochs = [candidates(Stream(high, 200, seed=3, epochs=4))[at : at + 200] for at in range(0, 800, 200)]
    stream = Stream(high, 50, seed=3)
    state = stream.state_at(200 + 100)
    for epoch, expected in ((0, epochs[0]), (1, epochs[1][100:]), (2, epochs[2])):
        stream.load_state_dict(state)
        stream.set_epoch(epoch)  # as a trainer does before it resumes
        assert candidates(stream) == expected
        stream.set_epoch(epoch)  # the state was for one pass
        assert candidates(stream) == epochs[epoch]
    pairs = Stream(high, 50, seed=3, epochs=2)
    state = pairs.state_at(200 + 100)
    for epoch, expected in ((0, epochs[1][100:]), (2, epochs[2] + epochs[3])):
        pairs.load_state_dict(state)
        pairs.set_epoch(epoch)
        assert candidates(pairs) == expected


def test_iterators_of_one_stream_do_not_mix(high):
    epochs = [candidates(Stream(high, 200, seed=3, epochs=2))[at : at + 200] for at in range(0, 400, 200)]
    stream = Stream(high, 50, seed=3)
    one, other = iter(stream), iter(stream)
    assert one.state_dict() == other.state_dict() == stream.state_at(0)
    first = next(one)["candidate"].tolist() + next(one)["candidate"].tolist()
    assert other.state_dict() == stream.state_at(200)
    second = next(other)["candidate"].tolist()
    assert (first, second) == (epochs[0][:100], epochs[1][:50])
    assert (one.state_dict(), other.state_dict()) == (stream.state_at(100), stream.state_at(250))
    assert stream.state_dict() == other.state_dict()
    assert next(one)["candidate"].tolist() == epochs[0][100:150]
    assert stream.state_dict() == one.state_dict() == stream.state_at(150)


MOVES = st.lists(
    st.one_of(
        st.tuples(st.just("pass"), st.integers(1, 5)),
        st.tuples(st.just("whole"), st.none()),
        st.tuples(st.just("load"), st.integers(0, 899)),
        st.tuples(st.just("set_epoch"), st.integers(0, 4)),
    ),
    max_size=12,
)


@settings(max_examples=200, deadline=None)
@given(MOVES, st.sampled_from([1, 2, 3, None]))
def test_passes_follow_one_rule(moves, epochs):
    """Against the rule written down again, in epochs and positions of 100 rows an epoch."""
    passes, loaded, start = Passes(100, epochs), None, 0
    for move, value in moves:
        if move == "load":
            passes.resume(value)
            loaded = start = value
        elif move == "set_epoch":
            value *= epochs or 1
            passes.set_epoch(value)
            end = math.inf if epochs is None else (value + epochs) * 100
            if loaded is None or not value * 100 <= loaded < end:
                start, loaded = value * 100, None
        else:
            span = passes.begin()
            if epochs is None:
                assert span == Span(start, None)
                start = (start // 100 + 1) * 100
            else:
                end = next(e for e in range(0, 10**6, 100) if e > start and e // 100 % epochs == 0)
                assert span == Span(start, end)
                start = end
            loaded = None
            assert passes.current == span
    assert passes.next.start == start


def test_a_stream_can_be_pickled(high):
    stream = Stream(high, 16, seed=3)
    assert candidates(pickle.loads(pickle.dumps(stream))) == candidates(stream)


def test_another_order_is_refused(high, medium):
    stream = Stream(high, 4, seed=1)
    state = stream.state_dict()
    others = [Stream(medium, 4, seed=1), Stream(high, 4, seed=1, shuffle=False), Stream(high, 4, seed=1, window=3)]
    for other in others:
        assert error_of(other.load_state_dict, state) == (
            f"the state is of another order (fingerprint {stream.fingerprint}, here {other.fingerprint}): open the same"
            " dataset, split, band and weights with the same shuffle and window"
        )
    assert len({stream.fingerprint, *(other.fingerprint for other in others)}) == 4
    assert error_of(Stream(high, 4, seed=2).load_state_dict, state) == (
        "the state is of seed 1, this stream of seed 2: use seed=1"
    )
    assert error_of(stream.load_state_dict, {"epoch": 1}) == (
        "the state is not a stream's: it must have epoch, position, seed, fingerprint"
    )
    for name, value, allowed in (
        ("position", 200, "is out of range: use 0 to 199"),
        ("position", -1, "is out of range: use 0 to 199"),
        ("position", 0.5, "is not a whole number: use 0 to 199"),
        ("epoch", -1, "is out of range: use 0 to 4294967294"),
        ("epoch", 2**32, "is out of range: use 0 to 4294967294"),
        ("epoch", None, "is not a whole number: use 0 to 4294967294"),
    ):
        assert error_of(stream.load_state_dict, state | {name: value}) == f"the state's {name} {value} {allowed}"
    assert error_of(stream.load_state_dict, state | {"worker": 1, "batch": 4}) == (
        "the state is from worker 1 alone: load it into the StatefulDataLoader that made it, or use a state of Loader"
        " or state_after"
    )
    assert stream.state_dict() == state


@pytest.mark.parametrize("epoch", [-1, 2**32, 0.5, "1", True])
def test_an_epoch_that_is_none_is_refused(high, epoch):
    why = "is out of range" if type(epoch) is int else "is not a whole number"
    assert error_of(Stream(high, 4).set_epoch, epoch) == f"epoch {epoch!r} {why}: use 0 to 4294967294"


def test_numbers_of_numpy_are_pythons_in_a_state(high):
    stream = Stream(high, np.int64(8), seed=np.uint32(5), world=np.int16(1), rank=np.uint8(0), epochs=np.int64(1))
    stream.set_epoch(np.int64(2))
    state = stream.state_after(np.int32(3))
    assert json.loads(json.dumps(state)) == state == Stream(high, 8, seed=5).state_at(424)
    numpy = {name: np.int64(value) if type(value) is int else value for name, value in state.items()}
    stream.load_state_dict(numpy)
    assert stream.state_dict() == state and all(type(value) in (int, str) for value in stream.state_dict().values())


@pytest.mark.parametrize(("pack", "batch_size", "world"), [(4, 8, 1), (3, 1, 2), (8, 4, 3), (7, 2, 5)])
@pytest.mark.parametrize("tail", ["drop", "repeat", "uneven"])
@pytest.mark.parametrize("drop_last", [False, True])
def test_a_packed_stream_has_no_empty_batch(high, pack, batch_size, world, tail, drop_last):
    options = {"layout": ncagen.Layout(pack=pack), "seed": 1, "tail": tail, "drop_last": drop_last}
    order = candidates(Stream(high, 200, seed=1))
    stored = high.rows(range(200))
    rows = zip(stored["input_ids"], stored["candidate"], strict=True)
    place = {ids[:1024].tobytes(): order.index(candidate) for ids, candidate in rows}
    given = []
    for rank in range(world):
        stream = Stream(high, batch_size, rank=rank, world=world, **options)
        shapes, rows = [], []
        for batch in stream:
            shapes.append(batch["input_ids"].shape)
            rows += [place[row.tobytes()] for row in batch["input_ids"].astype(np.uint16).reshape(-1, 1024)]
        assert len(shapes) == len(stream) and all(shape[0] for shape in shapes)
        assert all(shape == (batch_size, pack * 1024) for shape in shapes[: len(shapes) if drop_last else -1])
        mine = list(range(rank, 200, world))
        assert rows[: len(mine)] == mine[: len(rows)]
        assert stream.state_dict()["epoch"] == 1
        given.append(len(rows))
    share = 200 / world
    expected = {"drop": math.floor(share / pack), "repeat": math.ceil(share / pack)}.get(tail)
    if drop_last and expected:
        expected -= expected % batch_size
    assert tail == "uneven" or given == [expected * pack] * world


@pytest.mark.parametrize(
    ("options", "rows", "world", "least"),
    [
        ({"layout": ncagen.Layout(pack=201)}, 200, "", 201),
        ({"world": 201}, 200, " for each of 201 ranks", 1),
        ({"batch_size": 101, "world": 2, "drop_last": True}, 200, " for each of 2 ranks", 101),
        ({"batch_size": 51, "layout": ncagen.Layout(pack=4), "drop_last": True, "tail": "uneven"}, 200, "", 204),
    ],
)
def test_a_pass_without_a_batch_is_refused(high, options, rows, world, least):
    assert error_of(Stream, high, **options) == (
        f"a pass of {rows} rows holds no batch of {least}{world}: use a smaller pack or batch_size, fewer ranks, or"
        " tail='repeat'"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size 0 is out of range: use 1 or more"),
        ({"epochs": 0}, "epochs 0 is out of range: use 1 to 4294967295"),
        ({"window": 0}, "window 0 is out of range: use 1 or more"),
        ({"world": "2"}, "world '2' is not a whole number: use 1 or more"),
        ({"rank": 2, "world": 2}, "rank 2 is out of range: use 0 to 1"),
        ({"seed": -1}, "seed -1 is out of range: use 0 to 4294967295"),
        ({"tail": "pad"}, "tail 'pad' is not known: use drop, repeat, uneven"),
    ],
)
def test_options_out_of_range(high, options, message):
    assert error_of(Stream, high, **options) == message


def test_weights_are_kept_to_the_row(high, medium):
    mixture = Mixture([high, medium, high], weights=[0.5, 0.3, 0.2], rows=10 * CYCLE + 17)
    part, before = mixture.at(9, 0, np.arange(len(mixture)))
    for i, weight in enumerate((0.5, 0.3, 0.2)):
        assert np.array_equal(np.sort(before[part == i]), np.arange((part == i).sum()))
        for cycle in range(1, 11):
            assert abs((part[: cycle * CYCLE] == i).sum() - weight * cycle * CYCLE) < 1
    again = mixture.at(9, 0, np.arange(5000, 6000))
    assert (again[0] == part[5000:6000]).all() and (again[1] == before[5000:6000]).all()
    assert (mixture.at(8, 0, np.arange(100))[0] != part[:100]).any()


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0, 1e6), min_size=2, max_size=6).filter(any), st.integers(1, 9000), st.data())
def test_any_weights_and_schedule_add_up(high, weights, rows, data):
    points = [(0, weights)]
    if data.draw(st.booleans()):
        points.append((data.draw(st.integers(1, rows + 1)), data.draw(st.permutations(weights))))
    mixture = Mixture([high] * len(weights), schedule=points, rows=rows)
    part, before = mixture.at(1, 0, np.arange(rows))
    counts = np.bincount(part, minlength=len(weights))
    for i, count in enumerate(counts):
        assert np.array_equal(np.sort(before[part == i]), np.arange(count))
    if len(points) == 1:
        due = np.array(weights) / sum(weights) * rows
        assert np.abs(counts - due).max() < (len(weights) - 1).bit_length() / 2 + 0.001  # half a row a halving
    later, later_before = mixture.at(1, 3, np.arange(rows))
    assert (np.bincount(later, minlength=len(weights)) == counts).all()
    assert all((later_before[later == i].min(initial=3 * counts[i]) == 3 * counts[i]) for i in range(len(weights)))


def test_a_schedule_moves_the_weights_in_a_line(high, medium):
    mixture = Mixture([high, medium], schedule=[(0, [1, 0]), (40 * CYCLE, [0, 1])], rows=50 * CYCLE)
    part, _ = mixture.at(0, 0, np.arange(len(mixture)))
    shares = [(part[c * CYCLE : (c + 1) * CYCLE] == 1).mean() for c in range(50)]
    expected = [min(1, (c + 0.5) / 40) for c in range(50)]
    assert np.abs(np.array(shares) - expected).max() < 2 / CYCLE


def test_a_mixture_by_size_gives_every_row_once(high, medium, wide):
    mixture = Mixture([high, medium, wide])
    assert len(mixture) == 1900
    rows = candidates(Stream(mixture, 32, seed=6))
    stored = [int(row["candidate"]) for part in (high, medium, wide) for row in part]
    assert sorted(rows) == sorted(stored)


@settings(max_examples=40, deadline=None)
@given(SEGMENTS, st.integers(0, 2**32 - 1))
def test_a_mixture_resumes_as_exactly(high, medium, segments, seed):
    mixture = Mixture([high, medium], weights=[3, 1])
    assert len(mixture) == 266
    whole = candidates(Stream(mixture, 16, seed=seed, epochs=2))
    seen, state = [], None
    for world, workers, batch_size, batches in segments:
        rows, state, _ = run_ranks(mixture, state, world, workers, batch_size, batches, seed=seed, epochs=2)
        seen += rows
        if state["epoch"] == 2:
            break
    assert seen == whole[: len(seen)]
    rows, _, _ = run_ranks(mixture, state, 1, 0, 5, None, seed=seed, epochs=2)
    at = state["epoch"] * 266 + state["position"] if state else 0
    assert rows == (whole[at:] or candidates(Stream(mixture, 16, seed=seed, epochs=4))[at:])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": [1]}, "weights [1] are 1, the datasets are 2: give one for each"),
        ({"weights": [1, -1]}, "weights [1, -1] are not shares: use numbers of 0 or more, one of them above 0"),
        ({"weights": [0, 0]}, "weights [0, 0] are not shares: use numbers of 0 or more, one of them above 0"),
        (
            {"weights": [1, float("nan")]},
            "weights [1, nan] are not shares: use numbers of 0 or more, one of them above 0",
        ),
        ({"weights": [1, 1], "schedule": [(0, [1, 1])]}, "weights and schedule are both given: use one"),
        (
            {"schedule": [(0, [1, 1])]},
            "rows is missing: a schedule needs the length of the training, as in rows=160_000",
        ),
        (
            {"schedule": [(5, [1, 1]), (5, [1, 0])], "rows": 10},
            "schedule at rows [5, 5]: use whole numbers that rise, as in [(0, [1, 0]), (80_000, [0, 1])]",
        ),
        ({"rows": 0}, "rows 0 is out of range: use 1 to 1099511627776"),
    ],
)
def test_mixtures_that_cannot_be(high, medium, options, message):
    assert error_of(Mixture, [high, medium], **options) == message


def test_datasets_of_other_shapes_do_not_mix(high, tmp_path):
    make(tmp_path / "small", spec_of(states=8, tokens=10 * 1024, validation=0, bands=["high"]))
    other = ncagen.open(tmp_path / "small")
    assert error_of(Mixture, [high, other]) == (
        f"{tmp_path}/small has vocabulary 4098, {high.folder} has 10002: mix datasets of one shape"
    )
    assert error_of(Mixture, []) == "a mixture needs parts: give one dataset or more"
