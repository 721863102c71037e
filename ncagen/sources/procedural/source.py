"""Rows of procedural tasks as a source: copy, reverse, sort, set, union, delete, stack and addition.

A row is the beginning of an endless sequence of examples, each with its inputs, a separator after each input, the
answer, and an end. `tasks` defines the tasks, `kernels` makes the same rows fast, `check` checks stored rows. Not
covered: which tokens carry the loss. The authors' loss is of answers only; docs/sources.md has the mask.

Defaults are those of the configurations that the authors published (`procedural_pretraining/configs/*.yaml`: inputs of
64 symbols, a `vocab_size` of 100, which is 99 symbols and the pop) and of their addition (`forwardaddition_5`). Their
README begins with the task `set`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ncagen.errors import SpecError
from ncagen.row_format import Rows, SourceCard
from ncagen.sources.procedural.tasks import NAMES, TASKS, Sizes, row
from ncagen.sources.source import Option
from ncagen.sources.token_source import Range, TokenSource

ADDITION = NAMES.index("addition")
LEAST_LENGTH = 2  # one symbol for each input of `union`
DIGITS = 10
CHECKED_CANDIDATES, CHECKED_TOKENS = 4, 1024
FEW_INPUTS = 10**6  # with fewer, a build of usual size has examples of the train split in the others

PAPER = "https://arxiv.org/abs/2601.21725"
CITATION = (
    "```bibtex",
    "@article{jiang2026procedural,",
    "  title  = {Procedural Pretraining: Warming Up Language Models with Abstract Data},",
    "  author = {Jiang, Liangze and Shinnick, Zachary and van den Hengel, Anton and Saratchandran, Hemanth and Teney,"
    " Damien},",
    "  year   = {2026},",
    "  eprint = {2601.21725},",
    "  archivePrefix = {arXiv}",
    "}",
    "```",
)


@dataclass(frozen=True)
class Procedural(TokenSource):
    """Examples of procedural tasks.

    task: names of tasks, joined by commas; one is drawn for each example. symbols: ids that inputs consist of.
    input_length: symbols of an input, the most if min_input_length is not 0. digits: of a number in an addition,
    likewise. Raises SpecError for values out of range, for settings of a task that is not drawn, and where an example
    does not fit a row.
    """

    name: ClassVar[str] = "procedural"
    version: ClassVar[int] = 1
    options: ClassVar[tuple[Option, ...]] = (
        Option("task", str, f"{', '.join(NAMES)}, or several joined by commas.  [set]"),
        Option("symbols", int, "Symbols that inputs consist of, 2 to 10000.  [99]"),
        Option("input_length", int, "Symbols of an input; the most if --min-input-length is given.  [64]"),
        Option("min_input_length", int, "The fewest symbols of an input; 0: as many as the most.  [0]"),
        Option("digits", int, "Digits of a number in addition; the most if --min-digits is given.  [5]"),
        Option("min_digits", int, "The fewest digits of a number; 0: as many as the most.  [0]"),
    )
    ranges: ClassVar[Mapping[str, Range]] = {
        "symbols": (int, 2, 10_000),
        "input_length": (int, LEAST_LENGTH, 65_000),
        "min_input_length": (int, 0, 65_000),
        "digits": (int, 1, 1000),
        "min_digits": (int, 0, 1000),
    }

    task: str = "set"
    symbols: int = 99
    input_length: int = 64
    min_input_length: int = 0
    digits: int = 5
    min_digits: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if type(self.task) is not str:
            raise SpecError(f"task {self.task!r} is not a text: use {', '.join(NAMES)}, or several joined by commas")
        for name in self.task.split(","):
            if name not in NAMES:
                raise SpecError(f"task {name!r} is not known: use {', '.join(NAMES)}, or several joined by commas")
        self._check_range("input_length", LEAST_LENGTH)
        self._check_range("digits", 1)
        self._refuse_unused()
        if ADDITION in self.sizes.tasks and self.symbols < DIGITS:
            raise SpecError(f"symbols {self.symbols} are too few for the digits of addition: use {DIGITS} or more")
        if self.sizes.longest_example > self.row_tokens:
            raise SpecError(
                f"seq_len {self.seq_len} is too short for an example of up to {self.sizes.longest_example:,} tokens:"
                f" use seq_len {self.sizes.longest_example - 1} or more, or shorter inputs"
            )

    def _check_range(self, name: str, least: int) -> None:
        """Refuses a minimum of `name` that is below `least` or above the maximum, unless it is 0."""
        low, high = getattr(self, f"min_{name}"), getattr(self, name)
        if low and not least <= low <= high:
            raise SpecError(f"min_{name} {low} is out of range: use {least} to {high}, or 0 for {high} always")

    def _refuse_unused(self) -> None:
        """Refuses settings that no task in use reads, unless they have their defaults."""
        tasks = set(self.sizes.tasks)
        for used, names in (
            (ADDITION in tasks, ("digits", "min_digits")),
            (tasks != {ADDITION}, ("input_length", "min_input_length")),
        ):
            for name in names:
                if not used and getattr(self, name) != getattr(type(self), name):
                    raise SpecError(f"{name} {getattr(self, name)} has no effect with task {self.task!r}: leave it out")

    @property
    def sizes(self) -> Sizes:
        """The settings as numbers, for the definition and the kernels."""
        return Sizes(
            tasks=tuple(NAMES.index(name) for name in self.task.split(",")),
            alphabet=self.symbols,
            lengths=(self.min_input_length or self.input_length, self.input_length),
            digits=(self.min_digits or self.digits, self.digits),
        )

    @property
    def alphabet(self) -> int:
        """Number of ids of content: the pop and the symbols."""
        return self.symbols + 1

    @property
    def structural(self) -> tuple[int, ...]:
        """The separator, the end, and the markers of tasks where there are several."""
        return tuple(range(self.sizes.separator, self.sizes.vocabulary))

    def tokens(self, key: tuple[int, int], candidates: np.ndarray) -> np.ndarray:
        """Computes rows. key: seed and stream. candidates: uint64[candidate]. Returns uint16[candidate, token]."""
        return self._rows(key, candidates, self.row_tokens)

    def _rows(self, key: tuple[int, int], candidates: np.ndarray, count: int) -> np.ndarray:
        """Computes the first `count` tokens of rows: uint16[candidate, token]."""
        from ncagen.sources.procedural import kernels

        sizes = self.sizes
        words = np.zeros(2 * sizes.most_words + 8, np.uint16)
        line = np.zeros(count + sizes.longest_example, np.uint16)
        table = np.zeros(sizes.alphabet + 2, np.uint16)
        tokens = np.empty((len(candidates), count), np.uint16)
        limits = (*sizes.lengths, *sizes.digits)
        tasks = np.array(sizes.tasks, np.int64)
        kernels.rows(key, candidates, tasks, sizes.marked, limits, sizes.alphabet, words, line, table, tokens)
        return tokens

    def token_problems(self, rows: Rows) -> dict[str, np.ndarray]:
        """Checks that each row consists of examples, and that each answer is that of its inputs."""
        from ncagen.sources.procedural.check import check

        sizes = self.sizes
        found = np.array([check(sizes, ids) for ids in rows.input_ids.tolist()], bool).reshape(len(rows), 2)
        return {
            f"an example does not have the form of task {self.task}": found[:, 0],
            "an answer is not that of its inputs": found[:, 1],
        }

    def self_check(self) -> bool:
        """Whether a few rows begin as those of the definition on this machine; one row where examples are long."""
        count = min(self.row_tokens, max(CHECKED_TOKENS, self.sizes.longest_example))
        candidates = np.arange(CHECKED_CANDIDATES if count <= CHECKED_TOKENS else 1, dtype=np.uint64)
        made, sizes = self._rows((0, 0), candidates, count), self.sizes
        return made.tolist() == [row(sizes, (0, 0), candidate, count) for candidate in candidates.tolist()]

    def warnings(self, key: tuple[int, int]) -> tuple[str, ...]:
        """Warns of tasks with so few inputs that examples of one split are in the others."""
        found = []
        for task in sorted(set(self.sizes.tasks)):
            size = self.sizes.digits[0] if task == ADDITION else self.sizes.lengths[0]
            inputs = (9 * 10 ** (size - 1)) ** 2 if task == ADDITION else self.symbols**size
            if inputs < FEW_INPUTS:
                name = f"task {NAMES[task]} has at most {inputs:,} inputs of length {size}"
                found.append(f"{name}: splits have examples in common")
        return tuple(found)

    def card(self) -> SourceCard:
        """Returns the texts that describe the rows in a dataset's card."""
        return SourceCard(
            row=f"{self.row_tokens:,} tokens of examples of {self.task}",
            details=self._details(),
            columns=self.row_format.columns,
            pretty_name="Procedural tasks",
            tags=("synthetic", "procedural", "pre-training", "ncagen", "arxiv:2601.21725"),
            what=self._what(),
            measure=(
                f"The ratio is the length of gzip, level 9, over the row's first {self.scored_tokens} tokens, as"
                f" {self.scored_bytes:,} bytes of",
                "little-endian int32. Candidates of the splits are disjoint.",
            ),
            loss=(
                "Inputs are random, so nothing predicts them, but for the end of one that has a fixed length. The",
                "authors' loss is of answers only: of the tokens after an example's last separator.",
            ),
            limits=(
                "- This is data, without a promise of gains.",
                *(f"- {line[0].upper()}{line[1:]}." for line in self.warnings((0, 0))),
                "- A model of it knows no language. Ids have nothing to do with any tokenizer of text.",
                "- The last example of a row is cut where the row ends.",
                "- Not the rows of the paper: the random numbers differ, and its samples have one example each.",
            ),
            citation=CITATION,
        )

    def _details(self) -> tuple[tuple[str, str], ...]:
        lengths, digits = (_range(*limits) for limits in (self.sizes.lengths, self.sizes.digits))
        tasks = set(self.sizes.tasks)
        return (
            ("task", self.task.replace(",", ", ")),
            ("symbols", f"{self.symbols:,}"),
            *((("symbols of an input", lengths),) if tasks != {ADDITION} else ()),
            *((("digits of a number", digits),) if ADDITION in tasks else ()),
        )

    def _what(self) -> tuple[str, ...]:
        sizes, tasks = self.sizes, sorted(set(self.sizes.tasks))
        marked = " its marker," if sizes.marked else ""
        return (
            "Synthetic data to train language models on before text, after",
            f"[*Procedural Pretraining: Warming Up Language Models with Abstract Data*]({PAPER}).",
            "",
            f"A row is a sequence of examples:{marked} inputs, a separator ({sizes.separator}) after each, the answer,",
            f"and an end ({sizes.end}). Ids 1 to {self.symbols} are symbols, 0 is the pop of `stack`.",
            f"The vocabulary has {self.vocabulary:,} ids.",
            "",
            "| task | answer |" if not sizes.marked else "| task | marker | answer |",
            "|---|---|" if not sizes.marked else "|---|---|---|",
            *(self._line(task) for task in tasks),
        )

    def _line(self, task: int) -> str:
        marker = f" {self.sizes.first_marker + task} |" if self.sizes.marked else ""
        return f"| {NAMES[task]} |{marker} {TASKS[task].doc} |"


def _range(least: int, most: int) -> str:
    return f"{most:,}" if least == most else f"{least:,} to {most:,}"
