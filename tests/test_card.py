"""The card: what it says is what the manifest says, the Hub's own tools can read it, and its commands work."""

import re
import shutil
import subprocess
import sys

import huggingface_hub
import numpy as np
import pytest
import yaml
from conftest import ROOT, contents, make, spec_of
from hub.site import NAME, site

import ncagen
from ncagen.dataset import card as cards
from ncagen.dataset.card import CARD, size_category
from ncagen.dataset.manifest import Manifest, read_manifest
from ncagen.factory.check_dataset import card_of
from ncagen.hub.card import count_ratios
from ncagen.view.terminal import histogram


def text(manifest: Manifest, *more) -> str:
    """The card of a dataset of automata."""
    return cards.text(manifest, card_of(manifest.spec), *more)


def picture(folder, manifest: Manifest) -> tuple[str, ...]:
    """The lines of its histogram."""
    return tuple(histogram(count_ratios(folder, manifest)))


def metadata(card: str) -> dict:
    return yaml.safe_load(card.split("---\n")[1])


def blocks(card: str, language: str) -> list[str]:
    """The code blocks in one language."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", card, flags=re.M | re.S)
    return [block for name, block in found if name == language]


def test_the_metadata_are_what_datasets_would_find(smoke):
    manifest = read_manifest(smoke())
    found = metadata(text(manifest, NAME))
    assert found["license"] == "mit" and found["task_categories"] == ["text-generation"]
    assert "arxiv:2603.10055" in found["tags"] and found["size_categories"] == ["n<1K"]
    counts = {"train": "00003", "validation": "00001"}
    files = [{"split": split, "path": f"data/{{}}/{split}-*-of-{count}.parquet"} for split, count in counts.items()]
    assert found["configs"] == [
        {"config_name": "high", "default": True, "data_files": named(files, "high")},
        {"config_name": "medium", "data_files": named(files, "medium")},
    ]
    for info in found["dataset_info"]:
        band = info["config_name"]
        size = sum(file.bytes for path, file in manifest.files.items() if path.startswith(f"data/{band}/"))
        assert info == {
            "config_name": band,
            "features": [
                {"name": "input_ids", "sequence": "uint16", "length": 1026},
                {"name": "candidate", "dtype": "uint64"},
                {"name": "gzip_bytes", "dtype": "int32"},
                {"name": "gzip_ratio", "dtype": "float32"},
            ],
            "splits": [
                {"name": "train", "num_bytes": 200 * 2068, "num_examples": 200},
                {"name": "validation", "num_bytes": 20 * 2068, "num_examples": 20},
            ],
            "download_size": size,
            "dataset_size": 220 * 2068,
        }


def named(files: list[dict], band: str) -> list[dict]:
    return [{**file, "path": file["path"].format(band)} for file in files]


def test_sizes_are_the_hubs_classes():
    sizes = {1: "n<1K", 999: "n<1K", 1000: "1K<n<10K", 161_134: "100K<n<1M", 10**9: "1B<n<10B", 10**13: "n>1T"}
    assert {rows: size_category(rows) for rows in sizes} == sizes


def test_wide_tokens_and_a_missing_split_are_said(tmp_path):
    manifest = make(tmp_path / "a", spec_of(tokens=5 * 1024, validation=0, bands=["high"], states=17), "arrow")
    card = text(manifest)
    found = metadata(card)
    assert found["configs"][0]["data_files"] == [{"split": "train", "path": "data/high/train-*-of-00001.arrow"}]
    assert found["dataset_info"][0]["features"][0]["sequence"] == "uint32"
    assert [split["name"] for split in found["dataset_info"][0]["splits"]] == ["train"]
    assert "nanogpt" not in card  # whose files hold 16 bits
    assert (tmp_path / "a" / CARD).read_text() == card


def test_the_text_says_what_the_manifest_says(smoke):
    manifest = read_manifest(smoke())
    card = text(manifest, NAME, picture(smoke(), manifest))
    assert manifest.spec.canonical() in card and manifest.dataset_sha256 in card
    for band in ("high", "medium"):
        for split in ("train", "validation"):
            records = [r for r in manifest.records if (r.band, r.split) == (band, split)]
            rows, tried = sum(r.rows for r in records), sum(r.tried for r in records)
            assert re.search(
                rf"^\| {band} \| [\d. to]+ \| {split} \| {rows} \| {rows * 1024:,} \| {rows / tried:.1%} \|$",
                card,
                re.M,
            )


def test_the_selection_that_the_text_names_is_one(smoke):
    condition = re.search(r'where="([^"]+)"', text(read_manifest(smoke()), NAME))[1]
    assert condition == "gzip_bytes >= 864"
    rows, every = (ncagen.open(smoke(), band="high", where=where) for where in (condition, None))
    assert [row["gzip_bytes"] for row in rows] == [row["gzip_bytes"] for row in every if row["gzip_bytes"] >= 864]


@pytest.mark.parametrize("file_format", ["parquet", "arrow"])
def test_the_readers_that_the_text_names_are_those_of_the_format(file_format, smoke, tmp_path):
    card = text(read_manifest(smoke(file_format)))
    assert ("`data/high/train-*-of-00003.parquet` also opens in" in card) == (file_format == "parquet")
    wide = make(tmp_path / "a", spec_of(tokens=5 * 1024, validation=0, bands=["high"], states=17), file_format)
    setting = "spark.sql.parquet.enableNestedColumnVectorizedReader=false"
    assert setting not in card and (setting in text(wide)) == (file_format == "parquet")


@pytest.mark.parametrize("file_format", ["parquet", "arrow"])
def test_the_histogram_counts_every_row_for_training(file_format, smoke):
    lines = picture(smoke(file_format), read_manifest(smoke(file_format)))
    ratios = np.concatenate(
        [[row["gzip_bytes"] / 1440 for row in ncagen.open(smoke(), band=band)] for band in ("high", "medium")]
    )
    for line in lines:
        low, count = float(line[:4]), int(line.split()[-1].replace(",", ""))
        assert count == ((ratios >= low - 1e-9) & (ratios < low + 0.02 - 1e-9)).sum()
    assert sum(int(line.split()[-1]) for line in lines) == 400
    assert max(line.count("█") for line in lines) == 40


def test_the_librarys_own_classes_read_it(smoke, tmp_path):
    """DatasetCard from a file and from a Hub, its data, and its validation, which asks the Hub."""
    with site(tmp_path) as at:
        at.publish(smoke())
        program = f"""
import huggingface_hub
from huggingface_hub import DatasetCard
for place in ({str(smoke() / CARD)!r}, {NAME!r}):
    card = DatasetCard.load(place)
    if huggingface_hub.__version__ >= "2":  # before, it asks huggingface.co whatever HF_ENDPOINT says
        card.validate()
    print(card.data.license, card.data.configs[0]["config_name"], len(card.data.dataset_info), "# Traj" in card.text)
"""
        assert at.python(program) == 2 * "mit high 2 True\n"
        asked = [r.status for r in at.hub.requests if r.path == "/api/validate-yaml"]
        assert asked == [200, 200] * (huggingface_hub.__version__ >= "2")


def test_a_card_of_any_text_leaves_a_finished_folder_as_it_is(smoke, tmp_path):
    """The card is not part of what is hashed: a build writes its own again, and nothing else."""
    shutil.copytree(smoke(), tmp_path / "a")
    (tmp_path / "a" / CARD).write_text("of an older version")
    make(tmp_path / "a", spec_of())
    assert contents(tmp_path / "a") == contents(smoke())


@pytest.mark.slow
def test_the_commands_and_programs_of_the_card_work(smoke, tmp_path):
    """All but those for `datasets`, which test_hub_datasets.py runs where that is installed."""
    with site(tmp_path) as at:
        at.push(smoke())
        card = at.published()[CARD].decode()
        lines = [line for block in blocks(card, "") for line in block.splitlines() if line.startswith("ncagen ")]
        names = ["pull", "export", "export", "export", "pull", "rebuild", "verify"]
        assert [line.split()[1] for line in lines] == names
        for line in lines:
            command = [sys.executable, "-m", "ncagen", *line.split()[1:]]
            done = subprocess.run(command, cwd=tmp_path, env=at.environment, capture_output=True, text=True)
            assert done.returncode == 0, (line, done.stderr)
        assert contents(tmp_path / "data/again").keys() == contents(smoke()).keys()
        assert {p.name for p in (tmp_path / "data").iterdir()} == {"nca", "nanogpt", "megatron", "olmo", "again"}
        programs = [block for block in blocks(card, "python") if not re.search("load_dataset|transform", block)]
        inner = [f"    {line}" for block in programs for line in block.splitlines()]
        ending = "    print(batch['input_ids'].shape, batch['labels'].shape, int(batch['labels'][0, 37]))"
        (tmp_path / "card.py").write_text("\n".join(["if __name__ == '__main__':", *inner, ending]))
        environment = at.environment | {"PYTHONPATH": str(ROOT)}
        command = [sys.executable, "card.py"]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.stdout == "torch.Size([16, 1024]) torch.Size([16, 1024]) -100\n", done
