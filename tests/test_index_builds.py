"""A large dataset's index in builds, verify, receipts and rebuilds, on the Hub and with `datasets`."""

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import contents, make, run, run_here, spec_of
from hub.site import NAME, site
from made_up_manifests import refusal
from test_hub_datasets import in_environment

import ncagen
from ncagen.dataset.index import INDEX
from ncagen.dataset.manifest import BUILDING, MANIFEST, read_manifest
from ncagen.dataset.receipt import read_receipt, write_receipt
from ncagen.dataset.verify import verify
from ncagen.errors import NcagenError
from ncagen.factory.check_dataset import SourceChecks

pytest_plugins = ["index_fixtures"]

SHARD = "data/high/train-00001-of-00003.parquet"


def problems(folder: Path) -> list[str]:
    return verify(folder, lambda manifest: SourceChecks(manifest.spec)).problems


def test_a_build_writes_an_index_and_repairs_it(smoke, folder, tmp_path, always):
    made = make(tmp_path / "a", spec_of())
    assert contents(tmp_path / "a") == contents(folder)
    assert made == read_manifest(folder) and problems(folder) == []
    for damage in (lambda path: path.unlink(), lambda path: path.write_bytes(b"x" * path.stat().st_size)):
        damage(tmp_path / "a" / INDEX)
        make(tmp_path / "a", spec_of())
        assert contents(tmp_path / "a") == contents(folder)
    # Killed between the two, or its manifest deleted.
    (tmp_path / "a" / MANIFEST).unlink()
    with pytest.raises(NcagenError, match=r"holds unrelated files \(README.md\)"):
        make(tmp_path / "a", spec_of(seed=1))
    make(tmp_path / "a", spec_of())
    assert contents(tmp_path / "a") == contents(folder) and BUILDING not in contents(folder)
    assert set(contents(folder)) == {*contents(smoke()), INDEX}


def test_an_index_of_another_spec_is_an_unrelated_file(folder, tmp_path, always):
    shutil.copytree(folder, tmp_path / "a", ignore=shutil.ignore_patterns("data", "*.md", MANIFEST))
    with pytest.raises(NcagenError, match=r"holds unrelated files \(index.bin\): use another --out$"):
        make(tmp_path / "a", spec_of(seed=1))
    assert list(contents(tmp_path / "a")) == [INDEX]


def test_verify_compares_the_whole_index(smoke, folder):
    data = (folder / INDEX).read_bytes()
    (folder / INDEX).write_bytes(b"N" + data[1:])  # the head, which no leaf has
    assert problems(folder) == [f"{INDEX}: its bytes do not match their hash"]
    (folder / INDEX).write_bytes(data)
    shard = folder / SHARD
    shard.write_bytes(shard.read_bytes()[:-1] + b"x")
    assert problems(folder) == [f"{SHARD}: its bytes do not match their hash"]
    stray = Path(shutil.copytree(smoke(), folder.parent / "stray"))
    shutil.copy(folder / INDEX, stray)
    assert problems(stray) == [f"{INDEX}: does not belong to the dataset"]


def test_receipt_and_rebuild_with_an_index(smoke, folder, tmp_path, always):
    write_receipt(smoke(), tmp_path / "a")
    write_receipt(folder, tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert read_receipt(tmp_path / "b").manifest == read_manifest(folder)
    done = run_here("rebuild", folder / MANIFEST, "--out", tmp_path / "c", "--workers=2", "--quiet")
    assert done == (0, "", "") and contents(tmp_path / "c") == contents(folder)
    (tmp_path / "alone").mkdir()
    shutil.copy(folder / MANIFEST, tmp_path / "alone")
    line = refusal(lambda: read_receipt(tmp_path / "alone" / MANIFEST))
    assert line.startswith(f"{tmp_path / 'alone' / INDEX} is missing, without which manifest.json cannot be read")


# --- elsewhere ---


@pytest.fixture
def hub(tmp_path) -> Iterator:
    with site(tmp_path) as made:
        yield made


OPEN = """
import hashlib, ncagen, pickle
for stream in (False, True):
    rows = pickle.loads(pickle.dumps(ncagen.open("user/nca", band="high", stream=stream)))
    print(hashlib.sha256(b"".join(row["input_ids"].tobytes() for row in rows)).hexdigest())
"""


@pytest.mark.slow
def test_an_index_goes_to_the_hub_and_back(hub, smoke, folder, tmp_path):
    pushed = hub.push(folder)
    assert (pushed.status, pushed.err) == (0, "")
    assert {name: data for name, data in hub.published().items() if name not in ("README.md", "rows.png")} == {
        name: data for name, data in contents(folder).items() if name != "README.md"
    }
    rows = b"".join(row["input_ids"].tobytes() for row in ncagen.open(smoke(), band="high"))
    assert hub.python(OPEN) == f"{hashlib.sha256(rows).hexdigest()}\n" * 2
    done = run("pull", NAME, "--out", tmp_path / "out", "--quiet", env=hub.environment)
    assert (done.status, done.err) == (0, "") and (tmp_path / "out" / INDEX).read_bytes() == (
        folder / INDEX
    ).read_bytes()
    assert problems(tmp_path / "out") == []
    assert hub.push(smoke()).status == 0 and INDEX not in hub.published()


LOAD = """
import sys, datasets
for band in ("high", None):
    rows = datasets.load_dataset(sys.argv[1], band, split="train", cache_dir=sys.argv[2])
    print(len(rows), rows.column_names)
"""


@pytest.mark.slow
@pytest.mark.parametrize("card", [True, False])
def test_datasets_does_not_take_an_index_for_data(card, hub, folder, tmp_path):
    if not card:
        (folder / "README.md").unlink()
        shutil.rmtree(folder / "data" / "medium")
    program = LOAD if card else LOAD.replace('("high", None)', "(None,)")
    said = in_environment("loaders", hub, program, folder, tmp_path / "cache")
    line = "200 ['input_ids', 'candidate', 'gzip_bytes', 'gzip_ratio']\n"
    assert said == line * (2 if card else 1)
