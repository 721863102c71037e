"""Experiments elsewhere: in a bucket, and built on a Ray cluster. The store is moto's, on this machine."""

import sys

import pytest
from conftest import contents, run
from ray_cluster import ONE_AT_A_TIME
from s3 import parts

import ncagen

pytest_plugins = ["s3_fixtures"]

TOML = """
tokens = "30K"
validation = "10K"
vocabulary = "shared"
[arm.high]
band = "high"
[arm.medium]
band = "medium"
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The file, and the folder of its experiment."""
    folder = tmp_path_factory.mktemp("experiment")
    (folder / "two.toml").write_text(TOML)
    assert run("build", folder / "two.toml", "--out", folder / "a").status == 0
    return folder / "two.toml", folder / "a"


@pytest.mark.slow
def test_in_a_bucket_it_is_what_it_is_on_a_disk(store, place, built):
    file, folder = built
    url = f"{place}?region=eu-west-1"
    done = run("build", file, "--out", url, env=store.environment())
    assert (done.status, done.err) == (0, "")
    assert store.objects(*parts(place)) == contents(folder)
    assert done.out.splitlines()[1].startswith(f"{place}/high?region=eu-west-1: 40 rows, ids 0 to 10001, sha256 ")
    assert run("build", file, "--out", url, env=store.environment()).out.startswith(f"nothing to do: {url} is")
    assert run("verify", url, env=store.environment()).out.startswith(f"ok: {url}: 2 datasets, 4 files, 80 rows")
    arms = ncagen.open_experiment(url).arms
    assert [len(arm.open()) for arm in arms.values()] == [30, 30] and arms["medium"].offset == 10002


SCRIPT = """
import sys, tomllib, ncagen
settings = tomllib.loads(open(sys.argv[1]).read())
ncagen.build_experiment(settings, sys.argv[2], ray="local", workers=2)
ncagen.build({"tokens": "30K", "validation": "10K", "band": "high"}, sys.argv[3], ray="local", workers=2)
"""


@pytest.mark.slow
@ONE_AT_A_TIME
def test_on_a_cluster_it_is_what_it_is_without_one(built, tmp_path):
    """And a process may have two local clusters, one after the other."""
    file, folder = built
    done = run(file, tmp_path / "b", tmp_path / "c", program=[sys.executable, "-c", SCRIPT])
    assert done == (0, "", "")
    assert contents(tmp_path / "b") == contents(folder)
    assert contents(tmp_path / "c") == contents(folder / "high")
