"""Runs the page's modules in node: automaton and gzip length are compared with Python's, bit for bit; positions of
labels; the bundle. `test_view_browser` runs them in a browser.
"""

import base64
import json
import re
import shutil
import subprocess
from itertools import pairwise

import numpy as np
import pytest
from conftest import ROOT

from ncagen import philox
from ncagen.deflate.lengths import gzip_length
from ncagen.deflate.noise import NOISE_SAMPLES
from ncagen.sources.elementary import Elementary
from ncagen.sources.life import Life
from ncagen.sources.nca.settings import PRESETS, Settings
from ncagen.sources.nca.source import Nca
from ncagen.view.bundle import bundle
from ncagen.view.grids import still
from ncagen.view.nca_twin import settings, table_sums, twin
from ncagen.view.webpage import PAGE, TWINS, grid_shape

NODE = shutil.which("node")
pytestmark = pytest.mark.skipif(NODE is None, reason="node is not installed: apt-get install nodejs")

PROGRAM = """
import {{ createHash }} from "node:crypto";
import {{ readFileSync }} from "node:fs";
{imports}
const input = JSON.parse(readFileSync(0));
console.log(JSON.stringify({expression}));
"""


def node(names: dict[str, str], expression: str, value: object = None) -> object:
    """Evaluates an expression. names: imports, by the module that exports them. value: available as `input`."""
    imports = [f'import {{ {some} }} from "{(PAGE / module).as_uri()}";' for module, some in names.items()]
    program = PROGRAM.format(imports="\n".join(imports), expression=expression)
    command = [NODE, "--input-type=module", "-e", program]
    done = subprocess.run(command, input=json.dumps(value), capture_output=True, text=True, timeout=120)
    assert done.stderr == ""
    return json.loads(done.stdout)


SOURCE = {"nca.js": "Nca", "source.js": "makeRow"}
ROWS = """input.map(({ twin, stream, candidates }) => candidates.map((candidate) => {
  const { tokens, gzipBytes } = makeRow(new Nca(twin), stream, BigInt(candidate));
  return [[...tokens], gzipBytes];
}))"""


def made_by_python(chosen: Settings, key: tuple[int, int], candidates: list[int]) -> list[list]:
    """Tokens and gzip length of each candidate's row."""
    batch = Nca(chosen).batch(key, np.array(candidates, np.uint64))
    rows = batch.rows(np.arange(len(candidates)))
    return [[ids, length] for ids, length in zip(rows.input_ids.tolist(), rows["gzip_bytes"].tolist(), strict=True)]


# name: settings, seed, stream, candidates
CASES = {
    "released": (Settings(), 0, "train", [0, 1, 2, 2**32, 2**53 + 1, 2**64 - 1]),
    "paper, validation, highest seed": (
        Settings(**PRESETS["paper"]),
        2**32 - 1,
        "validation",
        [0, 7 * 2**32 + 5],
    ),
    "15 states, grid 8, 3 rows a rule": (
        Settings(states=15, height=8, width=8, trajectories_per_rule=3),
        0,
        "train",
        [0, 2, 3, 2**40],
    ),
    "no wrap, bias, stride": (
        Settings(channel_wrap=False, identity_bias=0.25, stride=2, warmup=3),
        0,
        "train",
        [0, 1, 2**32],
    ),
    "2 states, negative bias, no warm-up": (Settings(states=2, identity_bias=-0.5, warmup=0), 0, "train", [0, 1]),
    "patch 3": (Settings(states=2, patch=3, start="uniform"), 0, "train", [0, 1, 2]),
    "250 states, ids over 2**31": (Settings(states=250, height=4, width=4, seq_len=1000), 0, "train", [0, 1]),
    "40 states, grid 3": (Settings(states=40, patch=1, height=3, width=3, temperature=0.05), 0, "train", [0, 1]),
    "temperature 0": (Settings(temperature=0.0), 0, "train", [0, 1]),
    "temperature 1": (Settings(temperature=1.0), 0, "train", [0, 1]),
    "grid 36, scores of more than 4096 bytes": (Settings(states=3, height=36, width=36), 0, "train", [0, 1]),
    "256 states, patch 1": (Settings(states=256, patch=1, identity_bias=10.0, temperature=1.0), 0, "train", [0, 1]),
    "6 x 10": (Settings(height=6, width=10), 0, "train", [0, 7]),
    "10 x 6, 3 states, uniform": (
        Settings(height=10, width=6, states=3, start="uniform", temperature=0.01),
        5,
        "validation",
        [0, 7],
    ),
    "3 x 20, patch 1, 256 states, stride": (
        Settings(height=3, width=20, states=256, patch=1, stride=2, warmup=1, identity_bias=0.5),
        0,
        "train",
        [0, 7],
    ),
    "9 x 3, patch 3, no wrap": (
        Settings(height=9, width=3, states=2, patch=3, channel_wrap=False),
        0,
        "train",
        [0, 7],
    ),
}


def test_rows_and_lengths_equal_those_of_python():
    jobs = [
        {"twin": twin(Nca(chosen), seed), "stream": philox.STREAMS[stream], "candidates": [str(c) for c in candidates]}
        for chosen, seed, stream, candidates in CASES.values()
    ]
    for (name, (chosen, seed, stream, candidates)), made in zip(CASES.items(), node(SOURCE, ROWS, jobs), strict=True):
        assert made == made_by_python(chosen, (seed, philox.STREAMS[stream]), candidates), name


def test_each_twin_of_python_has_a_class_whose_rows_are_the_same_in_slices():
    given = [{"source": name, "twin": make(Nca(Settings()), 0)} for name, make in TWINS.items()]
    names = {"source.js": "makeRow, makeRowInSlices, openSource"}
    expression = """await Promise.all(input.map(async (data) => {
      const source = openSource(data), options = { frames: source.scoredFrames, slice: 0 };
      const whole = makeRow(source, 0, 5n), some = await makeRowInSlices(source, 0, 5n, options);
      const none = await makeRowInSlices(source, 0, 5n, { slice: 0, stale: () => true });
      return [some.frames.length, some.gzipBytes === whole.gzipBytes, none];
    }))"""
    assert node(names, expression, given) == [[10, True, None]] * len(TWINS)
    assert node(names, "openSource(input)", {"source": "other", "twin": None}) is None


@pytest.mark.parametrize(
    "source",
    [
        Nca(Settings(states=3, height=4, width=6, seq_len=100)),
        Life(100, grid="6x9", patch=3),
        Elementary(300, width=15, patch=5),
    ],
    ids=lambda source: source.name,
)
def test_stored_grids_are_those_of_python(source):
    [ids] = source.batch((0, 0), np.array([5], np.uint64)).rows(np.array([0])).input_ids
    grids = source.grids()
    expression = """((grids, row) => [row.frames.map((cells) => [...cells]), row.patches,
      row.patches.map((some, f) => some.map((token, patch) => [row.tokens[grids.placeOf(f, patch).position], token])),
      grids.tokenCells(row.patches[0][1])]
    )(...((grids) => [grids, grids.row(input.tokens)])(new StoredGrids(input.grids)))"""
    given = {"grids": grid_shape(grids), "tokens": ids.tolist()}
    frames, patches, positions, lines = node({"stored_grids.js": "StoredGrids"}, expression, given)
    cells = still(grids).cells(ids[None])[0]
    assert frames == cells.reshape(len(cells), -1).tolist()
    assert np.concatenate(patches).tolist() == ids[ids < grids.shape.patch_ids].tolist()
    assert all(there == token for some in positions for there, token in some)
    deep, wide = grids.shape.patch_height, grids.shape.patch
    second = cells[0, :deep, wide : 2 * wide]
    assert lines == [" ".join(map(str, line)) for line in second.tolist()]


def test_other_settings_have_other_frames_and_units():
    expression = """((source) => [source.values, source.changed({ grid: "6x8", states: "3" }).settings,
      source.changed({ grid: "6x8" }).changed({ grid: "12" }).values])(new Nca(input))"""
    values, changed, again = node(SOURCE, expression, twin(Nca(Settings()), 5))
    assert values == again == {"seed": "5", "states": "10", "grid": "12"}
    other = settings(Settings(states=3, height=6, width=8), 5)
    assert changed == other and other["frames"] == 74  # 1025 tokens in grids of 12 + 2


def test_the_tables_have_the_hashes_of_the_specification():
    hashes = node(
        {"tables.js": "TABLES"},
        """Object.fromEntries(Object.entries(TABLES).map(([name, entries]) => [
      name, createHash("sha256").update(Buffer.from(entries.buffer)).digest("hex")]))""",
    )
    section = (ROOT / "docs" / "automaton.md").read_text().split("\n## ")[3]
    lines = re.findall(r"^\| .*`([0-9a-f]{64})` \|$", section, flags=re.M)
    assert [hashes[name] for name in ("perception", "hidden", "output", "start", "gumbel")] == lines
    assert node({"tables.js": "tableSums"}, "tableSums()") == table_sums()


def test_a_wrong_table_is_detected():
    assert node({"tables.js": "TABLES, tableSums"}, "(TABLES.gumbel[40000]++, tableSums())") != table_sums()


def test_gzip_lengths_of_any_bytes():
    random = np.random.default_rng(0)
    texts = [random.integers(0, k, n).astype(np.uint8) for n in (0, 1, 2, 3, 4, 258, 5000, 40000) for k in (2, 30, 256)]
    # Fibonacci counts make the deepest trees, and too deep trees of code lengths; repeats make the longest matches.
    counts = [1, 1]
    while len(counts) < 19:
        counts.append(counts[-1] + counts[-2])
    texts.append(random.permutation(np.repeat(np.arange(19, dtype=np.uint8), counts)))
    texts += [np.tile(random.integers(0, 256, n).astype(np.uint8), 300) for n in (1, 2, 100, 260)]
    texts.append(random.integers(0, 2, 120000).astype(np.uint8) * 7)
    blobs = [base64.b64encode(text.tobytes()).decode() for text in texts]
    lengths = 'input.map((text) => gzipLength(new Uint8Array(Buffer.from(text, "base64"))))'
    made = node({"gzip.js": "gzipLength"}, lengths, blobs)
    assert made == [gzip_length(text.tobytes()) for text in texts]


@pytest.mark.parametrize("changes", [{}, {"states": 2}, {"states": 250, "height": 4, "width": 4, "seq_len": 1000}])
def test_noise_scores_the_same_as_in_a_plan(changes):
    source = Nca(Settings(**changes))
    made = node({"nca.js": "Nca"}, f"new Nca(input).noiseLength({NOISE_SAMPLES})", twin(source, 0))
    assert made == source.noise_scores().mean()


def test_random_bits_are_the_published_ones():
    """Random123's known answers."""
    program = "input.map(([c, k]) => { const out = new Uint32Array(4); philox(...c, ...k, out); return [...out]; })"
    ones = 2**32 - 1
    asked = [[[0] * 4, [0] * 2], [[ones] * 4, [ones] * 2]]
    asked.append([[0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344], [0xA4093822, 0x299F31D0]])
    assert [" ".join(f"{word:08x}" for word in block) for block in node({"philox.js": "philox"}, program, asked)] == [
        "6627e8d5 e169c58d bc57ac4c 9b00dbd8",
        "408f276d 41c83b0e a20bc7c6 6d5451fd",
        "d16cfe09 94fdcceb 5001e420 24126ea1",
    ]


# --- positions of labels ---


def place(wishes: list[dict], left: float, right: float) -> list[float | None]:
    return node({"labels.js": "placeLabels"}, "placeLabels(...input)", [wishes, left, right])


def test_labels_are_inside_and_do_not_overlap():
    random = np.random.default_rng(0)
    for _ in range(20):
        wishes = [
            {"at": float(at), "width": float(width), "anchor": anchor, "reach": float(reach)}
            for at, width, anchor, reach in zip(
                random.uniform(0, 200, 6),
                random.uniform(5, 60, 6),
                random.choice(["start", "middle", "end"], 6),
                random.choice([0, 30, 200], 6),
                strict=True,
            )
        ]
        placed = place(wishes, 0, 200)
        boxes = sorted((x, x + wish["width"]) for x, wish in zip(placed, wishes, strict=True) if x is not None)
        assert placed[0] is not None  # the most important one
        assert boxes[0][0] >= 0 and boxes[-1][1] <= 200 + 1e-6
        assert all(right + 4 <= left + 1e-5 for (_, right), (left, _) in pairwise(boxes))


def test_labels_move_no_further_than_they_may():
    low = {"at": 84, "width": 12}
    noise = {"at": 87, "width": 24, "anchor": "end"}
    assert place([low, noise], 0, 200) == [78, None]
    assert place([low, noise | {"reach": 10}], 0, 200) == [78, None]
    assert place([low, noise | {"reach": 20}], 0, 200) == [78, 50]  # at 63 it would be over the other
    assert place([noise, low | {"reach": 20}], 0, 200) == [63, 91]
    assert place([{"at": 199, "width": 20}, {"at": 0, "width": 20}], 0, 200) == [180, 0]


# --- modules as one script ---


def bundled(folder, **modules: str) -> str:
    for name, text in modules.items():
        (folder / f"{name}.js").write_text(text)
    return bundle(folder, "page.js")


def test_modules_become_one_script_in_the_order_of_their_imports(tmp_path):
    script = bundled(
        tmp_path,
        page='import { twice } from "./b.js";\nimport { one } from "./a.js";\nconst name = 1;\n'
        "console.log(twice(one) + name);\n",
        b='import { one } from "./a.js";\nconst name = 10;\nexport function twice(n) { return n * 2 * one * name; }\n',
        a='export const one = 1;\nconsole.log("once");\n',
        unused="syntax error",
    )
    assert subprocess.run([NODE, "-e", script], capture_output=True, text=True).stdout == "once\n21\n"


@pytest.mark.parametrize(
    ("modules", "line"),
    [
        ({"page": 'import { a } from "./b.js";'}, "page.js imports b.js, which does not exist"),
        (
            {"page": 'import { a } from "./b.js";', "b": "const a = 1;"},
            "page.js imports a from b.js, which does not export it",
        ),
        (
            {"page": 'import { a } from "./b.js";', "b": 'import { b } from "./page.js";\nexport const a = 1;'},
            "modules import each other: page.js -> b.js -> page.js",
        ),
        ({"page": "export default 1;"}, "page.js: 'export default 1;' is not understood by bundle.py"),
        (
            {"page": 'import * as b from "./b.js";', "b": ""},
            "page.js: 'import * as b from \"./b.js\";' is not understood by bundle.py",
        ),
        ({"page": "export { a };"}, "page.js: 'export { a };' is not understood by bundle.py"),
    ],
)
def test_unsupported_modules_are_refused(tmp_path, modules, line):
    with pytest.raises(ValueError) as refused:
        bundled(tmp_path, **modules)
    assert str(refused.value) == line


def test_every_module_is_part_of_the_page_and_has_a_head_comment():
    script = bundle(PAGE, "page.js")
    for module in PAGE.glob("*.js"):
        text = module.read_text(encoding="utf-8")
        assert f"const ${module.stem} = (" in script, module.name
        assert text.startswith("// ") and '"use strict"' not in text and max(map(len, text.split("\n"))) <= 120, (
            module.name
        )
