"""datasets: load_dataset of the folder as it is, cached and streaming, every column; then with ncagen's transform."""

import pickle
import shutil
import tempfile
from pathlib import Path

import numpy as np
from common import EXPORT, SPLITS, report, same, source
from consumer_common import opened, received
from datasets import Dataset, concatenate_datasets, interleave_datasets, load_dataset
from datasets.fingerprint import Hasher

import ncagen
from ncagen.adapters.huggingface import transform

COLUMNS = ("input_ids", "candidate", "gzip_bytes", "gzip_ratio")

tokens, cache = 0, tempfile.mkdtemp()
for split in SPLITS:
    cached = load_dataset(str(EXPORT), "high", split=split, cache_dir=cache)
    streamed = load_dataset(str(EXPORT), "high", split=split, streaming=True)
    assert cached.column_names == list(COLUMNS)
    assert cached.features == streamed.features
    arrays = cached.with_format("numpy")[:]
    rows = list(streamed)
    for column in COLUMNS:
        kind = cached.features[column]
        assert getattr(kind, "feature", kind).dtype == source(split, column).dtype, (column, kind)
        found = same(arrays[column], split, column)
        assert same(np.array([row[column] for row in rows], source(split, column).dtype), split, column) == found
        tokens += found if column == "input_ids" else 0

    apply, every = transform(opened(split)), np.arange(len(source(split)))
    laid_out = cached.with_transform(apply)
    received((laid_out[start : start + 64] for start in range(0, len(laid_out), 64)), split, every)
    # By the function's hash `datasets` finds what map made before: equal transforms have one, in every process.
    assert Hasher.hash(apply) == Hasher.hash(transform(opened(split))) == Hasher.hash(pickle.loads(pickle.dumps(apply)))
    again = ncagen.Layout(labels="next")
    assert Hasher.hash(apply) != Hasher.hash(transform(opened(split), again))
    made = cached.map(apply, batched=True, batch_size=100, num_proc=2, remove_columns=list(COLUMNS))
    received([made.with_format("numpy")[:]], split, every)
    reused = cached.map(
        transform(opened(split)), batched=True, batch_size=100, num_proc=2, remove_columns=list(COLUMNS)
    )
    assert [file["filename"] for file in reused.cache_files] == [file["filename"] for file in made.cache_files]
    mapped = streamed.map(apply, batched=True, remove_columns=list(COLUMNS))
    received(({name: [value] for name, value in row.items()} for row in mapped), split, every)


def beside_text() -> None:
    """The line of the card: equal types, or both functions refuse."""
    text = Dataset.from_dict({"input_ids": [[1, 2, 70_000], [4]]})
    for streaming in (False, True):
        rows = load_dataset(str(EXPORT), "high", split="train", streaming=streaming).select_columns("input_ids")
        beside = text.to_iterable_dataset() if streaming else text
        cast = rows.cast_column("input_ids", text.features["input_ids"])
        for together in (concatenate_datasets, interleave_datasets):
            try:
                list(together([rows, beside]))
            except ValueError as error:
                assert "aligned" in str(error), error
            else:
                raise AssertionError(f"{together.__name__} took different types")
            found = [row["input_ids"] for row in together([cast, beside])]
            assert [1, 2, 70_000] in found and found[0] == source("train")[0].tolist()
        assert len(list(concatenate_datasets([cast, beside]))) == len(source("train")) + 2


def beside_another_dataset() -> None:
    """Files that another dataset left in the folder are not loaded."""
    folder = Path(shutil.copytree(EXPORT, Path(cache) / "copy"))
    for path in list(folder.glob("data/high/train-*")):
        shutil.copy(path, path.with_name(path.name.replace("-of-00003", "-of-00099")))
    assert len(list(folder.glob("data/high/train-*"))) == 6
    rows = load_dataset(str(folder), "high", split="train", cache_dir=cache)
    assert np.array_equal(rows.with_format("numpy")["candidate"][:], source("train", "candidate"))


beside_text()
beside_another_dataset()
report(
    "datasets",
    f"load_dataset of {opened().manifest.file_format} cached, streaming, with transform; beside text",
    tokens,
)
