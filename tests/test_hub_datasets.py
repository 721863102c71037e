"""A pushed dataset with `datasets` itself, old and new, and the card's lines for it, each in an environment of its own.

The environments are those of tests/conformance; where they were not made (`make conformance`), this is skipped.
"""

import json
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from hub.site import Site, site

import ncagen
from ncagen.dataset.card import CARD

# datasets 3.6 is the last that reads `sequence` alone; loaders has the newest.
ENVIRONMENTS = ("datasets3", "loaders")

LOAD = """
import json, sys
import datasets, numpy as np
source, found = sys.argv[1], {}
for band in ("high", "medium"):
    for split in ("train", "validation"):
        wanted = np.load(f"{source}/{band}-{split}.npy")
        rows = datasets.load_dataset("user/nca", band, split=split)
        kept = np.asarray(rows.with_format("numpy")["input_ids"][:])
        streamed = datasets.load_dataset("user/nca", band, split=split, streaming=True)
        seen = np.asarray([row["input_ids"] for row in streamed])
        equal = [np.array_equal(some, wanted) for some in (kept, seen)]
        lengths = [some.features["input_ids"].length for some in (rows, streamed)]
        dtype = rows.features["input_ids"].feature.dtype
        found[f"{band} {split}"] = [equal, lengths, dtype, rows.info.splits[split].num_examples]
rows = datasets.load_dataset("user/nca", split="train")
print(json.dumps([datasets.__version__, found, rows.config_name]))
"""


def in_environment(name: str, at: Site, program: str, *arguments: object) -> str:
    """What a program prints in an environment of tests/conformance."""
    python = ROOT / ".conformance" / name / "bin/python"
    if not python.exists():
        pytest.skip(f"there is no {python.parent.parent.relative_to(ROOT)}: make conformance")
    environment = at.environment | {"PYTHONPATH": str(ROOT), "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    command = [str(python), "-c", program, *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def save_source(folder: Path, out: Path) -> None:
    """The tokens of every band and split: <band>-<split>.npy, uint16[row, token]."""
    out.mkdir()
    for band in ("high", "medium"):
        for split in ("train", "validation"):
            rows = ncagen.open(folder, split, band)
            np.save(out / f"{band}-{split}.npy", rows.rows(np.arange(len(rows)))["input_ids"])


@pytest.mark.slow
@pytest.mark.parametrize("file_format", ["parquet", "arrow"])
@pytest.mark.parametrize("use_xet", [True, False], ids=["xet", "lfs"])
@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_datasets_gives_the_tokens_of_the_source(environment, use_xet, file_format, smoke, tmp_path):
    save_source(smoke(file_format), tmp_path / "source")
    with site(tmp_path, use_xet=use_xet) as at:
        assert at.push(smoke(file_format), "--quiet").status == 0
        version, found, default = json.loads(in_environment(environment, at, LOAD, tmp_path / "source"))
    assert version == {"datasets3": "3.6.0"}.get(environment, version) and default == "high"
    assert found == {
        f"{band} {split}": [[True, True], [1026, 1026], "uint16", rows]
        for band in ("high", "medium")
        for split, rows in (("train", 200), ("validation", 20))
    }


@pytest.mark.slow
def test_the_programs_of_the_card_work(smoke, tmp_path):
    with site(tmp_path) as at:
        at.push(smoke())
        programs = re.findall(r"^```python\n(.*?)^```$", at.published()[CARD].decode(), flags=re.M | re.S)
        inner = [f"    {line}" for program in programs for line in program.splitlines()]
        ending = "    print(len(train_dataset), len(train_dataset[0]['labels']), train_dataset[0]['labels'][37])"
        path = tmp_path / "card.py"  # workers import it
        path.write_text("\n".join(["if __name__ == '__main__':", *inner, ending]))
        out = in_environment("loaders", at, f"import runpy; runpy.run_path({str(path)!r}, run_name='__main__')")
    assert out == "200 1024 -100\n"
