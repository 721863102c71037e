"""What a model is given of a row, against sums done by hand."""

import numpy as np
import pytest
from conftest import spec_of

from ncagen.dataset.layout import Layout
from ncagen.errors import NcagenError

SPEC = spec_of()  # 27 grids of 38 tokens: 1026 a row, 1024 of them used; delimiters 10000 and 10001
GENERATOR = np.random.default_rng(0)


def some_rows(count: int) -> np.ndarray:
    grids = GENERATOR.integers(0, 10_000, (count, 27, 38)).astype(np.uint16)
    grids[..., 0], grids[..., -1] = 10_000, 10_001
    return grids.reshape(count, 1026)


def error_of(**options) -> str:
    with pytest.raises(NcagenError) as caught:
        Layout(**options).check(SPEC)
    return str(caught.value)


def test_same_labels_stand_at_their_inputs_and_the_first_grid_is_masked():
    rows = some_rows(3)
    found = Layout()(SPEC, rows)
    assert set(found) == {"input_ids", "labels"}
    assert {column.dtype for column in found.values()} == {np.dtype(np.int64)}
    assert np.array_equal(found["input_ids"], rows[:, :1024])
    assert (found["labels"][:, :38] == -100).all()
    assert np.array_equal(found["labels"][:, 38:], rows[:, 38:1024])


def test_next_labels_are_the_tokens_after():
    rows = some_rows(2)
    found = Layout(labels="next")(SPEC, rows)
    assert np.array_equal(found["input_ids"], rows[:, :1024])
    assert (found["labels"][:, :37] == -100).all()  # the last of the first grid is the label of input 36
    assert np.array_equal(found["labels"][:, 37:], rows[:, 38:1025])


@pytest.mark.parametrize("labels", ["same", "next"])
@pytest.mark.parametrize("grids", [0, 1, 2, 26])
@pytest.mark.parametrize("delimiters", [False, True])
def test_what_is_masked_is_the_same_tokens_either_way(labels, grids, delimiters):
    rows = some_rows(1)
    found = Layout(labels=labels, mask_grids=grids, mask_delimiters=delimiters)(SPEC, rows)["labels"][0]
    first = 1 if labels == "next" else 0
    for place, label in enumerate(found):
        token = place + first
        masked = token < grids * 38 or (delimiters and token % 38 in (0, 37))
        assert label == (-100 if masked else rows[0, token])


def test_no_labels_and_other_lengths():
    rows = some_rows(2)
    assert set(Layout(labels=None)(SPEC, rows)) == {"input_ids"}
    assert np.array_equal(Layout(seq_len=1026, labels=None)(SPEC, rows)["input_ids"], rows)
    assert Layout(seq_len=1025, labels="next")(SPEC, rows)["labels"].shape == (2, 1025)


def test_an_offset_moves_every_id_and_no_mask():
    rows = some_rows(2)
    plain, moved = (Layout(token_offset=n, mask_delimiters=True)(SPEC, rows) for n in (0, 50_000))
    assert np.array_equal(moved["input_ids"], plain["input_ids"] + 50_000)
    masked = plain["labels"] == -100
    assert np.array_equal(moved["labels"] == -100, masked)
    assert np.array_equal(moved["labels"][~masked], plain["labels"][~masked] + 50_000)


@pytest.mark.parametrize("labels", ["same", "next"])
def test_packed_rows_keep_their_places_and_their_bounds(labels):
    rows = some_rows(7)
    layout = Layout(seq_len=500, labels=labels, mask_grids=0, pack=3)
    found, single = layout(SPEC, rows), Layout(seq_len=500, labels=labels, mask_grids=0)(SPEC, rows)
    assert {name: column.shape for name, column in found.items()} == dict.fromkeys(
        ("input_ids", "labels", "position_ids", "document_ids"), (2, 1500)
    )
    assert np.array_equal(found["input_ids"][1], single["input_ids"][3:6].reshape(-1))
    assert found["position_ids"][1].tolist() == [*range(500)] * 3
    assert found["document_ids"][0].tolist() == [0] * 500 + [1] * 500 + [2] * 500
    labels_of = found["labels"].reshape(6, 500)
    if labels == "next":
        assert np.array_equal(labels_of, single["labels"][:6])
    else:
        assert (labels_of[:, 0] == -100).all()
        assert np.array_equal(labels_of[:, 1:], single["labels"][:6, 1:])


def test_layouts_that_cannot_be():
    assert error_of(labels="shifted") == "labels 'shifted' are not known: use same, next or None"
    assert error_of(mask_grids=-1) == "mask_grids -1 is out of range: use 0 or more"
    assert error_of(pack=0) == "pack 0 is out of range: use 1 or more"
    assert error_of(token_offset=1.5) == "token_offset 1.5 is out of range: use 0 or more"
    assert error_of(seq_len=1027) == "seq_len 1027 is out of range: a row of 1026 gives 2 to 1026"
    assert error_of(seq_len=1026, labels="next") == "seq_len 1026 is out of range: a row of 1026 gives 2 to 1025"
    assert error_of(mask_grids=27) == "mask_grids 27 leaves no grid to learn from: use 0 to 26"
    assert error_of(vocab_size=10_001) == ("vocab_size 10001 is too small: use 10002 or more, for 10002 ids from 0 on")
    assert error_of(vocab_size=10_048, token_offset=100) == (
        "vocab_size 10048 is too small: use 10102 or more, for 10002 ids from 100 on"
    )
