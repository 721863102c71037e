"""Source `text` against `tokenizers` alone: preparation of a corpus and writing of its shards, in one run.

Text is Python's own library, tokenized by a byte-level BPE tokenizer of 4,096 ids that is trained on a part of it. Both
sides use the threads of `tokenizers`, one a core or RAYON_NUM_THREADS. Alone: `encode_batch_fast` over the same texts,
already in memory, in batches of the same size, and the ids of each. ncagen: reads the JSON Lines, drops duplicates,
tokenizes, stores, then makes, scores and writes every row. Rounds alternate. Processor seconds count all threads.

Memory: the peak of a preparation in a process of its own, of the text once and eight times (the copies differ in one
line, so that none is a duplicate).
"""

import argparse
import json
import os
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

import ncagen
from ncagen.sources.text.files import batches

PEAK = "import resource, sys, ncagen; ncagen.prepare_corpus(sys.argv[1], sys.argv[2])"
PEAK += "; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--megabytes", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["NCAGEN_CORPORA"] = str(Path(folder) / "corpora")
        bench(Path(folder), library(arguments.megabytes * 10**6), arguments.rounds)


def bench(folder: Path, texts: list[str], rounds: int) -> None:
    """Times both sides and prints their ratios; then the memory."""
    tokenizer, lines = write_tokenizer(folder, texts), write_lines(folder / "text.jsonl", texts)
    encoder = Tokenizer.from_file(str(tokenizer))
    tokens = alone(encoder, lines)
    build(folder, "warm", texts[:40], tokenizer, 1)  # compiles
    print(f"{len(texts):,} documents, {lines.stat().st_size / 1e6:.1f} MB, {tokens / 1e6:.2f}M tokens")
    found: dict[str, list[tuple[float, float]]] = {"tokenizers": [], "ncagen": []}
    for number in range(rounds):
        found["tokenizers"].append(timed(partial(alone, encoder, lines)))
        found["ncagen"].append(timed(partial(build, folder, str(number), None, tokenizer, tokens // 1024 * 1024)))
    for name, times in found.items():
        cpu, wall = np.median(times, axis=0)
        print(f"{name:11} {cpu:6.2f} processor seconds, {wall:6.2f} s, {tokens / wall / 1e6:5.2f}M tokens/s")
    ratios = np.median(np.array(found["ncagen"]) / np.array(found["tokenizers"]), axis=0)
    print(f"ncagen over tokenizers: {ratios[0]:.3f} in processor seconds, {ratios[1]:.3f} in time")
    eight = [f"{text}\n# {i}" for i in range(8) for text in texts]
    small, large = (peak(path, tokenizer) for path in (lines, write_lines(folder / "eight.jsonl", eight)))
    print(f"memory of a preparation: {small} MB, of eight times the text {large} MB")


def alone(encoder: Tokenizer, lines: Path) -> int:
    """Encodes all texts and returns the number of tokens. Reading is not part of what `timed` counts."""
    count = 0
    for texts in LOADED.setdefault(lines, list(batches([lines], "text"))):
        count += sum(len(one.ids) for one in encoder.encode_batch_fast(texts, add_special_tokens=False))
    return count


LOADED: dict[Path, list[list[str]]] = {}


def build(folder: Path, name: str, texts: list[str] | None, tokenizer: Path, tokens: int) -> None:
    """Prepares a corpus of its own and makes all its rows."""
    lines = folder / "text.jsonl" if texts is None else write_lines(folder / f"{name}.jsonl", texts)
    os.environ["NCAGEN_CORPORA"] = str(folder / f"corpora-{name}")
    settings = {"source": "text", "files": [lines], "tokenizer": tokenizer, "tokens": tokens, "validation": 0}
    ncagen.build(settings, folder / f"data-{name}")


def timed(call: Callable[[], object]) -> tuple[float, float]:
    """Processor seconds and seconds of a call."""
    cpu, begun = time.process_time(), time.perf_counter()
    call()
    return time.process_time() - cpu, time.perf_counter() - begun


def peak(lines: Path, tokenizer: Path) -> int:
    """The most memory of a preparation in a process of its own, in MB."""
    environment = {**os.environ, "NCAGEN_CORPORA": str(lines.with_suffix(".corpora"))}
    command = [sys.executable, "-c", PEAK, lines, tokenizer]
    done = subprocess.run(command, env=environment, capture_output=True, check=True)
    return int(done.stdout)


def library(most: int) -> list[str]:
    """Files of Python's library, each text once, up to so many bytes."""
    found: dict[str, None] = {}
    size = 0
    for path in sorted(Path(sysconfig.get_paths()["stdlib"]).rglob("*.py")):
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:  # tests of encodings
            continue
        if text not in found and size < most:
            found[text] = None
            size += len(text)
    return list(found)


def write_lines(path: Path, texts: list[str]) -> Path:
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    return path


def write_tokenizer(folder: Path, texts: list[str]) -> Path:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=4096, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(texts[:50], trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder / "tokenizer.json"


if __name__ == "__main__":
    main()
