"""A receipt holds a dataset: `rebuild` gives its files back, and nothing in a receipt is believed unchecked."""

import hashlib
import json
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from conftest import Run, contents, make, run, spec_of
from faults.processes import LONGER, LONGER_FLAGS, shards, start, temporary, wait_for
from index_oracle import identity

import ncagen
from ncagen.dataset import receipt as receipt_module
from ncagen.dataset.folder import Folder
from ncagen.dataset.manifest import File, canonical, read_manifest
from ncagen.dataset.receipt import MOST_BYTES, read_receipt, write_receipt
from ncagen.errors import NcagenError
from ncagen.factory.make_shard import BuildJob, intact, pack
from ncagen.factory.scheduler import build, threads
from ncagen.factory.settings import from_settings
from ncagen.philox import STREAMS
from ncagen.selection import Tally
from ncagen.sources.nca.source import Nca

SHARD = "data/high/train-00001-of-00003.parquet"


@pytest.fixture(scope="module")
def receipt(smoke, tmp_path_factory) -> Path:
    """The small dataset's receipt."""
    path = tmp_path_factory.mktemp("receipt") / "smoke.receipt.json.zst"
    write_receipt(smoke(), path)
    return path


@pytest.fixture(scope="module")
def longer(tmp_path_factory) -> Path:
    """A folder with a dataset of two seconds' work, a, and its receipt, r."""
    place = tmp_path_factory.mktemp("longer")
    make(place / "a", from_settings(LONGER))
    write_receipt(place / "a", place / "r")
    return place


def value_of(path: Path) -> dict:
    """What a receipt says."""
    with pa.CompressedInputStream(str(path), "zstd") as stream:
        return json.loads(stream.read())


def compressed(text: bytes) -> bytes:
    return pa.Codec("zstd").compress(text, asbytes=True)


def packed(value: dict) -> bytes:
    """A receipt's file."""
    return compressed(json.dumps(value, separators=(",", ":")).encode())


def signed(value: dict) -> bytes:
    """A receipt's file, with a hash that matches: what a stranger can make of any value."""
    value = {name: part for name, part in value.items() if name != "receipt_sha256"}
    sha256 = hashlib.sha256(canonical(value).encode()).hexdigest()
    return packed(value | {"receipt_sha256": sha256})


def refusal(path: Path, data: bytes | None = None) -> str:
    """Why a file is not read, without its name; one line."""
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(NcagenError) as caught:
        read_receipt(path)
    text = str(caught.value)
    assert text.startswith(f"{path} ") and "\n" not in text
    return text.removeprefix(f"{path} ")


# --- the file ---


def test_a_receipt_is_the_manifest_and_the_gaps(smoke, receipt):
    value, manifest = value_of(receipt), json.loads((smoke() / "manifest.json").read_text())
    assert {name: value.pop(name) for name in manifest} == manifest
    gaps = value.pop("gaps")
    assert value == {"receipt_version": 1, "receipt_sha256": value["receipt_sha256"]}
    assert len(gaps) == len(manifest["dataset"]["shards"]) == 8
    for some, shard in zip(gaps, manifest["dataset"]["shards"], strict=True):
        rows = ncagen.open(smoke(), shard["split"], shard["band"]).shard(shard["shard"])
        assert (shard["shard"] * 2**32 - 1 + np.cumsum(some)).tolist() == rows.candidate.tolist()
        assert (len(some), sum(some)) == (shard["rows"], shard["tried"])


def test_a_receipt_gives_the_candidates_back(smoke, receipt):
    read = read_receipt(receipt)
    assert read.manifest == read_manifest(smoke())
    for record in read.manifest.records:
        rows = ncagen.open(smoke(), record.split, record.band).shard(record.shard)
        found = read.candidates(record)
        assert found.dtype == np.uint64 and np.array_equal(found, rows.candidate)


def test_receipts_of_both_formats_differ_in_storage_alone(smoke, receipt, tmp_path):
    write_receipt(smoke("arrow"), tmp_path / "b")
    parquet, arrow = value_of(receipt), value_of(tmp_path / "b")
    assert parquet["gaps"] == arrow["gaps"] and parquet["dataset"] == arrow["dataset"]
    assert {name for name in parquet if parquet[name] != arrow[name]} == {"storage", "receipt_sha256"}


def test_a_receipt_is_read_by_zstd_and_jq(smoke, receipt):
    if not (shutil.which("zstd") and shutil.which("jq")):
        pytest.skip("zstd or jq is not installed")
    command = f"zstd -dc {receipt} | jq -r '.dataset_sha256, (.gaps | map(length) | add)'"
    said = subprocess.run(command, shell=True, capture_output=True, text=True, check=True).stdout
    assert said == f"{read_manifest(smoke()).dataset_sha256}\n440\n"


def test_a_receipt_takes_three_bits_a_row(longer):
    value, size = value_of(longer / "r"), (longer / "r").stat().st_size
    without = len(packed({k: v for k, v in value.items() if k != "gaps"}))
    assert size - without < 7813 * 3.5 / 8


# --- receipt and rebuild, as a user types them ---


def test_a_rebuild_gives_the_very_folder(smoke, tmp_path):
    folder = Path(shutil.copytree(smoke(), tmp_path / "a"))
    done = run("receipt", folder)
    size = (tmp_path / "a.receipt.json.zst").stat().st_size
    assert done == Run(0, f"{tmp_path}/a.receipt.json.zst: 440 rows in {size / 1e3:.1f} KB\n", "")
    done = run("rebuild", tmp_path / "a.receipt.json.zst", "--out", tmp_path / "b")
    made, identity = done.out.splitlines()
    assert (done.status, done.err) == (0, "")
    assert made.startswith("made 440 rows from 440 candidates in ")
    assert identity.endswith(f" MB, sha256 {read_manifest(smoke()).dataset_sha256}")
    assert contents(tmp_path / "b") == contents(smoke())


def test_a_manifest_alone_is_rebuilt_from_a_whole_pass(smoke, tmp_path):
    done = run("rebuild", smoke() / "manifest.json", "--out", tmp_path / "b", "--json")
    result = json.loads(done.out)
    assert (done.status, result["rows_made"], result["dataset_sha256"]) == (
        0,
        440,
        read_manifest(smoke()).dataset_sha256,
    )
    assert result["candidates"] > 440
    assert contents(tmp_path / "b") == contents(smoke())


def test_a_rebuild_in_the_other_format_holds_the_same_dataset(smoke, receipt, tmp_path):
    assert run("rebuild", receipt, "--out", tmp_path / "b", "--format=arrow", "--quiet") == Run(0, "", "")
    assert contents(tmp_path / "b") == contents(smoke("arrow"))


def test_an_uncompressed_receipt_is_one_too(smoke, receipt, tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(value_of(receipt), indent=1))
    assert run("rebuild", tmp_path / "a.json", "--out", tmp_path / "b", "--quiet", "--workers=1") == Run(0, "", "")
    assert contents(tmp_path / "b") == contents(smoke())


def test_no_rejected_candidate_is_run(smoke, receipt, tmp_path, monkeypatch):
    seen = []
    batch = Nca.batch
    monkeypatch.setattr(Nca, "batch", lambda *a, **named: seen.append((a[1][1], a[2])) or batch(*a, **named))
    read = read_receipt(receipt)
    order = BuildJob(read.manifest.spec, "parquet", Folder(tmp_path / "b"), read)
    build(order, threads(order, 1))
    found = {(stream, int(candidate)) for stream, some in seen for candidate in some}
    kept = [(STREAMS[r.split], int(c)) for r in read.manifest.records for c in read.candidates(r)]
    assert found == set(kept) and sum(len(some) for _, some in seen) == len(kept)


def test_a_receipt_goes_where_it_is_told(smoke, tmp_path):
    assert run("receipt", smoke(), "--out", tmp_path / "deep" / "r", "--quiet") == Run(0, "", "")
    assert read_receipt(tmp_path / "deep" / "r").manifest == read_manifest(smoke())
    line = f"ncagen: {tmp_path} is a folder: use --out with the name of a file\n"
    assert run("receipt", smoke(), "--out", tmp_path) == Run(2, "", line)


# --- stopped and gone on with ---


def stop(folder: Path, signal_: int, *arguments: object) -> str:
    """Starts a command, stops it four shards later, and returns what it said last."""
    process, enough = start(*arguments, "--out", folder), shards(folder) + 4
    wait_for(lambda: shards(folder) >= enough, process)
    process.send_signal(signal_)
    err = process.communicate()[1]
    assert process.returncode == (130 if signal_ == signal.SIGINT else -signal_)
    assert enough <= shards(folder) < 31 and not (folder / "manifest.json").exists()
    return err.splitlines()[-1] if err else ""


def test_stopped_at_any_moment_build_and_rebuild_go_on_with_each_other(longer, tmp_path):
    folder, rebuild = tmp_path / "b", ["rebuild", longer / "r", "--workers=2"]
    stop(folder, signal.SIGKILL, "build", *LONGER_FLAGS)
    said = stop(folder, signal.SIGINT, *rebuild)
    assert said == "ncagen: stopped; run the same command to resume" and temporary(folder) == []
    copy = Path(shutil.copytree(folder, tmp_path / "c"))
    assert run(*rebuild, "--out", folder, "--quiet") == Run(0, "", "")
    make(copy, from_settings(LONGER))
    assert contents(folder) == contents(copy) == contents(longer / "a")


def test_a_finished_folder_has_nothing_to_do_and_a_damaged_one_is_repaired(smoke, receipt, tmp_path):
    folder = Path(shutil.copytree(smoke(), tmp_path / "b"))
    first = run("rebuild", receipt, "--out", folder).out.splitlines()[0]
    assert first == f"nothing to do: {folder} is complete"
    (folder / SHARD).write_bytes(b"")
    first = run("rebuild", receipt, "--out", folder).out.splitlines()[0]
    assert first.startswith("made 70 rows from 70 candidates in ")
    assert contents(folder) == contents(smoke())


def test_an_intact_shard_that_the_receipt_does_not_name_is_made_again(smoke, receipt, tmp_path):
    """Other rows whose own record and hash are right."""
    folder = tmp_path / "b"
    order = BuildJob(spec_of(), "parquet", Folder(folder))
    band, rows = order.spec.bands[0], ncagen.open(smoke(), band="high").shard(1)
    backwards = rows.take(slice(None, None, -1))
    record, data = pack(order.spec, "parquet", "train", "high", 1, backwards, Tally(70))
    order.folder.write(order.name("train", "high", 1), data)
    assert intact(order, "train", band, 1) == (record, File.of(data, "parquet"))
    assert run("rebuild", receipt, "--out", folder, "--quiet") == Run(0, "", "")
    assert contents(folder) == contents(smoke())


# --- a receipt that lies ---

DIFFERS = (
    "is not written: what was made is not what the receipt or manifest says, which was altered or comes from another"
    " version of ncagen"
)


def lie(path: Path, value: dict) -> Path:
    """Writes a receipt whose hashes match each other."""
    value["dataset_sha256"] = identity(value["dataset"])
    path.write_bytes(signed(value))
    return path


def assert_found_out(path: Path, folder: Path) -> None:
    """Whether a rebuild ends with the error, and with nothing under the name of that shard."""
    read = read_receipt(path)
    with pytest.raises(NcagenError) as caught:
        order = BuildJob(read.manifest.spec, "parquet", Folder(folder), read)
        build(order, threads(order, 2))
    assert str(caught.value) == f"{folder}/{SHARD} {DIFFERS}"
    assert not {SHARD, "manifest.json"} & set(contents(folder)) and temporary(folder) == []


def test_other_candidates_are_found_out_shard_by_shard(smoke, receipt, tmp_path):
    value, folder = value_of(receipt), tmp_path / "b"
    gaps = value["gaps"][1]
    at = next(i for i in range(69) if gaps[i] != gaps[i + 1])
    gaps[at], gaps[at + 1] = gaps[at + 1], gaps[at]
    done = run("rebuild", lie(tmp_path / "r", value), "--out", folder, "--workers=1")
    assert done == Run(2, "", f"ncagen: {folder}/{SHARD} {DIFFERS}\n")
    written = contents(folder)
    assert SHARD not in written and "data/high/train-00000-of-00003.parquet" in written
    assert all(data == contents(smoke())[name] for name, data in written.items() if name != "building.json")
    assert run("rebuild", receipt, "--out", folder, "--quiet") == Run(0, "", "")
    assert contents(folder) == contents(smoke())


def test_another_hash_is_found_out(receipt, tmp_path):
    value = value_of(receipt)
    value["dataset"]["shards"][1]["content_sha256"] = "0" * 64
    assert_found_out(lie(tmp_path / "r", value), tmp_path / "b")


@pytest.mark.parametrize("change", [{"content_sha256": "0" * 64}, {"below": 1}])
def test_a_manifest_that_lies_is_found_out(receipt, tmp_path, change):
    value = value_of(receipt)
    del value["receipt_version"], value["gaps"]
    value["dataset"]["shards"][1] |= change
    assert_found_out(lie(tmp_path / "r", value), tmp_path / "b")


# --- a receipt that is damaged ---


def test_no_flipped_bit_makes_another_receipt(receipt, tmp_path):
    """Some bits of zstandard make no difference; without its version's name it is a plain manifest with more fields."""
    good, chance = receipt.read_bytes(), random.Random(0)
    right, refused = read_receipt(receipt), 0
    for _ in range(150):
        data = bytearray(good)
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        (tmp_path / "r").write_bytes(data)
        try:
            found = read_receipt(tmp_path / "r")
        except NcagenError as error:
            refused += str(error).startswith(str(tmp_path / "r"))
            continue
        assert found.manifest == right.manifest
        assert found.gaps is None or all(np.array_equal(found.gaps[key], right.gaps[key]) for key in right.records)
    assert refused > 140


def test_no_part_of_a_receipt_is_read(receipt, tmp_path):
    good = receipt.read_bytes()
    for size in (4, 5, 100, len(good) // 2, len(good) - 1):
        assert refusal(tmp_path / "r", good[:size]) == "cannot be read: Truncated compressed stream"
    assert refusal(tmp_path / "r", good + good).startswith("is damaged: Extra data: line 1 column ")
    assert refusal(tmp_path / "r", good + b"x").startswith("cannot be read: ZSTD decompress failed")


def test_a_bomb_is_not_unpacked(tmp_path):
    """Two gigabytes in 64 kilobytes."""
    begun = time.monotonic()
    line = f"is not a receipt: it holds more than {MOST_BYTES} bytes"
    assert refusal(tmp_path / "r", compressed(b" " * 2**31)) == line
    assert time.monotonic() - begun < 15
    assert refusal(Path("/dev/zero")) == line
    assert refusal(tmp_path / "r", compressed(b"[" * 2**22)) == "is damaged: it is nested too deeply"


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"", "is damaged: Expecting value: line 1 column 1 (char 0)"),
        (b"{}", "is damaged: 'manifest_version' is missing"),
        (b"[]", "is damaged: list indices must be integers or slices, not str"),
        (b"PAR1", "is damaged: Expecting value: line 1 column 1 (char 0)"),
        (compressed(b"{}"), "is damaged: 'manifest_version' is missing"),
        (compressed(b'{"a": 1, "a": 2}'), "is damaged: 'a' is in it twice"),
        (compressed(b'{"manifest_version": 9}'), "has version 9, this ncagen reads 3"),
    ],
)
def test_what_is_no_receipt_is_refused(tmp_path, data, line):
    assert refusal(tmp_path / "r", data) == line


def test_a_file_that_cannot_be_opened_is_named(tmp_path):
    assert refusal(tmp_path / "r") == "cannot be read: No such file or directory"
    assert refusal(tmp_path) == "cannot be read: Is a directory"
    line = f"ncagen: {tmp_path}/r cannot be read: No such file or directory\n"
    assert run("rebuild", tmp_path / "r", "--out", tmp_path / "b") == Run(2, "", line)
    assert run("rebuild", tmp_path / "r") == Run(2, "", "ncagen: Missing option '--out'.\n")
    assert list(tmp_path.iterdir()) == []


def test_a_second_value_for_a_name_is_refused(receipt, tmp_path):
    doubled = json.dumps(value_of(receipt)).replace('"receipt_version": 1', '"gaps": [], "receipt_version": 1').encode()
    assert refusal(tmp_path / "r", compressed(doubled)) == "is damaged: 'gaps' is in it twice"


def change(value: dict, at: int, gap: object) -> None:
    value["gaps"][0][at] = gap


NUMBERS = "is damaged: the gaps of high train shard 0 are not positive whole numbers"
COUNTS = "is damaged: high train shard 0 has 70 rows of {tried} candidates, but its gaps do not match"


@pytest.mark.parametrize(
    ("edit", "line"),
    [
        (lambda value: value.update(receipt_version=2), "has receipt version 2, this ncagen reads 1"),
        (lambda value: value.update(receipt_version="1"), "has receipt version 1, this ncagen reads 1"),
        (lambda value: value.pop("gaps"), "is damaged: its gaps are not those of its shards"),
        (lambda value: value["gaps"].pop(), "is damaged: its gaps are not those of its shards"),
        (lambda value: value["gaps"].append([1]), "is damaged: its gaps are not those of its shards"),
        (lambda value: value.update(gaps=5), "is damaged: its gaps are not those of its shards"),
        (lambda value: value["gaps"].__setitem__(0, "1" * 70), NUMBERS),
        (lambda value: value["gaps"].__setitem__(0, None), NUMBERS),
        (lambda value: change(value, 3, 0), NUMBERS),
        (lambda value: change(value, 3, -1), NUMBERS),
        (lambda value: change(value, 3, 1.0), NUMBERS),
        (lambda value: change(value, 3, True), NUMBERS),
        (lambda value: change(value, 3, "1"), NUMBERS),
        (lambda value: change(value, 3, [1]), NUMBERS),
        (lambda value: change(value, 3, 2**70), COUNTS),
        (lambda value: value["gaps"][0].append(1), COUNTS),
        (lambda value: value["gaps"][0].pop(), COUNTS),
        (lambda value: change(value, 0, value["gaps"][0][0] + 1), COUNTS),
    ],
)
def test_gaps_that_cannot_be_are_refused(receipt, tmp_path, edit, line):
    value = value_of(receipt)
    tried = value["dataset"]["shards"][0]["tried"]
    edit(value)
    assert refusal(tmp_path / "r", signed(value)) == line.format(tried=tried)


@pytest.mark.parametrize("name", ["gaps", "dataset", "storage", "receipt_sha256"])
def test_a_receipt_whose_hash_does_not_match_is_refused(receipt, tmp_path, name):
    value = value_of(receipt)
    match name:
        case "gaps":
            value["gaps"][0].reverse()
        case "dataset":
            value["dataset"]["shards"][0]["content_sha256"] = "0" * 64
        case "storage":
            value["storage"]["toolchain"]["pyarrow"] = "1"
        case "receipt_sha256":
            del value["receipt_sha256"]
    line = "is damaged: its hash does not match what it says"
    assert refusal(tmp_path / "r", packed(value)) == line


def test_counts_that_do_not_add_up_are_refused(receipt, tmp_path):
    value = value_of(receipt)
    value["dataset"]["shards"][0]["below"] += 1
    value["dataset_sha256"] = identity(value["dataset"])
    line = "is damaged: the counts of high train shard 0 do not add up"
    assert refusal(tmp_path / "r", signed(value)) == line


def test_a_damaged_dataset_gets_no_receipt(smoke, tmp_path):
    folder = Path(shutil.copytree(smoke(), tmp_path / "a"))
    path = folder / SHARD
    path.write_bytes(path.read_bytes()[:-1])
    done = run("receipt", folder)
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith(f"ncagen: {path}: ") and done.err.count("\n") == 1
    (folder / "manifest.json").unlink()
    line = f"ncagen: {folder} holds no dataset: there is no manifest.json in it\n"
    assert run("receipt", folder) == Run(2, "", line)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_dataset_too_large_for_a_receipt_is_told_so(smoke, tmp_path, monkeypatch):
    monkeypatch.setattr("ncagen.dataset.receipt.MOST_BYTES", 1000)
    with pytest.raises(NcagenError) as caught:
        write_receipt(smoke(), tmp_path / "r")
    line = f"{smoke()} is too large for a receipt: share its manifest.json instead, which rebuilds it too"
    assert str(caught.value) == line and list(tmp_path.iterdir()) == []


def test_too_large_is_said_before_all_is_read(smoke, tmp_path, monkeypatch):
    """By the number of rows alone, or as soon as the gaps that were read leave no room for those to come."""
    manifest = read_manifest(smoke())
    text = receipt_module._read(written(smoke(), tmp_path / "r"))
    line = f"{smoke()} is too large for a receipt: share its manifest.json instead, which rebuilds it too"
    (tmp_path / "r").unlink()
    least = len(receipt_module._text(manifest, [])) + 2 * manifest.rows
    for most, read in ((least - 9, 0), (least + 20, 380), (len(text) - 1, 420)):
        monkeypatch.setattr("ncagen.dataset.receipt.MOST_BYTES", most)
        seen: list[int] = []
        with pytest.raises(NcagenError) as caught:
            write_receipt(smoke(), tmp_path / "r", seen.append)
        assert str(caught.value) == line and list(tmp_path.iterdir()) == []
        assert sum(seen) <= read < manifest.rows
    monkeypatch.setattr("ncagen.dataset.receipt.MOST_BYTES", len(text))
    assert receipt_module._read(written(smoke(), tmp_path / "r")) == text


def written(folder: Path, path: Path) -> Path:
    write_receipt(folder, path)
    return path
