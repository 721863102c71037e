"""Opens what `ncagen.open` is given: a folder of this machine, a URL, or the name of a dataset on the Hub.

A folder that is there comes first. The library is imported only for a name, so reading a folder needs numpy and
pyarrow alone.
"""

import os
from pathlib import Path

from ncagen.dataset.experiment_reader import Experiment
from ncagen.dataset.folder import Folder, folder_at
from ncagen.dataset.reader import CACHE_LIMIT, Dataset
from ncagen.errors import NcagenError
from ncagen.hints import needed_by
from ncagen.hub.names import is_name


def open(
    path: str | os.PathLike | Folder,
    split: str = "train",
    band: str | None = None,
    verify: str = "first-use",
    *,
    revision: str | None = None,
    stream: bool = False,
    where: str | None = None,
    cache_dir: str | os.PathLike | None = None,
    cache_limit: int | str = CACHE_LIMIT,
) -> Dataset:
    """Opens a folder, a URL such as s3://bucket/folder, or user/name on the Hub; see `Dataset`. Raises NcagenError.

    Of a dataset on the Hub, `revision` is a branch, a tag or a commit, main if left out. It is resolved once: all rows
    are of the commit that `dataset.revision` names. Files go to the Hub's cache, which is read without a network once
    they are there; with `stream` nothing is kept on disk.

    `where` selects rows by their integer columns, as in "gzip_bytes >= 864 and gzip_bytes < 1000".

    `cache_dir` is a folder of this machine in which row groups of a URL, or of the Hub with `stream`, are kept for all
    processes that name it. `cache_limit` is the bytes that it may take, as a number or as in "10GB"; the row groups
    used last stay. Both are ignored for what lies on this machine already.
    """
    return Dataset(place(path, revision, stream), split, band, verify, where, cache_dir, cache_limit)


def open_experiment(path: str | os.PathLike | Folder) -> Experiment:
    """Opens a finished experiment in a folder or at a URL; see `Experiment`. Raises NcagenError.

    `experiment.arms["high"].open()` is an arm's training rows, `.layout()` the layout that goes with them.
    """
    return Experiment(place(path))


def is_on_hub(text: str) -> bool:
    """Whether it is the name of a dataset on the Hub, and not a folder that is here."""
    return is_name(text) and not Path(text).exists()


def place(path: str | os.PathLike | Folder, revision: str | None = None, stream: bool = False) -> Folder:
    """Where the dataset's files come from. Raises NcagenError."""
    if isinstance(path, str) and is_on_hub(path):
        return _on_hub(path, revision or "main", stream)
    if revision is not None or stream:
        raise NcagenError(f"{path} is not a dataset on the Hub: leave revision and stream out, or use user/name")
    if not isinstance(path, Folder) and "://" not in str(path) and _is_missing(Path(path)):
        raise NcagenError(f"{path} does not exist: use a dataset's folder, a URL or user/name on the Hub")
    return folder_at(path)


def _is_missing(path: Path) -> bool:
    """Whether there is nothing under a path; False where that cannot be found out, as without permission."""
    try:
        return not path.exists()
    except OSError:
        return False


def _on_hub(name: str, revision: str, stream: bool) -> Folder:
    with needed_by(f"there is no folder {name}; reading it from the Hub"):
        from ncagen.hub.folders import cached, streamed
    try:
        return Folder(streamed(name, revision) if stream else cached(name, revision))
    except NcagenError as error:
        if not Path(name).parent.is_dir():
            raise
        raise NcagenError(f"there is no folder {name}, and on the Hub: {error}") from None
