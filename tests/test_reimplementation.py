"""Compares a second implementation, in plain Python integers from docs/automaton.md only, with the definition.

The first half uses nothing of ncagen except the names of the settings. Numbers in brackets are the sections of
docs/automaton.md. It is slow and covers single candidates; hashes of the tables are in `test_tables`.
"""

import hashlib
import math
from dataclasses import replace
from decimal import Decimal, localcontext
from functools import cache
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest

from ncagen.deflate.lengths import token_gzip_lengths
from ncagen.sources import grid_tokens
from ncagen.sources.nca import definition
from ncagen.sources.nca.rules import Rules
from ncagen.sources.nca.settings import PRESETS, Settings
from ncagen.sources.nca.source import Nca

DOCUMENT = Path(__file__).parent.parent / "docs" / "automaton.md"
NORMAL, SIGMA = NormalDist(), 0.87962566103423978


@cache
def philox(counter, key):  # [2]
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        left, right = 0xD2511F53 * c0, 0xCD9E8D57 * c2
        c0, c1, c2, c3 = right >> 32 ^ c1 ^ k0, right % 2**32, left >> 32 ^ c3 ^ k1, left % 2**32
        k0, k1 = (k0 + 0x9E3779B9) % 2**32, (k1 + 0xBB67AE85) % 2**32
    return c0, c1, c2, c3


def word(key, purpose, number, i):  # [2]
    block = philox((i // 8, purpose, number % 2**32, number >> 32), key)
    return block[i % 8 // 2] >> 16 * (i % 2) & 0xFFFF


@cache
def weight(scale, w):  # [3]
    tail = NORMAL.cdf(-2)
    return round(scale / SIGMA * NORMAL.inv_cdf(tail + (1 - 2 * tail) * (w + 0.5) / 65536))


@cache
def start_weight(w):  # [3]
    return round(1024 * math.exp(NORMAL.inv_cdf((w + 0.5) / 65536)))


@cache
def gumbel(w):  # [3]
    return round(-4096 * math.log(-math.log((w + 0.5) / 65536)))


class Automaton:
    """One candidate's trajectory."""

    def __init__(self, settings, key, candidate):
        self.settings, self.key, self.candidate = settings, key, candidate
        self.n, self.h, self.w = settings.states, settings.height, settings.width
        self.rule = candidate // settings.trajectories_per_rule
        self.channels = self.n + 2 if settings.channel_wrap else self.n
        self.perception = [[self.place(3 * row + column) for column in range(3)] for row in range(3)]
        hidden, output = self.layer(1, 7200, 64), self.layer(2, 1024, 16 * self.n)
        self.hidden = [hidden[4 * j : 4 * j + 4] for j in range(16)]
        self.output = [output[16 * s : 16 * s + 16] for s in range(self.n)]
        self.T, self.B = self.logit(settings.temperature), self.logit(settings.identity_bias)

    def layer(self, purpose, scale, count, first=0):  # [4]
        return [weight(scale, word(self.key, purpose, self.rule, first + i)) for i in range(count)]

    def place(self, place):  # [4] weights[state][channel] of one of the nine neighbours
        drawn = self.layer(0, 800, 4 * self.channels, first=place * 4 * self.channels)
        drawn = [drawn[4 * i : 4 * i + 4] for i in range(self.channels)]
        if not self.settings.channel_wrap:
            return drawn
        first, *states, last = drawn
        states[-1] = [a + b for a, b in zip(states[-1], first, strict=True)]
        states[0] = [a + b for a, b in zip(states[0], last, strict=True)]
        return states

    def logit(self, value):  # [7]
        with localcontext() as context:
            context.prec = 50
            product = Decimal(repr(value)) * 90000 * Decimal(9 * self.channels * 4 * 16).sqrt()
            return int(product.to_integral_value("ROUND_HALF_EVEN"))

    def start(self):  # [5]
        draws = [word(self.key, 4, self.candidate, cell) for cell in range(self.h * self.w)]
        if self.settings.start == "uniform":
            return [w * self.n >> 16 for w in draws]
        ends = [sum(self.start_weights()[: s + 1]) for s in range(self.n)]
        return [sum(end <= w * ends[-1] >> 16 for end in ends) for w in draws]

    def start_weights(self):  # [5]
        return [start_weight(word(self.key, 3, self.candidate, s)) for s in range(self.n)]

    def logits(self, grid, cell):  # [6] without bias and noise
        y, x = divmod(cell, self.w)
        p = [0, 0, 0, 0]
        for row in range(3):
            for column in range(3):
                state = grid[(y + row - 1) % self.h * self.w + (x + column - 1) % self.w]
                p = [a + b for a, b in zip(p, self.perception[row][column][state], strict=True)]
        u = [max(sum(a * b for a, b in zip(h, p, strict=True)), 0) >> 16 for h in self.hidden]
        return [sum(a * b for a, b in zip(o, u, strict=True)) for o in self.output]

    def noise(self, step, cell):  # [6]
        first = cell * ((self.n + 7) // 8) * 8
        words = (word(self.key, 16 + step, self.candidate, first + s) for s in range(self.n))
        return [gumbel(w) * self.T >> 12 for w in words]

    def step(self, grid, step):  # [6]
        following = []
        for cell in range(self.h * self.w):
            scores = [a + b for a, b in zip(self.logits(grid, cell), self.noise(step, cell), strict=True)]
            scores[grid[cell]] += self.B
            following.append(scores.index(max(scores)))
        return following

    def frames(self, count):  # [8]
        grid, recorded = self.start(), []
        for step in range(self.settings.warmup + self.settings.stride * (count - 1) + 1):
            grid = self.step(grid, step) if step else grid
            if step >= self.settings.warmup and (step - self.settings.warmup) % self.settings.stride == 0:
                recorded.append(grid)
        return recorded

    def patches(self, grid):  # [8]
        p = self.settings.patch
        corners = [y * self.w + x for y in range(0, self.h, p) for x in range(0, self.w, p)]
        inside = [dy * self.w + dx for dy in range(p) for dx in range(p)]
        return [sum(grid[c + i] * self.n**digit for digit, i in enumerate(inside)) for c in corners]

    def entropy(self, grid, cell):  # [14]
        logits = self.logits(grid, cell)
        logits[grid[cell]] += self.B
        reach = (gumbel(65535) * self.T >> 12) - (gumbel(0) * self.T >> 12)
        scale = (2**44 + self.T // 2) // self.T
        distances = [max(logits) - logit for logit in logits if max(logits) - logit <= reach]
        u = [distance * scale + 2**31 >> 32 for distance in distances]
        e = [round(math.exp(-x / 4096) * 2**30) for x in u]
        k = max(sum(e).bit_length() - 31, 0)
        i, f = divmod((sum(e) >> k) - 2**30, 2**20)
        low, high = (round(math.log1p(j / 1024) * 2**24) for j in (i, i + 1))
        mean = (sum(x * y for x, y in zip(e, u, strict=True)) << 12) // sum(e)
        return k * 11629080 + low + ((high - low) * f >> 20) + mean

    def oracle(self, frames):  # [14] for a stride of 1
        total = sum(self.entropy(grid, cell) for grid in frames[:-1] for cell in range(self.h * self.w))
        patches = (len(frames) - 1) * (self.h // self.settings.patch) * (self.w // self.settings.patch)
        return (total // patches * 10**6 + 2**23) >> 24

    def row(self, frames):  # [8]
        first = self.n ** (self.settings.patch**2)
        return [token for grid in frames for token in (first, *self.patches(grid), first + 1)]


DEFAULT = Settings()
TRAIN, VALIDATION = (0, 0), (0, 1)
CASES = {
    "default": (DEFAULT, TRAIN, [0, 1, 2**32, 2**64 - 1], 2),
    "validation, another seed": (DEFAULT, (2**32 - 1, 1), [0, 7 * 2**32 + 5], 2),
    "paper": (Settings(**PRESETS["paper"]), TRAIN, [0, 3], 2),
    "5 states": (Settings(states=5), TRAIN, [0, 1], 3),
    "15 states, grid 8": (Settings(states=15, height=8, width=8), TRAIN, [0, 1], 3),
    "no wrap, identity bias, stride, warmup": (
        Settings(channel_wrap=False, identity_bias=0.25, stride=2, warmup=3),
        TRAIN,
        [0, 1],
        4,
    ),
    "negative bias, no warmup": (Settings(states=2, identity_bias=-0.5, warmup=0), TRAIN, [0, 1], 4),
    "patch 3, 2 states": (Settings(states=2, patch=3, start="uniform"), TRAIN, [0, 1], 3),
    "40 states, patch 1, grid 3": (Settings(states=40, patch=1, height=3, width=3, temperature=0.05), TRAIN, [0, 1], 5),
    "trajectories per rule": (Settings(trajectories_per_rule=3, warmup=4), TRAIN, [0, 2, 3, 2**32], 2),
    "6 x 4": (Settings(height=6, width=4), TRAIN, [0, 1], 3),
    "3 x 10, patch 1": (Settings(height=3, width=10, patch=1, temperature=0.05), VALIDATION, [0, 1], 3),
    "6 x 15, patch 3": (Settings(states=3, height=6, width=15, patch=3), TRAIN, [0, 1], 3),
    "temperature 0": (Settings(temperature=0.0), TRAIN, [0, 1], 2),
    "temperature 1": (Settings(temperature=1.0), TRAIN, [0, 1], 2),
}


@pytest.mark.parametrize("name", CASES)
def test_the_same_as_the_definition(name):
    settings, key, candidates, frames = CASES[name]
    wanted = definition.trajectories(settings, key, np.array(candidates, np.uint64), frames)
    rows = grid_tokens.rows(settings, grid_tokens.patch_tokens(settings, wanted))
    for candidate, grids, row in zip(candidates, wanted, rows, strict=True):
        automaton = Automaton(settings, key, candidate)
        found = automaton.frames(frames)
        assert found == grids.reshape(frames, -1).tolist()
        assert automaton.row(found) == row.tolist()


@pytest.mark.parametrize(
    "settings",
    [
        Settings(seq_len=76),
        Settings(seq_len=76, temperature=0.1, identity_bias=0.25),
        Settings(states=40, patch=1, height=3, width=3, temperature=1.0, seq_len=32),
    ],
)
def test_the_oracle_column(settings):
    automaton = Automaton(settings, TRAIN, 0)
    made = Nca(replace(settings, facts="oracle")).batch(TRAIN, np.zeros(1, np.uint64)).rows(np.zeros(1, int))
    assert [automaton.oracle(automaton.frames(settings.frames))] == made["oracle_micronats"].tolist() != [0]


def test_trajectories_of_a_rule_share_its_weights_only():
    shared = Settings(trajectories_per_rule=3)
    a, b, c = (Automaton(shared, TRAIN, candidate) for candidate in (0, 2, 3))
    assert a.perception == b.perception != c.perception
    assert a.start() != b.start()
    assert a.noise(1, 0) != b.noise(1, 0)


def test_the_lowest_of_equals_wins():
    """A rule whose output has equal rows: the identity bias decides, and without it state 0."""
    for bias in (0.0, 0.25, -0.25):
        settings = Settings(temperature=0.0, identity_bias=bias)
        automaton = Automaton(settings, TRAIN, 0)
        automaton.output = [automaton.output[0]] * 10
        rules = Rules(*(np.array([layer]) for layer in (automaton.perception, automaton.hidden, automaton.output)))
        start = automaton.start()
        grid = np.array(start, np.uint8).reshape(1, 12, 12)
        wanted = definition.next_grids(settings, TRAIN, np.zeros(1, np.uint64), rules, grid, 1)
        assert automaton.step(start, 1) == wanted.ravel().tolist()
        assert (wanted == (grid if bias > 0 else 0 if bias == 0 else (grid == 0))).all()


def text(numbers):
    return " ".join(str(number) for number in numbers)


def test_the_worked_example():
    """Every line of the example in docs/automaton.md, in its order, from the code above."""
    automaton = Automaton(DEFAULT, TRAIN, 0)
    start, frames = automaton.start(), automaton.frames(27)
    row = automaton.row(frames)
    scored = [patch for grid in frames[:10] for patch in automaton.patches(grid)]
    length = token_gzip_lengths(np.array([scored], np.uint16))[0]
    lines = {
        "block 0 of purpose 0": text(f"{w:08x}" for w in philox((0, 0, 0, 0), (0, 0))),
        "its words": text(word((0, 0), 0, 0, i) for i in range(8)),
        "weights drawn from them": text(automaton.layer(0, 800, 8)),
        "perception[0, 0, state 0]": text(automaton.perception[0][0][0]),
        "hidden[unit 0]": text(automaton.hidden[0]),
        "output[state 0]": text(automaton.output[0]),
        "start weights": text(automaton.start_weights()),
        "start grid, row 0": text(start[:12]),
        "T": str(automaton.T),
        "logits of cell 0 in step 1": text(automaton.logits(start, 0)),
        "noise of cell 0 in step 1": text(automaton.noise(1, 0)),
        "after step 1, row 0": text(automaton.step(start, 1)[:12]),
        "frame 0, row 0": text(frames[0][:12]),
        "frame 0, row 1": text(frames[0][12:24]),
        "first tokens": text(row[:10]),
        "gzip length": str(length),
        "sha256 of the row as uint16": hashlib.sha256(np.array(row, "<u2").tobytes()).hexdigest(),
    }
    assert 4 * len(scored) == 1440
    assert example(lines) in DOCUMENT.read_text(encoding="utf-8")


def test_the_worked_example_of_a_grid_that_is_not_square():
    """Every line of the second example in docs/automaton.md."""
    automaton = Automaton(Settings(height=6, width=10), TRAIN, 0)
    start, frames = automaton.start(), automaton.frames(61)
    row = automaton.row(frames)
    scored = [patch for grid in frames[:10] for patch in automaton.patches(grid)]
    lines = {
        "start grid, row 0": text(start[:10]),
        "start grid, row 1": text(start[10:20]),
        "T": str(automaton.T),
        "frame 0, row 0": text(frames[0][:10]),
        "frame 0, row 1": text(frames[0][10:20]),
        "tokens of frame 0": text(row[:17]),
        "scored bytes": str(4 * len(scored)),
        "gzip length": str(token_gzip_lengths(np.array([scored], np.uint16))[0]),
        "sha256 of the row as uint16": hashlib.sha256(np.array(row, "<u2").tobytes()).hexdigest(),
    }
    assert example(lines) in DOCUMENT.read_text(encoding="utf-8")


def example(lines: dict[str, str]) -> str:
    """A block of the document, a line for each name and value."""
    return "".join(["```\n", *(f"{name:32}{value}\n" for name, value in lines.items()), "```"])
