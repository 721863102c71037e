"""A dataset is a pure function of its spec: workers, order, formats and other bands do not change its rows."""

import random
from pathlib import Path

import numpy as np
import pytest
from conftest import contents, make, spec_of

from ncagen.dataset.folder import Folder
from ncagen.dataset.manifest import read_manifest
from ncagen.dataset.reader import Dataset
from ncagen.factory.make_shard import BuildJob
from ncagen.factory.make_shard import make as make_shard
from ncagen.philox import STREAMS
from ncagen.sources.nca import cpu
from ncagen.sources.nca.settings import Settings


@pytest.mark.parametrize("file_format", ["parquet", "arrow"])
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_any_number_of_workers_makes_the_same_files(smoke, tmp_path, file_format, workers):
    make(tmp_path / "a", spec_of(), file_format, workers)
    assert contents(tmp_path / "a") == contents(smoke(file_format))


def test_both_formats_have_the_same_rows(smoke):
    parquet, arrow = read_manifest(smoke("parquet")), read_manifest(smoke("arrow"))
    assert parquet.records == arrow.records
    assert parquet.dataset_sha256 == arrow.dataset_sha256


def test_any_order_of_completion_makes_the_same_files(smoke, tmp_path):
    order = BuildJob(spec_of(), "parquet", Folder(tmp_path / "a"))
    units = [(split, shard) for split in ("train", "validation") for shard in range(order.spec.shards(split))]
    random.Random(1).shuffle(units)
    for split, shard in units:
        make_shard(order, split, shard, lambda rows, candidates: None)
    make(tmp_path / "a", order.spec)
    assert contents(tmp_path / "a") == contents(smoke())


def hashes(folder: Path, band: str) -> list[str]:
    return [record.content_sha256 for record in read_manifest(folder).records if record.band == band]


@pytest.mark.parametrize("band", ["high", "medium"])
def test_a_band_has_the_same_rows_without_other_bands(smoke, tmp_path, band):
    make(tmp_path / "a", spec_of(bands=[band]))
    assert hashes(tmp_path / "a", band) == hashes(smoke(), band)
    alone, together = (
        [(r.tried, r.below, r.above) for r in read_manifest(folder).records if r.band == band]
        for folder in (tmp_path / "a", smoke())
    )
    assert alone == together


def test_a_shard_depends_on_its_number_only(smoke, tmp_path):
    make(tmp_path / "a", spec_of(tokens=400 * 1024, validation=0))
    more, fewer = (
        [r for r in read_manifest(folder).records if (r.band, r.split) == ("high", "train")]
        for folder in (tmp_path / "a", smoke())
    )
    assert [r.rows for r in more] == [70] * 5 + [50] and [r.rows for r in fewer] == [70, 70, 60]
    assert [r.content_sha256 for r in more[:2]] == [r.content_sha256 for r in fewer[:2]]
    third, short = Dataset(tmp_path / "a", band="high").shard(2), Dataset(smoke(), band="high").shard(2)
    assert np.array_equal(third.candidate[:60], short.candidate)
    assert np.array_equal(third.input_ids[:60], short.input_ids)


def test_different_seeds_and_splits_have_different_rules(smoke):
    settings, candidates = Settings(), np.arange(64, dtype=np.uint64)
    train, _ = cpu.sample(settings, (0, STREAMS["train"]), candidates)
    for other in (
        cpu.sample(settings, (0, STREAMS["validation"]), candidates)[0],
        cpu.sample(settings, (1, STREAMS["train"]), candidates)[0],
    ):
        for mine, theirs in zip(train, other, strict=True):
            assert not (mine == theirs).reshape(len(candidates), -1).all(axis=1).any()
    rows = [
        {row["input_ids"].tobytes() for row in Dataset(smoke(), split, band)}
        for split in ("train", "validation")
        for band in ("high", "medium")
    ]
    assert len(set.union(*rows)) == 440
