"""Fixtures of datasets with an index: `pytest_plugins = ["index_fixtures"]`."""

import shutil
from pathlib import Path

import pytest
from made_up_manifests import write

from ncagen.dataset import manifest as manifests
from ncagen.dataset.manifest import read_manifest


@pytest.fixture
def always(monkeypatch):
    """Every manifest that is written has an index."""
    monkeypatch.setattr(manifests, "LISTED_FILES", 0)


@pytest.fixture
def folder(smoke, tmp_path, monkeypatch) -> Path:
    """A copy of the small dataset, with an index."""
    folder = Path(shutil.copytree(smoke(), tmp_path / "indexed"))
    with monkeypatch.context() as patch:
        patch.setattr(manifests, "LISTED_FILES", 0)
        write(folder, read_manifest(folder))
    return folder
