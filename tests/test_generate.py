"""Rows without files are a build's rows, in its order, in whatever process they are asked for."""

import itertools
import multiprocessing
import subprocess
import sys
import time
from functools import partial

import numpy as np
import pytest
from conftest import ROOT, SETTINGS, make, spec_of, without

import ncagen
from ncagen.errors import NcagenError, SpecError
from ncagen.factory.generate import share
from ncagen.factory.settings import from_settings
from ncagen.hints import install
from ncagen.sources import source_of
from ncagen.sources.nca.source import Nca


def same(generated, dataset) -> bool:
    """Whether two sequences of rows are equal in names, types, shapes and values."""
    kinds = lambda row: [(name, value.dtype, value.shape) for name, value in row.items()]  # noqa: E731
    return all(
        kinds(a) == kinds(b) and all(np.array_equal(a[name], b[name]) for name in b)
        for a, b in zip(generated, dataset, strict=True)
    )


def candidates(rows) -> list[int]:
    return [int(row["candidate"]) for row in rows]


@pytest.mark.parametrize("split", ["train", "validation"])
@pytest.mark.parametrize("band", ["high", "medium"])
def test_a_generated_row_is_a_builds(smoke, split, band):
    assert same(ncagen.generate(SETTINGS, split, band), ncagen.open(smoke(), split, band))
    assert same(ncagen.generate(spec_of(), split, band), ncagen.open(smoke(), split, band))


def test_a_band_alone_needs_no_name(smoke):
    settings = SETTINGS | {"bands": ["medium"]}
    assert same(ncagen.generate(settings), ncagen.open(smoke(), band="medium"))


def test_a_long_row_of_another_spec_is_a_builds(tmp_path):
    settings = {"tokens": "40K", "validation": 0, "band": "0-2", "seq_len": "2k", "grid": 8}
    settings |= {"patch": 4, "states": 2, "trajectories_per_rule": 3, "rows_per_shard": 8, "preset": "paper"}
    make(tmp_path / "a", from_settings(settings))
    assert same(ncagen.generate(settings), ncagen.open(tmp_path / "a"))


@pytest.mark.parametrize("world", [1, 2, 3, 5])
def test_ranks_share_the_shards(smoke, world):
    """70, 70 and 60 rows: shard k goes to rank k % world."""
    dataset = ncagen.open(smoke(), band="high")
    for rank in range(world):
        mine = [row for shard in range(rank, 3, world) for row in range(shard * 70, min(shard * 70 + 70, 200))]
        assert same(ncagen.generate(spec_of(), band="high", rank=rank, world=world), [dataset[row] for row in mine])


@pytest.mark.parametrize(("start", "rank", "world", "first"), [(1, 0, 1, 1), (1, 0, 2, 2), (1, 1, 2, 1), (2, 1, 3, 4)])
def test_a_start_leaves_shards_out_and_the_others_where_they_were(start, rank, world, first):
    rows = ncagen.generate(spec_of(), band="high", rank=rank, world=world, start_shard=start, endless=True)
    shards = [candidate >> 32 for candidate in candidates(itertools.islice(rows, 71))]
    assert shards == [first] * 70 + [first + world]


def test_beyond_the_last_shard_there_is_nothing():
    assert list(ncagen.generate(spec_of(), band="high", start_shard=3)) == []
    assert list(ncagen.generate(spec_of(), band="high", rank=3, world=4)) == []


def test_endless_rows_are_those_of_longer_builds(smoke, tmp_path):
    """This spec's rows first, then the rest of its short last shard, then further shards."""
    make(tmp_path / "a", spec_of(tokens=300 * 1024, validation=0, bands=["high"]))
    rows = list(itertools.islice(ncagen.generate(spec_of(), band="high", endless=True), 300))
    assert same(rows[:200], ncagen.open(smoke(), band="high"))
    assert same(rows, ncagen.open(tmp_path / "a"))
    settings = {"band": "high", "rows_per_shard": 70}  # no number of tokens
    assert same(rows, itertools.islice(ncagen.generate(settings, endless=True), 300))


def test_the_first_row_comes_after_one_batch(monkeypatch):
    settings, sizes = {"tokens": "164M", "band": "high"}, []
    source_of(from_settings(settings)).check()  # once in a process
    batch = Nca.batch
    monkeypatch.setattr(Nca, "batch", lambda *a: sizes.append(len(a[2])) or batch(*a))
    next(ncagen.generate(settings))
    assert sizes == [1024]


def test_a_row_stands_alone():
    """Changing one changes no other, and keeping one keeps no batch."""
    row = next(ncagen.generate({"tokens": "1M", "band": "high"}))
    assert row["input_ids"].base is None and row["input_ids"].flags.writeable


@pytest.mark.parametrize("world", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_ranks_share_the_rows_evenly(smoke, world, workers):
    """70, 70 and 60 rows: full shards go round as long as there is one for everybody."""
    stored = candidates(ncagen.open(smoke(), band="high"))
    part = partial(share, spec_of(), world=world, workers=workers, band="high")
    parts = [[candidates(part(rank=rank, worker=worker)) for worker in range(workers)] for rank in range(world)]
    each = [[len(rows) for rows in ranks] for ranks in parts]
    assert each == [each[0]] * world and sum(each[0]) == 200 // world
    given = [row for ranks in parts for rows in ranks for row in rows]
    assert len(set(given)) == len(given) == 200 // world * world and set(given) <= set(stored)
    if world * workers == 1:
        assert given == stored


def test_a_rank_without_a_row_is_refused():
    with pytest.raises(NcagenError) as caught:
        share(spec_of(tokens=3 * 1024), world=4, band="high")
    assert str(caught.value) == "3 rows are too few for 4 ranks: use fewer ranks or more tokens"


# --- in other processes ---


def work(queue, rank: int) -> None:
    for row in ncagen.generate(SETTINGS, band="high", rank=rank, world=2):
        queue.put((rank, int(row["candidate"]), row["input_ids"].tobytes()))
    queue.put(None)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_worker_processes_make_the_same_rows(smoke, method):
    """The kernels run here before, so a fork inherits them in use."""
    next(ncagen.generate(SETTINGS, band="high"))
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    processes = [context.Process(target=work, args=(queue, rank), daemon=True) for rank in range(2)]
    for process in processes:
        process.start()
    ended, rows = 0, []
    while ended < 2:
        found = queue.get(timeout=60)
        ended, rows = ended + (found is None), rows + [found] * (found is not None)
    for process in processes:
        process.join()
    dataset = ncagen.open(smoke(), band="high")
    expected = [(i // 70 % 2, int(row["candidate"]), row["input_ids"].tobytes()) for i, row in enumerate(dataset)]
    assert sorted(rows) == sorted(expected)


class Ranks:
    """A data set of torch's kind without torch: item k is all rows of rank k of 2."""

    def __len__(self) -> int:
        return 2

    def __getitem__(self, rank: int) -> list[int]:
        return candidates(ncagen.generate(SETTINGS, band="high", rank=rank, world=len(self)))


@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])  # torch loads slowly
def test_torch_workers_make_the_same_rows(smoke, method):
    data = pytest.importorskip("torch.utils.data")
    next(ncagen.generate(SETTINGS, band="high"))
    loader = data.DataLoader(Ranks(), None, num_workers=2, multiprocessing_context=method, collate_fn=list)
    first, second = loader
    shards = [candidates(ncagen.open(smoke(), band="high"))[at : at + 70] for at in (0, 70, 140)]
    assert (first, second) == (shards[0] + shards[2], shards[1])


# --- what it refuses ---


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ({"split": "pilot"}, "split 'pilot' is not known: use train, validation, test"),
        ({"band": None}, "the spec has several bands: say which of high, medium"),
        ({"band": "low"}, "band 'low' is not in the spec: use high or medium"),
        ({"rank": 2, "world": 2}, "rank 2 is out of range: use 0 to 1"),
        ({"rank": -1}, "rank -1 is out of range: use 0 to 0"),
        ({"world": 1.0}, "world 1.0 is not a whole number: use 1 or more"),
        ({"start_shard": -1}, "start_shard -1 is out of range: use 0 to 2147483647"),
        ({"start_shard": 2**31}, "start_shard 2147483648 is out of range: use 0 to 2147483647"),
        ({"spec": "high"}, "'high' is no spec: use settings such as {'tokens': '164M', 'band': 'high'}"),
    ],
)
def test_what_no_dataset_has_is_refused_before_the_first_row(arguments, line):
    with pytest.raises(NcagenError) as caught:
        ncagen.generate(**{"spec": spec_of(), "band": "high"} | arguments)
    assert str(caught.value) == line


def test_settings_are_checked_as_an_orders_are():
    with pytest.raises(SpecError) as caught:
        ncagen.generate({"band": "high"})
    assert str(caught.value) == "tokens is missing: say how many, as in --tokens 164M"
    with pytest.raises(SpecError) as caught:
        ncagen.generate({"band": "high", "sed": 1}, endless=True)
    assert str(caught.value) == "setting 'sed' is not known: did you mean 'seed'?"


def test_a_band_out_of_reach_is_no_endless_search():
    begun = time.monotonic()
    line = "band 0.95-1 .* is out of reach of 27 grids of 12 x 12 in 10 states: pure noise scores 0.670"
    with pytest.raises(NcagenError, match=line):
        next(ncagen.generate({"tokens": "1M", "band": "0.95-1"}))
    assert time.monotonic() - begun < 20


@pytest.mark.parametrize("missing", ["numba", "llvmlite"])
def test_a_missing_extra_is_named_with_the_line_to_type(missing):
    script = (
        without(missing)
        + """
import ncagen
try:
    next(ncagen.generate({"tokens": "1M", "band": "high"}))
except ncagen.NcagenError as error:
    print(error)
"""
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)
    what = "compiling kernels" if missing == "numba" else "ncagen.generate"
    assert (done.stdout, done.stderr) == (f"{what} needs {missing}: {install(missing)}\n", "")
