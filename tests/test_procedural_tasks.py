"""The procedural tasks: known answers, words to examples by hand, kernels against the definition, chi-square."""

import hashlib
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ncagen import philox
from ncagen.sources.procedural.source import Procedural
from ncagen.sources.procedural.tasks import NAMES, POP, TASKS, Sizes, example_of, row, words_of

TRAIN = (0, 0)

ANSWERS = (
    ("copy", [[3, 1, 3]], [3, 1, 3]),
    ("reverse", [[3, 1, 2]], [2, 1, 3]),
    ("sort", [[3, 1, 3, 2]], [1, 2, 3, 3]),
    ("set", [[3, 1, 3, 2, 1]], [3, 1, 2]),
    ("union", [[2, 1, 2], [1, 3, 2]], [2, 1, 3]),
    ("delete", [[2, 1, 2, 3], [2]], [1, 2, 3]),
    ("delete", [[2, 1, 2, 3], [4]], [2, 1, 2, 3]),
    ("stack", [[5, 2, POP, 7, 1, POP]], [7, 5]),
    ("addition", [[2], [2]], [3]),  # 1 + 1 = 2
    ("addition", [[10, 6], [6]], [2, 1, 1]),  # 95 + 5 = 100
    ("addition", [[2, 1, 3], [4, 5]], [2, 4, 7]),  # 102 + 34 = 136
)


@pytest.mark.parametrize(("name", "inputs", "answer"), ANSWERS)
def test_answers_are_those_worked_out_by_hand(name, inputs, answer):
    assert TASKS[NAMES.index(name)].answer(*inputs) == answer


# Of 8 symbols, the word k * 2**29 is symbol k + 1. Four symbols an input, so words 1 and 3 decide nothing, and word 2
# is what `delete` removes.
EIGHTH = 2**29
SYMBOLS = [EIGHTH * k for k in (4, 0, 4, 7)]  # 5 1 5 8
EXAMPLES = (
    ("copy", [5, 1, 5, 8, 9, 5, 1, 5, 8, 10]),
    ("reverse", [5, 1, 5, 8, 9, 8, 5, 1, 5, 10]),
    ("sort", [5, 1, 5, 8, 9, 1, 5, 5, 8, 10]),
    ("set", [5, 1, 5, 8, 9, 5, 1, 8, 10]),
    ("union", [5, 1, 9, 5, 8, 9, 5, 1, 8, 10]),
    ("delete", [5, 1, 5, 8, 9, 1, 9, 5, 5, 8, 10]),
)


@pytest.mark.parametrize(("name", "tokens"), EXAMPLES)
def test_words_become_the_example_worked_out_by_hand(name, tokens):
    sizes = Sizes((NAMES.index(name),), 8, (4, 4), (1, 1))
    assert example_of(sizes, [0, 0, 0, 0, *SYMBOLS]) == tokens


def test_words_become_operations_as_worked_out_by_hand():
    """Six operations on 4 symbols: the first four push with 3/4, the fifth with 1/4, the last pops."""
    half, most = 2**31, 2**32 - 1
    words = [
        *(most, half),  # the stack is empty, so it pushes: the third of 1 2 3 4
        *(most, 0),  # one symbol, so it pushes: the first of 2 1 4, which the swap of 3 and 1 left
        *(half, most),  # 1/2 is below 3/4, so it pushes: the last of 1 4
        *(most, 0),  # it pops 4
        *(half, 0),  # 1/2 is not below 1/4: it pops 2
        *(0, 0),  # the stack has one symbol, so even the last operation pushes: the first of 2 4 1
    ]
    sizes = Sizes((NAMES.index("stack"),), 4, (6, 6), (1, 1))
    assert example_of(sizes, [0, 0, 0, 0, *words]) == [3, 2, 4, POP, POP, 2, 5, 2, 3, 6]
    words[8:10] = 0, 0  # 0 is below 1/4: it pushes the first of 4 1, and so the last one pops
    assert example_of(sizes, [0, 0, 0, 0, *words]) == [3, 2, 4, POP, 4, POP, 5, 2, 3, 6]


def test_words_become_numbers_as_worked_out_by_hand():
    """Numbers of 1 to 2 digits: the first digit is one of nine, the others one of ten."""
    half, most = 2**31, 2**32 - 1
    sizes = Sizes((NAMES.index("addition"),), 10, (2, 2), (1, 2))
    assert example_of(sizes, [0, half, 0, 0, most, 0, half]) == [10, 1, 11, 6, 11, 10, 6, 12]  # 90 + 5 = 95


def test_one_of_several_tasks_has_its_marker_first():
    sizes = Sizes((NAMES.index("copy"), NAMES.index("reverse")), 8, (4, 4), (1, 1))
    assert example_of(sizes, [2**31 - 1, 0, 0, 0, *SYMBOLS]) == [11, 5, 1, 5, 8, 9, 5, 1, 5, 8, 10]
    assert example_of(sizes, [2**31, 0, 0, 0, *SYMBOLS]) == [12, 5, 1, 5, 8, 9, 8, 5, 1, 5, 10]
    assert sizes.vocabulary == 11 + len(TASKS)


@st.composite
def sources(draw) -> Procedural:
    """Sources of one to three tasks, with every setting that decides a bit."""
    tasks = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=3))
    adds, reads = "addition" in tasks, set(tasks) != {"addition"}
    values = {"task": ",".join(tasks), "symbols": draw(st.integers(10 if adds else 2, 300) | st.just(10_000))}
    for used, name, least in ((reads, "input_length", 2), (adds, "digits", 1)):
        if used:
            values[name] = draw(st.integers(least, 40))
            values[f"min_{name}"] = draw(st.sampled_from([0, least, values[name]]))
    return Procedural.from_options(values, draw(st.integers(160, 400)))


@given(sources(), st.integers(0, 2**32 - 1), st.sampled_from([0, 1, 2, 3]), st.integers(0, 2**64 - 3))
@settings(max_examples=60, deadline=None)
def test_kernels_make_the_rows_of_the_definition(source, seed, stream, first):
    candidates = np.arange(3, dtype=np.uint64) + np.uint64(first)
    expected = [row(source.sizes, (seed, stream), first + i, source.row_tokens) for i in range(3)]
    assert source.tokens((seed, stream), candidates).tolist() == expected


def test_a_row_is_the_beginning_of_a_longer_one():
    candidates = np.arange(4, dtype=np.uint64)
    short, long = (Procedural(seq_len, "copy,stack,addition").tokens(TRAIN, candidates) for seq_len in (200, 131_072))
    assert np.array_equal(short, long[:, :201])


# The first 64 rows of each task with the default settings: a change of these needs another version of the source.
ROWS_SHA256 = {
    "copy": "0a61c29aacd3e33b",
    "reverse": "88939a8373797f83",
    "sort": "3b64f8ebb3496418",
    "set": "32133d7de76a1e5f",
    "union": "d15f6005428c0e74",
    "delete": "bb5dc2346001bd56",
    "stack": "d567d024c7e825d2",
    "addition": "0cfdece39a31ff42",
    ",".join(NAMES): "af3a429ef4ac6fde",
}


@pytest.mark.parametrize("task", [*NAMES, ",".join(NAMES)])
def test_rows_of_this_version_stay(task):
    rows = Procedural(1024, task).tokens(TRAIN, np.arange(64, dtype=np.uint64))
    assert hashlib.sha256(rows.astype("<u2").tobytes()).hexdigest()[:16] == ROWS_SHA256[task]


def examples(task: str, count: int, **settings) -> list[list[list[int]]]:
    """Examples of a source as lists: what stands before, between and after separators.

    Of each row as many as are in every row, so that long examples are not fewer for being cut.
    """
    source = Procedural.from_options({"task": task, **settings}, 1024)
    sizes, found = source.sizes, []
    each = source.row_tokens // sizes.longest_example
    for ids in source.tokens(TRAIN, np.arange(-(-count // each), dtype=np.uint64)).tolist():
        whole = " ".join(map(str, ids)).split(f" {sizes.end} ")[:each]
        found += [[list(map(int, part.split())) for part in text.split(f" {sizes.separator} ")] for text in whole]
    return found


def chi_square(counts: Counter, expected: dict[int, float]) -> float:
    """The statistic of counts against expected numbers; nothing else occurs."""
    assert set(counts) <= set(expected)
    return sum((counts[value] - number) ** 2 / number for value, number in expected.items())


def uniform(counts: Counter, values: range) -> float:
    """The statistic of counts against equal numbers of these values, each of which occurs."""
    assert set(counts) == set(values)
    return chi_square(counts, dict.fromkeys(values, counts.total() / len(values)))


# The limits are the quantiles 0.001 and 0.999 of chi-square: the draws are fixed, so a test passes always or never.
def test_symbols_and_lengths_are_uniform_and_all_occur():
    found = examples("copy", 3003, min_input_length=2)
    assert 60.6 < uniform(Counter(s for given, _ in found for s in given), range(1, 100)) < 148.2  # 98 degrees
    assert 33.9 < uniform(Counter(len(given) for given, _ in found), range(2, 65)) < 102.2  # 62 degrees


def test_each_symbol_of_delete_is_as_likely_whatever_the_input():
    found = examples("delete", 3003)
    assert 60.6 < uniform(Counter(removed[0] for _, removed, _ in found), range(1, 100)) < 148.2
    held = sum(removed[0] in given for given, removed, _ in found)
    share = 1 - (98 / 99) ** 64
    assert abs(held - len(found) * share) < 3.3 * (len(found) * share * (1 - share)) ** 0.5


def test_numbers_are_uniform_among_those_of_their_digits():
    found = examples("addition", 6000, digits=3, min_digits=1, symbols=10)
    numbers = [digits for *two, _ in found for digits in two]
    assert uniform(Counter(map(len, numbers)), range(1, 4)) < 13.8  # 2 degrees
    assert 0.86 < uniform(Counter(digits[0] for digits in numbers), range(2, 11)) < 26.1  # 8 degrees
    assert 1.15 < uniform(Counter(d for digits in numbers for d in digits[1:]), range(1, 11)) < 27.9  # 9 degrees


def test_tasks_are_uniform_and_one_named_twice_is_twice_as_likely():
    source = Procedural.from_options({"task": ",".join(NAMES), "input_length": 2, "digits": 1}, 1024)
    ids = source.tokens(TRAIN, np.arange(32, dtype=np.uint64)).reshape(-1)
    markers = Counter((ids[ids >= source.sizes.first_marker] - source.sizes.first_marker).tolist())
    assert 0.60 < uniform(markers, range(8)) < 24.3  # 7 degrees
    source = Procedural.from_options({"task": "sort,copy,sort", "input_length": 2}, 1024)
    ids = source.tokens(TRAIN, np.arange(32, dtype=np.uint64)).reshape(-1)
    markers = Counter((ids[ids >= source.sizes.first_marker] - source.sizes.first_marker).tolist())
    total = markers.total()
    assert chi_square(markers, {0: total / 3, 2: 2 * total / 3}) < 10.8  # 1 degree


def depths(count: int) -> dict[int, float]:
    """The exact distribution of the last depth of a stack after `count` operations, by its steps."""
    shares = {0: 1.0}
    for i in range(count):
        late = i >= count * 2 // 3
        new: Counter = Counter()
        for depth, share in shares.items():
            push = 1.0 if depth < 2 else 0.0 if i == count - 1 else 0.25 if late else 0.75
            new[depth + 1] += share * push
            new[depth - 1] += share * (1 - push)
        shares = {depth: share for depth, share in new.items() if share}
    return shares


def test_stacks_have_the_depths_that_the_probabilities_give():
    found = examples("stack", 6000, input_length=15, symbols=50)
    expected = {depth: len(found) * share for depth, share in depths(15).items()}
    assert sorted(expected) == [1, 3, 5, 7, 9, 11, 13]
    assert chi_square(Counter(len(answer) for _, answer in found), expected) < 22.5  # 6 degrees
    assert {symbol for operations, _ in found for symbol in operations} == set(range(51))


def test_examples_draw_from_blocks_of_their_own():
    """Word i of example e is word i % 4 of block i // 4 of purpose e."""
    sizes = Sizes((0,), 99, (4, 4), (1, 1))
    halves = philox.words(7, 1, 5, np.array([2**40 + 3], np.uint64), 24)[0].astype(np.uint32)
    assert words_of(sizes, (7, 1), 2**40 + 3, 5) == (halves[::2] | halves[1::2] << 16).tolist()
