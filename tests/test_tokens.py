"""A user's own tokens as rows, alone and in a mixture beside datasets."""

import hashlib
import json
import pickle

import numpy as np
import pytest
from conftest import error_of

from ncagen import Layout, Mixture, Stream, Tokens

COUNT = 100 * 1024 + 700  # 100 rows, and a rest that fills none


@pytest.fixture(scope="module")
def ids():
    """Ids below 1000, in which every row is another."""
    return np.random.default_rng(0).integers(0, 1000, COUNT).astype(np.uint16)


@pytest.fixture
def flat(tmp_path, ids):
    """A file such as nanoGPT's train.bin."""
    ids.tofile(tmp_path / "train.bin")
    return tmp_path / "train.bin"


def test_rows_are_windows_that_overlap_by_the_last_label(flat, ids):
    tokens = Tokens(flat)
    assert len(tokens) == 100 and tokens.row_format.row_tokens == 1025 and tokens.row_format.vocabulary == 1000
    rows = tokens.rows(np.array([99, 0, 7]))["input_ids"]
    assert rows.dtype == np.uint16
    for row, number in zip(rows, (99, 0, 7), strict=True):
        assert np.array_equal(row, ids[number * 1024 : number * 1024 + 1025])
    assert tokens.sha256 == hashlib.sha256(flat.read_bytes()).hexdigest()
    assert repr(tokens) == f"<ncagen.Tokens {flat}: 100 rows of 1,025 tokens>"


def test_files_and_arrays_of_one_content_are_the_same(tmp_path, flat, ids):
    np.save(tmp_path / "a.npy", ids)
    np.save(tmp_path / "big.npy", ids.astype(">u2"))
    (tmp_path / "head.bin").write_bytes(b"x" * 1024 + flat.read_bytes())
    tokens = Tokens(flat)
    others = [tmp_path / "a.npy", str(tmp_path / "big.npy"), ids, ids.astype(">u2")]
    for other in [*map(Tokens, others), Tokens(tmp_path / "head.bin", skip=1024)]:
        assert json.dumps(other.identity) == json.dumps(tokens.identity)
        assert np.array_equal(other.rows(np.arange(100))["input_ids"], tokens.rows(np.arange(100))["input_ids"])
    different = [Tokens(flat, 512), Tokens(ids.astype(np.uint32)), Tokens(ids[:-1]), Tokens(ids[::-1])]
    assert len({json.dumps(some.identity) for some in [tokens, *different]}) == 5


def test_rows_of_an_array_of_rows_are_as_they_are(tmp_path, ids):
    rows = np.asfortranarray(ids[:8000].reshape(8, 1000).astype(np.uint32))
    np.save(tmp_path / "rows.npy", rows)
    tokens = Tokens(tmp_path / "rows.npy")
    assert np.array_equal(tokens.rows(np.arange(8))["input_ids"], rows)
    assert tokens.sha256 == hashlib.sha256(np.ascontiguousarray(rows).tobytes()).hexdigest()
    batch = next(iter(Stream(tokens, 8, shuffle=False, layout=Layout(labels="next", seq_len=999))))
    assert np.array_equal(batch["input_ids"], rows[:, :999]) and np.array_equal(batch["labels"], rows[:, 1:])
    assert error_of(Stream, tokens, layout=Layout(labels="next")) == (
        "seq_len 1000 is out of range: a row of 1000 gives 2 to 999"
    )


def sequences(batches, pack: int) -> list[tuple]:
    """Inputs and labels of every row."""
    found = []
    for batch in batches:
        columns = [batch[name].reshape(len(batch["input_ids"]) * pack, -1) for name in ("input_ids", "labels")]
        found += [(inputs.tobytes(), labels.tobytes()) for inputs, labels in zip(*columns, strict=True)]
    return found


@pytest.mark.parametrize("labels", ["same", "next"])
@pytest.mark.parametrize("pack", [1, 3])
def test_a_mixture_gives_every_row_of_both_as_each_alone(high, flat, labels, pack):
    layout = Layout(labels=labels, token_offset=1000, mask_first=76, mask_structural=True, pack=pack)
    tokens = Tokens(flat)
    mixed = list(Stream(Mixture([high, tokens]), 10, layout=layout, seed=1))
    rows = sequences(mixed, pack)
    alone = Layout(labels=labels, token_offset=1000, mask_first=76, mask_structural=True)
    text = Layout(labels=labels, mask_first=0)
    expected = sequences(Stream(high, 10, layout=alone), 1) + sequences(Stream(tokens, 10, layout=text), 1)
    if pack > 1 and labels == "same":  # the first label of a packed row would be asked of the row before
        ignored = np.int64(-100).tobytes()
        expected = [(inputs, ignored + labels[8:]) for inputs, labels in expected]
    assert len(rows) == len(set(rows)) == 300 and set(rows) == set(expected)
    batch = mixed[0]
    is_text = batch["input_ids"].reshape(10 * pack, -1)[:, 0] < 1000
    assert 0 < is_text.sum() < 10 * pack
    kept = (batch["labels"].reshape(10 * pack, -1) != -100)[:, 1:]
    assert kept[is_text].all() and not kept[~is_text][:, :70].any()


def test_tokens_alone_have_all_labels_and_no_offset(flat, ids):
    batch = next(iter(Stream(Tokens(flat), 4, layout=Layout(token_offset=1000, mask_structural=True), shuffle=False)))
    assert np.array_equal(batch["input_ids"], ids[:4096].reshape(4, 1024))
    assert np.array_equal(batch["labels"][:, 1:], batch["input_ids"][:, 1:])


def test_wider_ids_widen_those_of_a_dataset(high, ids):
    wide = Tokens(ids.astype(np.uint32) + 2**20)
    batches = list(Stream(Mixture([wide, high]), 50, layout=Layout(), seed=2))
    inputs = np.concatenate([batch["input_ids"] for batch in batches])
    assert (inputs.min(axis=1) >= 2**20).sum() == 100 and (inputs.max(axis=1) < 10_002).sum() == 200


def test_a_mixture_with_tokens_resumes_exactly(high, flat, ids):
    mixture = Mixture([high, Tokens(flat)], weights=[1, 3], rows=500)
    whole = sequences(Stream(mixture, 20, layout=Layout(), seed=5), 1)
    state = json.loads(json.dumps(Stream(mixture, 20, layout=Layout(), seed=5).state_after(10)))
    copy = pickle.loads(pickle.dumps(mixture))
    ranks = [Stream(copy, 7, layout=Layout(), seed=5, rank=rank, world=2) for rank in range(2)]
    for stream in ranks:
        stream.load_state_dict(state)
    halves = [sequences(stream, 1) for stream in ranks]
    assert [row for both in zip(*halves, strict=True) for row in both] == whole[200:]
    other = Stream(Mixture([high, Tokens(ids[::-1])], weights=[1, 3], rows=500), 20, layout=Layout(), seed=5)
    assert error_of(other.load_state_dict, state).startswith("the state is of another order")


def test_workers_of_torch_map_the_file_themselves(high, flat):
    pytest.importorskip("torch")
    from ncagen.adapters.torch import Loader

    mixture = Mixture([high, Tokens(flat)])
    expected = sequences(Stream(mixture, 32, layout=Layout(), seed=5), 1)
    loader = Loader(mixture, 32, seed=5, num_workers=2, multiprocessing_context="spawn")
    batches = [{name: column.numpy() for name, column in batch.items()} for batch in loader]
    assert sequences(batches, 1) == expected


def test_a_known_hash_spares_the_reading_and_is_trusted(flat, ids):
    tokens, known = Tokens(flat, vocabulary=1000, sha256="0" * 64), Tokens(flat)
    assert tokens.sha256 == "0" * 64 and tokens.row_format == known.row_format
    assert Tokens(flat, vocabulary=1000, sha256=known.sha256).identity == known.identity
    assert error_of(Tokens, flat, sha256="0" * 64) == (
        f"{flat} has the sha256 {known.sha256}, not {'0' * 64}: leave sha256 out to take it"
    )
    small = Tokens(flat, vocabulary=10, sha256="0" * 64)
    row = int(ids[:1025].max())
    assert error_of(small.rows, np.array([0])) == (
        f"{flat} has the id {row}, the vocabulary is 10: use {row + 1} or more, or the dtype it was written with"
    )


def test_tokens_that_cannot_be(tmp_path, flat, ids, high):
    (tmp_path / "odd.bin").write_bytes(b"123")
    (tmp_path / "llm.bin").write_bytes(np.array([20240520, 1, 9], "<i4").tobytes() + bytes(5000))
    (tmp_path / "bad.npy").write_bytes(b"not an array")
    np.savez(tmp_path / "two", a=ids, b=ids)
    (tmp_path / "two.npz").rename(tmp_path / "two.npy")
    for arguments, options, message in [
        ((tmp_path / "none.bin",), {}, f"{tmp_path}/none.bin cannot be read: No such file or directory"),
        ((tmp_path,), {}, f"{tmp_path} cannot be read: Is a directory"),
        (
            (tmp_path / "odd.bin",),
            {},
            f"{tmp_path}/odd.bin has 3 bytes after skip=0, which are not tokens of 2 bytes: use the dtype it was"
            " written with (uint16 or uint32), and skip= for a header",
        ),
        ((tmp_path / "llm.bin",), {}, f"{tmp_path}/llm.bin starts with the header of llm.c: use skip=1024"),
        ((tmp_path / "two.npy",), {}, f"{tmp_path}/two.npy is not a file of tokens: it holds several arrays"),
        ((flat,), {"dtype": "int32"}, "dtype 'int32' is not known: use uint16 or uint32"),
        ((flat,), {"skip": -1}, "skip -1 is out of range: use 0 or more"),
        ((flat,), {"sha256": "x"}, "sha256 'x' is not a hash: use the sha256 of Tokens, 64 hexadecimal digits"),
        ((flat, 1.5), {}, "seq_len 1.5 is not a whole number: use 2 or more"),
        ((flat, 10**6), {}, f"{flat} has no row of 1000001 tokens: it has 103100 tokens"),
        ((ids[:1024],), {}, "the array has no row of 1025 tokens: it has 1024 tokens"),
        ((ids[:0],), {}, "the array has no row of 1025 tokens: it has 0 tokens"),
        ((ids[:1024].reshape(1, -1), 1025), {}, "seq_len 1025 is out of range: use 2 to 1024"),
        (
            (ids.astype(np.int64),),
            {},
            "the array is of int64: use uint16 or uint32, as in tokens.astype(np.uint16)",
        ),
        ((ids.reshape(1, 1, -1),), {}, f"the array has the shape (1, 1, {COUNT}): use tokens [n] or [row, token]"),
        (
            ([1, 2],),
            {},
            "tokens cannot be a list: use a path or a NumPy array, as in np.array(some, np.uint16)",
        ),
        (
            (ids,),
            {"vocabulary": 999},
            "the array has the id 999, the vocabulary is 999: use 1000 or more, or the dtype it was written with",
        ),
    ]:
        assert error_of(Tokens, *arguments, **options) == message
    assert error_of(Tokens, tmp_path / "bad.npy").startswith(f"{tmp_path}/bad.npy is not a file of tokens: ")
    mixture = Mixture([high, Tokens(ids)])
    assert error_of(Stream, mixture) == ("the array has input_ids alone: give a layout, as in layout=ncagen.Layout()")
    assert error_of(Stream, mixture, layout=Layout(token_offset=1000, vocab_size=10_000)) == (
        "vocab_size 10000 is too small: use 11002 or more, for 10002 ids from 1000 on"
    )
    assert error_of(Stream, Tokens(ids), layout=Layout(vocab_size=999)) == (
        "vocab_size 999 is too small: use 1000 or more, for 1000 ids from 0 on"
    )
    assert error_of(Stream, Mixture([high, Tokens(ids, 512)]), layout=Layout()) == (
        "the parts have rows of seq_len 512 and 1024: use Layout(seq_len=512), or Tokens of the same seq_len"
    )
    assert len(next(iter(Stream(Mixture([high, Tokens(ids, 512)]), layout=Layout(seq_len=512))))["labels"][0]) == 512
