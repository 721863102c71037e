"""What a model is given of a row, against sums done by hand."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ncagen.dataset.layout import Layout
from ncagen.errors import NcagenError
from ncagen.row_format import RowFormat

# 27 grids of 38 tokens, of which a model is given 1024.
ROWS = RowFormat(vocabulary=10_002, row_tokens=1026, seq_len=1024, unpredictable=38, structural=(10_000, 10_001))
GENERATOR = np.random.default_rng(0)


def some_rows(count: int) -> np.ndarray:
    grids = GENERATOR.integers(0, 10_000, (count, 27, 38)).astype(np.uint16)
    grids[..., 0], grids[..., -1] = 10_000, 10_001
    return grids.reshape(count, 1026)


def error_of(**options) -> str:
    with pytest.raises(NcagenError) as caught:
        Layout(**options).check(ROWS)
    return str(caught.value)


def test_same_labels_stand_at_their_inputs_and_the_first_grid_is_masked():
    rows = some_rows(3)
    found = Layout()(ROWS, rows)
    assert set(found) == {"input_ids", "labels"}
    assert {column.dtype for column in found.values()} == {np.dtype(np.int64)}
    assert np.array_equal(found["input_ids"], rows[:, :1024])
    assert (found["labels"][:, :38] == -100).all()
    assert np.array_equal(found["labels"][:, 38:], rows[:, 38:1024])


def test_next_labels_are_the_tokens_after():
    rows = some_rows(2)
    found = Layout(labels="next")(ROWS, rows)
    assert np.array_equal(found["input_ids"], rows[:, :1024])
    assert (found["labels"][:, :37] == -100).all()  # the last of the first grid is the label of input 36
    assert np.array_equal(found["labels"][:, 37:], rows[:, 38:1025])


@pytest.mark.parametrize("labels", ["same", "next"])
@pytest.mark.parametrize("grids", [0, 1, 2, 26])
@pytest.mark.parametrize("delimiters", [False, True])
def test_what_is_masked_is_the_same_tokens_either_way(labels, grids, delimiters):
    rows = some_rows(1)
    found = Layout(labels=labels, mask_first=grids * 38, mask_structural=delimiters)(ROWS, rows)["labels"][0]
    first = 1 if labels == "next" else 0
    for place, label in enumerate(found):
        token = place + first
        masked = token == 0 or token < grids * 38 or (delimiters and token % 38 in (0, 37))
        assert label == (-100 if masked else rows[0, token])


def test_no_labels_and_other_lengths():
    rows = some_rows(2)
    assert set(Layout(labels=None)(ROWS, rows)) == {"input_ids"}
    assert np.array_equal(Layout(seq_len=1026, labels=None)(ROWS, rows)["input_ids"], rows)
    assert Layout(seq_len=1025, labels="next")(ROWS, rows)["labels"].shape == (2, 1025)


def test_an_offset_moves_every_id_and_no_mask():
    rows = some_rows(2)
    plain, moved = (Layout(token_offset=n, mask_structural=True)(ROWS, rows) for n in (0, 50_000))
    assert np.array_equal(moved["input_ids"], plain["input_ids"] + 50_000)
    masked = plain["labels"] == -100
    assert np.array_equal(moved["labels"] == -100, masked)
    assert np.array_equal(moved["labels"][~masked], plain["labels"][~masked] + 50_000)


@pytest.mark.parametrize("labels", ["same", "next"])
def test_packed_rows_keep_their_places_and_their_bounds(labels):
    rows = some_rows(7)
    layout = Layout(seq_len=500, labels=labels, mask_first=0, pack=3)
    found, single = layout(ROWS, rows), Layout(seq_len=500, labels=labels, mask_first=0)(ROWS, rows)
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


def test_the_loss_mask_is_of_the_labels_and_ignored_ones_may_be_any_number():
    rows = some_rows(3)
    for labels in ("same", "next"):
        plain = Layout(labels=labels, mask_structural=True)(ROWS, rows)["labels"]
        found = Layout(labels=labels, mask_structural=True, ignore_index=-1, loss_mask=True)(ROWS, rows)
        assert found["loss_mask"].dtype == bool
        assert np.array_equal(found["loss_mask"], plain != -100)
        assert np.array_equal(found["labels"], np.where(plain == -100, -1, plain))


@pytest.mark.parametrize("labels", ["same", "next"])
def test_without_an_ignored_label_the_mask_alone_tells(labels):
    rows = some_rows(4)
    found = Layout(labels=labels, ignore_index=None, loss_mask=True, pack=2, seq_len=100, token_offset=7)(ROWS, rows)
    first = 1 if labels == "next" else 0
    assert np.array_equal(found["labels"].reshape(4, 100), rows[:, first : first + 100].astype(int) + 7)
    assert np.array_equal(found["loss_mask"].reshape(4, 100), np.tile(np.arange(100) + first >= 38, (4, 1)))


def test_attention_masks_of_ones_and_of_blocks():
    rows = some_rows(5)
    ones = Layout(seq_len=50, attention_mask="ones")(ROWS, rows)["attention_mask"]
    assert ones.dtype == np.int64 and ones.shape == (5, 50) and (ones == 1).all()
    found = Layout(seq_len=50, attention_mask="block", pack=2)(ROWS, rows)
    mask, document = found["attention_mask"], found["document_ids"]
    assert mask.dtype == bool and mask.shape == (2, 1, 100, 100)
    for query in range(100):
        for key in range(100):
            assert mask[1, 0, query, key] == (key <= query and document[1, query] == document[1, key])


@given(st.sampled_from(["same", "next"]), st.integers(0, 1025), st.integers(2, 1026), st.integers(1, 3))
@settings(deadline=None)
def test_a_layout_is_refused_just_where_no_label_would_be_left(labels, masked, seq_len, pack):
    most = 1025 if labels == "next" else 1026
    layout = Layout(seq_len=min(seq_len, most), labels=labels, mask_first=masked, pack=pack)
    seen = layout(ROWS, some_rows(pack))["labels"]
    lost = seen if labels == "next" else seen[:, 1:]  # what a model that shifts sees
    if (lost != -100).any():
        layout.check(ROWS)
        return
    with pytest.raises(NcagenError) as caught:
        layout.check(ROWS)
    least = int(re.fullmatch(rf"seq_len .* leaves no label to learn from: use (\d+) to {most}", str(caught.value))[1])
    for length, refused in ((least - 1, True), (least, False)):
        layout = Layout(seq_len=length, labels=labels, mask_first=masked)
        seen = layout(ROWS, some_rows(1))["labels"]
        assert (seen[:, labels == "same" :] == -100).all() == refused
    layout.check(ROWS)


@pytest.mark.parametrize("labels", ["same", "next"])
def test_structural_tokens_are_masked_wherever_they_are(labels):
    rows = GENERATOR.integers(0, 10_002, (50, 1026)).astype(np.uint16)
    rows[:, 100:900:7] = 10_001
    found = Layout(labels=labels, mask_first=0, mask_structural=True, loss_mask=True)(ROWS, rows)
    first = 1 if labels == "next" else 0
    wanted = rows[:, first : first + 1024] < 10_000
    wanted[:, 0] &= labels == "next"
    assert np.array_equal(found["loss_mask"], wanted)


def test_a_row_of_structural_tokens_alone_is_refused():
    rows = some_rows(3)
    rows[1] = 10_000
    with pytest.raises(NcagenError) as caught:
        Layout(mask_structural=True)(ROWS, rows)
    assert str(caught.value) == "seq_len 1024 leaves a row without a label: use more, or mask_structural=False"


def test_no_label_left_names_the_least_length():
    line = "seq_len {} leaves no label to learn from: use {} to {}"
    assert error_of(seq_len=38) == line.format(38, 39, 1026)
    assert error_of(seq_len=37, labels="next") == line.format(37, 38, 1025)
    assert error_of(seq_len=100, mask_first=3 * 38) == line.format(100, 115, 1026)
    Layout(seq_len=38, labels=None).check(ROWS)


def test_scalars_of_numpy_are_whole_numbers():
    layout = Layout(seq_len=np.int64(100), mask_first=np.uint8(2), token_offset=np.int32(5), pack=np.int16(2))
    assert layout == Layout(seq_len=100, mask_first=2, token_offset=5, pack=2)
    assert all(type(getattr(layout, name)) is int for name in ("seq_len", "mask_first", "token_offset", "pack"))
    assert type(Layout(ignore_index=np.int64(-1)).ignore_index) is int


def refusal(tokens) -> str:
    with pytest.raises(NcagenError) as caught:
        Layout()(ROWS, tokens)
    return str(caught.value)


def test_tokens_that_are_no_rows():
    rows = some_rows(2)
    assert refusal(rows.tolist()) == "tokens are a list: use a NumPy array of uint16 [row, token]"
    assert refusal(rows.astype(np.int64)) == "tokens are int64: use uint16, as these rows are stored"
    assert refusal(rows.astype(np.uint32)) == "tokens are uint32: use uint16, as these rows are stored"
    shape = "tokens of shape {} are not rows: use [row, 1026], all tokens of each row"
    assert refusal(rows[0]) == shape.format("(1026,)")
    assert refusal(rows[:, :1024]) == shape.format("(2, 1024)")
    assert {name: column.shape for name, column in Layout()(ROWS, rows[:0]).items()} == dict.fromkeys(
        ("input_ids", "labels"), (0, 1024)
    )


def test_layouts_that_cannot_be():
    assert error_of(labels="shifted") == "labels 'shifted' is not known: use same, next or None"
    assert error_of(mask_first=-1) == "mask_first -1 is out of range: use 0 or more"
    assert error_of(pack=0) == "pack 0 is out of range: use 1 or more"
    assert error_of(token_offset=1.5) == "token_offset 1.5 is not a whole number: use 0 or more"
    assert error_of(seq_len=128.0) == "seq_len 128.0 is not a whole number: use 2 or more"
    assert error_of(seq_len=1) == "seq_len 1 is out of range: use 2 or more"
    assert error_of(ignore_index="none") == (
        f"ignore_index 'none' is not a whole number: use {-(2**63)} to {2**63 - 1}"
    )
    assert error_of(ignore_index=10_001) == (
        "ignore_index 10001 is an id of the rows, 0 to 10001: use -100, -1 or another number that is none"
    )
    assert error_of(ignore_index=None) == (
        "without ignore_index, labels without a loss are not marked: use loss_mask=True"
    )
    assert error_of(loss_mask=True, labels=None) == ("loss_mask needs labels: use labels same or next")
    assert error_of(attention_mask="causal") == "attention_mask 'causal' is not known: use ones, block or None"
    assert error_of(attention_mask="ones", pack=2) == (
        "attention_mask 'ones' lets packed rows attend to one another: use 'block', or None"
    )
    assert error_of(seq_len=1027) == "seq_len 1027 is out of range: a row of 1026 gives 2 to 1026"
    assert error_of(seq_len=1026, labels="next") == "seq_len 1026 is out of range: a row of 1026 gives 2 to 1025"
    assert error_of(mask_first=1026) == "mask_first 1026 leaves no token to learn from: use 0 to 1025"
    assert error_of(vocab_size=10_001) == ("vocab_size 10001 is too small: use 10002 or more, for 10002 ids from 0 on")
    assert error_of(vocab_size=10_048, token_offset=100) == (
        "vocab_size 10048 is too small: use 10102 or more, for 10002 ids from 100 on"
    )
