"""Tests random bits: published answers, both implementations, and distinct rules for distinct candidates."""

import hashlib

import numpy as np
import pytest

from ncagen import philox, philox_kernels
from ncagen.sources.nca import cpu
from ncagen.sources.nca.settings import Settings

# Random123's kat_vectors for philox4x32 with 10 rounds: counter, key, block.
PUBLISHED = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]
SETTINGS = Settings()


def integers(text):
    return [int(word, 16) for word in text.split()]


def numba_block(counter, key):
    """One block from the kernel: uint16[8]."""
    words = np.zeros(8, np.uint16)
    block, purpose, low, high = counter
    address = (np.uint64(v) for v in (*key, purpose, low | high << 32, block))
    philox_kernels.philox_block(*address, words, np.uint64(0))
    return words


def halves(block):
    """Low half, high half, of each 32-bit word."""
    return [half for word in block for half in (word & 0xFFFF, word >> 16)]


@pytest.mark.parametrize(("counter", "key", "block"), PUBLISHED)
def test_published_answers(counter, key, block):
    counter, key, block = integers(counter), integers(key), integers(block)
    assert philox.philox(np.array([counter], np.uint32), tuple(key)).tolist() == [block]
    assert numba_block(counter, key).tolist() == halves(block)


def test_numpy_and_numba_agree():
    draws = np.random.default_rng(0).integers(0, 2**32, (200, 6), dtype=np.uint64)
    for *counter, k0, k1 in draws.tolist():
        block = philox.philox(np.array([counter], np.uint32), (k0, k1))[0]
        assert numba_block(counter, (k0, k1)).tolist() == halves(block.tolist())


def test_words_are_addressed():
    """Word i is word i mod 8 of block i // 8, whatever other words are drawn."""
    numbers = np.array([0, 5, 2**32 + 5, 2**64 - 1], np.uint64)
    words = philox.words(7, 1, 16, numbers, 27)
    assert words.shape == (4, 27)
    for number, row in zip(numbers.tolist(), words, strict=True):
        blocks = [numba_block((b, 16, number & 0xFFFFFFFF, number >> 32), (7, 1)) for b in range(4)]
        assert row.tolist() == np.concatenate(blocks)[:27].tolist()
    assert (philox.words(7, 1, 16, numbers, 11, first_block=2) == words[:, 16:27]).all()


@pytest.mark.parametrize("change", [{"seed": 8}, {"stream": 2}, {"purpose": 17}])
def test_every_part_of_the_address_matters(change):
    address = {"seed": 7, "stream": 1, "purpose": 16}
    numbers = np.arange(100, dtype=np.uint64)
    assert (
        (
            philox.words(**address, numbers=numbers, count=64)
            != philox.words(**address | change, numbers=numbers, count=64)
        )
        .any(axis=1)
        .all()
    )


def test_words_are_uniform():
    """Mean and variance of 800,000 words within six standard errors, and no correlation of neighbours."""
    words = philox.words(0, 0, 0, np.arange(1000, dtype=np.uint64), 800).ravel() / 65536
    assert abs(words.mean() - 0.5) < 6 * (1 / 12 / words.size) ** 0.5
    assert abs(words.var() - 1 / 12) < 6 * (1 / 180 / words.size) ** 0.5
    assert abs(np.corrcoef(words[:-1], words[1:])[0, 1]) < 6 / words.size**0.5


def rule_hashes(stream, candidates):
    """A 16-byte hash of each candidate's weights."""
    drawn, _ = cpu.sample(SETTINGS, (0, stream), candidates)
    weights = np.concatenate([w.reshape(len(candidates), -1) for w in drawn], axis=1)
    return [hashlib.blake2b(row, digest_size=16).digest() for row in weights]


def test_distinct_candidates_are_distinct_rules():
    """100,000 candidates of each split: the first 5,000 of 20 shards. All 200,000 rules differ."""
    seen = set()
    for stream in (philox.STREAMS["train"], philox.STREAMS["validation"]):
        for shard in range(20):
            first = shard << 32
            seen.update(rule_hashes(stream, np.arange(first, first + 5000, dtype=np.uint64)))
    assert len(seen) == 200_000
