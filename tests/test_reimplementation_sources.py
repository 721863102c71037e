"""A second implementation of the sources, in plain Python from docs/sources.md only, compared with built rows.

Of ncagen it uses `generate`, which it checks, and the gzip length, which tests/test_tokens.py compares with zlib's.
"""

import json
from itertools import count, islice
from math import ceil

import numpy as np
import pytest
from test_reimplementation import Automaton
from textdata import library, write_tokenizer

import ncagen
from ncagen.deflate.lengths import token_gzip_lengths
from ncagen.sources.nca.settings import Settings

TASKS = "copy,reverse,sort,set,union,delete,stack,addition"


def philox(c0, c1, c2, c3, k0, k1):  # numbers, or one array among them
    for _ in range(10):
        left, right = 0xD2511F53 * c0, 0xCD9E8D57 * c2
        c0, c1, c2, c3 = right >> 32 ^ c1 ^ k0, right % 2**32, left >> 32 ^ c3 ^ k1, left % 2**32
        k0, k1 = (k0 + 0x9E3779B9) % 2**32, (k1 + 0xBB67AE85) % 2**32
    return c0, c1, c2, c3


def long_words(key, purpose, number):
    """The 32-bit words of a purpose and number, one after another."""
    for b in count():
        yield from philox(b, purpose, number % 2**32, number >> 32, *key)


def word(key, purpose, number, i):
    """A 16-bit word."""
    return philox(i // 8, purpose, number % 2**32, number >> 32, *key)[i % 8 // 2] >> 16 * (i % 2) & 0xFFFF


def rows_of(split="train", rows=3, **settings):
    """The first rows of a dataset, and its seed and stream."""
    settings |= {"seed": 7, "seq_len": settings.get("seq_len", 1024)}
    sizes = {"tokens": rows * settings["seq_len"], "validation": rows * settings["seq_len"]}
    key = settings["seed"], ("train", "validation", "test").index(split)
    return list(islice(ncagen.generate(settings | sizes, split=split), rows)), key


def gzip_length(content):
    return int(token_gzip_lengths(np.array([content[:360]], np.uint32))[0])


def rearranged(control, P, key, number):
    """The patches of a control's row, from those of the trajectory: [grid][patch]."""
    controls = ["shuffle-time", "shuffle-cells", "shuffle-row", "unigram", "noise"]
    words = long_words(key, 5 + controls.index(control), number)

    def below(n):
        return next(w * n >> 32 for w in words if w * n % 2**32 >= 2**32 % n)

    def shuffled(things):
        things = list(things)
        for i in range(len(things) - 1, 0, -1):
            j = below(i + 1)
            things[i], things[j] = things[j], things[i]
        return things

    flat = [patch for grid in P for patch in grid]
    if control == "shuffle-time":
        return [patch for grid in shuffled(P) for patch in grid]
    if control == "shuffle-cells":
        return [patch for grid in P for patch in shuffled(grid)]
    if control == "shuffle-row":
        return shuffled(flat)
    return [flat[below(len(flat))] if control == "unigram" else below(10_000) for _ in flat]


@pytest.mark.parametrize("control", ["shuffle-time", "shuffle-cells", "shuffle-row", "unigram", "noise"])
def test_controls_that_rearrange(control):
    (plain, key), (rows, _) = rows_of(band="high"), rows_of(band="high", control=control)
    for before, row in zip(plain, rows, strict=True):
        P, found = (r["input_ids"].reshape(27, 38)[:, 1:-1].tolist() for r in (before, row))
        patches = rearranged(control, P, key, int(row["candidate"]))
        assert [patch for grid in found for patch in grid] == patches
        assert row["candidate"] == before["candidate"]
        assert row["original_gzip_bytes"] == before["gzip_bytes"]
        assert row["gzip_bytes"] == gzip_length(patches)


@pytest.mark.parametrize("control", ["frozen-rule", "new-rule"])
def test_controls_of_rules(control):
    small = {"states": 3, "warmup": 2, "stride": 2}
    of_control = {"rule_candidate": 3} if control == "frozen-rule" else {"trajectories_per_rule": 3}
    rows, key = rows_of(band="all", seq_len=100, control=control, grid=6, **small, **of_control)
    settings = Settings(height=6, width=6, trajectories_per_rule=1 if control == "frozen-rule" else 3, **small)
    for row in rows:
        number, grids = int(row["candidate"]), []
        own = Automaton(settings, key, number)
        if control == "frozen-rule":
            rule, change = Automaton(settings, (7, 3), 3), 0
        else:
            rule, change = Automaton(settings, key, number + 2**63 - 2**63 % 3), 5  # half of 10 grids
        grid, (rule.key, rule.candidate) = own.start(), (key, number)  # start and noise are the candidate's
        for step in range(1, 2 + 2 * 10):
            grid = (rule if step > 2 * change or not change else own).step(grid, step)
            if step >= 2 and step % 2 == 0:
                grids.append(grid)
        tokens = [t for grid in grids for t in (81, *own.patches(grid), 82)]
        assert row["input_ids"].tolist() == tokens


def example(task, w, S=99, n=64, digits=5):
    """The inputs and the answer of one example. w: its words."""
    x = [1 + (v * S >> 32) for v in w[4 : 4 + n]]
    if task == "addition":
        a, b = ([(v * (10 if i else 9) >> 32) + (not i) for i, v in enumerate(w[at : at + digits])] for at in (4, 9))
        total = sum(int("".join(map(str, number))) for number in (a, b))
        return [[d + 1 for d in a], [d + 1 for d in b]], [int(d) + 1 for d in str(total)]
    if task == "delete":
        s = 1 + (w[2] * S >> 32)
        at = x.index(s) if s in x else n
        return [x, [s]], x[:at] + x[at + 1 :]
    if task == "union":
        return [x[: n // 2], x[n // 2 :]], list(dict.fromkeys(x))
    if task == "stack":
        h, d, operations = list(range(1, S + 1)), 0, []
        for i in range(n):
            u, v = w[4 + 2 * i], w[5 + 2 * i]
            if d < 2 or (not (i == n - 1 or d == S) and u < (3 * 2**30 if i < 2 * n // 3 else 2**30)):
                j = d + (v * (S - d) >> 32)
                h[d], h[j] = h[j], h[d]
                operations.append(h[d])
                d += 1
            else:
                operations.append(0)
                d -= 1
        return [operations], h[:d][::-1]
    return [x], {"copy": x, "reverse": x[::-1], "sort": sorted(x), "set": list(dict.fromkeys(x))}[task]


@pytest.mark.parametrize("tasks", [TASKS, "stack,sort", "set"])
def test_procedural(tasks):
    rows, key = rows_of(source="procedural", task=tasks, seq_len=4096)
    names = tasks.split(",")
    for row in rows:
        ids = []
        for e in count():
            w = list(islice(long_words(key, e, int(row["candidate"])), 140))
            task = names[w[0] * len(names) >> 32]
            inputs, answer = example(task, w)
            ids += [102 + TASKS.split(",").index(task)] * (len(names) > 1)
            for x in inputs:
                ids += [*x, 100]
            ids += [*answer, 101]
            if len(ids) >= 4097:
                break
        assert row["input_ids"].tolist() == ids[:4097]
        assert row["gzip_bytes"] == gzip_length(ids)


@pytest.mark.parametrize("documents", ["packed", "split"])
def test_text(documents, tmp_path, monkeypatch):
    monkeypatch.setenv("NCAGEN_CORPORA", str(tmp_path / "corpora"))
    corpus = ncagen.prepare_corpus(library(), write_tokenizer(tmp_path / "tokenizer.json"))
    settings = {"source": "text", "corpus": corpus.sha256, "documents": documents, "seed": 7, "seq_len": 256}
    sizes = {"tokens": "50K", "validation": "10K", "rows_per_shard": 32}
    ncagen.build(settings | sizes, tmp_path / "data")
    spec = json.loads((tmp_path / "data/manifest.json").read_text())["dataset"]["spec"]["source"]
    tokens, ends, digests = (
        np.fromfile(corpus.folder / f"{name}.bin", dtype).tolist()
        for name, dtype in (("tokens", "<u2"), ("ends", "<i8"), ("digests", "<u8"))
    )
    end = json.loads((corpus.folder / "corpus.json").read_text())["vocabulary"]
    for stream, split in enumerate(("train", "validation")):
        mine = [i for i, d in enumerate(digests) if (d >> 48 < spec["validation_share"]) == (split == "validation")]
        keys = {i: sum(word((7, stream), 0, i, j) << 16 * j for j in range(4)) for i in mine}
        texts = [tokens[ends[i - 1] if i else 0 : ends[i]] for i in sorted(mine, key=lambda i: (keys[i], i))]
        if documents == "packed":
            line = [t for text in texts for t in [*text, end]]
            windows = [line[w : w + 257] for w in range(0, (len(line) - 1) // 256 * 256, 256)]
        else:
            padded = [text + [end] * 257 for text in texts]
            places = [range(0, len(text), 256) for text in texts]
            windows = [text[at : at + 257] for text, some in zip(padded, places, strict=True) for at in some]
        rows, W = ncagen.open(tmp_path / "data", split=split), len(windows)
        R = ceil({"train": 50_000, "validation": 10_000}[split] / 256)
        assert len(rows) == R == spec[f"{split}_rows"]
        for row in map(rows.__getitem__, range(R)):
            shard, i = divmod(int(row["candidate"]), 2**32)
            window = windows[W * 32 * shard // R + i]
            assert row["input_ids"].tolist() == window
            assert row["gzip_bytes"] == gzip_length(window)
