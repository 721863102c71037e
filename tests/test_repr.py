"""What a user sees of a reader by hand: its repr, its signature, and where an option belongs."""

import inspect
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from conftest import error_of

import ncagen
from ncagen.adapters.examples import Examples
from ncagen.adapters.huggingface import transform
from ncagen.dataset.layout import Layout

torch = pytest.importorskip("torch")

from ncagen.adapters.torch import Batches, Generated, Loader, Rows  # noqa: E402

OPTIONS = "seed=5, shuffle=True, window=1, lanes=48, epochs=1, rank=0, world=1, tail='drop', drop_last=False"


def test_a_stream_shows_its_data_and_options(high):
    shown = repr(ncagen.Stream(high, 16, layout=Layout(), seed=5))
    assert shown == f"<ncagen.Stream: {high!r}, batch_size=16, layout={Layout()!r}, {OPTIONS}>"


def test_a_mixture_shows_its_parts_and_their_rows(high, medium):
    mixture = ncagen.Mixture([high, medium], [1, 3], rows=100)
    assert repr(mixture) == f"<ncagen.Mixture: 100 rows an epoch, in the first 25 of {high!r}, 75 of {medium!r}>"


def test_readers_of_torch_show_their_data_and_options(high):
    common = f"{high!r}, batch_size=16, layout={Layout()!r}, {OPTIONS}"
    loader = Loader(high, 16, seed=5, num_workers=2, persistent_workers=True)
    assert repr(loader) == f"<ncagen.adapters.torch.Loader: {common}, num_workers=2, persistent_workers=True>"
    assert repr(Batches(high, 16, seed=5)) == f"<ncagen.adapters.torch.Batches: {common}>"
    examples = f"200 of {high!r}, layout={Layout()!r}, seed=0, epoch=0"
    assert repr(Rows(high)) == f"<ncagen.adapters.torch.Rows: {examples}>"
    assert repr(Examples(high)) == f"<ncagen.adapters.examples.Examples: {examples}>"
    shown = repr(Generated({"tokens": "1M", "band": "high"}))
    assert shown.startswith("<ncagen.adapters.torch.Generated: rows of spec ") and "split='train'" in shown


@pytest.mark.parametrize("reader", [ncagen.Stream, Loader, Batches, Rows, Examples, Generated])
def test_every_option_of_a_reader_is_in_its_signature(reader):
    kinds = {parameter.kind for parameter in inspect.signature(reader).parameters.values()}
    assert inspect.Parameter.VAR_KEYWORD not in kinds
    for name in list(inspect.signature(reader).parameters)[2:]:
        assert name in reader.__init__.__doc__ or "the options not listed" in reader.__init__.__doc__


def test_an_option_of_the_layout_says_where_it_belongs(high):
    line = "labels is not an option of {}: use layout=ncagen.Layout(labels='next')"
    for reader in (ncagen.Stream, Loader, Batches):
        assert error_of(reader, high, 16, labels="next") == line.format(reader.__name__)
    for reader in (Rows, Examples, transform):
        assert error_of(reader, high, labels="next") == line.format(reader.__name__)
    assert error_of(ncagen.Stream, high, pack=4) == "pack is not an option of Stream: use layout=ncagen.Layout(pack=4)"


def test_an_unknown_option_is_python_s_own_error(high):
    with pytest.raises(TypeError, match="unexpected keyword argument 'batchsize'"):
        ncagen.Stream(high, batchsize=4)


def test_a_loader_calls_collate_fn_with_each_batch(high):
    loader = Loader(high, 16, collate_fn=lambda batch: batch["input_ids"].sum())
    assert all(total.ndim == 0 for total in loader) and len(list(loader)) == 13


def test_a_layout_that_rows_cannot_have_is_refused_where_it_is_called(high):
    tokens = np.zeros((2, 1026), np.uint16)
    line = "seq_len 2048 is out of range: a row of 1026 gives 2 to 1026"
    assert error_of(Layout(seq_len=2048), high.row_format, tokens) == line


def test_a_layout_shows_what_was_changed():
    assert repr(Layout()) == "Layout()"
    layout = Layout(labels=None, pack=4, mask_structural=True)
    assert repr(layout) == "Layout(labels=None, mask_structural=True, pack=4)" and eval(repr(layout)) == layout


@pytest.mark.parametrize(
    "reader",
    [ncagen.Stream, partial(Loader, batch_size=16), partial(Batches, batch_size=16), Rows, Examples, transform],
)
def test_what_is_no_dataset_is_named_with_what_to_type(reader, high):
    assert error_of(reader, "data/nca") == "data 'data/nca' is not a dataset: use ncagen.open('data/nca')"
    assert error_of(reader, Path("a")) == f"data {Path('a')!r} is not a dataset: use ncagen.open('a')"
    line = "data [1, 2] is not a dataset: use ncagen.Mixture([...]) to read several as one"
    assert error_of(reader, [1, 2]) == line
    line = "data None is not a dataset: use a dataset, tokens or a mixture, as in ncagen.open('data/nca-high')"
    assert error_of(reader, None) == line
    line = "layout 'next' is not a Layout: use one, as in layout=ncagen.Layout(labels='next')"
    assert error_of(reader, high, layout="next") == line
