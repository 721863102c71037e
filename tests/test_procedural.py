"""The source `procedural`: settings and their errors, checks of stored rows, whole commands."""

import numpy as np
import pytest
from conftest import error_of, make, run_here
from hypothesis import given, settings
from hypothesis import strategies as st

import ncagen
from ncagen.errors import SelfCheckFailed
from ncagen.factory.check_dataset import verify
from ncagen.factory.settings import from_settings
from ncagen.sources.procedural import kernels
from ncagen.sources.procedural.check import check
from ncagen.sources.procedural.source import Procedural
from ncagen.sources.procedural.tasks import NAMES, TASKS, Sizes, row

TRAIN = (0, 0)
USE = "use copy, reverse, sort, set, union, delete, stack, addition, or several joined by commas"

BAD = (
    ({"task": "copi"}, f"task 'copi' is not known: {USE}"),
    ({"task": "copy, sort"}, f"task ' sort' is not known: {USE}"),
    ({"task": ""}, f"task '' is not known: {USE}"),
    ({"task": 1.5}, f"task 1.5 is not a text: {USE}"),
    ({"symbols": 1}, "symbols 1 is out of range: use 2 to 10000"),
    ({"symbols": "9"}, "symbols '9' is not a whole number"),
    ({"input_length": 1}, "input_length 1 is out of range: use 2 to 65000"),
    ({"min_input_length": 1}, "min_input_length 1 is out of range: use 2 to 64, or 0 for 64 always"),
    ({"min_input_length": 65}, "min_input_length 65 is out of range: use 2 to 64, or 0 for 64 always"),
    ({"task": "addition", "digits": 0}, "digits 0 is out of range: use 1 to 1000"),
    ({"task": "addition", "min_digits": 6}, "min_digits 6 is out of range: use 1 to 5, or 0 for 5 always"),
    ({"task": "addition", "symbols": 9}, "symbols 9 are too few for the digits of addition: use 10 or more"),
    ({"task": "copy,sort", "digits": 3}, "digits 3 has no effect with task 'copy,sort': leave it out"),
    ({"task": "addition", "input_length": 7}, "input_length 7 has no effect with task 'addition': leave it out"),
    (
        {"input_length": 512},
        "seq_len 1024 is too short for an example of up to 1,026 tokens: use seq_len 1025 or more, or shorter inputs",
    ),
    (
        {"tasks": "copy"},
        "setting 'tasks' is not known: known are task, symbols, input_length, min_input_length, digits, min_digits",
    ),
)


@pytest.mark.parametrize(("options", "message"), BAD)
def test_bad_settings_are_refused(options, message):
    assert error_of(Procedural.from_options, options, 1024) == message


def test_a_row_of_the_least_length_has_a_whole_example():
    longest = {name: Procedural(1024, name).sizes.longest_example for name in NAMES}
    assert longest == dict.fromkeys(NAMES, 130) | {"union": 131, "delete": 132, "addition": 19}
    for name in NAMES:
        seq_len = longest[name] - 1
        ids = Procedural(seq_len, name).tokens(TRAIN, np.arange(50, dtype=np.uint64))
        assert (ids == 101).any(axis=1).all()
        assert error_of(Procedural, seq_len - 1, name).startswith(f"seq_len {seq_len - 1} is too short for an example")


def test_few_inputs_are_warned_of_and_on_the_card():
    assert Procedural(1024, ",".join(NAMES)).warnings(TRAIN) == ()
    source = Procedural(1024, "copy,addition", symbols=12, input_length=9, min_input_length=4, digits=1)
    assert source.warnings(TRAIN) == (
        "task copy has at most 20,736 inputs of length 4: splits have examples in common",
        "task addition has at most 81 inputs of length 1: splits have examples in common",
    )
    assert "- Task copy has at most 20,736 inputs of length 4: splits have examples in common." in source.card().limits


def test_the_ids_are_those_of_the_authors():
    """Their `vocab_size` of 100: 0 is the pop, 1 to 99 are symbols, then the separator and the padding."""
    form = Procedural(1024).row_format
    assert (form.vocabulary, form.structural, form.token_dtype) == (102, (100, 101), "uint16")
    several = Procedural(1024, ",".join(NAMES)).row_format
    assert (several.vocabulary, several.structural) == (110, tuple(range(100, 110)))


@st.composite
def rows(draw) -> tuple[Sizes, list[int]]:
    tasks = draw(st.lists(st.sampled_from(range(len(TASKS))), min_size=1, max_size=3))
    lengths, digits = (tuple(sorted(draw(st.tuples(st.integers(n, 9), st.integers(n, 9))))) for n in (2, 1))
    sizes = Sizes(tuple(tasks), draw(st.integers(10, 20)), lengths, digits)
    return sizes, row(sizes, TRAIN, draw(st.integers(0, 2**64 - 1)), draw(st.integers(1, 90)))


@given(rows())
@settings(max_examples=150, deadline=None)
def test_rows_have_their_form_and_right_answers_wherever_they_are_cut(made):
    assert check(*made) == (True, True)


def answer_mask(ids, separators, separator=100, end=101):
    """The function of docs/sources.md: bool[row, token], true for tokens of answers."""
    seen = np.cumsum(ids == separator, axis=1)
    before = np.maximum.accumulate(np.where(ids == end, seen, 0), axis=1)
    return (seen - before == separators) & (ids != separator)


@pytest.mark.parametrize("task", NAMES)
def test_every_wrong_token_of_an_answer_is_found(task):
    source = Procedural(262, task)
    ids = source.tokens(TRAIN, np.arange(2, dtype=np.uint64))
    mask = answer_mask(ids, TASKS[NAMES.index(task)].separators)
    assert mask.sum() > 60
    for at, token in zip(np.argwhere(mask), ids[mask], strict=True):
        wrong = ids[at[0]].tolist()
        wrong[at[1]] = int(token) % 10 + 1 if task == "addition" else int(token) % 99 + 1
        assert check(source.sizes, wrong) == (True, False)


# Of 12 symbols: 13 is the separator, 14 the end, and of several tasks 15 is the marker of copy, 17 that of sort.
FAULTS = (
    ("copy", [1, 2, 3, 13, 1, 2, 3, 14]),  # shorter than 4
    ("copy", [1, 2, 3, 4, 5, 6, 7, 13, 1, 2, 3, 4, 5, 6, 7, 14]),  # longer than 6
    ("copy", [1, 2, 3, 4, 5, 6, 7]),
    ("copy", [0, 2, 3, 4, 13, 0, 2, 3, 4, 14]),  # a pop
    ("copy", [1, 2, 3, 4, 14]),  # no answer
    ("copy", [14]),
    ("copy", [1, 2, 3, 4, 13, 1, 2, 13, 3, 4, 14]),  # two separators
    ("union", [1, 2, 13, 3, 13, 1, 2, 3, 14]),  # inputs that are not halves
    ("union", [1, 2, 13, 3, 4, 5, 6, 13, 1, 2, 3, 4, 5, 6, 14]),
    ("union", [1, 13]),
    ("union", [1, 2, 3, 4]),
    ("delete", [1, 2, 3, 4, 13, 1, 2, 13, 3, 4, 14]),  # two symbols to remove
    ("delete", [1, 2, 3, 4, 13, 13, 1, 2, 3, 4, 14]),
    ("stack", [1, 0, 2, 3, 13, 3, 2, 14]),  # a pop of one symbol
    ("stack", [1, 2, 2, 0, 13, 2, 1, 14]),  # a symbol that is on the stack
    ("stack", [1, 2, 3, 4, 13, 4, 3, 2, 1, 14]),  # the last operation pops
    ("stack", [1, 2, 14, 3, 0, 13, 2, 1, 14]),
    ("addition", [1, 2, 13, 2, 2, 13, 3, 3, 14]),  # 01 + 11
    ("addition", [2, 12, 13, 2, 2, 13, 3, 3, 14]),  # no digit
    ("addition", [2, 2, 2, 13, 2, 2, 13, 2, 3, 3, 14]),  # three digits
    ("addition", [2, 2, 13, 13]),
    ("copy,sort", [1, 2, 3, 4, 13, 1, 2, 3, 4, 14]),  # no marker
    ("copy,sort", [16, 1, 2, 3, 4, 13, 4, 3, 2, 1, 14]),  # the marker of another task
    ("copy,sort", [14]),
    ("copy,sort", [15, 1, 2, 17]),
)


@pytest.mark.parametrize(("task", "ids"), FAULTS)
def test_examples_of_another_form_are_found(task, ids):
    tasks = tuple(NAMES.index(name) for name in task.split(","))
    assert check(Sizes(tasks, 12, (4, 6), (2, 2)), ids) == (False, True)


def test_verify_names_the_row_with_a_wrong_answer(tmp_path, monkeypatch):
    """A build whose rows are wrong after its self-check: one answer in row 3 of a shard, one separator in row 5."""
    right = Procedural.tokens

    def tokens(self, key, candidates):
        ids = right(self, key, candidates)
        ids[candidates == 3, 65] = ids[candidates == 3, 65] % 99 + 1
        ids[candidates == 5, 64] = 99
        return ids

    spec = from_settings({"source": "procedural", "task": "reverse", "tokens": 20 * 1024, "validation": 0})
    make(tmp_path / "right", spec)
    assert verify(tmp_path / "right", share=1.0).problems == []
    monkeypatch.setattr(Procedural, "tokens", tokens)
    make(tmp_path / "wrong", spec)
    name = "data/all/train-00000-of-00001.parquet"
    assert verify(tmp_path / "wrong").problems == [
        f"{name}: row 5: an example does not have the form of task reverse (1 of 20 rows)",
        f"{name}: row 3: an answer is not that of its inputs (1 of 20 rows)",
    ]


def test_a_machine_with_another_kernel_makes_no_row(monkeypatch):
    right = kernels.rows

    def rows(*arguments):
        right(*arguments)
        arguments[-1][2, 100] += 1

    monkeypatch.setattr(kernels, "rows", rows)
    with pytest.raises(SelfCheckFailed, match="rows of source procedural are not those of its definition"):
        Procedural(1024, "copy,union").check()


def test_problems_name_what_is_wrong():
    source = Procedural(1024, "set,stack")
    made = source.batch(TRAIN, np.arange(6, dtype=np.uint64)).rows(np.arange(6))
    assert all(right.all() for right in source.problems(made).values())
    assert list(source.problems(made))[-2:] == [
        "an example does not have the form of task set,stack",
        "an answer is not that of its inputs",
    ]
    assert all(right.shape == (0,) for right in source.problems(made.take(slice(0))).values())


def test_commands_accept_it_and_refuse_bad_settings(tmp_path):
    build = ["build", "--source=procedural", "--tokens=50K", "--validation=0", "--out", tmp_path / "a"]
    done = run_here(*build, "--task=copy,addition", "--symbols=12", "--input-length=16", "--digits=4")
    assert (done.status, done.err) == (0, "")
    data = ncagen.open(tmp_path / "a")
    assert (len(data), data.band, data.row_format.vocabulary) == (49, "all", 23)
    assert (
        "| addition | 22 | the sum of two numbers, the highest digit first |" in (tmp_path / "a/README.md").read_text()
    )
    done = run_here("build", "--source=procedural", "--tokens=50K", "--task=copi", "--out", tmp_path / "b")
    assert (done.status, done.err) == (2, f"ncagen: task 'copi' is not known: {USE}\n")
    assert not (tmp_path / "b").exists()
