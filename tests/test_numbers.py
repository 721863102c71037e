"""Whole numbers and shares from Python, NumPy and torch, and the one line for everything else."""

import json
import subprocess
import sys
from decimal import Decimal
from enum import IntEnum
from fractions import Fraction

import numpy as np
import pytest
from conftest import ROOT, error_of
from hypothesis import given
from hypothesis import strategies as st

from ncagen.numbers import shares, whole


class Size(IntEnum):
    SMALL = 3


@pytest.mark.parametrize(
    "value", [3, Size.SMALL, np.int8(3), np.uint64(3), np.int64(3), np.array(3), np.array([3, 4])[0]], ids=repr
)
def test_whole_numbers_of_any_type_become_int(value):
    assert type(whole("rank", value, 0)) is int
    assert json.dumps(whole("rank", value, 3, 3)) == "3"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("0", "'0'"),
        (3.0, "3.0"),
        (True, "True"),
        (np.True_, repr(np.True_)),
        (np.array(True), "array(True)"),
        (np.float64(3), repr(np.float64(3))),
        (np.array([3]), "array([3])"),
        (np.array([[3], [4]]), "array([[3], [4]])"),
        (None, "None"),
        ([3], "[3]"),
        (Fraction(3), "Fraction(3, 1)"),
        ("x" * 200, "'" + "x" * 99 + "..."),
        ([10**5000], "of more than 100 digits"),
    ],
)
def test_what_is_no_whole_number_is_said_in_one_line(value, shown):
    assert error_of(whole, "rank", value, 0) == f"rank {shown} is not a whole number: use 0 or more"
    assert error_of(whole, "rank", value, 1, 8) == f"rank {shown} is not a whole number: use 1 to 8"


@pytest.mark.parametrize(
    ("value", "least", "most", "message"),
    [
        (-1, 0, None, "epoch -1 is out of range: use 0 or more"),
        (np.int64(-1), 0, None, "epoch -1 is out of range: use 0 or more"),
        (2**32, 0, 2**32 - 1, "epoch 4294967296 is out of range: use 0 to 4294967295"),
        (10**120, 0, 9, f"epoch 1{'0' * 99}... is out of range: use 0 to 9"),
    ],
)
def test_whole_numbers_out_of_range(value, least, most, message):
    assert error_of(whole, "epoch", value, least, most) == message


def test_a_whole_number_that_python_does_not_print():
    assert error_of(whole, "epoch", 10**5000, 0, 9) == "epoch of more than 100 digits is out of range: use 0 to 9"


@given(st.integers(), st.integers(), st.integers(0, 100))
def test_a_range_holds_both_its_ends(value, least, more):
    if least <= value <= least + more:
        assert whole("n", value, least, least + more) == value
    else:
        assert error_of(whole, "n", value, least, least + more) == (
            f"n {value} is out of range: use {least} to {least + more}"
        )


@pytest.mark.parametrize(
    "values",
    [
        [1, 3],
        (2, 6),
        [0.25, 0.75],
        range(1, 4, 2),
        np.array([1, 3]),
        np.array([0.5, 1.5], np.float16),
        [np.float32(1), np.int64(3)],
        [np.array(1), np.longdouble(3)],
        [Fraction(1, 3), 1],
        [Decimal("0.1"), Decimal("0.3")],
        [10**400, 3 * 10**400],
        [5e-324, 1.5e-323],
    ],
    ids=repr,
)
def test_shares_are_exact_and_do_not_depend_on_the_unit(values):
    assert shares("weights", values) == (Fraction(1, 4), Fraction(3, 4))


@given(st.lists(st.floats(0, allow_infinity=False), min_size=1, max_size=6).filter(any))
def test_shares_sum_to_one_and_keep_their_proportions(values):
    found = shares("weights", values)
    assert sum(found) == 1
    assert all(a * Fraction(values[0]) == found[0] * Fraction(b) for a, b in zip(found, values, strict=True))


NUMBERS = "are not shares: use numbers of 0 or more, one of them above 0"
LIST = "are not shares: use a list of numbers, as in [1, 3]"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1, -1], f"weights [1, -1] {NUMBERS}"),
        ([0, 0], f"weights [0, 0] {NUMBERS}"),
        ([1, float("nan")], f"weights [1, nan] {NUMBERS}"),
        ([1, float("inf")], f"weights [1, inf] {NUMBERS}"),
        ([Decimal("NaN"), Decimal("Infinity")], f"weights [Decimal('NaN'), Decimal('Infinity')] {NUMBERS}"),
        (np.array([1, -1.5]), f"weights [1.0, -1.5] {NUMBERS}"),
        ([1, "3"], f"weights [1, '3'] {NUMBERS}"),
        ([1, None], f"weights [1, None] {NUMBERS}"),
        ([True, False], f"weights [True, False] {NUMBERS}"),
        (np.array([True, False]), f"weights [True, False] {NUMBERS}"),
        ([1, 2j], f"weights [1, 2j] {NUMBERS}"),
        ([], "weights [] are no shares: give one number or more, as in [1, 3]"),
        (np.array([]), "weights [] are no shares: give one number or more, as in [1, 3]"),
        ("1,3", f"weights '1,3' {LIST}"),
        (b"13", f"weights b'13' {LIST}"),
        (3, f"weights 3 {LIST}"),
        (None, f"weights None {LIST}"),
        (np.array(3.0), f"weights 3.0 {LIST}"),
        ({"a": 1}, f"weights {{'a': 1}} {LIST}"),
        ({1}, f"weights {{1}} {LIST}"),
        (np.array([[1, 3]]), f"weights [[1, 3]] {LIST}"),
        ([[1, 3]], f"weights [[1, 3]] {LIST}"),
        ([np.array([1]), 3], f"weights [array([1]), 3] {LIST}"),
    ],
)
def test_what_are_no_shares(values, message):
    assert error_of(shares, "weights", values) == message


def test_numbers_of_torch():
    torch = pytest.importorskip("torch")
    assert type(whole("rank", torch.tensor(3), 0)) is int
    assert whole("rank", torch.tensor(3, dtype=torch.uint8), 3, 3) == 3
    for value in (torch.tensor([3]), torch.tensor(True), torch.tensor(3.0), torch.tensor([1, 2])):
        shown = " ".join(repr(value).split())
        assert error_of(whole, "rank", value, 0) == f"rank {shown} is not a whole number: use 0 or more"
    for values in (
        torch.tensor([1, 3]),
        torch.tensor([1.0, 3.0], dtype=torch.bfloat16, requires_grad=True),
        [torch.tensor(1), torch.tensor(3.0)],
    ):
        assert shares("weights", values) == (Fraction(1, 4), Fraction(3, 4))
    assert error_of(shares, "weights", torch.tensor([1.0, float("nan")])) == f"weights [1.0, nan] {NUMBERS}"
    assert error_of(shares, "weights", torch.ones(1, 2)) == f"weights [[1.0, 1.0]] {LIST}"


def test_the_gate_loads_no_package():
    script = "import sys, ncagen.numbers as n; n.whole('a', 1, 0); n.shares('b', [1]); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)
    assert (done.stdout, done.stderr) == ("False\n", "")
