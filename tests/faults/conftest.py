"""Oracles: datasets that were built without a disturbance. Do not change them; copy them."""

import shutil
from pathlib import Path

import pytest
from conftest import make

from faults.processes import LONGER
from ncagen.factory.settings import from_settings

pytest.register_assert_rewrite("faults.oracle")  # before a test imports it


@pytest.fixture(scope="session")
def longer(tmp_path_factory) -> Path:
    """The longer dataset."""
    folder = tmp_path_factory.mktemp("longer") / "a"
    make(folder, from_settings(LONGER))
    return folder


@pytest.fixture
def copied(smoke, tmp_path):
    """A copy of the small dataset to do harm to."""
    return lambda file_format="parquet": Path(shutil.copytree(smoke(file_format), tmp_path / file_format))
