"""The documentation says what is true now."""

import ast
import builtins
import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import make, run_here, spec_of

ROOT = Path(__file__).parents[1]


def test_the_commands_page_is_current():
    source = importlib.util.spec_from_file_location("make_commands", ROOT / "docs" / "make_commands.py")
    module = importlib.util.module_from_spec(source)
    source.loader.exec_module(module)
    assert module.PAGE.read_text() == module.page(), "run: python docs/make_commands.py"


def test_the_tables_of_the_evidence_are_those_of_its_report():
    source = importlib.util.spec_from_file_location("make_evidence", ROOT / "docs" / "make_evidence.py")
    module = importlib.util.module_from_spec(source)
    source.loader.exec_module(module)
    report = json.loads(module.DATA.read_text())
    text = module.PAGE.read_text()
    assert text.count("<!-- table ") == 3
    assert module.filled(text, report) == text, "run: python docs/make_evidence.py"
    assert module.filled(text.replace("| scratch | ", "| scratch | 9"), report) == text


PAGES = ["README.md", "docker/README.md", *(f"docs/{p.name}" for p in sorted((ROOT / "docs").glob("*.md")))]


@pytest.mark.parametrize("page", PAGES)
def test_links_and_targets_exist(page):
    text = (ROOT / page).read_text()
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert target.startswith("https://") or (ROOT / page).parent.joinpath(target).exists(), target
    for path in re.findall(r"`((?:docs|tests|benchmarks|manifests|ncagen)/[\w./-]+)`", text):
        assert (ROOT / path).exists(), path
    for target in re.findall(r"^make ([a-z-]+)", text, flags=re.M):
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), flags=re.M), target


# What the pages do not say: a model of one's own, and the size of the data.
BEFORE = """
import torch

def model(**batch):
    pass
"""
SMALLER = {"164M": "60K", "80_000": "80", "160_000": "160"}


@pytest.fixture(scope="module")
def pages_data(tmp_path_factory):
    """A folder with the datasets that the pages read."""
    folder = tmp_path_factory.mktemp("pages")
    make(folder / "data" / "nca-high", spec_of(bands=["high"]))
    make(folder / "data" / "nca", spec_of(bands=["low", "high"]))
    (np.arange(40_000) % 50_257).astype(np.uint16).tofile(folder / "data" / "train.bin")
    return folder


def test_every_block_of_the_readme_imports_what_it_uses():
    for block in re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), flags=re.M | re.S):
        nodes = list(ast.walk(ast.parse(block)))
        made = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
        made |= {alias.name for node in nodes if isinstance(node, ast.Import | ast.ImportFrom) for alias in node.names}
        assert {node.id for node in nodes if isinstance(node, ast.Name)} - made - set(dir(builtins)) == set(), block


def test_the_files_of_the_page_of_experiments_can_be_built(tmp_path):
    whole, tests = re.findall("```toml\n(.*?)```", (ROOT / "docs/experiments.md").read_text(), re.DOTALL)
    above = 'tokens = "1M"\nband = "0.4-0.5"\n[arm.nca]\n'
    for name, text in [("whole.toml", whole), ("tests.toml", above + tests)]:
        (tmp_path / name).write_text(text)
        done = run_here("build", tmp_path / name, "--plan")
        assert (done.status, done.err) == (0, ""), done.err


def test_the_map_of_the_code_is_complete():
    text = (ROOT / "docs" / "architecture.md").read_text().partition("## Map of all files")[2]
    named = {Path(name).name for name in re.findall(r"`([\w/]+\.(?:py|js))`", text)}
    files = [path for kind in ("py", "js") for path in (ROOT / "ncagen").rglob(f"*.{kind}")]
    assert {path.name for path in files} - named == set()


@pytest.mark.parametrize("page", ["README.md", "docs/reading.md", "docs/python.md"])
def test_the_code_of_a_page_runs(page, pages_data):
    """All Python blocks of a page in turn, as one program; `make conformance` runs what needs other packages."""
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / page).read_text(), flags=re.M | re.S)
    here = [block for block in blocks if is_importable(block)]
    assert len(here) >= 2
    program = "\n".join([BEFORE, *here])
    for large, small in SMALLER.items():
        program = program.replace(large, small)
    script = pages_data / f"{Path(page).stem}.py"
    script.write_text("import ncagen\n" + program)
    done = subprocess.run([sys.executable, script], cwd=pages_data, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def is_importable(block: str) -> bool:
    """Whether every package that a block imports is here."""
    trees = [node for node in ast.walk(ast.parse(block)) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = [alias.name for tree in trees if isinstance(tree, ast.Import) for alias in tree.names]
    names += [tree.module for tree in trees if isinstance(tree, ast.ImportFrom)]
    roots = {name.split(".")[0] for name in names}
    roots |= {"grain"} if "ncagen.adapters.grain" in names else set()
    roots |= {"accelerate"} if "transformers" in roots else set()  # its Trainer needs it
    return all(importlib.util.find_spec(root) for root in roots)
