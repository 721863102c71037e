"""Entropies of tokens, estimated from counts. Not covered: verdicts (`checks`)."""

import numpy as np


def entropy(counts: np.ndarray) -> float:
    """Returns the entropy in bits of values that were counted. counts: int64[value]."""
    shares = counts / counts.sum()
    return float(-(shares * np.log2(shares)).sum())


def told(before: np.ndarray, after: np.ndarray, ids: int) -> float:
    """Estimates the bits that one token tells of another: how much lower H(after | before) is than of shuffled pairs.

    before, after: unsigned integers of one shape, below ids <= 2**32. Both entropies are estimated from counts, far too
    low if most pairs occur once. Their difference has less error.
    """
    dtype = np.uint32 if ids <= 2**16 else np.uint64  # the narrower, sorted faster, that holds every pair
    before, after = np.multiply(before.ravel(), ids, dtype=dtype), after.ravel().astype(dtype)
    shuffled = np.random.Generator(np.random.PCG64(0)).permutation(after)
    real, mixed = (entropy(_counts(before + some)) for some in (after, shuffled))
    return max(0.0, mixed - real)


def _counts(values: np.ndarray) -> np.ndarray:
    """Counts each value that occurs, in rising order: int64[value]. values: sorted in place."""
    values.sort()
    is_last = np.append(values[1:] != values[:-1], True)[: len(values)]
    return np.diff(np.flatnonzero(is_last), prepend=-1)
