"""Text and a tokenizer for tests: Python's own library, and a small BPE tokenizer trained on a part of it."""

import json
import sysconfig
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

LIBRARY = Path(sysconfig.get_paths()["stdlib"])
END = "<|endoftext|>"


def library(count: int = 12) -> list[Path]:
    """Files of Python's library, by name."""
    return sorted(LIBRARY.glob("*.py"))[:count]


def write_tokenizer(path: Path, vocabulary: int = 500) -> Path:
    """Trains a byte-level BPE tokenizer with one special token, END, as id 0, on a few files, and writes it."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator([file.read_text(encoding="utf-8") for file in library(3)], trainer)
    tokenizer.save(str(path))
    return path


def write_lines(path: Path, texts: Sequence[str | None], field: str = "text") -> Path:
    """Writes JSON Lines."""
    path.write_text("".join(json.dumps({"id": i, field: text}) + "\n" for i, text in enumerate(texts)))
    return path


def write_parquet(path: Path, texts: Sequence[str | None], field: str = "text") -> Path:
    """Writes a table in several row groups."""
    pq.write_table(pa.table({"id": range(len(texts)), field: pa.array(texts, pa.string())}), path, row_group_size=3)
    return path


def compress(path: Path, kind: str) -> Path:
    """Writes a compressed copy beside a file. kind: "gzip" or "zstd"."""
    packed = path.with_name(path.name + {"gzip": ".gz", "zstd": ".zst"}[kind])
    with pa.CompressedOutputStream(str(packed), kind) as file:
        file.write(path.read_bytes())
    return packed
