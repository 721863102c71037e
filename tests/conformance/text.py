"""Builds the dataset of text that recipes hand over to: this repository's documentation, in a tokenizer made from it.

Its vocabulary has another size than the rows of stage 1.
"""

import os
import subprocess
import sys
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers, trainers

ROOT = Path(__file__).parents[2]
IDS = 512  # of the tokenizer; the dataset has one more, which ends documents


def build_text(out: Path) -> None:
    """A dataset at `out`, with the tokenizer and the corpus beside it."""
    tokenizer = out.parent / "tokenizer.json"
    make_tokenizer(sorted((ROOT / "docs").glob("*.md"))).save(str(tokenizer))
    command = [sys.executable, "-m", "ncagen", "build", "--source=text", "--files=docs/*.md"]
    command += [f"--tokenizer={tokenizer}", "--tokens=100K", "--validation=20K", f"--out={out}", "--quiet"]
    environment = os.environ | {"NCAGEN_CORPORA": str(out.parent / "corpora")}
    subprocess.run(command, check=True, cwd=ROOT, env=environment)


def make_tokenizer(files: list[Path]) -> Tokenizer:
    """Byte pairs of these files."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bytes_ = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=IDS, initial_alphabet=bytes_, show_progress=False)
    tokenizer.train_from_iterator((file.read_text() for file in files), trainer)
    return tokenizer
