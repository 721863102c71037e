"""Remote datasets are read by range: each row group once, few requests, and never a wrong row."""

import numpy as np
import pytest
from s3 import upload
from test_reader import fabricate

from ncagen.dataset.reader import Dataset

pytest_plugins = ["s3_fixtures"]


@pytest.fixture(params=["parquet", "arrow"])
def bucket(request, place, store, tmp_path):
    """A dataset in a bucket and here: train shards of 300, 300 and 200 rows, of two row groups but the last."""
    fabricate(tmp_path / "local", request.param)
    upload(store, place, tmp_path / "local")
    store.requests()
    return place, Dataset(tmp_path / "local", band="high")


def test_the_first_row_takes_three_requests(bucket, store):
    url, local = bucket
    first = Dataset(url, band="high")[0]
    found = store.requests()
    assert np.array_equal(first["input_ids"], local[0]["input_ids"])
    assert [line.rpartition("/")[2] for line in found] == [
        "manifest.json 200",
        *[f"train-00000-of-00003.{local.manifest.file_format} 206"] * 2,
    ]
