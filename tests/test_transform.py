"""The transform for `datasets`: it pickles as a value, refuses what it would lose, and says what is no row.

`datasets` itself is in tests/conformance: here batches are dicts, as it gives them.
"""

import pickle
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT

import ncagen
from ncagen.adapters.huggingface import transform
from ncagen.errors import NcagenError


@pytest.fixture(scope="module")
def high(smoke):
    return ncagen.open(smoke("arrow"), band="high")


LAYOUTS = [
    ncagen.Layout(),
    ncagen.Layout(labels="next", seq_len=100, mask_first=2, token_offset=9, loss_mask=True, ignore_index=-1),
    ncagen.Layout(labels=None, attention_mask="ones"),
]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_it_pickles_and_gives_the_same(high, layout):
    apply = transform(high, layout)
    again = pickle.loads(pickle.dumps(apply))
    assert again == apply and hash(again) == hash(apply)
    rows = high.rows(range(3))["input_ids"]
    wanted = layout(high.row_format, rows)
    for given in (rows, rows.tolist(), rows.astype(np.int64)):
        found = again({"input_ids": given, "candidate": [1, 2, 3]})
        assert set(found) == set(wanted)
        assert all(np.array_equal(np.stack(found[name]), wanted[name]) for name in wanted)


def test_equal_transforms_pickle_to_equal_bytes_in_every_process(high, smoke):
    """By such bytes `datasets` names what `map` has made."""
    script = f"""
import pickle, ncagen
from ncagen.adapters.huggingface import transform
data = ncagen.open({str(smoke("parquet"))!r}, band="high")
print(pickle.dumps(transform(data, ncagen.Layout(seq_len=int("100"), labels="ne" + str("xt")))).hex())
"""
    others = {
        subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
        ).stdout.strip()
        for seed in ("1", "2")
    }  # fmt: skip
    here = transform(high, ncagen.Layout(seq_len=100, labels="next"))
    assert others == {pickle.dumps(here).hex()} == {pickle.dumps(pickle.loads(pickle.dumps(here))).hex()}
    assert pickle.dumps(transform(high)) != pickle.dumps(here)


def refusal(apply, batch) -> str:
    with pytest.raises(NcagenError) as caught:
        apply(batch)
    return str(caught.value)


def test_what_it_cannot_give_is_refused(high):
    with pytest.raises(NcagenError) as caught:
        transform(high, ncagen.Layout(pack=3))
    assert str(caught.value) == (
        "a transform cannot pack 3 rows, since it sees one batch of rows at a time: use adapters.torch.Loader,"
        " adapters.torch.Rows or Stream with this layout"
    )
    with pytest.raises(NcagenError, match="seq_len 38 leaves no label to learn from: use 39 to 1026"):
        transform(high, ncagen.Layout(seq_len=38))


def test_what_is_no_row_is_named(high):
    apply, rows = transform(high), high.rows(range(3))["input_ids"]
    assert refusal(apply, {"text": ["a"], "id": [1]}) == "a batch without input_ids: it has text, id"
    ragged = [rows[0].tolist(), rows[1, :5].tolist()]
    assert refusal(apply, {"input_ids": ragged}) == (
        "input_ids of different lengths are not rows: give them as they are stored"
    )
    masked = rows.astype(np.int64)
    masked[1, 2] = -100  # in uint16 it would be 65436
    assert refusal(apply, {"input_ids": masked}) == "input_ids hold -100: use ids below 10002, as they are stored"
    assert refusal(apply, {"input_ids": masked.tolist()}) == (
        "input_ids hold -100: use ids below 10002, as they are stored"
    )
    shape = "tokens of shape {} are not rows: use [row, 1026], all tokens of each row"
    assert refusal(apply, {"input_ids": rows[:, :9]}) == shape.format("(3, 9)")
    assert refusal(apply, {"input_ids": rows[0]}) == shape.format("(1026,)")
    assert refusal(apply, {"input_ids": ["a", "b"]}) == "tokens are <U1: use uint16, as these rows are stored"
