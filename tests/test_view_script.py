"""The page's automaton and gzip length, run by node, against the factory's: bit for bit.

What a browser makes of them is in `test_view_browser`.
"""

import base64
import json
import re
import shutil
import subprocess

import numpy as np
import pytest
from conftest import ROOT

from ncagen import philox
from ncagen.deflate.lengths import gzip_length
from ncagen.factory.plan import NOISE_SAMPLES, noise_lengths
from ncagen.sources.nca import source as nca
from ncagen.spec import PRESETS, Band, Spec
from ncagen.view.webpage import settings, source, table_sums

NODE = shutil.which("node")
pytestmark = pytest.mark.skipif(NODE is None, reason="node is not installed: apt-get install nodejs")

READ = 'const input = JSON.parse(require("fs").readFileSync(0));'


def node(program: str, value: object = None) -> object:
    """What a program prints as JSON that has the page's scripts before it and `value` as `input`."""
    text = "\n".join([source("automaton.js"), source("gzip.js"), READ, f"console.log(JSON.stringify({program}))"])
    done = subprocess.run([NODE, "-e", text], input=json.dumps(value), capture_output=True, text=True, timeout=120)
    assert done.stderr == ""
    return json.loads(done.stdout)


def spec(**changes) -> Spec:
    return Spec(tokens=1, bands=(Band.parse("0-2"),), **changes)


CASES = {
    "released": (spec(), "train", [0, 1, 2, 2**32, 2**53 + 1, 2**64 - 1]),
    "paper, validation, highest seed": (spec(seed=2**32 - 1, **PRESETS["paper"]), "validation", [0, 7 * 2**32 + 5]),
    "15 states, grid 8, 3 rows a rule": (spec(states=15, grid=8, trajectories_per_rule=3), "train", [0, 2, 3, 2**40]),
    "no wrap, bias, stride": (
        spec(channel_wrap=False, identity_bias=0.25, stride=2, warmup=3),
        "train",
        [0, 1, 2**32],
    ),
    "2 states, negative bias, no warm-up": (spec(states=2, identity_bias=-0.5, warmup=0), "train", [0, 1]),
    "patch 3": (spec(states=2, patch=3, start="uniform"), "train", [0, 1, 2]),
    "250 states, ids over 2**31": (spec(states=250, grid=4, seq_len=1000), "train", [0, 1]),
    "40 states, grid 3": (spec(states=40, patch=1, grid=3, temperature=0.05), "train", [0, 1]),
    "temperature 0": (spec(temperature=0.0), "train", [0, 1]),
    "temperature 1": (spec(temperature=1.0), "train", [0, 1]),
    "grid 36, scores of more than 4096 bytes": (spec(states=3, grid=36), "train", [0, 1]),
}


def test_rows_and_lengths_are_the_factory_s():
    jobs = [
        {"settings": settings(s), "stream": philox.STREAMS[stream], "candidates": [str(c) for c in candidates]}
        for s, stream, candidates in CASES.values()
    ]
    program = """input.map(({ settings, stream, candidates }) => candidates.map((candidate) => {
      const { tokens, gzipBytes } = makeRow(settings, stream, BigInt(candidate));
      return [[...tokens], gzipBytes];
    }))"""
    for (name, (s, stream, candidates)), made in zip(CASES.items(), node(program, jobs), strict=True):
        ids, lengths = nca.rebuild(s, philox.STREAMS[stream], np.array(candidates, np.uint64))
        assert [row for row, _ in made] == ids.tolist(), name
        assert [length for _, length in made] == lengths.tolist(), name


def test_the_tables_have_the_hashes_of_the_specification():
    hashes = node(
        """Object.fromEntries(Object.entries(TABLES).map(([name, entries]) => [
      name, require("crypto").createHash("sha256").update(Buffer.from(entries.buffer)).digest("hex")]))"""
    )
    lines = re.findall(r"^\| .*`([0-9a-f]{64})` \|$", (ROOT / "docs" / "automaton.md").read_text(), flags=re.M)
    assert [hashes[name] for name in ("perception", "hidden", "output", "start", "gumbel")] == lines
    assert node("tableSums()") == table_sums()


def test_a_wrong_table_is_noticed():
    assert node("(TABLES.gumbel[40000]++, tableSums())") != table_sums()


def test_gzip_lengths_of_any_bytes():
    random = np.random.default_rng(0)
    texts = [random.integers(0, k, n).astype(np.uint8) for n in (0, 1, 2, 3, 4, 258, 5000, 40000) for k in (2, 30, 256)]
    # Fibonacci counts make the deepest trees, and those of code lengths too deep; repeats make the longest matches.
    counts = [1, 1]
    while len(counts) < 19:
        counts.append(counts[-1] + counts[-2])
    texts.append(random.permutation(np.repeat(np.arange(19, dtype=np.uint8), counts)))
    texts += [np.tile(random.integers(0, 256, n).astype(np.uint8), 300) for n in (1, 2, 100, 260)]
    texts.append(random.integers(0, 2, 120000).astype(np.uint8) * 7)
    blobs = [base64.b64encode(text.tobytes()).decode() for text in texts]
    made = node('input.map((text) => gzipLength(new Uint8Array(Buffer.from(text, "base64"))))', blobs)
    assert made == [gzip_length(text.tobytes()) for text in texts]


@pytest.mark.parametrize("changes", [{}, {"states": 2}, {"states": 250, "grid": 4, "seq_len": 1000}])
def test_noise_scores_what_a_plan_says(changes):
    made = node(f"noiseLength(input, {NOISE_SAMPLES})", settings(spec(**changes)))
    assert made == noise_lengths(spec(**changes)).mean()


def test_random_bits_are_the_published_ones():
    """Random123's known answers."""
    program = "input.map(([c, k]) => { const out = new Uint32Array(4); philox(...c, ...k, out); return [...out]; })"
    ones = 2**32 - 1
    asked = [[[0] * 4, [0] * 2], [[ones] * 4, [ones] * 2]]
    asked.append([[0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344], [0xA4093822, 0x299F31D0]])
    assert [" ".join(f"{word:08x}" for word in block) for block in node(program, asked)] == [
        "6627e8d5 e169c58d bc57ac4c 9b00dbd8",
        "408f276d 41c83b0e a20bc7c6 6d5451fd",
        "d16cfe09 94fdcceb 5001e420 24126ea1",
    ]
