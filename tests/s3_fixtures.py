"""Fixtures for tests that use the S3 server: `pytest_plugins = ["s3_fixtures"]`."""

import pytest
import s3

from ncagen.dataset import s3 as client
from ncagen.dataset import stores


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    with s3.Store(tmp_path_factory.mktemp("s3")) as store:
        yield store


@pytest.fixture
def place(store, monkeypatch):
    """The URL of a folder that there is not yet, in a new bucket that this process can use too."""
    s3.use(store.environment(), monkeypatch)
    bucket = store.bucket()
    store.requests()
    return f"s3://{bucket}/some/folder"


@pytest.fixture
def guarded(store):
    """The store asks for keys, and looks at what they may do."""
    users = {
        "reads": store.user(["s3:GetObject", "s3:ListBucket"]),
        "lists not": store.user(["s3:GetObject", "s3:PutObject", "s3:DeleteObject"]),
        "nothing": store.user(["ec2:*"]),
    }
    store.guard(True)
    yield users
    store.guard(False)


@pytest.fixture
def proxy(store, monkeypatch):
    """A breakable way to the store for this process, which gives up soon."""
    with s3.Proxy(store.port) as proxy:
        s3.use(store.environment(proxy.endpoint), monkeypatch)
        monkeypatch.setattr(client, "TRIES", 2)
        monkeypatch.setattr(client, "SILENT_SECONDS", 1.0)
        yield proxy


@pytest.fixture
def soon(monkeypatch):
    """Claims are settled at once."""
    monkeypatch.setattr(stores, "CLAIM_SECONDS", 0.0)
