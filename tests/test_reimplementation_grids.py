"""A second implementation of life, elementary and the noise of normalised bands, in plain Python from docs/sources.md
only, compared with built rows and specs."""

from fractions import Fraction
from math import ceil

import numpy as np
import pytest
from test_reimplementation_sources import gzip_length, philox, rows_of, word

from ncagen.factory.settings import from_settings
from ncagen.row_format import Measure


def grid_row(rule, start, settings, next_of):
    """The tokens of a run on a torus of cells. next_of(rule, y, x, cells): the next state of a cell."""
    patch_height, patch, warmup, grids, cells = *settings, start
    ids, content, alphabet = [], [], 2 ** (patch_height * patch)
    for step in range(warmup + grids):
        h, w = len(cells), len(cells[0])
        if step >= warmup:
            patches = [
                sum(cells[y + i // patch][x + i % patch] << i for i in range(patch_height * patch))
                for y in range(0, h, patch_height)
                for x in range(0, w, patch)
            ]
            content += patches
            ids += [alphabet, *patches, alphabet + 1]
        cells = [[next_of(rule, y, x, cells) for x in range(w)] for y in range(h)]
    return ids, content


def life(rule, y, x, cells):
    h, w = len(cells), len(cells[0])
    alive = sum(cells[(y + a) % h][(x + b) % w] for a in (-1, 0, 1) for b in (-1, 0, 1)) - cells[y][x]
    return rule >> 9 * cells[y][x] + alive & 1


def elementary(rule, y, x, cells):
    line = cells[y]
    return rule >> 4 * line[x - 1] + 2 * line[x] + line[(x + 1) % len(line)] & 1


def mirrored(rule):
    return sum((rule >> i & 1) << j for i, j in enumerate((0, 4, 2, 6, 1, 5, 3, 7)))


def exchanged(rule, bits):
    return sum((1 - (rule >> bits - 1 - i & 1)) << i for i in range(bits))


def allowed(bits, stream):
    """The rules of a stream, of 18 or 8 bits, where no rule of a split is in another."""
    rules = np.arange(2**bits, dtype=np.uint64)
    names = np.minimum(rules, sum((1 - (rules >> bits - 1 - i & 1)) << i for i in range(bits)))
    if bits == 8:
        names = np.array([min(r, exchanged(r, 8), mirrored(r), mirrored(exchanged(r, 8))) for r in range(256)])
    classes = np.unique(names).astype(np.uint64)
    low, high, *_ = philox(0, 2, classes, 0, 0, 0)  # words 0 to 3 are the first two of 32 bits
    order = classes[np.lexsort((classes, low | high << 32))]
    eighth = len(order) // 8
    chosen = {1: order[:eighth], 2: order[eighth : 2 * eighth]}.get(stream, order[2 * eighth :])
    return np.flatnonzero(np.isin(names, chosen)).tolist()


@pytest.mark.parametrize("split", ["train", "validation"])
@pytest.mark.parametrize("source", ["life", "elementary"])
def test_hidden_rule(source, split):
    rows, key = rows_of(split, source=source, rule="disjoint")
    bits, shape, settings, step = {
        "life": (18, (12, 12), (2, 2, 10, 27), life),
        "elementary": (8, (1, 64), (1, 4, 0, 57), elementary),
    }[source]
    rules = allowed(bits, key[1])
    if source == "life":
        assert len(rules) == (32762 if split == "validation" else 196620)
    else:
        assert len(rules) == (30 if split == "validation" else 186)
    for row in rows:
        number = int(row["candidate"])
        w = word(key, 0, number, 0) + (word(key, 0, number, 1) << 16)
        rule = rules[w * len(rules) >> 32]
        cells = [int(word(key, 1, number, c) < 32768) for c in range(shape[0] * shape[1])]
        start = [cells[y * shape[1] : (y + 1) * shape[1]] for y in range(shape[0])]
        ids, content = grid_row(rule, start, settings, step)
        assert row["rule"] == rule
        assert row["input_ids"].tolist() == ids
        assert row["gzip_bytes"] == gzip_length(content)


def noise_mean(ids, cells=1):
    """Of rows of 360 tokens, each of so many cells, from 64 samples."""

    def cell(k, i):
        if ids <= 256:
            return word((0, 3), 4, k, i) * ids >> 16
        return (word((0, 3), 4, k, 2 * i) + (word((0, 3), 4, k, 2 * i + 1) << 16)) * ids >> 32

    def token(k, i):
        return sum(cell(k, cells * i + j) * ids**j for j in range(cells))

    return Fraction(sum(gzip_length([token(k, i) for i in range(360)]) for k in range(64)), 64)


@pytest.mark.parametrize(
    ("settings", "noise", "score"),
    [
        ({"source": "dyck"}, (128,), 0.381),
        ({"source": "procedural"}, (100,), 0.364),
        ({"source": "life"}, (2, 4), 0.246),
        ({"states": 3}, (3, 4), 0.352),
        ({}, (10, 4), 0.670),
    ],
)
def test_noise_and_normalised_bands(settings, noise, score):
    (band,) = from_settings(settings | {"tokens": "10K", "band-normalised": "0.75-0.95"}).bands
    mean = noise_mean(*noise)
    assert round(float(mean / 1440), 3) == score  # the table of docs/sources.md
    assert Fraction(band.of) == mean
    measure = Measure("gzip_bytes", "gzip_ratio", Fraction(1440))
    assert band.limits(measure) == (ceil(Fraction(3, 4) * mean), ceil(Fraction(19, 20) * mean))
