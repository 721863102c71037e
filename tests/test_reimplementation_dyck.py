"""A second implementation of source dyck, in plain Python from docs/sources.md only, compared with built rows."""

from fractions import Fraction
from functools import cache
from itertools import accumulate, count
from math import floor

import numpy as np
import pytest
from test_reimplementation_sources import gzip_length, rows_of, word


class Dyck:
    """One row of brackets; only the settings differ from the defaults."""

    def __init__(self, key, number, seq_len=1024, k=64, p=Fraction(1, 2), low=1, high=16, length=None, least=None,
                 cut=False, shuffle=False, uniform=False):  # fmt: skip
        self.key, self.number, self.k, self.p, self.low, self.high = key, number, k, p, low, high
        self.cut, self.shuffle, self.uniform, self.ids = cut, shuffle, uniform, []
        self.order, self.open, self.stack = list(range(k)), [0] * k, []
        size = seq_len + 1
        length = length or seq_len // 2 * 2
        self.scored = max(least, size - size // (least + 1) - 1 - 2 * low) if least else size
        if cut:
            self.word(size)
        while len(self.ids) < size:
            left, position = size - len(self.ids), len(self.ids)
            if left >= 2 * low + 1:
                n = least + 2 * self.below((length - least) // 2 + 1, 2, position) if least else length
                self.word(min(n, (left - 1) // 2 * 2))
                self.ids.append(2 * k)
            else:
                self.ids += [2 * k] * left

    def words(self, kind, position):
        yield word(self.key, kind, self.number, position)
        for i in count():
            yield word(self.key, 3 * (position + 1) + kind, self.number, i)

    def below(self, n, kind, position):
        return next(w * n >> 16 for w in self.words(kind, position) if w * n % 2**16 >= 2**16 % n)

    def case(self, thresholds, position):
        words = self.words(0, position)
        u, bits = next(words), 16
        if any(floor(t * 2**16) == u for t in thresholds):
            for _ in range(3):
                u, bits = u << 16 | next(words), bits + 16
            while any(floor(t * 2**bits) == u and floor(t * 2**bits) != t * 2**bits for t in thresholds):
                u, bits = u << 16 | next(words), bits + 16
        return sum(Fraction(u, 2**bits) >= t for t in thresholds)

    def ways(self, r, counts, reached):
        """Ways to complete a word: by the sorted counts of open brackets, or by their number where they nest."""
        return completions(r, tuple(sorted(counts)), reached, self.k, self.shuffle, self.low, self.high)

    def word(self, n):
        reached, c = False, not self.cut
        for r in range(n, 0, -1):
            position, d = len(self.ids), sum(self.open)
            reached |= d >= self.low
            if self.uniform:
                counts = self.open if self.shuffle else [d]
                moves = moves_of(tuple(sorted(counts)), self.k, self.shuffle, self.high)
                chances = [many * self.ways(r - 1, after, reached) for *_, many, after in moves]
                sums = [Fraction(s, sum(chances)) for s in accumulate(chances)]
                opens, g, *_ = moves[self.case(sums[:-1], position)]
                group = [t for t in self.order if self.open[t] == g]
            else:
                may_open = d < self.high and r - 1 >= c * (d + 1)
                may_close = d > 0 and (reached or r - 1 >= self.low - (d - 1) + c * self.low)
                opens = may_open and (not may_close or self.case([self.p], position) == 0)
                group = range(self.k) if opens else [t for t in self.order if self.open[t]]
            if not self.shuffle:
                t = self.below(self.k, 1, position) if opens else self.stack.pop()
                self.stack += [t] * opens
            else:
                t = group[self.below(len(group), 1, position)]
            alike = [i for i, other in enumerate(self.order) if self.open[other] == self.open[t]]
            i, j = self.order.index(t), alike[0 if opens else -1]
            self.order[i], self.order[j] = self.order[j], self.order[i]
            self.open[t] += 1 if opens else -1
            self.ids.append(t if opens else self.k + t)


def moves_of(counts, k, shuffle, high):
    """Opening by rising g, then closing by rising g: (opens, g, types that can, the sorted counts after it)."""
    moves = []
    for step in (1, -1):
        for g in sorted(set(counts)):
            if sum(counts) + step <= high and g + step >= 0:
                i = counts.index(g)
                after = tuple(sorted((*counts[:i], g + step, *counts[i + 1 :])))
                moves.append((step > 0, g, counts.count(g) if shuffle else k if step > 0 else 1, after))
    return moves


@cache
def completions(r, counts, reached, k, shuffle, low, high):
    reached = reached or sum(counts) >= low
    if r == 0:
        return int(reached and not any(counts))
    moves = moves_of(counts, k, shuffle, high)
    return sum(many * completions(r - 1, after, reached, k, shuffle, low, high) for *_, many, after in moves)


@pytest.mark.parametrize(
    ("settings", "own"),
    [
        ({}, {}),
        ({"ending": "cut"}, {"cut": True}),
        ({"ending": "cut", "shuffle": True, "k": 3, "min_depth": 4, "open_probability": "1/3"},
         {"cut": True, "shuffle": True, "k": 3, "low": 4, "p": Fraction(1, 3)}),
        ({"seq_len": 133, "k": 5, "length": 40, "min_length": 6, "min_depth": 3},
 {"seq_len": 133, "k": 5, "length": 40, "least": 6, "low": 3}),
        ({"seq_len": 99, "k": 3, "shuffle": True, "uniform": True, "length": 18, "min_depth": 5, "max_depth": 6},
         {"seq_len": 99, "k": 3, "shuffle": True, "uniform": True, "length": 18, "low": 5, "high": 6}),
        ({"seq_len": 99, "k": 3, "uniform": True, "length": 18, "min_depth": 5, "max_depth": 6},
         {"seq_len": 99, "k": 3, "uniform": True, "length": 18, "low": 5, "high": 6}),
    ],
)  # fmt: skip
def test_dyck(settings, own):
    rows, key = rows_of(source="dyck", **settings)
    for row in rows:
        dyck = Dyck(key, int(row["candidate"]), **own)
        assert row["input_ids"].tolist() == dyck.ids
        brackets = [t for t in dyck.ids if t < 2 * dyck.k]
        depths = list(accumulate(1 if t < dyck.k else -1 for t in brackets))
        assert row["depth"] == max(depths)
        assert row["mean_depth"] == np.float32(sum(depths) / len(depths))
        assert row["gzip_bytes"] == gzip_length(brackets[: dyck.scored])
