"""The documentation says what is true now."""

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_the_commands_page_is_current():
    source = importlib.util.spec_from_file_location("make_commands", ROOT / "docs" / "make_commands.py")
    module = importlib.util.module_from_spec(source)
    source.loader.exec_module(module)
    assert module.PAGE.read_text() == module.page(), "run: python docs/make_commands.py"


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
