"""What benchmarks/remote.py rests on: a store that counts, measures of an order, and an epoch that ranks read."""

import sys
import urllib.error
import urllib.request

import boto3
import numpy as np
import pytest
from conftest import ROOT, make, spec_of
from hypothesis import given, settings
from hypothesis import strategies as st
from s3 import posix
from s3_folder import S3Folder

for folder in ("benchmarks", "benchmarks/remote_parts"):
    sys.path.insert(0, str(ROOT / folder))

import measure  # noqa: E402
import remote  # noqa: E402

NAMES = ("a/one", "a/two", "b/three")


@pytest.fixture
def store(tmp_path):
    """A bucket with three objects of ten bytes."""
    for name in NAMES:
        path = tmp_path / "bucket" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"0123456789")
    with S3Folder(tmp_path) as store:
        yield store


def get(store: S3Folder, key: str, part: str | None = None) -> tuple[int, bytes]:
    """Status and body of a GET of a key, or of a range of it."""
    request = urllib.request.Request(f"{store.endpoint}/{key}", headers={"Range": part} if part else {})
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, b""


@pytest.mark.parametrize(
    ("part", "status", "body"),
    [
        (None, 200, b"0123456789"),
        ("bytes=2-4", 206, b"234"),
        ("bytes=7-", 206, b"789"),
        ("bytes=-3", 206, b"789"),
        ("bytes=8-99", 206, b"89"),
        ("bytes=-99", 206, b"0123456789"),
        ("bytes=10-", 416, b""),
    ],
)
def test_the_store_sends_a_range_and_counts_it(store, part, status, body):
    assert get(store, "bucket/a/one", part) == (status, body)
    (request,) = store.take()
    assert (request.key, request.status, request.bytes) == ("bucket/a/one", status, len(body))
    assert not body or request.start == b"0123456789".index(body)
    assert store.take() == []


@pytest.mark.parametrize("key", ["bucket/a/none", "bucket/../bucket/a/one", "none", "bucket/a"])
def test_the_store_has_no_other_objects(store, key):
    assert get(store, key) == (404, b"")
    assert [request.bytes for request in store.take()] == [0]


def test_the_store_lists_as_s3_does(store):
    client = boto3.client(
        "s3", endpoint_url=store.endpoint, region_name="any", aws_access_key_id="any", aws_secret_access_key="any"
    )
    for size in (1, 2, 5):
        pages = client.get_paginator("list_objects_v2").paginate(Bucket="bucket", PaginationConfig={"PageSize": size})
        assert [found["Key"] for page in pages for found in page["Contents"]] == list(NAMES)
    assert [found["Key"] for found in client.list_objects_v2(Bucket="bucket", Prefix="a/")["Contents"]] == [*NAMES[:2]]
    assert client.head_object(Bucket="bucket", Key="a/one")["ContentLength"] == 10


def test_measures_of_a_known_order():
    # Shards of 2 rows. The first rank opens shard 0, goes through shard 1 and ends shard 0; the second has the others.
    ranks = [np.array([0, 2, 3, 1]), np.array([4, 5, 6, 4])]
    assert measure.fetched(ranks, 2, 4) == 1
    assert measure.fetched([*ranks, np.array([0])], 2, 4) == 5 / 4
    assert measure.fetched(measure.by_node(ranks, 2), 2, 4) == 1
    assert measure.open_at_once(ranks, 2) == 2
    assert measure.counts(ranks, 8) == {"missing": 1, "repeated": 1}
    lru = [measure.fetched_by_lru(ranks[0], unit=2, together=1, held=held) for held in (1, 2)]
    assert lru == [3, 2]


def test_the_order_of_training_takes_a_batch_of_each_rank_in_turn():
    b = measure.BATCH
    ranks = [np.arange(2 * b), np.arange(2 * b, 3 * b + 1)]
    expected = [*range(b), *range(2 * b, 3 * b), *range(b, 2 * b), 3 * b]
    assert measure.in_order(ranks).tolist() == expected


def test_rows_as_stored_are_next_to_their_neighbours():
    found = measure.quality(np.arange(4096), rows=4096, shard_rows=256)
    assert found == {"apart_1": 1, "apart_50": 1, "apart_99": 1, "shards_a_step": 4}


@settings(max_examples=30, deadline=None)
@given(order=st.permutations(range(24)), held=st.integers(1, 6))
def test_measures_are_those_of_plain_loops(order, held):
    rows = np.array(order)
    kept: list[int] = []
    fetched = 0
    for unit in (rows // 4).tolist():
        fetched += unit not in kept
        kept = [*(other for other in kept if other != unit), unit][-held:]
    assert measure.fetched_by_lru(rows, 4, 1, held) == fetched
    most = max(
        sum(unit in order_before and unit in order_after for unit in range(6))
        for end in range(1, 25)
        for order_before, order_after in [({row // 4 for row in order[:end]}, {row // 4 for row in order[end - 1 :]})]
    )
    assert measure.open_at_once([rows], 4) == most


@posix
@pytest.mark.slow
def test_an_epoch_is_counted(tmp_path, monkeypatch):
    spec = spec_of(tokens=8192 * 1024, validation=0, bands=["0-2"], rows_per_shard=512)
    make(tmp_path / "parquet", spec)
    monkeypatch.setattr(remote, "COUNTED", [(1, 0), (2, 0)])
    expected = remote.row_sums(tmp_path / "parquet")
    assert sum(expected.values()) == 8192
    for line in remote.counted("ncagen", tmp_path, expected):
        assert (line["missing"], line["repeated"]) == (0, 0)
        assert 1 <= line["fetched"] < 1.15  # of 32 row groups; the manifest is counted too
        assert line["requests"] >= 17  # the manifest, and something of each shard
