"""The split `test`: rules of its own, in every file, export, card and check; and datasets that have no other split."""

import json
import re
from itertools import combinations

import numpy as np
import pytest
import yaml
from conftest import error_of, make, run_here, spec_of
from hub.site import site

import ncagen
from ncagen.audit.checks import check
from ncagen.audit.figures import look
from ncagen.audit.parts import of_dataset, of_files
from ncagen.audit.shape import Shape
from ncagen.dataset import index
from ncagen.dataset.card import CARD
from ncagen.dataset.manifest import read_manifest
from ncagen.export import formats
from ncagen.factory.check_dataset import verify
from ncagen.philox import STREAMS
from ncagen.sources.nca import rules
from ncagen.view import picture, terminal, webpage

ROWS = {"train": 40, "validation": 9, "test": 11}


@pytest.fixture(scope="module")
def all_three(tmp_path_factory):
    """Rows of all splits in shards of 25, of two bands."""
    folder = tmp_path_factory.mktemp("splits") / "a"
    make(folder, spec_of(tokens=40 * 1024, validation=9 * 1024, test=11 * 1024, rows_per_shard=25))
    return folder


@pytest.fixture(scope="module")
def only_test(tmp_path_factory):
    """A dataset that has only a test split."""
    folder = tmp_path_factory.mktemp("splits") / "b"
    make(folder, spec_of(tokens=0, validation=0, test=11 * 1024, bands=["high"]))
    return folder


def data_of(page: str) -> dict:
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, flags=re.S)[1])


def test_rules_of_all_splits_are_disjoint(all_three):
    """The weights of all rows, drawn again from their candidates: none is in two splits, or in two rows."""
    settings = dict(read_manifest(all_three).spec.source.values)
    settings = ncagen.sources.nca.settings.Settings(**settings)
    found = {}
    for split, count in ROWS.items():
        candidates = np.unique(
            np.concatenate(
                [ncagen.open(all_three, split, band).rows(range(count))["candidate"] for band in ("high", "medium")]
            )
        )
        assert len(candidates) == 2 * count
        drawn = rules.sample_rules(settings, (0, STREAMS[split]), candidates)
        found[split] = {np.concatenate([w[i].ravel() for w in drawn]).tobytes() for i in range(len(candidates))}
        assert len(found[split]) == 2 * count
    assert not any(found[a] & found[b] for a, b in combinations(ROWS, 2))


def test_its_rows_are_those_of_a_dataset_of_its_own(all_three, only_test):
    assert len(ncagen.open(all_three, "test", "high")) == len(ncagen.open(only_test, "test")) == 11
    for a, b in zip(ncagen.open(all_three, "test", "high"), ncagen.open(only_test, "test"), strict=True):
        assert np.array_equal(a["input_ids"], b["input_ids"]) and a["candidate"] == b["candidate"]


def test_a_spec_without_it_is_what_it_was(all_three):
    assert "test" not in spec_of().to_dict() and '"test":11264' in read_manifest(all_three).spec.canonical()
    assert list(read_manifest(all_three).spec.to_dict()) == [*spec_of().to_dict(), "test"]


def test_the_card_has_its_files_and_counts(all_three, only_test):
    card = (all_three / CARD).read_text()
    found = yaml.safe_load(card.split("---\n")[1])
    for config, info in zip(found["configs"], found["dataset_info"], strict=True):
        assert [part["split"] for part in config["data_files"]] == list(ROWS)
        assert [(part["name"], part["num_examples"]) for part in info["splits"]] == list(ROWS.items())
        for part in config["data_files"]:
            assert list(all_three.glob(part["path"]))
    assert "| high | 0.5 to 1 | test | 11 | 11,264 |" in card
    alone = (only_test / CARD).read_text()
    found = yaml.safe_load(alone.split("---\n")[1])
    assert [part["split"] for part in found["configs"][0]["data_files"]] == ["test"]
    assert 'split="test")  # streaming=True works too' in alone and 'split="train"' not in alone
    assert 'ncagen.open("PATH_OF_THIS_FOLDER", split="test", band="high")' in alone and "train-" not in alone


def test_a_dataset_of_it_alone_is_read_where_it_is_named(only_test):
    assert error_of(ncagen.open, only_test) == f"{only_test} has no 'train' rows in band 'high': it has test in high"
    report = verify(only_test, share=1.0)
    assert (report.problems, report.rows, report.rebuilt) == ([], 11, 11)


def test_commands_take_a_dataset_of_it_alone(only_test, tmp_path):
    assert "row 3 (high test): candidate " in run_here("show", only_test, "--row", 3).out
    assert run_here("evaluate", only_test, "--rows", 2, "--rungs", "uniform").out.startswith("high test, 2 rows")
    assert run_here("audit", only_test).status == 0
    data = data_of(webpage.page(only_test))
    assert data["split"] == "test" and data["figures"]["high"]["rows"] == 11
    assert run_here("receipt", only_test, "--out", tmp_path / "r.zst").status == 0
    assert run_here("rebuild", tmp_path / "r.zst", "--out", tmp_path / "b").status == 0
    assert read_manifest(tmp_path / "b") == read_manifest(only_test)
    done = run_here("build", "--test=11264", "--band=high", "--plan")
    assert done.status == 0 and done.out.startswith("rows         11 of 1026 tokens\n"), done
    assert [part["split"] for part in terminal.parts(read_manifest(only_test))] == ["test"]


def test_pictures_of_a_dataset_of_it_alone(only_test):
    pytest.importorskip("PIL")
    from ncagen.dataset.folder import folder_at

    png, rows = picture.draw(folder_at(only_test), read_manifest(only_test))
    assert png.startswith(b"\x89PNG") and rows == range(11)


def test_rows_are_generated_without_files(all_three):
    stored = ncagen.open(all_three, "test", "high")
    made = list(ncagen.generate(read_manifest(all_three).spec, split="test", band="high"))
    assert [int(row["candidate"]) for row in made] == [int(row["candidate"]) for row in stored]


NAMED = {
    "nanogpt": ["train.bin", "val.bin", "test.bin"],
    "llmc": ["nca_train_000000.bin", "nca_val_000000.bin", "nca_test_000000.bin"],
    "megatron": ["train.bin", "validation.bin", "test.bin"],
    "hf": [f"data/{split}-00000-of-00001.parquet" for split in ("validation", "test")],
    "mds": [f"{split}/index.json" for split in ROWS],
    "jsonl": ["test-00000.jsonl.zst"],
}


@pytest.mark.parametrize("to", formats.FORMATS)
def test_every_export_has_it(all_three, only_test, to, tmp_path):
    done = run_here("export", all_three, "--band=high", "--to", to, "--out", tmp_path / "all", "--json")
    assert done.status == 0 and json.loads(done.out)["rows"] == ROWS, done
    files = {path.relative_to(tmp_path / "all").as_posix() for path in (tmp_path / "all").rglob("*") if path.is_file()}
    assert set(NAMED.get(to, [])) <= files or to == "jsonl", files
    assert any("test" in name for name in files)
    done = run_here("export", only_test, "--to", to, "--out", tmp_path / "alone", "--json")
    assert done.status == 0 and json.loads(done.out)["rows"] == {"test": 11}, done
    uses = [line for line in json.loads(done.out)["settings"] if not line.startswith("#") and "train" in line]
    assert uses == [] or to in ("llmc", "hf"), uses  # flags that train_gpt2 needs, from_pretrained


def test_settings_name_all_splits(all_three, only_test, tmp_path):
    def lines(folder, to):
        return formats.settings(formats.plan(folder, "high", to), tmp_path / "out")

    out = tmp_path / "out"
    assert lines(all_three, "megatron")[:3] == [
        f"--train-data-path {out}/train",
        f"--valid-data-path {out}/validation",
        f"--test-data-path {out}/test",
    ]
    assert lines(only_test, "nanogpt")[-2:] == [
        "# there is no train.bin: train.py needs one, so build the dataset with --tokens",
        "# there is no val.bin: train.py needs one, so build the dataset with --validation",
    ]
    assert "# there are no nca_train files: build the dataset with --tokens, or point -i at other files" in lines(
        only_test, "llmc"
    )


def leakage(source):
    found = check(look(source, None))
    return next(each for each in found if each.name == "leakage")


def test_an_audit_compares_each_split_with_each_other(all_three, tmp_path):
    found = leakage(of_dataset(str(all_three), "high", None))
    assert found.verdict == "ok" and found.text.startswith("no trajectory, first grid or rule was found in two splits")
    ids = {
        split: ncagen.open(all_three, split, "high").rows(range(count))["input_ids"] for split, count in ROWS.items()
    }
    ids["test"][:3], ids["test"][4] = ids["train"][5:8], ids["validation"][2]
    for split, name in zip(ROWS, ("train", "val", "test"), strict=True):
        ids[split].tofile(tmp_path / f"{name}.bin")
    found = leakage(of_files(tmp_path, None, Shape(row_tokens=1026), "uint16"))
    assert found.verdict == "bad" and found.text == (
        "of 11 test rows 3 are in training, 3 from the second grid on, 3 share a first grid, 3 a rule;"
        " of 11 test rows 1 are in validation, 1 from the second grid on, 1 share a first grid, 1 a rule"
    )
    assert (found.numbers["whole"], found.numbers["rules"]) == (4, 4)


def test_an_index_has_it(all_three):
    """Keys, paths and leaves of a spec with three splits, in the order of the splits."""
    spec = read_manifest(all_three).spec
    keys = index.shard_keys(spec)
    assert list(dict.fromkeys(key.split for key in keys)) == list(ROWS)
    assert len(keys) == index.shard_count(spec) == 2 * (2 + 1 + 1) and index.leaf_count(spec) == 6
    assert index.part(spec, "test", "medium") == range(7, 8)


def test_a_push_of_it_alone_replaces_all_splits_of_an_older_dataset(all_three, only_test, tmp_path):
    with site(tmp_path) as at:
        assert at.push(all_three, "--quiet").status == at.push(only_test, "--quiet").status == 0
        published = at.published()
    assert [name for name in published if name.startswith("data/")] == ["data/high/test-00000-of-00001.parquet"]
    card = published[CARD].decode()
    assert "\nGzip ratios of the rows of the split test:\n" in card and 'split="test"' in card
