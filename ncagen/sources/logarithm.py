"""Defines the natural logarithm of integers in fixed point: integers that are the same on every platform.

With G as `log_table`, and for a mantissa m from 2**30 to 2**31 - 1 (a number from 1 to 2 in units of 1/2**30):

    i, f    = divmod(m - 2**30, 2**20)
    ln(m)   = G[i] + ((G[i + 1] - G[i]) * f >> 20)              in units of 1/2**24
    ln(x)   = e * LN_2 + ln(x << 30 - e), e = floor(log2(x))    for an integer x from 1 to 2**31 - 1

Every value fits int64. Not covered: exponentials (`nca/entropy`).
"""

from decimal import Decimal, localcontext
from functools import cache

import numpy as np

LOG_BITS = 24
LOG_ENTRIES_BITS = 10
LN_2 = 11629080  # ln 2
MANTISSA_BITS = 30
_FRACTION_BITS = MANTISSA_BITS - LOG_ENTRIES_BITS


@cache
def log_table() -> np.ndarray:
    """Returns ln(1 + i / 1024) for i from 0 to 1024, in units of 1/2**24: int32[1025]. The module decimal rounds a
    logarithm correctly, so every platform computes the same."""
    with localcontext() as context:
        context.prec = 25
        logs = [(1 + Decimal(i) / 2**LOG_ENTRIES_BITS).ln() * 2**LOG_BITS for i in range(2**LOG_ENTRIES_BITS + 1)]
        return np.array([int(log.to_integral_value()) for log in logs], np.int32)


def log_mantissas(mantissas: np.ndarray) -> np.ndarray:
    """Computes logarithms of numbers from 1 to 2. mantissas: int64[...], 2**30 to 2**31 - 1. Returns int64[...]."""
    entry = (mantissas >> _FRACTION_BITS) - 2**LOG_ENTRIES_BITS
    fraction = mantissas & (2**_FRACTION_BITS - 1)
    low, high = log_table()[entry].astype(np.int64), log_table()[entry + 1].astype(np.int64)
    return low + ((high - low) * fraction >> _FRACTION_BITS)


def log_integers(numbers: np.ndarray) -> np.ndarray:
    """Computes logarithms of integers. numbers: int64[...], 1 to 2**31 - 1. Returns int64[...]."""
    exponents = np.frexp(numbers.astype(np.float64))[1].astype(np.int64) - 1  # exact, since numbers are below 2**53
    return exponents * LN_2 + log_mantissas(numbers << MANTISSA_BITS - exponents)
