"""The reader against its enemies: damaged files, and datasets whose author made every hash fit."""

import hashlib
import json
import multiprocessing
import os
import pickle
import shutil
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import ROOT, as_owner, spec_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from index_oracle import identity
from pyarrow_writer import PARQUET, parquet_options

import ncagen
from ncagen.dataset import atomic_write, reader, shard_file
from ncagen.dataset import manifest as manifests
from ncagen.dataset import shard as shards
from ncagen.dataset.folder import Folder
from ncagen.dataset.manifest import File, Manifest, ManifestError, canonical, parse, read_manifest, shard_keys
from ncagen.dataset.shard import DamagedShard, Record
from ncagen.dataset.shard_file import ShardFile
from ncagen.errors import NcagenError
from ncagen.row_format import Rows
from ncagen.sources import source_of

FILE_FORMATS = ("parquet", "arrow")
HAPPY = settings(deadline=None, database=None, suppress_health_check=list(HealthCheck))

posix = pytest.mark.skipif(os.name != "posix", reason="needs links, pipes and limits as POSIX has them")


def random_rows(spec, shard: int, count: int, seed: int) -> Rows:
    """Rows that no automaton made; a reader cannot tell."""
    draw = np.random.default_rng((seed, shard))
    source = source_of(spec)
    row_format = source.row_format
    lengths = draw.integers(500, 1400, count).astype(np.int32)
    tokens = draw.integers(0, row_format.vocabulary, (count, row_format.row_tokens)).astype(row_format.token_dtype)
    candidates = np.sort(draw.choice(10**6, count, replace=False)).astype(np.uint64) + np.uint64(shard << 32)
    ratios = source.measures[0].ratios(lengths)
    return Rows({"input_ids": tokens, "candidate": candidates, "gzip_bytes": lengths, "gzip_ratio": ratios})


def fabricate(folder: Path, file_format: str, **changes) -> dict[tuple[str, str], Rows]:
    """Writes a dataset of random rows and returns them by split and band."""
    spec = spec_of(**changes)
    rows, records, stored = {}, [], {}
    for number, (split, band, shard) in enumerate(shard_keys(spec)):
        some = random_rows(spec, shard, spec.shard_rows(split, shard), number)
        record = Record(spec.sha256, split, band, shard, len(some), len(some), 0, 0, shards.content_sha256(some))
        data = shards.to_bytes(some, record, file_format)
        path = shards.relative_path(spec, file_format, split, band, shard)
        atomic_write.write(folder / path, data)
        records.append(record)
        stored[path] = File.of(data, file_format)
        rows.setdefault((split, band), []).append(some)
    source = source_of(spec)
    manifest = Manifest(
        spec, source.row_format, source.measures, tuple(records), file_format, manifests.toolchain(), stored
    )
    for name, document in manifest.documents().items():
        (folder / name).write_bytes(document)
    return {key: Rows.concatenate(parts) for key, parts in rows.items()}


# Shards of 300, 300 and 200 rows, each of two row groups but the last.
SMALL = {"tokens": 800 * 1024, "validation": 20 * 1024, "bands": ["high"], "rows_per_shard": 300}
DATASETS = {
    "three shards": SMALL,
    "one row": {"tokens": 1, "validation": 0, "bands": ["high"]},
    "full groups": {"tokens": 1024 * 1024, "validation": 0, "bands": ["high"], "rows_per_shard": 512},
    "a row a shard": {"tokens": 3 * 1024, "validation": 0, "bands": ["low"], "rows_per_shard": 1},
    "wide tokens": {"tokens": 270 * 1024, "validation": 0, "bands": ["high"], "states": 20, "rows_per_shard": 260},
}


@pytest.fixture(scope="session", params=FILE_FORMATS)
def made(request, tmp_path_factory) -> tuple[Path, Rows]:
    """A dataset in each format, not to be changed, and its training rows."""
    folder = tmp_path_factory.mktemp("made") / request.param
    return folder, fabricate(folder, request.param, **SMALL)["train", "high"]


@pytest.fixture
def folder(made, tmp_path) -> Path:
    """A copy of it to do harm to."""
    return Path(shutil.copytree(made[0], tmp_path / "a"))


@pytest.fixture(scope="session")
def parquet(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "a"
    fabricate(folder, "parquet", **SMALL)
    return folder


def shard_path(folder: Path, shard: int = 0) -> Path:
    """A training shard's file."""
    return next(folder.glob(f"data/high/train-{shard:05d}-of-00003.*"))


def put(folder: Path, data: bytes, shard: int = 0) -> Path:
    """Replaces a training shard by other bytes, and makes its size and hash fit."""
    path, manifest = shard_path(folder, shard), read_manifest(folder)
    atomic_write.write(path, data)
    fitting = File(len(data), hashlib.sha256(data).hexdigest())
    name = path.relative_to(folder).as_posix()
    fitted = replace(manifest, files=dict(manifest.files) | {name: fitting})
    (folder / manifests.MANIFEST).unlink()  # it is a link
    (folder / manifests.MANIFEST).write_bytes(fitted.documents()["manifest.json"])
    return path


def raised(action: Callable[[], object], kind: type[Exception] = NcagenError) -> str:
    """The one line of the error."""
    with pytest.raises(kind) as caught:
        action()
    line = str(caught.value)
    assert "\n" not in line and line.isprintable()
    return line


def same(found: dict, rows: Rows, chosen) -> bool:
    """Whether these are the chosen rows, in their types."""
    wanted = {name: column[chosen] for name, column in rows.columns.items()}
    return list(found) == list(wanted) and all(
        found[name].dtype == wanted[name].dtype and np.array_equal(found[name], wanted[name]) for name in wanted
    )


# --- rows by number ---


@pytest.mark.parametrize("file_format", FILE_FORMATS)
@pytest.mark.parametrize("name", DATASETS)
def test_every_row_is_the_one_at_its_number(name, file_format, tmp_path):
    [rows, *_] = fabricate(tmp_path, file_format, **DATASETS[name]).values()
    dataset = ncagen.open(tmp_path)
    assert len(dataset) == len(rows) and dataset.manifest == read_manifest(tmp_path)
    assert all(same(dataset[i], rows, i) for i in range(len(dataset)))
    assert all(same(dataset[i - len(dataset)], rows, i) for i in range(len(dataset)))
    assert sum(1 for _ in dataset) == len(dataset) == dataset.shards.rows.sum()
    whole = [dataset.shard(number) for number in range(len(dataset.records))]
    assert same(Rows.concatenate(whole).columns, rows, slice(None))
    plain = []
    for record in dataset.records:
        path = tmp_path / dataset.manifest.path(record)
        plain.append(
            pq.read_table(path) if file_format == "parquet" else pa.ipc.open_file(path.read_bytes()).read_all()
        )
    table = pa.concat_tables(plain)
    assert np.array_equal(np.array(table["input_ids"].to_pylist()), rows.input_ids)
    assert all(np.array_equal(table[n].to_numpy(), rows[n]) for n in list(rows.columns)[1:])


def test_many_rows_come_in_the_order_asked_for(made):
    dataset, rows = ncagen.open(made[0]), made[1]
    draw = np.random.default_rng(0)
    for numbers in ([799, 0, 300, 299, 0, 0], range(250, 310), draw.integers(0, 800, 500), [], np.array([5], np.uint8)):
        chosen = np.asarray(numbers, np.int64)
        assert same(dataset.rows(numbers), rows, chosen)
    found = dataset.rows([1, 2], columns=("candidate",))
    assert list(found) == ["candidate"] and found["candidate"].tolist() == rows.candidate[1:3].tolist()


def test_a_row_number_can_be_any_integer_and_its_row_is_a_copy(made):
    dataset, rows = ncagen.open(made[0]), made[1]
    for number in (np.int64(299), np.uint16(299), np.int8(-1), np.array(7), True):
        assert same(dataset[number], rows, int(number))
    dataset[3]["input_ids"][:] = 0
    dataset.rows([3])["input_ids"][:] = 0
    assert same(dataset[3], rows, 3)


def test_rows_that_are_not_there_are_refused(made):
    dataset = ncagen.open(made[0])
    for number in (800, -801, 2**70):
        assert raised(lambda n=number: dataset[n], IndexError) == f"row {number} is out of range: use 0 to 799"
    assert raised(lambda: dataset.rows([3, 800]), IndexError) == "rows 3 to 800 are out of range: use 0 to 799"
    assert raised(lambda: dataset.rows([-1]), IndexError) == "rows -1 to -1 are out of range: use 0 to 799"
    huge = np.array([2**64 - 1], np.uint64)
    line = f"rows {2**64 - 1} to {2**64 - 1} are out of range: use 0 to 799"
    assert raised(lambda: dataset.rows(huge), IndexError) == line


def test_what_is_no_row_number_is_refused(made):
    dataset = ncagen.open(made[0])
    line = "a dataset cannot be sliced: use rows(range(790, 800, 1))"
    assert raised(lambda: dataset[-10:], TypeError) == line
    line = "row 'x' is not a whole number: use 0 to 799, or rows() for many"
    assert raised(lambda: dataset["x"], TypeError) == line
    assert raised(lambda: dataset[1.0], TypeError) == line.replace("'x'", "1.0")
    for numbers, said in (
        ([0.5], "float64 (1,)"),
        ([True, False], "bool (2,)"),
        ([[1]], "int64 (1, 1)"),
        (3, "int64 ()"),
    ):
        line = f"rows takes whole numbers in one dimension, not {said}"
        assert raised(lambda n=numbers: dataset.rows(n), TypeError) == line
    line = "column 'tokens' is not known: use input_ids, candidate, gzip_bytes, gzip_ratio"
    assert raised(lambda: dataset.rows([0], columns=("tokens",))) == line


def test_what_cannot_be_opened_is_refused(made, tmp_path):
    path = made[0]
    assert raised(lambda: ncagen.open(path, verify="once")) == (
        "verify 'once' is not known: use first-use, always, never"
    )
    assert raised(lambda: ncagen.open(path, split="test")) == (
        f"{path} has no 'test' rows in band 'high': it has train, validation in high"
    )
    for band in ("low", "", "../high"):
        assert raised(lambda b=band: ncagen.open(path, band=b)) == (
            f"{path} has no 'train' rows in band {band!r}: it has train, validation in high"
        )
    fabricate(tmp_path / "two", "arrow", tokens=1, validation=0, bands=["high", "low"])
    assert raised(lambda: ncagen.open(tmp_path / "two")) == (
        f"{tmp_path / 'two'} holds several bands: choose one of high, low"
    )
    line = f"{tmp_path} holds no dataset: there is no manifest.json in it"
    assert raised(lambda: ncagen.open(tmp_path)) == line
    (tmp_path / "building.json").write_text("{}")
    line = f"{tmp_path} is not finished: run the same ncagen build again to complete it"
    assert raised(lambda: ncagen.open(tmp_path)) == line


def test_an_open_dataset_can_be_pickled_forked_and_shared_by_threads(made, monkeypatch):
    monkeypatch.setattr(reader, "HELD_GROUPS", 2)
    dataset, rows = ncagen.open(made[0]), made[1]
    assert same(dataset[700], rows, 700)
    text = pickle.dumps(dataset)
    assert len(text) < 20_000  # no rows
    assert same(pickle.loads(text)[3], rows, 3)
    wrong = []

    def read(seed: int) -> None:
        for number in np.random.default_rng(seed).integers(0, 800, 60):
            if not same(dataset[number], rows, number):
                wrong.append(number)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    if os.name == "posix":
        child = multiprocessing.get_context("fork").Process(
            target=lambda: os._exit(all(same(dataset[i], rows, i) for i in (700, 3, 400)) * 7)
        )
        child.start()
        child.join(60)
        assert child.exitcode == 7


# --- damage ---


@given(data=st.data(), verify=st.sampled_from(["first-use", "always"]))
@settings(HAPPY, max_examples=20)
def test_one_changed_byte_is_found_before_a_row_is_seen(made, tmp_path_factory, data, verify):
    folder = Path(shutil.copytree(made[0], tmp_path_factory.mktemp("x") / "a"))
    path = shard_path(folder, 1)
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    for action in (lambda d: d[300], lambda d: d.rows([0, 599]), lambda d: d.shard(1)):
        dataset = ncagen.open(folder, verify=verify)
        assert raised(lambda a=action, d=dataset: a(d)) == f"{path}: its bytes do not match their hash"
        assert same(dataset[0], made[1], 0)  # the other shards are as good as before
    shutil.rmtree(folder.parent)


def test_a_shard_that_was_damaged_is_found_again_and_read_once_it_is_whole(folder, made):
    path = shard_path(folder)
    content = path.read_bytes()
    atomic_write.write(path, content[:1000] + bytes([content[1000] ^ 1]) + content[1001:])
    dataset = ncagen.open(folder)
    for _ in range(2):
        assert raised(lambda: dataset[0], DamagedShard) == f"{path}: its bytes do not match their hash"
    atomic_write.write(path, content)
    assert same(dataset[0], made[1], 0)


@pytest.mark.parametrize("in_place", [False, True])
def test_damage_after_the_first_use_is_found_by_always(folder, made, in_place):
    path = shard_path(folder)
    dataset = ncagen.open(folder, verify="always")
    assert same(dataset[0], made[1], 0)
    content = bytearray(path.read_bytes())
    for place in range(0, len(content), 100):
        content[place] ^= 255
    if in_place:
        with path.open("r+b") as file:
            file.write(content)
    else:
        atomic_write.write(path, content)
    assert same(dataset[0], made[1], 0)  # its group is held, as it was when it was checked
    assert raised(lambda: dataset[299]) == f"{path}: its bytes do not match their hash"
    assert raised(lambda: dataset.shard(0)) == f"{path}: its bytes do not match their hash"


def test_first_use_reads_on_in_the_file_that_it_checked(folder, made):
    dataset = ncagen.open(folder)
    assert same(dataset[0], made[1], 0)
    atomic_write.write(shard_path(folder), b"another file of this name")
    assert same(dataset[299], made[1], 299)


@given(data=st.data())
@settings(HAPPY, max_examples=100)
def test_page_checksums_find_a_changed_byte_where_no_hash_is_looked_at(parquet, data):
    manifest = read_manifest(parquet)
    content = bytearray(shard_path(parquet, 2).read_bytes())
    whole = ShardFile(pa.py_buffer(bytes(content)), "parquet", manifest.row_format, manifest.records[2]).rows()
    # Half of the places in the last kilobytes, where the footer and the small columns are.
    near = st.integers(len(content) - 4000, len(content) - 1)
    content[data.draw(near | st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        rows = ShardFile(pa.py_buffer(bytes(content)), "parquet", manifest.row_format, manifest.records[2]).rows()
    except DamagedShard:
        return
    assert all(np.array_equal(column, whole[name]) for name, column in rows.columns.items())


def test_never_trusts_the_hash_but_not_the_pages(folder, made):
    path = shard_path(folder)
    content = bytearray(path.read_bytes())
    content[5000] ^= 1
    atomic_write.write(path, content)
    dataset = ncagen.open(folder, verify="never")
    if path.suffix == ".parquet":
        assert raised(lambda: dataset[0], DamagedShard) == f"{path}: a page does not match its checksum"
    else:
        assert not same(dataset.rows(range(300)), made[1], range(300))


# --- what stands in a file's place ---


@pytest.mark.parametrize("verify", reader.VERIFY)
def test_a_file_of_another_size_is_refused(folder, verify):
    path = shard_path(folder)
    content = path.read_bytes()
    for other, line in (
        (content[:-1], f"it has {len(content) - 1} bytes, not {len(content)}"),
        (b"", f"it has 0 bytes, not {len(content)}"),
        (content + b"x", f"it has {len(content) + 1} bytes, the limit is {len(content)}"),
    ):
        atomic_write.write(path, other)
        assert raised(lambda: ncagen.open(folder, verify=verify)[0], DamagedShard) == f"{path}: {line}"


@pytest.mark.parametrize("cut", [1, 8, 100, 0.5, 0.99, 1.0])
def test_a_file_that_was_cut_before_it_was_hashed_is_refused(folder, cut):
    content = shard_path(folder).read_bytes()
    path = put(folder, content[: len(content) - (cut if type(cut) is int else int(cut * len(content)))])
    assert raised(lambda: ncagen.open(folder)[0], DamagedShard).startswith(f"{path}: ")


def test_what_is_no_file_is_refused(folder):
    path = shard_path(folder)
    path.unlink()
    assert raised(lambda: ncagen.open(folder)[0], DamagedShard) == f"{path}: No such file or directory"
    path.mkdir()
    assert raised(lambda: ncagen.open(folder)[0], DamagedShard) == f"{path}: it is not a plain file"
    assert len(ncagen.open(folder)[300]) == 4


@posix
def test_a_pipe_in_a_files_place_is_not_waited_for(folder):
    path = shard_path(folder)
    path.unlink()
    os.mkfifo(path)
    assert raised(lambda: ncagen.open(folder)[0], DamagedShard) == f"{path}: it is not a plain file"
    (folder / "manifest.json").unlink()
    os.mkfifo(folder / "manifest.json")
    line = f"{folder}/manifest.json cannot be read: it is not a plain file"
    assert raised(lambda: ncagen.open(folder)) == line


@posix
def test_a_file_that_may_not_be_read_is_named(folder):
    path = shard_path(folder)
    path.chmod(0)

    def read():
        assert raised(lambda: ncagen.open(folder)[0], DamagedShard).startswith(f"{path}: ")

    as_owner(folder, read)


@posix
@pytest.mark.parametrize("url", [False, True])
def test_links_lead_out_of_the_folder_where_a_hash_is_checked(folder, made, tmp_path, url):
    def opened(verify="first-use"):
        return ncagen.open(folder.as_uri() if url else folder, verify=verify)

    path = shard_path(folder)
    path.rename(folder / "kept")
    path.symlink_to(folder / "kept")
    assert all(same(opened(verify)[0], made[1], 0) for verify in reader.VERIFY)  # a link within the folder is fine
    outside = Path(shutil.copytree(made[0], tmp_path / "outside")).resolve()
    target = outside / path.relative_to(folder)
    path.unlink()
    path.symlink_to(target)
    assert same(opened()[0], made[1], 0) and same(opened("always")[0], made[1], 0)
    line = f"{path} is a link out of the folder, to {target}: replace it with the file"
    assert raised(lambda: opened("never")[0]) == line
    shutil.rmtree(folder / "data")
    (folder / "data").symlink_to(outside / "data")
    assert same(opened()[0], made[1], 0)
    assert raised(lambda: opened("never")[0]) == line
    content = target.read_bytes()
    target.write_bytes(content[:-1] + b"x")
    assert raised(lambda: opened()[0], DamagedShard) == f"{path}: its bytes do not match their hash"
    target.write_bytes(content)
    (folder / "manifest.json").unlink()
    (folder / "manifest.json").symlink_to(outside / "manifest.json")
    line = f"{folder}/manifest.json is a link out of the folder, to {outside}/manifest.json: replace it with the file"
    assert raised(opened) == line  # nothing has its hash
    (tmp_path / "link").symlink_to(outside)
    assert same(ncagen.open(tmp_path / "link")[0], made[1], 0)  # the user's own link


@posix
@pytest.mark.parametrize("blobs", ["datasets--ada--nca/blobs", "blobs/ab"])
def test_links_of_a_snapshot_lead_to_its_blobs_and_nowhere_else(folder, made, tmp_path, blobs):
    """As the Hub's cache has them; a folder that only looks like it opens no other file of this machine."""
    snapshot, kept = tmp_path / "hub/datasets--ada--nca/snapshots/12ab", tmp_path / "hub" / blobs
    kept.mkdir(parents=True)
    for number, path in enumerate(sorted(path for path in folder.rglob("*") if path.is_file())):
        link = snapshot / path.relative_to(folder)
        link.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, kept / f"{number:040x}")
        link.symlink_to(os.path.relpath(kept / f"{number:040x}", link.parent))
    for verify in reader.VERIFY:
        assert same(ncagen.open(snapshot, verify=verify)[0], made[1], 0)
    manifest = snapshot / "manifest.json"
    real = manifest.resolve()

    def refused() -> bool:
        line = f"{manifest} is a link out of the folder, to {manifest.resolve()}: replace it with the file"
        return raised(lambda: ncagen.open(snapshot)) == line

    real.rename(kept / "secret")  # another name than a hash
    manifest.unlink()
    manifest.symlink_to(kept / "secret")
    assert refused()
    outside = tmp_path / "outside"
    kept.rename(outside)
    (outside / "secret").rename(outside / real.name)
    kept.symlink_to(outside)  # `blobs` itself leads away
    manifest.unlink()
    manifest.symlink_to(kept / real.name)
    assert refused()


@posix
def test_links_in_a_circle_are_refused(folder):
    path = shard_path(folder)
    path.unlink()
    path.symlink_to(path)
    assert raised(lambda: ncagen.open(folder)[0], DamagedShard) == f"{path}: {os.strerror(40)}"


# --- the manifest ---


@pytest.fixture(scope="session")
def receipt(tmp_path_factory) -> dict:
    """The value of a manifest: two bands, two splits, five shards."""
    folder = tmp_path_factory.mktemp("receipt")
    fabricate(folder, "arrow", tokens=2 * 1024, validation=1, bands=["high", "0.35-0.45"], rows_per_shard=1)
    return json.loads((folder / "manifest.json").read_text())


def fit(value: dict) -> None:
    """Makes the hashes of a manifest fit what it says, as far as it says anything."""
    try:
        value["dataset"]["spec_sha256"] = hashlib.sha256(canonical(value["dataset"]["spec"]).encode()).hexdigest()
        value["dataset_sha256"] = identity(value["dataset"])
    except (TypeError, KeyError, ValueError, AttributeError, OverflowError):
        pass


def refused(value: object) -> str:
    """What is said of a manifest, whether it is given as JSON text or as a value."""
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    line = raised(lambda: parse(text, "m.json", Folder(".")), ManifestError)
    assert len(line) < 600 and line.startswith("m.json ")
    return line.removeprefix("m.json ")


PLACES = (
    "../outside.arrow",
    "/etc/passwd",
    "data/high/../../../x",
    "data/high/train-00000-of-00002.arrow\0",
    "C:\\x",
    "\\\\server\\share\\x",
    "..\\x",
    "data\\high\\train-00000-of-00002.arrow",
    "CON",
    "data/high/CON",
    "file:///etc/passwd",
    "./data/high/train-00000-of-00002.arrow",
    "DATA/high/train-00000-of-00002.arrow",
    "",
)


@pytest.mark.parametrize("place", PLACES)
def test_no_path_of_a_manifest_is_used_but_those_of_its_spec(receipt, place):
    value = json.loads(json.dumps(receipt))
    stored = value["storage"]["files"]
    value["storage"]["files"] = {
        place if "train-00000" in name and "high" in name else name: f for name, f in stored.items()
    }
    assert refused(value) == "is damaged: its files are not those of its shards"
    value = json.loads(json.dumps(receipt))
    value["dataset"]["spec"]["bands"][0]["name"] = place
    for shard in value["dataset"]["shards"]:
        shard["band"] = place if shard["band"] == "high" else shard["band"]
    fit(value)
    known = "low, medium, upper, high, or limits such as 0.35-0.45"
    assert refused(value) == f"is damaged: band {place!r} is not known: use {known}"


def test_a_name_that_stands_twice_is_refused_at_every_depth(receipt):
    text, found = json.dumps(receipt), 0

    def names(value: object) -> Iterator[str]:
        yield from value if isinstance(value, dict) else ()
        for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            yield from names(item)

    for name in sorted(set(names(receipt))):
        twice = text.replace(f"{json.dumps(name)}: ", f"{json.dumps(name)}: 0, {json.dumps(name)}: ", 1)
        assert refused(twice.encode()) == f"is damaged: {name!r} is in it twice"
        found += 1
    assert found > 40


def test_a_shard_or_a_file_that_is_given_twice_is_refused(receipt):
    value = json.loads(json.dumps(receipt))
    value["dataset"]["shards"][1] = value["dataset"]["shards"][0]
    fit(value)
    assert refused(value) == "is damaged: its shards are not those of its spec"
    value = json.loads(json.dumps(receipt))
    value["dataset"]["shards"].append(value["dataset"]["shards"][-1])
    fit(value)
    assert refused(value) == "is damaged: its shards are not those of its spec"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (b"", "is damaged: Expecting value: line 1 column 1 (char 0)"),
        (b"{" * 100_000, "is damaged: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        (b"[" * 100_000, "is damaged: it is nested too deeply"),
        (b'{"a":' * 100_000, "is damaged: it is nested too deeply"),
        (b"[]", "is damaged: list indices must be integers or slices, not str"),
        (b"null", "is damaged: 'NoneType' object is not subscriptable"),
        (b"{}", "is damaged: 'manifest_version' is missing"),
        (b'{"manifest_version": 3}', "is damaged: 'dataset' is missing"),
        (b'{"manifest_version": "2\\n\\u001b[31m"}', "has version 2, this ncagen reads 3"),
        (b'{"manifest_version": true}', "has version True, this ncagen reads 3"),
        (b'{"manifest_version": NaN}', "is damaged: NaN is not a number of JSON"),
        (b'{"manifest_version": -Infinity}', "is damaged: -Infinity is not a number of JSON"),
        (b'{"manifest_version": 1e999}', "has version inf, this ncagen reads 3"),
        (b"\xef\xbb\xbf{}", "is damaged: Unexpected UTF-8 BOM (decode using utf-8-sig): line 1 column 1 (char 0)"),
        ("{}".encode("utf-16"), "is damaged: 'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"),
        (b'{"\xe9": 1}', "is damaged: 'utf-8' codec can't decode byte 0xe9 in position 2: invalid continuation byte"),
    ],
)
def test_what_is_no_manifest_is_refused(text, line):
    assert refused(text) == line


def test_a_number_without_end_is_refused():
    assert refused(b'{"manifest_version": ' + b"9" * 10_000 + b"}").startswith("is damaged: Exceeds the limit (4300")


def test_many_names_are_compared_in_no_time():
    text = "{" + ",".join(f'"{n}":0' for n in range(200_000)) + ',"199999":0}'
    assert refused(text.encode()) == "is damaged: '199999' is in it twice"


def test_a_small_manifest_cannot_order_more_than_memory_holds(receipt):
    value = json.loads(json.dumps(receipt))
    value["dataset"]["spec"] |= {"tokens": 2 * 10**12, "rows_per_shard": 1}  # two thousand million shards
    fit(value)
    assert refused(value) == "is damaged: its shards are not those of its spec"
    value = json.loads(json.dumps(receipt))
    value["dataset"]["spec"]["bands"] *= 10**5
    fit(value)
    assert refused(value) == "is damaged: it has 200000 bands: a dataset has 4096 at most"
    value = json.loads(json.dumps(receipt))
    value["dataset"]["spec"]["bands"][0]["name"] = "1" * 10**6
    fit(value)
    assert refused(value).startswith("is damaged: band '1111") and refused(value).endswith("1...")


def test_a_manifest_has_a_largest_size(parquet, tmp_path, monkeypatch):
    shutil.copytree(parquet, tmp_path / "a")
    path = tmp_path / "a" / "manifest.json"
    with path.open("ab") as file:
        file.truncate(manifests.MOST_BYTES + 1)  # no bytes are written
    line = f"{path} cannot be read: it has {2**26 + 1} bytes, the limit is {2**26}"
    assert raised(lambda: ncagen.open(tmp_path / "a"), ManifestError) == line
    path.write_bytes((parquet / "manifest.json").read_bytes() + b" " * 20_000_000)
    assert len(ncagen.open(tmp_path / "a")) == 800


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda v: v.pop("dataset_sha256"), "is damaged: 'dataset_sha256' is missing"),
        (lambda v: v["dataset"].update(more=1), "is damaged: its hash does not match what it says"),
        (lambda v: v["dataset"].update(vocabulary=10002.0), "is damaged: its hash does not match what it says"),
        (
            lambda v: v["dataset"]["spec"]["source"].update(version=True),
            "is damaged: source 'nca' of version True is not a name and a whole number",
        ),
        (lambda v: v["dataset"]["shards"][1].update(shard=True), "is damaged: high train shard True has no number"),
        (lambda v: v["dataset"]["shards"][0].update(shard=0.0), "is damaged: high train shard 0.0 has no number"),
        (
            lambda v: v["dataset"]["shards"][0].update(content_sha256="0"),
            "is damaged: high train shard 0 has no number",
        ),
        (lambda v: v["dataset"]["shards"][0].update(content_sha256=[[]]), "is damaged: high train shard 0 has no numb"),
        (
            lambda v: v["dataset"]["shards"][0].update(tried=2**32 + 1),
            "is damaged: (1, 4294967297, 0, 0) are not counts",
        ),
        (lambda v: v["dataset"]["shards"][0].update(below=False), "is damaged: (1, 1, False, 0) are not counts"),
        (lambda v: v["dataset"]["shards"][0].update({"x\n\x1b": 1}), "is damaged: Record.__init__() got an unexpected"),
        (lambda v: v["storage"].update(toolchain=[1]), "is damaged: toolchain [1] is not a version for each name"),
        (lambda v: v["storage"]["toolchain"].update(a=1), "is damaged: toolchain {'ncagen': "),
        (lambda v: v["storage"].update(format=["arrow"]), "is damaged: format ['arrow'] is not known"),
        (lambda v: next(iter(v["storage"]["files"].values())).update(bytes=-1), "is damaged: data/high/train-00000-of"),
        (lambda v: next(iter(v["storage"]["files"].values())).update(bytes=True), "is damaged: data/high/train-00000-"),
        (lambda v: next(iter(v["storage"]["files"].values())).update(sha256="A" * 64), "is damaged: data/high/train-0"),
        (lambda v: next(iter(v["storage"]["files"].values())).update(sha256=1), "is damaged: data/high/train-00000-of"),
    ],
)
def test_values_that_only_look_right_are_refused(receipt, change, line):
    value = json.loads(json.dumps(receipt))
    change(value)
    assert refused(value).startswith(line)
    if "dataset_sha256" in value:
        fit(value)
    assert refused(value).startswith(line)


LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from(
        [0, 1, -1, 2**31, 2**32, 2**63, 2**64, 10**400, 1.0, 0.0, -0.0, 1e300, float("nan"), float("inf")]
    )
    | st.floats()
    | st.text(st.characters(exclude_categories=()), max_size=20)
    | st.sampled_from([*PLACES, "high", "low", "arrow", "parquet", "train", "0.35-0.45", "0" * 64])
)
JSON = st.recursive(
    LEAVES, lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(max_size=5), v, max_size=3), max_leaves=5
)


@given(data=st.data(), fitting=st.booleans())
@settings(HAPPY, max_examples=300)
def test_a_manifest_is_refused_or_says_what_stands_in_it(receipt, data, fitting):
    value = place = json.loads(json.dumps(receipt))
    while True:
        name = data.draw(st.sampled_from(list(place) if isinstance(place, dict) else list(range(len(place)))))
        if not isinstance(place[name], dict | list) or not place[name] or data.draw(st.integers(0, 4)) == 0:
            break
        place = place[name]
    kind = data.draw(st.sampled_from(["replace", "remove", "copy"]))
    if kind == "remove":
        del place[name]
    else:
        place[name] = (
            data.draw(JSON)
            if kind == "replace"
            else place[data.draw(st.sampled_from(list(place)))]
            if isinstance(place, dict)
            else place[0]
        )
    if fitting:
        fit(value)
    text = json.dumps(value).encode()
    try:
        manifest, _ = parse(text, "m.json", Folder("."))
    except NcagenError as error:
        line = str(error)
        assert line.startswith("m.json ") and line.isprintable() and len(line) < 600
        return
    assert canonical(manifest.to_dict()) == canonical(value)
    assert all(path.startswith("data/") and ".." not in path and "\\" not in path for path in manifest.files)


# --- files that claim more than they hold ---

WATCH = """
import json, resource, sys
import ncagen
paths = json.loads(sys.argv[1])
ncagen.open(paths.pop(0))[0]
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 300 * 2**20,) * 2)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in paths:
    try:
        dataset = ncagen.open(path)
        for row in (0, 299):
            dataset[row]
        print("read")
    except ncagen.NcagenError as error:
        print(error)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def varint(number: int) -> bytes:
    found = b""
    while number > 127:
        found, number = found + bytes([number & 127 | 128]), number >> 7
    return found + bytes([number])


def integer(number: int) -> bytes:
    """As Thrift's compact protocol has it."""
    return varint(number << 1 if number >= 0 else -number * 2 - 1)


def page(unpacked: int, packed: int, values: int, kind: int = 0, encoding: int = 9) -> bytes:
    """The header of a Parquet data page."""
    data = b"\x15" + integer(values) + b"\x15" + integer(encoding) + b"\x15" + integer(3) + b"\x15" + integer(3) + b"\0"
    sizes = b"\x15" + integer(kind) + b"\x15" + integer(unpacked) + b"\x15" + integer(packed)
    return sizes + b"\x15" + integer(0) + b"\x1c" + data + b"\0"


def page_v2(unpacked: int, packed: int, values: int, levels: int = 0) -> bytes:
    """The header of a data page of version 2, without a checksum."""
    fields = (values, 0, values // 1026, 9, levels, 0)
    data = b"".join(b"\x15" + integer(field) for field in fields) + b"\0"
    return b"\x15" + integer(3) + b"\x15" + integer(unpacked) + b"\x15" + integer(packed) + b"\x5c" + data + b"\0"


def dictionary_page(unpacked: int, packed: int, values: int) -> bytes:
    """The header of a dictionary page, without a checksum."""
    data = b"\x15" + integer(values) + b"\x15" + integer(0) + b"\0"
    return b"\x15" + integer(2) + b"\x15" + integer(unpacked) + b"\x15" + integer(packed) + b"\x4c" + data + b"\0"


def nested_footer(depth: int) -> bytes:
    """A Parquet file of no rows whose schema is a group in a group in a group."""
    group = b"\x35" + integer(0) + b"\x18\x01a\x15" + integer(1) + b"\0"
    leaf = b"\x15" + integer(1) + b"\x25" + integer(0) + b"\x18\x01b\0"
    schema = b"\x19\xfc" + varint(depth + 1) + group * depth + leaf
    footer = b"\x15" + integer(1) + schema + b"\x16" + integer(0) + b"\x19\x0c\0"
    return b"PAR1" + footer + struct.pack("<I", len(footer)) + b"PAR1"


def parquet_bombs(table: pa.Table, content: bytes) -> Iterator[tuple[str, bytes, str]]:
    """Name, file and what is said of it; `content` is the sound file of `table`."""

    def written(table: pa.Table, **options) -> bytes:
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, **PARQUET | options)
        return sink.getvalue().to_pybytes()

    def in_place(*parts: bytes) -> bytes:
        """The sound file with another first page; its footer is as it was."""
        new = b"".join(parts)
        assert len(new) < 200_000
        return content[:4] + new + content[4 + len(new) :]

    def replaced(data: bytes, old: bytes, new: bytes) -> bytes:
        """The first page with other bytes from where `old` begins; its headers are as they were."""
        at = data.index(old)
        return data[:at] + new + data[at + len(new) :]

    values, failed = 256 * 1026, "it cannot be read: "
    zeros = pa.Codec("zstd", compression_level=1).compress(bytes(400 * 2**20)).to_pybytes()
    levels = (struct.pack("<I", 6) + varint(2**30 << 1) + b"\1") * 2
    packed = pa.Codec("zstd").compress(levels).to_pybytes()
    plain = {"column_encoding": None, "use_dictionary": False}

    large = "its pages are larger than their values can be"
    more = "a page has more values than its rows"
    unread = "its pages cannot be read"
    yield "unpacks to 400 MB", in_place(page(400 * 2**20, len(zeros), values), zeros), large
    yield "a second page does", in_place(page(9, 0, 1), page(400 * 2**20, len(zeros), values - 1), zeros), large
    yield "a page of version 2 does", in_place(page_v2(400 * 2**20, len(zeros), values), zeros), large
    yield "many pages do", in_place(*[page_v2(2**20, 9, 1) + bytes(9)] * 9), large
    yield "levels longer than their page", in_place(page_v2(99, 99, values, levels=100)), unread
    yield "levels of less than nothing", in_place(page_v2(99, 99, values, levels=-100)), unread
    yield "a thousand million levels", in_place(page(len(levels), len(packed), 2**30), packed), more
    yield "a thousand million in version 2", in_place(page_v2(9, 9, 2**30)), more
    yield "pages of nothing", in_place(*[page(0, 0, 0)] * 1000), more
    yield "less than nothing", in_place(page(9, -20, 1)), unread
    yield "pages beyond the column's end", in_place(page(9, 2**30, 1, encoding=0)), unread
    yield "an index page", in_place(page(9, 9, values, kind=1)), unread
    yield "a dictionary without a header", in_place(page(9, 9, values, kind=2)), unread
    yield "a thousand million words", in_place(dictionary_page(99, 9, 2**30)), unread
    yield "no such encoding", in_place(page(9, 9, values, encoding=6)), unread
    yield "no page header", in_place(b"\x15" + b"\xff" * 999), unread
    yield "a field twice", in_place(page(9, 9, values)[:-1] + b"\x05" + integer(2) + integer(9) + b"\0"), unread
    delta = {
        "column_encoding": parquet_options(table.column_names)["column_encoding"]
        | {"input_ids.list.element": "DELTA_BINARY_PACKED"}
    }
    bare = {"compression": "none", "compression_level": None, "write_page_checksum": False}
    huge = varint(2**31) + varint(2**26) + varint(values)  # values of a block, parts of it: a byte of memory each
    yield "blocks of a thousand million", replaced(written(table, **delta, **bare), b"\x80\x01\x04", huge), failed
    columns = "its columns are not those of its manifest's spec"
    footer = "its footer is not that of a shard"
    yield "a row group a row", written(table, row_group_size=1), footer
    wide = pa.table({f"c{n}": pa.nulls(300, pa.int8()) for n in range(1000)})
    yield "a thousand columns", written(wide, **plain, write_statistics=False), footer
    many = pa.table({"a": pa.array(np.zeros(10**7, np.int64))})
    yield "ten million rows", written(many, use_dictionary=True, column_encoding=None, row_group_size=10**7), columns
    yield "a footer of its own", content[:-8] + struct.pack("<I", 2**31) + b"PAR1", footer
    yield "no end", content[:-4] + b"PARE", footer
    start = len(content) - 8 - struct.unpack("<I", content[-8:-4])[0]

    def footer_with(old: bytes, new: bytes) -> bytes:
        assert len(old) == len(new) and old in content[start:]
        return content[:start] + content[start:].replace(old, new, 1)

    # pyarrow ends the process when it is asked for these columns' codec or sizes.
    codec = "its pages are compressed by a codec that ncagen does not read"
    yield "no such codec", footer_with(b"\x18\ngzip_bytes\x15\x0c", b"\x18\ngzip_bytes\x15\x7f"), codec
    yield "a required column", footer_with(b"%\x02\x18\tcandidate", b"%\x00\x18\tcandidate"), columns
    other = "a row group has other values than its rows"
    yield "more values", footer_with(integer(values), integer(values + 1)), other
    yield "fewer values", footer_with(integer(values), integer(values - 1)), other
    yield "an offset before the file", footer_with(b"&\x08I", b"&\x07I"), "its pages are outside the file"
    yield "nested", nested_footer(1000), columns
    yield "nested deeply", nested_footer(100_000), footer
    yield from ((name, written(other, **plain), line) for name, other, line in tables(table))


def arrow_bombs(table: pa.Table, content: bytes) -> Iterator[tuple[str, bytes, str]]:
    """The same for Arrow files."""

    def written(table: pa.Table, rows: int = 256, compression: str | None = None) -> bytes:
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as writer:
            writer.write_table(table, max_chunksize=rows)
        return sink.getvalue().to_pybytes()

    unlike = "its record batches are not plain ones"
    batches = "its record batches are not those of its rows"
    zeros = table.set_column(1, "candidate", pa.array(np.zeros(300, np.uint64)))
    yield "zstd", written(zeros, compression="zstd"), unlike
    yield "lz4", written(zeros, compression="lz4"), unlike
    yield "a batch too many", written(pa.concat_tables([table, table.slice(0, 1)])), batches
    yield "a batch too few", written(table.slice(0, 256)), batches
    yield "a batch a row", written(table, 1), batches
    yield "batches of other rows", written(table, 150), "a row group does not hold the rows that it names"
    coded = table.set_column(1, "candidate", table["candidate"].cast(pa.int64()).dictionary_encode())
    yield "a dictionary too many", written(coded), batches
    yield "a dictionary", written(coded, 300), unlike
    messages = list(pa.ipc.MessageReader.open_stream(pa.py_buffer(content)[8:]))
    body = struct.pack("<q", messages[1].body.size)
    start = content.index(body)
    yield "a body without end", content[:start] + struct.pack("<q", 2**60) + content[start + 8 :], "it cannot be read: "
    yield (
        "a body of less than nothing",
        content[:start] + struct.pack("<q", -8) + content[start + 8 :],
        ("it cannot be read: "),
    )
    size = struct.unpack("<i", content[-10:-6])[0]
    blocks = content.rindex(struct.pack("<q", messages[1].body.size)) - 16
    assert blocks > len(content) - 10 - size
    first, second = content[blocks : blocks + 24], content[blocks + 24 : blocks + 48]
    elsewhere = "its footer names other record batches"
    yield "blocks in another order", content[:blocks] + second + first + content[blocks + 48 :], elsewhere
    yield "a block twice", content[:blocks] + first + first + content[blocks + 48 :], elsewhere
    yield "no footer", content[: -10 - size], "it cannot be read: "
    yield "no magic", b"x" + content[1:], batches
    yield "magic alone", b"ARROW1\0\0", "it cannot be read: "
    yield "nothing", b"", "it cannot be read: "
    yield from ((name, written(other), line) for name, other, line in tables(table))


def tables(table: pa.Table) -> Iterator[tuple[str, pa.Table, str]]:
    """Tables that are not the shard's."""
    unlike = "its columns are not those of its manifest's spec"

    def with_column(place: int, values: pa.Array | pa.ChunkedArray, name: str | None = None) -> pa.Table:
        return table.set_column(place, name or table.column_names[place], values)

    yield "a column more", table.append_column("more", pa.nulls(300)), unlike
    yield "a column less", table.drop_columns(["gzip_ratio"]), unlike
    yield "columns in another order", table.select([1, 0, 2, 3]), unlike
    yield "a column twice", table.set_column(2, "candidate", table["candidate"]), unlike
    yield "another name", with_column(1, table["candidate"], "candidates"), unlike
    yield "signed", with_column(1, table["candidate"].cast(pa.int64())), unlike
    yield "a struct", with_column(1, pa.array([{"a": 1}] * 300)), unlike
    yield "texts", with_column(1, pa.array(["x"] * 300)), unlike
    yield "lists of any length", with_column(0, table["input_ids"].cast(pa.list_(pa.uint16()))), unlike
    short = pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(300, np.uint16)), 1)
    yield "short rows", with_column(0, short), unlike
    yield (
        "long rows",
        with_column(0, pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(300 * 1027, np.uint16)), 1027)),
        (unlike),
    )
    record = "its record is not the manifest's"
    metadata = json.loads(table.schema.metadata[b"ncagen"])
    for name, text in {
        "no record": None,
        "another record": json.dumps(metadata | {"shard": 1}),
        "a record of nothing": "null",
        "a record of two": json.dumps([metadata, metadata]),
    }.items():
        yield name, table.replace_schema_metadata(text and {"ncagen": text}), record
    deep = table.replace_schema_metadata({"ncagen": "[" * 3000})
    yield "a nested record", deep, "it cannot be read: "
    yield "no record at all", table.replace_schema_metadata({"ncagen": "\n{"}), "it cannot be read: Expecting "


@posix
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's /proc")
def test_files_that_claim_more_than_they_hold_are_refused_while_small(made, tmp_path):
    sound = shard_path(made[0])
    content = sound.read_bytes()
    if sound.suffix == ".parquet":
        bombs = list(parquet_bombs(pq.read_table(sound).combine_chunks(), content))
    else:
        bombs = list(arrow_bombs(pa.ipc.open_file(content).read_all().combine_chunks(), content))
    paths, wanted = [str(made[0])], []
    for name, data, line in bombs:
        folder = Path(shutil.copytree(made[0], tmp_path / name, copy_function=os.link))
        paths.append(str(folder))
        wanted.append(f"{put(folder, data)}: {line}")
    command = [sys.executable, "-c", WATCH, json.dumps(paths)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert done.stderr == ""
    *said, megabytes = done.stdout.splitlines()
    for line, want in zip(said, wanted, strict=True):
        assert line == want or (want.endswith(" ") and line.startswith(want) and len(line) < len(want) + 310)
    assert int(megabytes) < 60


def test_nulls_are_refused(folder):
    sound = shard_path(folder)
    arrow = sound.suffix == ".arrow"
    table = pa.ipc.open_file(sound.read_bytes()).read_all() if arrow else pq.read_table(sound)
    flat = table["input_ids"].combine_chunks().flatten().to_numpy()
    tokens = pa.array(flat, mask=np.arange(len(flat)) == 5)
    for place, values, line in (
        (1, pa.array(np.zeros(300, np.uint64), mask=np.arange(300) == 3), "there are nulls in it"),
        (0, pa.FixedSizeListArray.from_arrays(tokens, 1026), "there are nulls in it"),
    ):
        sink = pa.BufferOutputStream()
        other = table.set_column(place, table.column_names[place], values)
        if arrow:
            with pa.ipc.new_file(sink, other.schema) as writer:
                writer.write_table(other, max_chunksize=256)
        else:
            pq.write_table(other, sink, **parquet_options(other.column_names))
        path = put(folder, sink.getvalue().to_pybytes())
        line = f"it cannot be read: {line}" if arrow else "a page has rows of other lengths, or nulls"
        assert raised(lambda: ncagen.open(folder)[0], DamagedShard).startswith(f"{path}: {line}")


@pytest.mark.parametrize("kind", range(7))
def test_a_schema_that_says_it_is_something_else_is_refused(smoke, kind):
    """pyarrow took any message for a schema, and the process ended."""
    manifest = read_manifest(smoke("arrow"))
    content = bytearray((smoke("arrow") / manifest.path(manifest.records[0])).read_bytes())
    message = bytes(content[16:1000])
    place = 16 + shard_file._field(message, shard_file._follow(message, 0), 1)
    assert content[place] == 1  # MessageHeader: Schema
    content[place] = kind
    if kind == 1:
        ShardFile(pa.py_buffer(bytes(content)), "arrow", manifest.row_format, manifest.records[0])
    else:
        with pytest.raises(DamagedShard):
            ShardFile(pa.py_buffer(bytes(content)), "arrow", manifest.row_format, manifest.records[0])


def test_a_file_that_is_too_large_for_its_rows_is_not_opened(folder):
    path, manifest = shard_path(folder), read_manifest(folder)
    with path.open("r+b") as file:
        file.truncate(10**10)  # a hole
    stored = dict(manifest.files) | {path.relative_to(folder).as_posix(): File(10**10, "0" * 64)}
    (folder / manifests.MANIFEST).write_bytes(replace(manifest, files=stored).documents()["manifest.json"])
    most = 4 * 300 * 2052 + 2 * 2**20
    line = f"{path}: it has {10**10} bytes, and 300 rows take {most} at most"
    assert raised(lambda: ncagen.open(folder)[0], DamagedShard) == line


@given(data=st.data())
@settings(HAPPY, max_examples=120)
def test_changed_files_are_refused_or_give_rows_of_the_right_shape(made, data):
    """Where every hash is made to fit: other values may come, but nothing else may happen."""
    manifest = read_manifest(made[0])
    content = bytearray(shard_path(made[0], 2).read_bytes())
    ends = st.integers(0, 2000) | st.integers(len(content) - 3000, len(content) - 1)
    for place in data.draw(st.lists(ends, min_size=1, max_size=4)):
        content[place] = data.draw(st.sampled_from([0, 1, 127, 128, 255]) | st.integers(0, 255))
    try:
        rows = ShardFile(
            pa.py_buffer(bytes(content)), manifest.file_format, manifest.row_format, manifest.records[2]
        ).rows()
    except DamagedShard as error:
        assert str(error).isprintable() and len(str(error)) < 350
        return
    wanted = manifest.row_format.empty(200)
    shapes = ({n: (c.shape, c.dtype) for n, c in some.columns.items()} for some in (rows, wanted))
    assert next(shapes) == next(shapes)


# --- nothing is run, and nothing else is imported ---


class Trap:
    """What would make a file if it was unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.filterwarnings("ignore:.*:RuntimeWarning")  # what pyarrow says of such a type, where it knows it
def test_no_pickle_in_a_shard_is_loaded(folder, tmp_path):
    payload = pickle.dumps(Trap(tmp_path / "sprung"), 0)
    sound = shard_path(folder)
    arrow = sound.suffix == ".arrow"
    table = pa.ipc.open_file(sound.read_bytes()).read_all() if arrow else pq.read_table(sound)
    for name in ("arrow.py_extension_type", "pandas", "pickle", "numpy"):
        marks = {"ARROW:extension:name": name, "ARROW:extension:metadata": payload, "pickle": payload}
        schema = pa.schema([field.with_metadata(marks) for field in table.schema], metadata=table.schema.metadata)
        schema = schema.with_metadata(
            dict(schema.metadata) | {"pandas": payload, "huggingface": payload, "PANDAS_ATTRS": payload}
        )
        sink = pa.BufferOutputStream()
        if arrow:
            with pa.ipc.new_file(sink, schema) as writer:
                writer.write_table(table.cast(schema), max_chunksize=256)
        else:
            pq.write_table(table.cast(schema), sink, **PARQUET)
        path = put(folder, sink.getvalue().to_pybytes())
        try:
            assert len(ncagen.open(folder)[0]) == 4
        except DamagedShard as error:
            assert str(error) == f"{path}: its columns are not those of its manifest's spec"
        assert not (tmp_path / "sprung").exists()
    pickle.loads(payload)
    assert (tmp_path / "sprung").exists()  # it was a trap


def test_reading_and_streaming_import_nothing_more(made):
    script = """
import sys, ncagen
dataset = ncagen.open(sys.argv[1])
dataset[0], dataset.rows([1]), dataset.shard(0)
stream = ncagen.Stream(dataset, batch_size=8)
assert len(next(iter(stream))["input_ids"]) == 8
print(*sorted({name.split(".")[0] for name in sys.modules}))
"""
    command = [sys.executable, "-c", script, str(made[0])]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert done.stderr == ""
    loaded = set(done.stdout.split())
    assert {"ncagen", "numpy", "pyarrow"} <= loaded
    foreign = "numba llvmlite torch ray click triton tqdm pandas fsspec datasets jax tensorflow zstandard"
    assert not loaded & set(foreign.split())


# --- URLs ---


def test_a_file_url_is_a_folder(made):
    dataset = ncagen.open(made[0].as_uri())
    assert same(dataset[299], made[1], 299) and str(dataset.folder) == made[0].as_uri()
    assert same(pickle.loads(pickle.dumps(dataset))[3], made[1], 3)
    line = "file:///no/such holds no dataset: there is no manifest.json in it"
    assert raised(lambda: ncagen.open("file:///no/such")) == line
    line = "file://host/x cannot be opened: Unsupported hostname in non-Windows local URI: 'file://host/x'"
    if os.name == "posix":
        assert raised(lambda: ncagen.open("file://host/x")) == line


def test_a_folder_of_fsspec_is_read(made):
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    if memory.exists("/kept"):  # it is the process's
        memory.rm("/kept", recursive=True)
    memory.put(str(made[0]), "/kept", recursive=True)
    dataset = ncagen.open("memory://kept")
    assert len(dataset) == 800 and same(dataset[299], made[1], 299)
    name = shard_path(made[0]).relative_to(made[0]).as_posix()
    content = memory.cat_file(f"/kept/{name}")
    footer = dataset.manifest.files[name].footer_bytes
    for other, line in (
        (content[:-1], f"it ends early: {footer - 1} of {footer} bytes requested are there"),
        (content[:-1] + b"x", "its footer does not match its hash"),
    ):
        memory.pipe_file(f"/kept/{name}", other)
        assert raised(lambda: ncagen.open("memory://kept/")[0], DamagedShard) == f"memory://kept/{name}: {line}"
    memory.rm_file(f"/kept/{name}")
    line = f"memory://kept/{name}: No such file or directory"
    assert raised(lambda: ncagen.open("memory://kept")[0], DamagedShard) == line
    line = "memory://none holds no dataset: there is no manifest.json in it"
    assert raised(lambda: ncagen.open("memory://none")) == line
    line = "x-y://a has an unsupported scheme: use a folder, file://, s3://, gs:// or one of fsspec"
    assert raised(lambda: ncagen.open("x-y://a")) == line


def test_a_scheme_that_needs_fsspec_says_what_to_type():
    script = """
import sys
sys.modules["fsspec"] = None
import ncagen
try:
    ncagen.open("memory://x")
except ncagen.NcagenError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert (done.stdout, done.stderr) == ("memory:// needs fsspec: pip install fsspec\n", "")
