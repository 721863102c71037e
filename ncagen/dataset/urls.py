"""What a URL names: a place in a store, opened without a secret in the URL itself.

`s3://` goes through `s3`, other schemes through pyarrow where it knows them, and through fsspec, if that is installed,
where it does not.
"""

import re

import pyarrow as pa
from pyarrow import fs

from ncagen.dataset.s3 import S3
from ncagen.dataset.shard import one_line
from ncagen.dataset.stores import Fsspec, Objects, Store
from ncagen.errors import NcagenError

_SECRET = re.compile(r"access.?key|secret|token|password|credential|signature", re.IGNORECASE)


def open_store(url: str) -> Store:
    """The place that a URL names. Raises NcagenError for one that nothing installed can open."""
    _refuse_secrets(url)
    scheme = url.split("://", 1)[0]
    if scheme == "s3":
        return S3(url)
    try:
        filesystem, path = fs.FileSystem.from_uri(url)
    except (OSError, pa.ArrowException) as error:
        if scheme == "file" or not isinstance(error, pa.ArrowInvalid):  # what is invalid may be a scheme of fsspec's
            raise NcagenError(f"{url} cannot be opened: {one_line(error)}") from None
        filesystem, path = _from_fsspec(url)
    if isinstance(filesystem, fs.PyFileSystem):
        return Fsspec(filesystem, path)
    objects = isinstance(filesystem, getattr(fs, "GcsFileSystem", ()))  # not every pyarrow is built with it
    return Objects(filesystem, path) if objects else Store(filesystem, path)


def place_of(url: str) -> str:
    """A URL without its options, as the names of files within it begin."""
    return url.partition("?")[0].rstrip("/")


def _from_fsspec(url: str) -> tuple[fs.FileSystem, str]:
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
            f"{url} has no scheme that can be read: use a folder, file://, s3://, gs:// or one of fsspec"
        ) from None
    return fs.PyFileSystem(fs.FSSpecHandler(filesystem)), path


def _refuse_secrets(url: str) -> None:
    """A URL stands in histories, logs and error messages: what opens a store must not. Prints nothing of it."""
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
