"""Chooses the store for a path or a URL, and refuses URLs that contain a secret.

A path or `file://` is a folder on this machine; `s3://` uses `s3`, `hdfs://` and `viewfs://` use pyarrow, every other
scheme uses fsspec, if it is installed.
"""

import re
from pathlib import Path

import pyarrow as pa
from pyarrow import fs

from ncagen.dataset.filesystems import ArrowStore, FsspecStore
from ncagen.dataset.local import LocalStore
from ncagen.dataset.s3 import S3Store
from ncagen.dataset.shard import one_line
from ncagen.dataset.stores import WritableStore
from ncagen.errors import NcagenError

ARROW_SCHEMES = ("hdfs", "viewfs")

_SECRET = re.compile(r"access.?key|secret|token|password|credential|signature", re.IGNORECASE)


def open_store(place: str) -> WritableStore:
    """The store of a path or a URL. Raises NcagenError for one that nothing installed can open."""
    scheme, found, _ = place.partition("://")
    if not found:
        return LocalStore(Path(place), place)
    _refuse_secrets(place)
    if scheme == "s3":
        return S3Store(place)
    if scheme == "file":
        return LocalStore(Path(_from_arrow(place)[1] or "/"), place)
    if scheme in ARROW_SCHEMES:
        return ArrowStore(place, *_from_arrow(place))
    try:
        return FsspecStore(place, *_from_fsspec(place))
    except OSError as error:
        raise NcagenError(f"{place} cannot be opened: {error.strerror or one_line(error)}") from None


def _from_arrow(url: str) -> tuple[fs.FileSystem, str]:
    try:
        return fs.FileSystem.from_uri(url)
    except (OSError, pa.ArrowException) as error:
        raise NcagenError(f"{url} cannot be opened: {one_line(error)}") from None


def _from_fsspec(url: str) -> tuple[fs.PyFileSystem, str]:
    scheme = url.split("://", 1)[0]
    try:
        from fsspec.core import url_to_fs

        filesystem, path = url_to_fs(url)
    except ImportError as error:
        module = (error.name or "").split(".")[0]
        needs = f"{module}: pip install {module}" if module else f"more than fsspec: {error}"
        raise NcagenError(f"{scheme}:// needs {needs}") from None
    except ValueError:
        raise NcagenError(
            f"{url} has an unsupported scheme: use a folder, file://, s3://, gs:// or one of fsspec"
        ) from None
    return fs.PyFileSystem(fs.FSSpecHandler(filesystem)), path


def _refuse_secrets(url: str) -> None:
    """Raises NcagenError for a URL with a secret, since URLs are in histories and logs. Prints no part of it."""
    scheme, _, rest = url.partition("://")
    place, _, query = rest.partition("?")
    user = place.split("/")[0] if scheme not in ("s3", "s3a") else place  # a secret key may have slashes
    before, at, _ = user.rpartition("@")
    if (at and ":" in before) or (at and scheme in ("s3", "s3a")) or _SECRET.search(query):
        if scheme in ("s3", "s3a"):
            instead = "put the key into AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY instead of the URL"
        else:
            instead = "leave it out, and let the environment hold it"
        raise NcagenError(f"the {scheme}:// URL holds a secret: {instead}")
