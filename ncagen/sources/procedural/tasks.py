"""The definition of the procedural tasks, in plain Python: a table of tasks, and a row made of their examples.

The tasks are those of Jiang, Shinnick, van den Hengel, Saratchandran, Teney, "Procedural Pretraining: Warming Up
Language Models with Abstract Data" (arXiv 2601.21725), in the form of its released generators
(github.com/zlshinnick/procedural-pretraining, `procedural_data/`): inputs and answer, each followed by a separator,
except that the answer is followed by an end, which is that code's padding id. Addition has the numbers of the same
repository's `downstream/algorithmic_tasks/task_forwardaddition.py`, and the separators of `union`.

`kernels` makes the same rows fast; both are compared bit for bit. Not covered: settings as a user types
them and the source itself (`source`), checks of stored rows (`check`).

    ids: 0 pop, 1 to alphabet the symbols, then the separator, the end, and for several tasks one marker for each

Example number e of a candidate draws from the Philox blocks of purpose e, so it depends on no other example. Word i is
32 bits: word i % 4 of block i // 4. A number below n is drawn from one word as (word * n) >> 32.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ncagen import philox

POP = 0  # the operation of `stack` that removes the symbol on top

# What the words of an example are: which task, how many symbols or digits, and what `delete` removes or how many
# digits the second number has. The fourth is not used. Symbols begin with the second block.
TASK, LENGTH, SECOND, SYMBOLS = 0, 1, 2, 4

# `stack` pushes with probability 3/4 in the first two thirds of its operations, 1/4 later (`procedural_data/stack.py`).
PUSH_EARLY, PUSH_LATE = 3 << 30, 1 << 30

Words = Sequence[int]
Ids = list[int]


@dataclass(frozen=True)
class Sizes:
    """What the examples are made of: the settings of the source as numbers.

    tasks: numbers of tasks, their positions in `TASKS`; one that occurs twice is drawn twice as often. alphabet:
    number of symbols. lengths: the fewest and the most symbols of an input. digits: likewise of a number.
    """

    tasks: tuple[int, ...]
    alphabet: int
    lengths: tuple[int, int]
    digits: tuple[int, int]

    @property
    def separator(self) -> int:
        """The id after each input."""
        return self.alphabet + 1

    @property
    def end(self) -> int:
        """The id after each answer."""
        return self.alphabet + 2

    @property
    def first_marker(self) -> int:
        """The id that marks task 0 where there are several tasks; task i has the i-th after it."""
        return self.alphabet + 3

    @property
    def vocabulary(self) -> int:
        """Number of ids: of a single task 2 more than the authors' `vocab_size`, as many as their models have."""
        return self.first_marker + (len(TASKS) if self.marked else 0)

    @property
    def marked(self) -> bool:
        """Whether each example begins with the marker of its task."""
        return len(set(self.tasks)) > 1

    @property
    def most_words(self) -> int:
        """The most words that an example draws."""
        return SYMBOLS + 2 * max(self.lengths[1], self.digits[1])

    @property
    def longest_example(self) -> int:
        """The most tokens of an example, its marker and its end included."""
        return max(TASKS[t].longest(self) for t in self.tasks) + self.marked


def below(word: int, n: int) -> int:
    """Returns a number from 0 to n - 1; the probabilities of two numbers differ by 2**-32 at most."""
    return word * n >> 32


def within(word: int, limits: tuple[int, int]) -> int:
    """Returns a number from the first limit to the second, inclusive."""
    return limits[0] + below(word, limits[1] - limits[0] + 1)


def draw_symbols(words: Words, at: int, count: int, alphabet: int) -> Ids:
    """Draws `count` symbols, independent and uniform, from word `at` on."""
    return [1 + below(word, alphabet) for word in words[at : at + count]]


def one_input(sizes: Sizes, words: Words) -> tuple[Ids, ...]:
    """Draws a sequence of symbols."""
    return (draw_symbols(words, SYMBOLS, within(words[LENGTH], sizes.lengths), sizes.alphabet),)


def two_inputs(sizes: Sizes, words: Words) -> tuple[Ids, ...]:
    """Draws a sequence of symbols and divides it into halves; the second is the longer one of an odd length."""
    (both,) = one_input(sizes, words)
    return both[: len(both) // 2], both[len(both) // 2 :]


def input_and_symbol(sizes: Sizes, words: Words) -> tuple[Ids, ...]:
    """Draws a sequence of symbols and one more symbol, which need not be in it."""
    return (*one_input(sizes, words), [1 + below(words[SECOND], sizes.alphabet)])


def two_numbers(sizes: Sizes, words: Words) -> tuple[Ids, ...]:
    """Draws the digits of two numbers without leading zeros, highest first. Digit d is symbol 1 + d."""
    first, second = within(words[LENGTH], sizes.digits), within(words[SECOND], sizes.digits)
    return number(words, SYMBOLS, first), number(words, SYMBOLS + first, second)


def number(words: Words, at: int, digits: int) -> Ids:
    """Draws the digits of a number from word `at` on; the first is not zero."""
    return [2 + below(words[at], 9), *draw_symbols(words, at + 1, digits - 1, 10)]


def operations(sizes: Sizes, words: Words) -> tuple[Ids, ...]:
    """Draws pushes of symbols that are not on the stack, and pops of stacks of two symbols or more.

    Operation i takes two words: whether it pushes, and which of the free symbols. With one symbol or none on the stack
    it pushes, with all of them it pops, and the last operation pops if it can.
    """
    count = within(words[LENGTH], sizes.lengths)
    held = list(range(1, sizes.alphabet + 1))  # the symbols on the stack, bottom first, then the free ones
    depth, found = 0, []
    for i in range(count):
        decision, choice = words[SYMBOLS + 2 * i : SYMBOLS + 2 * i + 2]
        push = decision < (PUSH_EARLY if i < count * 2 // 3 else PUSH_LATE) and depth < sizes.alphabet
        if depth < 2 or (push and i < count - 1):
            other = depth + below(choice, sizes.alphabet - depth)
            held[depth], held[other] = held[other], held[depth]
            found.append(held[depth])
            depth += 1
        else:
            found.append(POP)
            depth -= 1
    return (found,)


def copy(given: Ids) -> Ids:
    """Returns the input itself."""
    return given


def reverse(given: Ids) -> Ids:
    """Returns the input from its end to its beginning."""
    return given[::-1]


def distinct(given: Ids) -> Ids:
    """Returns each symbol once, in the order of first occurrence."""
    return list(dict.fromkeys(given))


def union(first: Ids, second: Ids) -> Ids:
    """Returns each symbol of both inputs once, in the order of first occurrence."""
    return distinct(first + second)


def delete(given: Ids, removed: Ids) -> Ids:
    """Returns the input without the first occurrence of a symbol, or the whole input where there is none."""
    at = given.index(removed[0]) if removed[0] in given else len(given)
    return given[:at] + given[at + 1 :]


def stack(given: Ids) -> Ids:
    """Returns the symbols that are on the stack after all operations, the top first. A pop needs a symbol."""
    held: Ids = []
    for operation in given:
        if operation == POP:
            held.pop()
        else:
            held.append(operation)
    return held[::-1]


def addition(first: Ids, second: Ids) -> Ids:
    """Returns the digits of the sum, highest first."""
    total = sum(int("".join(str(digit - 1) for digit in digits)) for digits in (first, second))
    return [1 + int(digit) for digit in str(total)]


@dataclass(frozen=True)
class Task:
    """A task: how its inputs are drawn, and its answer as a function of them.

    inputs: (sizes, words) to the inputs. answer: the inputs to the answer. separators: one after each input.
    """

    name: str
    inputs: Callable[[Sizes, Words], tuple[Ids, ...]]
    answer: Callable[..., Ids]
    separators: int
    doc: str

    def longest(self, sizes: Sizes) -> int:
        """The most tokens of an example, its end included."""
        most = sizes.lengths[1]
        if self.inputs is two_numbers:
            content = 3 * sizes.digits[1] + 1
        else:
            content = 2 * most + (self.inputs is input_and_symbol)
        return content + self.separators + 1


# The kernels know a task by its position in this table, and markers follow it: add tasks at the end.
TASKS = (
    Task("copy", one_input, copy, 1, "the input again"),
    Task("reverse", one_input, reverse, 1, "the input from its end to its beginning"),
    Task("sort", one_input, sorted, 1, "the input in ascending order"),
    Task("set", one_input, distinct, 1, "each symbol once, in the order of first occurrence"),
    Task("union", two_inputs, union, 2, "each symbol of two inputs once, in the order of first occurrence"),
    Task("delete", input_and_symbol, delete, 2, "the input without the first occurrence of a symbol"),
    Task("stack", operations, stack, 1, "the stack after pushes and pops, the top first"),
    Task("addition", two_numbers, addition, 2, "the sum of two numbers, the highest digit first"),
)
NAMES = tuple(task.name for task in TASKS)


def words_of(sizes: Sizes, key: tuple[int, int], candidate: int, example: int) -> Words:
    """Returns the words of an example, as many as the longest one takes. key: seed and stream."""
    blocks = -(-sizes.most_words // 4)
    counter = np.zeros((blocks, 4), np.uint32)
    counter[:, 0] = np.arange(blocks)
    counter[:, 1] = example
    counter[:, 2:] = candidate & 0xFFFFFFFF, candidate >> 32
    return philox.philox(counter, key).reshape(-1).tolist()


def example_of(sizes: Sizes, words: Words) -> Ids:
    """Returns the tokens of an example: its marker where there are several tasks, its inputs, its answer, its end."""
    chosen = sizes.tasks[below(words[TASK], len(sizes.tasks))]
    inputs = TASKS[chosen].inputs(sizes, words)
    marker = [sizes.first_marker + chosen] if sizes.marked else []
    given = [token for part in inputs for token in (*part, sizes.separator)]
    return [*marker, *given, *TASKS[chosen].answer(*inputs), sizes.end]


def row(sizes: Sizes, key: tuple[int, int], candidate: int, tokens: int) -> Ids:
    """Returns the first `tokens` tokens of the examples 0, 1, 2, ... one after another: the last one may be cut."""
    found: Ids = []
    example = 0
    while len(found) < tokens:
        found += example_of(sizes, words_of(sizes, key, candidate, example))
        example += 1
    return found[:tokens]
