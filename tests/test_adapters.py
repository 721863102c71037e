"""The adapters under the real loaders: torch's DataLoader with workers of both kinds, torchdata's, and plain NumPy."""

import json
import subprocess
import sys

import numpy as np
import pytest
from conftest import SETTINGS

import ncagen
from ncagen.errors import NcagenError

torch = pytest.importorskip("torch")

from torch.utils.data import DataLoader, DistributedSampler  # noqa: E402

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
        assert len(loader) == 9
        ranks.append(rows_of(loader))
        assert loader.state_dict() == state | {"epoch": 1, "position": 0}
    assert np.array_equal(np.stack(ranks, axis=1).reshape(-1, 1024), expected[80:])


@pytest.mark.parametrize("workers", [0, 2])
def test_a_stateful_data_loader_resumes(high, expected, workers):
    stateful = pytest.importorskip("torchdata.stateful_dataloader").StatefulDataLoader

    def loader():
        return stateful(Batches(high, 16, seed=5), batch_size=None, num_workers=workers)

    first = loader()
    taken = [batch for _, batch in zip(range(5), first, strict=False)]
    again = loader()
    again.load_state_dict(first.state_dict())
    assert np.array_equal(rows_of([*taken, *again]), expected)


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
    expected = ncagen.Layout(labels="next")(high.manifest.spec, rows["input_ids"])
    assert set(found) == {"input_ids", "labels"}
    for name, column in expected.items():
        assert np.array_equal(np.stack(found[name]), column)
    with pytest.raises(NcagenError, match="seq_len 5000 is out of range"):
        transform(high, ncagen.Layout(seq_len=5000))


def test_a_workers_state_does_not_fit_another_number_of_workers(high):
    batches = Batches(high, 16, seed=5)
    with pytest.raises(NcagenError) as caught:
        batches.load_state_dict(batches.state_dict() | {"worker": 1, "workers": 2, "batch": 3})
    assert str(caught.value) == (
        "the state is of worker 1 of 2, this is worker 0 of 1: use as many workers, or resume with Loader or"
        " state_after, which any number can take up"
    )


@pytest.mark.parametrize("workers", [0, 2])
def test_generated_examples_are_those_of_a_build(high, workers):
    rows = Generated(SETTINGS, band="high")
    made = np.stack([row["input_ids"].numpy() for row in DataLoader(rows, batch_size=None, num_workers=workers)])
    stored = np.stack([row["input_ids"][:1024] for row in high])
    if workers:
        made, stored = (np.unique(some, axis=0) for some in (made, stored))
    assert np.array_equal(made, stored)


def test_generated_examples_have_no_end_if_asked():
    rows = Generated({"band": "high", "rows_per_shard": 40}, ncagen.Layout(seq_len=100), endless=True)
    assert len({tuple(row["input_ids"].tolist()) for _, row in zip(range(90), rows, strict=False)}) == 90


RANK = """
import sys, numpy as np, torch.distributed as dist, ncagen
from torch.utils.data import DataLoader
from ncagen.adapters.torch import Batches
folder, store, rank, out = sys.argv[1:]
dist.init_process_group("gloo", init_method=f"file://{store}", rank=int(rank), world_size=2)
data = ncagen.open(folder, band="high")
mixture = ncagen.Mixture([data, ncagen.open(folder, band="medium")], weights=[1, 1])
loader = DataLoader(Batches(mixture, 16, seed=5), batch_size=None, num_workers=1)
np.save(out, np.concatenate([batch["input_ids"].numpy() for batch in loader]))
dist.destroy_process_group()
"""


def test_ranks_of_torch_distributed_share_a_mixture(smoke, high, tmp_path):
    command = [sys.executable, "-c", RANK, str(smoke("arrow")), str(tmp_path / "store")]
    ranks = [subprocess.Popen([*command, str(rank), str(tmp_path / f"{rank}.npy")]) for rank in range(2)]
    assert [process.wait(timeout=120) for process in ranks] == [0, 0]
    mixture = ncagen.Mixture([high, ncagen.open(smoke("arrow"), band="medium")], weights=[1, 1])
    whole = np.concatenate([b["input_ids"] for b in ncagen.Stream(mixture, 64, layout=ncagen.Layout(), seed=5)])
    together = np.stack([np.load(tmp_path / f"{rank}.npy") for rank in range(2)], axis=1).reshape(-1, 1024)
    assert len(whole) == 400 and np.array_equal(together, whole)
