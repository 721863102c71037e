"""Batches of prompts and answers, with a loss on answers alone; the order is a function of a seed and the step.

A line of JSON has `prompt` and `completion`, `instruction` and `output`, or `question` and `answer`, as GSM8K has. The
model is given the prompt, the answer and the tokenizer's end. Not covered: conversations of several turns.
"""

import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer

from ncagen import NcagenError
from transfer.loss import IGNORED
from transfer.ranks import Ranks
from transfer.rows import Batch

# How a line becomes a prompt and an answer; questions as lm-evaluation-harness asks those of GSM8K.
FORMS = {
    ("prompt", "completion"): ("{}", "{}"),
    ("instruction", "output"): ("{}\n", "{}"),
    ("question", "answer"): ("Question: {}\nAnswer:", " {}"),
}
ENDS = ("<|endoftext|>", "</s>", "<|end_of_text|>", "<eos>")


def end_of(tokenizer: Tokenizer, path: Path | str) -> int:
    """The id that ends texts. Raises NcagenError."""
    for name in ENDS:
        if (found := tokenizer.token_to_id(name)) is not None:
            return found
    raise NcagenError(f"tokenizer {path} has none of the special tokens {', '.join(ENDS)}: add one")


@dataclass(frozen=True)
class Instructions:
    """Examples as tokens. ids, labels: int64[example, position]; label i follows input i, -100 where it has no loss.

    sha256: of the file. left_out: examples that are longer than a row.
    """

    ids: torch.Tensor
    labels: torch.Tensor
    sha256: str
    left_out: int

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def read(cls, path: Path, tokenizer: Path, seq_len: int) -> "Instructions":
        """Reads a file. Raises NcagenError."""
        texts = _pairs(path)
        encoder = Tokenizer.from_file(str(tokenizer))
        end = end_of(encoder, tokenizer)
        ids, labels = [], []
        for prompt, answer in texts:
            start = encoder.encode(prompt, add_special_tokens=False).ids
            tokens = [*start, *encoder.encode(answer, add_special_tokens=False).ids, end]
            if len(tokens) > seq_len + 1:
                continue
            padding = seq_len + 1 - len(tokens)
            ids.append([*tokens, *[end] * padding][:-1])
            labels.append([*[IGNORED] * (len(start) - 1), *tokens[len(start) :], *[IGNORED] * padding])
        if not ids:
            raise NcagenError(f"{path} has no example of {seq_len} tokens or fewer: use a longer seq_len")
        hashed = hashlib.sha256(path.read_bytes()).hexdigest()
        return cls(torch.tensor(ids), torch.tensor(labels), hashed, len(texts) - len(ids))

    def at(self, numbers: np.ndarray) -> Batch:
        """Examples by number."""
        chosen = torch.from_numpy(numbers)
        return {"input_ids": self.ids[chosen], "labels": self.labels[chosen]}

    def in_order(self, rows: int, micro: int) -> list[Batch]:
        """The first examples, in batches of `micro`."""
        numbers = np.arange(min(rows, len(self)))
        return [self.at(numbers[first : first + micro]) for first in range(0, len(numbers), micro)]


class Batches:
    """A rank's part of each step's examples, endless: each epoch has another order."""

    def __init__(self, data: Instructions, batch: int, seed: int, ranks: Ranks):
        """batch: examples of a step over all ranks."""
        self.data, self.batch, self.seed, self.ranks, self.step = data, batch, seed, ranks, 0

    def next(self) -> Batch:
        """The examples of the next step."""
        first = self.step * self.batch + self.ranks.rank
        positions = np.arange(first, (self.step + 1) * self.batch, self.ranks.world)
        self.step += 1
        return self.data.at(np.array([self._at(position) for position in positions]))

    def _at(self, position: int) -> int:
        """The example at a position, counted over all epochs."""
        epoch, within = divmod(position, len(self.data))
        return int(order(self.seed, epoch, len(self.data))[within])

    def state(self) -> dict[str, Any]:
        """What `load` takes to resume after the last batch."""
        return {"step": self.step}

    def load(self, state: dict[str, Any]) -> None:
        """Resumes where a state was taken."""
        self.step = state["step"]


@lru_cache(maxsize=2)
def order(seed: int, epoch: int, length: int) -> np.ndarray:
    """The examples of an epoch: int64[position]."""
    return np.random.Generator(np.random.Philox([seed, epoch])).permutation(length)


def _pairs(path: Path) -> list[tuple[str, str]]:
    """Prompts and answers. Raises NcagenError."""
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            values = json.loads(line)
        except ValueError:
            raise NcagenError(f"{path} line {number} is no JSON: use one object a line") from None
        names = next((pair for pair in FORMS if isinstance(values, dict) and {*pair} <= {*values}), None)
        if names is None:
            known = ", or ".join(map(" and ".join, FORMS))
            raise NcagenError(f"{path} line {number} is no prompt with its answer: use {known}")
        found.append(tuple(form.format(values[name]) for form, name in zip(FORMS[names], names, strict=True)))
    return found
