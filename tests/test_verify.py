"""What the verifier finds, even in a dataset whose hashes have all been made to fit."""

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ncagen.dataset import atomic_write
from ncagen.dataset import shard as shards
from ncagen.dataset.folder import Folder
from ncagen.dataset.manifest import File, Manifest, ManifestError, read_manifest
from ncagen.dataset.open_shard import open_shard
from ncagen.dataset.reader import Dataset
from ncagen.dataset.shard import DamagedShard, Record
from ncagen.factory.check_dataset import verify
from ncagen.row_format import Rows

SHARD = "data/high/train-00001-of-00003.parquet"


@pytest.fixture
def folder(smoke, tmp_path):
    """A copy of the small dataset to do harm to."""
    return Path(shutil.copytree(smoke(), tmp_path / "a"))


def problems(folder: Path, share: float = 0.0) -> list[str]:
    return verify(folder, share).problems


def wanted(manifest: Manifest) -> Record:
    """The record of SHARD."""
    return next(record for record in manifest.records if manifest.path(record) == SHARD)


def forge(folder: Path, change: Callable[[Rows], Rows | None], **counts: int) -> None:
    """Rewrites SHARD with changed rows and counts, and makes every hash fit them."""
    manifest = read_manifest(folder)
    record = wanted(manifest)
    rows = open_shard(Folder(folder), manifest, record).rows()
    rows = rows.take(np.arange(len(rows)))
    rows = change(rows) or rows
    forged = replace(record, rows=len(rows), content_sha256=shards.content_sha256(rows), **counts)
    data = shards.to_bytes(rows, forged, manifest.file_format)
    atomic_write.write(folder / SHARD, data)
    stored = dict(manifest.files) | {SHARD: File(data.size, hashlib.sha256(data).hexdigest())}
    records = tuple(forged if r == record else r for r in manifest.records)
    (folder / "manifest.json").write_bytes(
        replace(manifest, records=records, files=stored).documents()["manifest.json"]
    )


def test_a_sound_dataset_has_no_problems(smoke):
    for file_format in ("parquet", "arrow"):
        report = verify(smoke(file_format), 1.0)
        assert (report.problems, report.files, report.rows, report.rebuilt) == ([], 8, 440, 440)


def test_a_forgery_that_changes_nothing_passes(folder):
    forge(folder, lambda rows: None)
    assert problems(folder, 1.0) == []


def test_a_changed_scored_token_is_found_by_its_score(folder):
    forge(folder, lambda rows: rows.input_ids.__setitem__((5, slice(1, 37)), 0))  # the first grid
    assert f"{SHARD}: row 5: gzip_bytes is not the length of the row's tokens (1 of 70 rows)" in problems(folder)


def test_a_changed_unscored_token_is_seen_by_making_the_row_again_only(folder):
    forge(folder, lambda rows: rows.input_ids.__setitem__((7, 20 * 38 + 3), rows.input_ids[7, 20 * 38 + 3] ^ 1))
    candidate = Dataset(folder, band="high").shard(1).candidate[7]
    assert problems(folder) == []
    assert problems(folder, 1.0) == [f"{SHARD}: candidate {candidate} makes another row (1 of 70 rebuilt rows differ)"]


@pytest.mark.parametrize(("token", "value"), [(0, 10_001), (38, 0), (1, 10_000), (1025, 10_000), (1024, 10_002)])
def test_a_delimiter_out_of_place_is_found(folder, token, value):
    forge(folder, lambda rows: rows.input_ids.__setitem__((3, token), value))
    assert f"{SHARD}: row 3: tokens are not well formed (1 of 70 rows)" in problems(folder)


def test_a_wrong_length_is_found(folder):
    def change(rows: Rows) -> None:
        rows["gzip_bytes"][9] += 1
        rows["gzip_ratio"][9] = np.float32(rows["gzip_bytes"][9] / 1440)

    forge(folder, change)
    assert problems(folder) == [f"{SHARD}: row 9: gzip_bytes is not the length of the row's tokens (1 of 70 rows)"]


@pytest.mark.parametrize("ratio", [np.float32(0.75), np.float32(np.nan)])
def test_a_wrong_ratio_is_found(folder, ratio):
    forge(folder, lambda rows: rows["gzip_ratio"].__setitem__(slice(2, 4), ratio))
    assert problems(folder) == [f"{SHARD}: row 2: gzip_ratio is not gzip_bytes by scored bytes (2 of 70 rows)"]


def test_a_row_of_another_band_is_found(folder):
    stranger = Dataset(folder, band="medium")[0]

    def change(rows: Rows) -> None:
        for name in ("input_ids", "gzip_bytes", "gzip_ratio"):
            rows[name][69] = stranger[name]

    forge(folder, change)
    assert problems(folder) == [f"{SHARD}: row 69: the row is not in band high (1 of 70 rows)"]


def test_rows_out_of_order_are_found(folder):
    def change(rows: Rows) -> Rows:
        order = np.arange(70)
        order[[10, 11]] = 11, 10
        return rows.take(order)

    forge(folder, change)
    assert problems(folder) == [
        f"{SHARD}: row 11: candidate is not one of this shard's, in order (1 of 70 rows)",
    ]
    assert problems(folder, 1.0) == problems(folder)


def test_a_row_given_twice_is_found(folder):
    forge(folder, lambda rows: rows.take(np.array([*range(69), 68])))
    assert f"{SHARD}: row 69: candidate is not one of this shard's, in order (1 of 70 rows)" in problems(folder)


def test_rows_of_another_shard_are_found(folder):
    other = Dataset(folder, band="high").shard(0)
    forge(folder, lambda rows: other)
    assert f"{SHARD}: row 0: candidate is not one of this shard's, in order (70 of 70 rows)" in problems(folder)


@pytest.mark.parametrize(
    "counts", [{"below": 1}, {"above": 10**6}, {"tried": 10**6}, {"below": 10**6, "tried": 10**6 + 70}]
)
def test_wrong_counts_are_found(folder, counts):
    if "tried" in counts and "below" in counts:
        counts |= {"above": 0}
    forge(folder, lambda rows: None, **counts)
    assert problems(folder) == [f"{SHARD}: the counts of candidates do not add up"]


@pytest.mark.parametrize("wrong", [lambda ids: ids.astype(np.uint32), lambda ids: ids[:, :-38].copy()])
def test_wrong_columns_are_found(folder, wrong):
    forge(folder, lambda rows: Rows(rows.columns | {"input_ids": wrong(rows.input_ids)}))
    assert problems(folder) == [f"{SHARD}: its columns are not those of its manifest's spec"]


def test_a_missing_row_is_found(folder):
    forge(folder, lambda rows: rows.take(slice(None, -1)))
    with pytest.raises(ManifestError) as caught:
        problems(folder)
    assert str(caught.value) == f"{folder}/manifest.json is damaged: high train shard 1 has 69 rows, not 70"


def test_a_sample_is_the_same_rows_every_time_and_one_of_each_shard_at_least(folder):
    first, again = (verify(folder, 0.1).rebuilt for _ in range(2))
    assert first == again and 20 < first < 80
    assert verify(folder, 1e-9).rebuilt == 8


# --- files ---


def test_files_that_do_not_belong_are_found(folder):
    (folder / "data/high/train-00003-of-00003.parquet").write_bytes(b"")
    (folder / "notes.txt").write_bytes(b"")
    assert problems(folder) == [
        "data/high/train-00003-of-00003.parquet: does not belong to the dataset",
        "notes.txt: does not belong to the dataset",
    ]


def test_a_missing_file_is_found(folder):
    (folder / SHARD).unlink()
    assert problems(folder) == [f"{SHARD}: No such file or directory"]


def test_a_changed_byte_is_found(folder):
    data = bytearray((folder / SHARD).read_bytes())
    data[1000] ^= 1
    (folder / SHARD).write_bytes(data)
    assert problems(folder) == [f"{SHARD}: its bytes do not match their hash"]
    with pytest.raises(DamagedShard) as caught:
        Dataset(folder, band="high")[70]
    assert str(caught.value).startswith(f"{folder / SHARD}: it")


def test_a_shard_in_anothers_place_is_found(folder):
    manifest = read_manifest(folder)
    other = SHARD.replace("00001", "00000")
    shutil.copy(folder / other, folder / SHARD)
    stored = dict(manifest.files) | {SHARD: manifest.files[other]}
    (folder / "manifest.json").write_bytes(replace(manifest, files=stored).documents()["manifest.json"])
    assert problems(folder) == [f"{SHARD}: its record is not the manifest's"]


def test_rows_that_belie_their_hash_are_found(folder):
    manifest = read_manifest(folder)
    record = wanted(manifest)
    rows = open_shard(Folder(folder), manifest, record).rows()
    rows = rows.take(np.arange(len(rows)))
    rows.input_ids[0, 1] ^= 1
    data = shards.to_bytes(rows, record, "parquet")
    atomic_write.write(folder / SHARD, data)
    stored = dict(manifest.files) | {SHARD: File(data.size, hashlib.sha256(data).hexdigest())}
    (folder / "manifest.json").write_bytes(replace(manifest, files=stored).documents()["manifest.json"])
    assert problems(folder) == [f"{SHARD}: its rows do not match their hash"]


# --- the manifest ---


def edit(folder: Path, change: Callable[[dict], object]) -> str:
    """The line that a changed manifest gets."""
    path = folder / "manifest.json"
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))
    with pytest.raises(ManifestError) as caught:
        problems(folder)
    line = str(caught.value)
    assert "\n" not in line and line.startswith(f"{path} ")
    return line.removeprefix(f"{path} ")


def test_a_changed_manifest_is_refused(folder):
    line = edit(folder, lambda value: value["dataset"]["shards"][1].update(content_sha256="0" * 64))
    assert line == "is damaged: its hash does not match what it says"


def test_a_changed_spec_is_refused(folder):
    line = edit(folder, lambda value: value["dataset"]["spec"].update(seed=1))
    assert line == "is damaged: its hash does not match what it says"


def test_a_changed_file_hash_is_found(folder):
    path = folder / "manifest.json"
    value = json.loads(path.read_text())
    value["storage"]["files"][SHARD]["sha256"] = "0" * 64
    path.write_text(json.dumps(value))
    assert problems(folder) == [f"{SHARD}: its bytes do not match their hash"]


@pytest.mark.parametrize("place", ["../outside.parquet", "/etc/passwd", "data/high/../../../x"])
def test_no_path_can_lead_out_of_the_folder(folder, place):
    def change(value: dict) -> None:
        stored = value["storage"]["files"]
        value["storage"]["files"] = {place if name == SHARD else name: file for name, file in stored.items()}

    assert edit(folder, change) == "is damaged: its files are not those of its shards"


@pytest.mark.parametrize("name", ["../../outside", "/etc", "high/../.."])
def test_no_band_can_lead_out_of_the_folder(folder, name):
    def change(value: dict) -> None:
        value["dataset"]["spec"]["bands"][0]["name"] = name

    known = "low, medium, upper, high, or limits such as 0.35-0.45"
    assert edit(folder, change) == f"is damaged: band {name!r} is not known: use {known}"


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda v: v.update(manifest_version=1), "has version 1, this ncagen reads 3"),
        (lambda v: v["dataset"]["shards"].pop(), "is damaged: its shards are not those of its spec"),
        (lambda v: v["storage"]["files"].popitem(), "is damaged: its files are not those of its shards"),
        (lambda v: v["storage"].update(format="csv"), "is damaged: format 'csv' is not known"),
        (lambda v: v["dataset"]["shards"][0].update(below="x"), "is damaged: (70, "),
        (lambda v: v["dataset"]["shards"][0].update(tried=-1), "is damaged: (70, -1, "),
        (lambda v: v["dataset"]["shards"][0].update(rows=71), "is damaged: high train shard 0 has 71 rows, not 70"),
        (lambda v: v["dataset"]["spec"].update(sead=2), "is damaged: setting 'sead' is not known: known are source, "),
        (lambda v: v["dataset"]["spec"].update(seed=-1), "is damaged: seed -1 is out of range: use 0 to 4294967295"),
        (lambda v: v["dataset"]["spec"]["source"].pop("name"), "is damaged: the source has no name"),
        (lambda v: v["dataset"]["spec"]["source"].update(states=[1]), "is damaged: setting 'states' of source nca is "),
        (lambda v: v["dataset"]["row_format"].update(row_tokens=0), "is damaged: row_tokens 0 is out of range: use 1 "),
        (lambda v: v["dataset"]["row_format"].update(seq_len=1000), "is damaged: its rows are for 1000 tokens, its sp"),
        (lambda v: v["dataset"]["row_format"].update(grid=1), "is damaged: the row format is incomplete: RowFormat.__"),
        (lambda v: v["dataset"]["row_format"]["facts"].pop(), "is damaged: the measure gzip_bytes is not a fact of "),
        (lambda v: v["dataset"]["row_format"]["facts"][0].update(dtype="int8"), "is damaged: a fact has another type "),
        (lambda v: v["dataset"]["measures"][0].update(denominator="0"), "is damaged: the measure {'column': 'gzip_by"),
        (lambda v: v["dataset"]["measures"][0].update(denominator="1440/0"), "is damaged: the measure is incomplete: "),
        (lambda v: v["dataset"].update(shards=5), "is damaged: "),
        (lambda v: v.clear(), "is damaged: 'manifest_version'"),
    ],
)
def test_a_manifest_that_makes_no_sense_is_refused(folder, change, line):
    assert edit(folder, change).startswith(line)
