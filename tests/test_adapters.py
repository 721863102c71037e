"""The adapters under the real loaders: torch's DataLoader with workers of both kinds, torchdata's, and plain NumPy."""

import copy
import io
import json
import pickle
import subprocess
import sys
import textwrap
from itertools import islice
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import SETTINGS

import ncagen
from ncagen.dataset.passes import Span
from ncagen.errors import NcagenError

torch = pytest.importorskip("torch")

from torch.utils.data import DataLoader, DistributedSampler, IterableDataset  # noqa: E402

from ncagen.adapters import sharing  # noqa: E402
from ncagen.adapters.examples import Examples  # noqa: E402
from ncagen.adapters.huggingface import transform  # noqa: E402
from ncagen.adapters.torch import Batches, Generated, Loader, Rows  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore:This DataLoader will create"),
    pytest.mark.filterwarnings("ignore:'set_vital' is deprecated"),
]


@pytest.fixture(scope="module")
def high(smoke):
    return ncagen.open(smoke("arrow"), band="high")


def rows_of(batches) -> np.ndarray:
    """The inputs of batches of tensors, one row after the other: int64[row, place]."""
    return np.concatenate([batch["input_ids"].numpy() for batch in batches])


@pytest.fixture(scope="module")
def expected(high):
    """All rows in the order of seed 5."""
    batches = ncagen.Stream(high, 64, layout=ncagen.Layout(), seed=5)
    return np.concatenate([batch["input_ids"] for batch in batches])


@pytest.mark.parametrize(("workers", "context"), [(0, None), (1, "fork"), (3, "fork"), (2, "spawn")])
def test_a_data_loader_gives_the_order_with_any_workers(high, expected, workers, context):
    loader = DataLoader(
        Batches(high, 16, seed=5), batch_size=None, num_workers=workers, multiprocessing_context=context
    )
    batches = list(loader)
    assert [len(batch["input_ids"]) for batch in batches] == [16] * 12 + [8]
    assert np.array_equal(rows_of(batches), expected)
    assert all((batch["labels"][:, :38] == -100).all() for batch in batches)
    assert batches[0]["labels"].dtype == torch.int64


@pytest.mark.parametrize(("before", "after"), [(0, 3), (3, 0), (2, 1)])
def test_a_loader_resumes_with_other_workers_ranks_and_batches(high, expected, before, after):
    first = Loader(high, 16, seed=5, num_workers=before, **({"prefetch_factor": 4} if before else {}))
    taken = [batch for _, batch in zip(range(5), first, strict=False)]
    state = json.loads(json.dumps(first.state_dict()))
    assert np.array_equal(rows_of(taken), expected[:80])
    assert (state["epoch"], state["position"]) == (0, 80)
    ranks = []
    for rank in range(2):
        loader = Loader(high, 7, seed=5, rank=rank, world=2, num_workers=after)
        loader.load_state_dict(state)
        assert (len(loader), loader.batches_left) == (15, 9)
        ranks.append(rows_of(loader))
        assert loader.state_dict() == state | {"epoch": 1, "position": 0}
    assert np.array_equal(np.stack(ranks, axis=1).reshape(-1, 1024), expected[80:])


@pytest.mark.parametrize("workers", [0, 2])
def test_a_stateful_data_loader_resumes(high, epochs, workers):
    stateful = pytest.importorskip("torchdata.stateful_dataloader").StatefulDataLoader

    def loader():
        return stateful(Batches(high, 16, seed=5), batch_size=None, num_workers=workers)

    for whole, batches in ((0, 5), (1, 1), (1, 2), (0, 13), (2, 0)):
        first = loader()
        for _ in range(whole):
            rows_of(first)
        taken = [batch for _, batch in zip(range(batches), first, strict=False)]
        if batches == 13:
            rows_of(taken)
            assert next(iter(first), None) is not None  # the first batch of the next pass
            continue
        again = loader()
        again.load_state_dict(saved(first.state_dict()))
        rest = rows_of([*taken, *again])
        assert np.array_equal(rest, epochs[whole])
        assert np.array_equal(rows_of(again), epochs[whole + 1])


def saved(state: dict) -> dict:
    """A state as a checkpoint gives it back."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@pytest.fixture(scope="module")
def epochs(high):
    """All rows of five epochs in the order of seed 5: int64[epoch, row, place]."""
    stream = ncagen.Stream(high, 200, layout=ncagen.Layout(), seed=5)
    return np.stack([next(iter(stream))["input_ids"] for _ in range(5)])


KEPT = {"num_workers": 2, "persistent_workers": True}
WORKERS = ({}, {"num_workers": 2}, KEPT, KEPT | {"multiprocessing_context": "spawn"})


def own_loader(high, **options) -> DataLoader:
    return DataLoader(Batches(high, 16, seed=5), batch_size=None, **options)


@pytest.mark.parametrize("options", WORKERS)
@pytest.mark.parametrize("kind", ["Loader", "Batches"])
def test_every_pass_is_the_next_epoch(high, epochs, kind, options):
    loader = Loader(high, 16, seed=5, **options) if kind == "Loader" else own_loader(high, **options)
    moved = loader if kind == "Loader" else loader.dataset
    assert all(np.array_equal(rows_of(loader), epochs[epoch]) for epoch in range(2))
    moved.set_epoch(1)
    assert np.array_equal(rows_of(loader), epochs[1])
    moved.load_state_dict(moved.state_after(0) | {"epoch": 0, "position": 96})
    moved.set_epoch(0)
    assert len(loader) == 13
    assert np.array_equal(rows_of(loader), epochs[0][96:])
    assert np.array_equal(rows_of(loader), epochs[1])
    for number, _ in enumerate(loader):  # a pass that is left early is one all the same
        if number == 3:
            break
    assert moved.state_after(4)["epoch"] == 2 and moved.state_after(4)["position"] == 64
    assert np.array_equal(rows_of(loader), epochs[3])


@pytest.mark.parametrize("context", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_workers_agree_on_the_pass_whatever_torchs_seed(high, epochs, context):
    """The seed that torch draws for its workers is the only thing that it tells them of an iteration."""
    loader = own_loader(high, num_workers=3, multiprocessing_context=context)
    for epoch in range(3):
        torch.manual_seed(7)
        assert np.array_equal(rows_of(loader), epochs[epoch])
    torch.manual_seed(7)
    one, other = iter(loader), iter(loader)
    mixed = [[next(iterator)["input_ids"].numpy() for _ in range(4)] for iterator in (one, other)]
    expected = [epochs[epoch][:64] for epoch in (3, 4)]
    found = [np.concatenate(batches) for batches in mixed]
    # Which of the two begins first is their workers' to say, but each has one epoch.
    assert np.array_equal(found, expected) or np.array_equal(found, expected[::-1])


def test_what_the_token_needs_of_torch_is_there(high):
    """Where torch hides it, the seed alone tells iterations apart, and whoever seeds alike repeats an epoch."""
    (inode, _), (other, _) = next(iter(DataLoader(Results(), None, num_workers=1, collate_fn=tuple)))
    assert inode == other > 0


class Results(IterableDataset):
    def __iter__(self):
        yield [sharing._results(), sharing._results()]


def test_iterators_of_one_loader_do_not_mix(high, epochs):
    loader = Loader(high, 16, seed=5, num_workers=1)
    one, other = iter(loader), iter(loader)
    first, second = rows_of([next(one), next(one)]), rows_of([next(other)])
    assert np.array_equal(first, epochs[0][:32]) and np.array_equal(second, epochs[1][:16])
    assert (one.state_dict()["position"], other.state_dict()["position"]) == (32, 16)
    assert loader.state_dict() == other.state_dict()
    kept = Loader(high, 16, seed=5, **KEPT)
    one, other = iter(kept), iter(kept)
    next(one)
    assert np.array_equal(rows_of([next(other)]), epochs[1][:16])
    with pytest.raises(NcagenError) as caught:
        next(one)
    assert str(caught.value) == (
        "this pass ended when another started: with persistent_workers a loader runs one at a time"
    )


@pytest.mark.parametrize("workers", [0, 2])
def test_a_batch_comes_with_the_state_that_resumes_after_it(high, epochs, workers):
    loader = Loader(high, 16, seed=5, num_workers=workers)
    states = [state for _, state in loader.with_states()]
    assert [(state["epoch"], state["position"]) for state in states] == [(0, 16 * n) for n in range(1, 13)] + [(1, 0)]
    again = Loader(high, 7, seed=5)
    again.load_state_dict(saved(states[6]))
    assert np.array_equal(rows_of(again), epochs[0][112:])


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (
            {"in_order": False},
            "in_order is not an option of Loader: leave it out, since no state can resume batches in another order",
        ),
        (
            {"sampler": [0]},
            "sampler is not an option of Loader: leave it out, or use Rows with a DataLoader of yours",
        ),
        ({"rank": 0}, "rank 0 and world None: give both, or none to have torch's"),
        ({"rank": 2, "world": 2}, "rank 2 is out of range: use 0 to 1"),
        ({"num_workers": -1}, "num_workers -1 is out of range: use 0 or more"),
    ],
)
def test_a_loader_refuses_what_gives_other_rows(high, options, line):
    with pytest.raises(NcagenError) as caught:
        Loader(high, 16, **options)
    assert str(caught.value) == line


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_without_an_end_has_states_too(high, epochs, workers):
    loader = Loader(high, 16, seed=5, epochs=None, num_workers=workers)
    pairs = list(islice(loader.with_states(), 30))
    assert np.array_equal(rows_of(batch for batch, _ in pairs), epochs.reshape(-1, 1024)[:480])
    assert (pairs[-1][1]["epoch"], pairs[-1][1]["position"]) == (2, 80)
    batches = DataLoader(Batches(high, 16, seed=5, epochs=None), batch_size=None, num_workers=workers)
    batches.dataset.load_state_dict(pairs[9][1])
    assert np.array_equal(rows_of(islice(batches, 20)), epochs.reshape(-1, 1024)[160:480])


def test_a_loader_has_nothing_for_others_to_rebuild(high):
    loader = Loader(high, 16)
    for name in ("dataset", "worker_init_fn"):
        assert not hasattr(loader, name)
        with pytest.raises(AttributeError) as caught:
            getattr(loader, name)
        assert str(caught.value) == (
            f"a Loader has no {name}, since it only yields batches: leave it out of what rebuilds loaders, such as"
            " Ray's prepare_data_loader; to resume under transformers' Trainer, use ignore_data_skip=True and load the"
            " loader's own state"
        )


@pytest.mark.parametrize("method", ["pickle", "deepcopy"])
def test_what_an_adapter_returns_can_be_sent_elsewhere(high, epochs, method):
    send = copy.deepcopy if method == "deepcopy" else lambda thing: pickle.loads(pickle.dumps(thing))
    loader = Loader(high, 16, seed=5, **KEPT)
    assert np.array_equal(rows_of(loader), epochs[0])
    sent = send(loader)
    assert np.array_equal(rows_of(sent), epochs[1]) and np.array_equal(rows_of(loader), epochs[1])
    batches = Batches(high, 16, seed=5)
    sent = send(batches)
    assert np.array_equal(rows_of(sent), epochs[0]) and np.array_equal(rows_of(batches), epochs[0])
    rows = Rows(high, shuffle=True, seed=5)
    sent = send(rows)
    sent.set_epoch(3)
    assert np.array_equal(rows_of([{"input_ids": rows[i]["input_ids"][None]} for i in range(3)]), epochs[0][:3])
    assert np.array_equal(rows_of([{"input_ids": sent[i]["input_ids"][None]} for i in range(3)]), epochs[3][:3])
    generated = send(Generated(SETTINGS, band="high"))
    assert len(list(generated)) == 200


@pytest.mark.parametrize("options", WORKERS)
def test_rows_hear_of_an_epoch(high, epochs, options):
    rows = Rows(high, shuffle=True, seed=5)
    loader = DataLoader(rows, batch_size=32, **options)
    for epoch in (0, 2, 1):
        rows.set_epoch(epoch)
        assert np.array_equal(rows_of(loader), epochs[epoch])


def test_the_launchers_rank_counts_where_torch_has_none(high, epochs, monkeypatch):
    loader = Loader(high, 16, seed=5)
    assert len(loader) == 13
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert len(loader) == 7
    assert np.array_equal(rows_of(loader), epochs[0][1::2])
    assert np.array_equal(rows_of(Loader(high, 16, seed=5, rank=0, world=1)), epochs[0])
    monkeypatch.setenv("WORLD_SIZE", "many")
    assert np.array_equal(rows_of(loader), epochs[1])


def test_rows_by_number_work_with_samplers(high, expected):
    rows = Rows(high, shuffle=True, seed=5)
    assert len(rows) == 200
    assert np.array_equal(rows_of(DataLoader(rows, batch_size=32, num_workers=2)), expected)
    ranks = [
        rows_of(DataLoader(rows, 10, sampler=DistributedSampler(rows, 4, rank, shuffle=False))) for rank in range(4)
    ]
    assert np.array_equal(np.stack(ranks, axis=1).reshape(-1, 1024), expected)
    assert torch.equal(rows[-1]["input_ids"], rows[199]["input_ids"])
    with pytest.raises(IndexError, match="example 200 is out of range: there are 200"):
        rows[200]


def test_examples_pack_and_mix(high, smoke):
    packed = Examples(high, ncagen.Layout(pack=3))
    assert len(packed) == 66
    assert packed[65]["input_ids"].shape == (3072,)
    assert np.array_equal(packed[1]["input_ids"][:1024], high[3]["input_ids"][:1024])
    mixture = ncagen.Mixture([high, ncagen.open(smoke(), band="medium")])
    assert len(Examples(mixture)) == 400


def test_examples_of_several_epochs_have_an_order_for_each(high):
    examples = Examples(high, shuffle=True, seed=5, epochs=2)
    assert len(examples) == 400
    batches = ncagen.Stream(high, 400, layout=ncagen.Layout(), seed=5, epochs=2)
    expected = next(iter(batches))["input_ids"]
    assert all(np.array_equal(examples[i]["input_ids"], expected[i]) for i in (0, 199, 200, 399))


def test_the_transform_is_the_layout(high):
    apply = transform(high, ncagen.Layout(labels="next"))
    rows = high.rows(np.arange(3))
    found = apply({"input_ids": rows["input_ids"].tolist(), "candidate": rows["candidate"].tolist()})
    expected = ncagen.Layout(labels="next")(high.row_format, rows["input_ids"])
    assert set(found) == {"input_ids", "labels"}
    for name, column in expected.items():
        assert np.array_equal(np.stack(found[name]), column)
    with pytest.raises(NcagenError, match="seq_len 5000 is out of range"):
        transform(high, ncagen.Layout(seq_len=5000))


def test_a_workers_state_does_not_fit_another_number_of_workers(high):
    part = {"worker": 1, "workers": 2, "world": 1, "batch_size": 16}
    iterator = iter(Batches(high, 16, seed=5))
    with pytest.raises(NcagenError) as caught:
        iterator.load_state_dict(iterator.state_dict() | part | {"batch": 3})
    assert str(caught.value) == (
        "the state is of worker 1, workers 2, world 1, batch_size 16; this is worker 0, workers 1, world 1, batch_size"
        " 16: use the same, or a state of Loader or state_after, which fits any number"
    )
    for reader in (Batches(high, 16, seed=5), Loader(high, 16, seed=5)):
        with pytest.raises(NcagenError) as caught:
            reader.load_state_dict(reader.state_after(0) | part | {"batch": 3})
        assert str(caught.value).startswith("the state is from worker 1 alone: load it into the StatefulDataLoader")


@pytest.mark.parametrize("workers", [0, 2])
def test_generated_examples_are_those_of_a_build(high, workers):
    rows = Generated(SETTINGS, band="high")
    made = np.stack([row["input_ids"].numpy() for row in DataLoader(rows, batch_size=None, num_workers=workers)])
    stored = np.stack([row["input_ids"][:1024] for row in high])
    if workers:
        made, stored = (np.unique(some, axis=0) for some in (made, stored))
    assert np.array_equal(made, stored)


@pytest.mark.parametrize("workers", [0, 3])
def test_ranks_get_equally_many_generated_rows(high, workers):
    """Three shards, up to eighteen workers: every rank has its part."""
    stored = {tuple(row["input_ids"][:1024].tolist()) for row in high}
    for world in (2, 6):
        ranks = []
        for rank in range(world):
            loader = DataLoader(Generated(SETTINGS, band="high", rank=rank, world=world), 8, num_workers=workers)
            ranks.append([tuple(row) for batch in loader for row in batch["input_ids"].tolist()])
        given = [row for rows in ranks for row in rows]
        assert [len(rows) for rows in ranks] == [200 // world] * world
        assert len(set(given)) == len(given) and set(given) <= stored


def test_generated_examples_have_no_end_if_asked():
    rows = Generated({"band": "high", "rows_per_shard": 40}, ncagen.Layout(seq_len=100), endless=True)
    assert len({tuple(row["input_ids"].tolist()) for _, row in zip(range(90), rows, strict=False)}) == 90


RANK = """
import sys, numpy as np, torch.distributed as dist, ncagen
from torch.utils.data import DataLoader
from ncagen.adapters.torch import Batches, Loader
folder, store, reader, context, rank, out = sys.argv[1:]
data = ncagen.open(folder, band="high")
mixture = ncagen.Mixture([data, ncagen.open(folder, band="medium")], weights=[1, 1])
if reader == "Loader":
    loader = Loader(mixture, 16, seed=5, num_workers=1, multiprocessing_context=context)
else:
    batches = Batches(mixture, 16, seed=5)
    loader = DataLoader(batches, batch_size=None, num_workers=2, multiprocessing_context=context)
dist.init_process_group("gloo", init_method=f"file://{store}", rank=int(rank), world_size=2)
np.save(out, np.concatenate([batch["input_ids"].numpy() for batch in loader]))
dist.destroy_process_group()
"""


@pytest.mark.parametrize(
    ("reader", "context"),
    [("Loader", "fork"), ("Batches", "fork"), pytest.param("Batches", "forkserver", marks=pytest.mark.slow)],
)
def test_ranks_of_torch_distributed_share_a_mixture(smoke, high, tmp_path, reader, context):
    """The loader is made before the process group."""
    script = tmp_path / "rank.py"
    script.write_text(f"if __name__ == '__main__':\n{textwrap.indent(RANK, '    ')}")
    command = [sys.executable, script, str(smoke("arrow")), str(tmp_path / "store"), reader, context]
    ranks = [subprocess.Popen([*command, str(rank), str(tmp_path / f"{rank}.npy")]) for rank in range(2)]
    assert [process.wait(timeout=120) for process in ranks] == [0, 0]
    mixture = ncagen.Mixture([high, ncagen.open(smoke("arrow"), band="medium")], weights=[1, 1])
    whole = np.concatenate([b["input_ids"] for b in ncagen.Stream(mixture, 64, layout=ncagen.Layout(), seed=5)])
    together = np.stack([np.load(tmp_path / f"{rank}.npy") for rank in range(2)], axis=1).reshape(-1, 1024)
    assert len(whole) == 400 and np.array_equal(together, whole)


def test_iterations_that_start_together_keep_their_passes(high, monkeypatch):
    """The first worker of two iterations may have the same number; the siblings of both must still find their pass."""
    memory = sharing.SharedMemory()
    memory.move(Span(0, None))

    def begin(token: int) -> Span:
        monkeypatch.setattr(sharing, "get_worker_info", lambda: SimpleNamespace(id=0, seed=token))
        monkeypatch.setattr(sharing, "_token", lambda seed, number: seed)
        return memory.begin(lambda span: Span(span.start + 1, None))

    first = {token: begin(token) for token in range(sharing.SLOTS)}
    assert len({span.start for span in first.values()}) == sharing.SLOTS
    assert {token: begin(token) for token in range(sharing.SLOTS)} == first
