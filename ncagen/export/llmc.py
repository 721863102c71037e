"""llm.c: files of a header of 256 int32 (magic, version, count of tokens) and then uint16 tokens."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ncagen.export.files import Done, File, Part
from ncagen.export.plan import Export

MAGIC, VERSION = 20240520, 1
NAMES = {"train": "nca_train", "validation": "nca_val", "test": "nca_test"}
FLAGS = {"train": ("-i", "--tokens"), "validation": ("-j", "--validation")}  # of llm.c, and of a build
MODEL_LENGTH = 1024  # the positions of the models that llm.c makes from scratch
MODEL_VOCABULARY = 50257


def files(export: Export, done: Done) -> Iterator[File]:
    """One file for each group of shards."""
    for split in export.splits:
        for number, shards in enumerate(export.groups(split)):
            yield File(f"{NAMES[split]}_{number:06d}.bin", _parts(export, split, shards))


def _parts(export: Export, split: str, shards: range) -> Iterator[Part]:
    header = np.zeros(256, "<i4")
    header[:3] = MAGIC, VERSION, export.row_count(split, shards) * export.length
    yield Part(0, header.tobytes)
    yield from export.stream(split, shards)


def settings(export: Export, out: Path) -> list[str]:
    """Flags of train_gpt2cu and train_gpt2.py."""
    window = min(export.length, MODEL_LENGTH)
    lines = [f'{flag} "{out}/{NAMES[split]}_*.bin"' for split, (flag, _) in FLAGS.items()] + [f"-t {window}"]
    if window == export.length:
        lines.append("# each window of -t tokens is one row; its last label is the next row's first token")
    else:
        lines.append(f"# windows drift against rows of {export.length}: --length {window} makes each window one row")
    lines.append("# -b times -t times processes must be below the tokens of the smallest file")
    lines += [
        f"# there are no {NAMES[split]} files: build the dataset with {build}, or point {flag} at other files"
        for split, (flag, build) in FLAGS.items()
        if split not in export.splits
    ]
    if export.vocabulary > MODEL_VOCABULARY:
        lines.append(f"# ids reach {export.vocabulary - 1:,}, the models have {MODEL_VOCABULARY:,}: raise vocab_size")
    return lines
