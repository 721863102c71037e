"""nanoGPT: train.bin, val.bin and test.bin, headerless uint16, and meta.pkl with the vocabulary's size."""

import pickle
from collections.abc import Iterator
from pathlib import Path

from ncagen.export.files import Done, File, whole
from ncagen.export.plan import Export

NAMES = {"train": "train.bin", "validation": "val.bin", "test": "test.bin"}
FLAGS = {"train": "--tokens", "validation": "--validation"}  # of a build, for files that train.py needs


def files(export: Export, done: Done) -> Iterator[File]:
    """meta.pkl last."""
    for split in export.splits:
        yield export.tokens_file(NAMES[split], split)
    # A protocol of its own, so that the bytes do not depend on the Python that writes them.
    yield whole("meta.pkl", lambda: pickle.dumps({"vocab_size": export.vocabulary}, protocol=4))


def settings(export: Export, out: Path) -> list[str]:
    """For config/train_*.py."""
    # A model of the spec's length sees whole rows: the rest of a row is its last label, and what fills it up.
    block = min(export.length - 1, export.manifest.row_format.seq_len)
    first = export.manifest.row_format.unpredictable
    lines = [
        "# meta.pkl has no stoi and itos, so sample.py does not run: ids do not stand for text",
        f"dataset = {out.name!r}  # with this folder as data/{out.name}",
        f"block_size = {block}",
        f"# meta.pkl sets vocab_size to {export.vocabulary:,}",
        "# get_batch draws windows from anywhere; for windows that begin where rows begin, let it draw",
        f"# ix = torch.randint(len(data) // {export.length}, (batch_size,)) * {export.length}",
    ]
    if first > 1:
        lines.append(
            f"# and after y is stacked, so that a row's first {first} tokens have no loss: y[:, :{first - 1}] = -1"
        )
    return lines + [
        f"# there is no {NAMES[split]}: train.py needs one, so build the dataset with {flag}"
        for split, flag in FLAGS.items()
        if split not in export.splits
    ]
