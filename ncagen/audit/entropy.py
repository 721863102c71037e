"""Entropies of tokens, estimated from counts. Not covered: verdicts (`checks`)."""

import numpy as np


def entropy(counts: np.ndarray) -> float:
    """Returns the entropy in bits of values that were counted. counts: int64[value]."""
    shares = counts / counts.sum()
    return float(-(shares * np.log2(shares)).sum())


def told(before: np.ndarray, after: np.ndarray, ids: int) -> float:
    """Estimates the bits that one token tells of another: how much lower H(after | before) is than of shuffled pairs.

    before, after: uint64 of one shape, below ids <= 2**32. Both entropies are estimated from counts, far too low if
    most pairs occur once. Their difference has less error.
    """
    before, after = before.ravel() * np.uint64(ids), after.ravel()
    shuffled = np.random.Generator(np.random.PCG64(0)).permutation(after)
    real, mixed = (entropy(np.unique(before + some, return_counts=True)[1]) for some in (after, shuffled))
    return max(0.0, mixed - real)
