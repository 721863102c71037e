"""A dataset's repository on the Hub: its contents, and the few changes that a push makes.

Every method is one step that can be retried; `retry` decides which errors are worth it. Credentials are the library's,
from the usual login: ncagen never reads one.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from huggingface_hub import CommitOperationAdd, CommitOperationCopy, CommitOperationDelete, HfApi, hf_hub_url
from huggingface_hub.constants import HF_HUB_DOWNLOAD_TIMEOUT
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils import build_hf_headers, hf_raise_for_status, http_backoff

from ncagen.version import VERSION

Operation = CommitOperationAdd | CommitOperationCopy | CommitOperationDelete

KIND = "dataset"


@dataclass(frozen=True)
class RemoteFile:
    """A file of a commit: sha256 of a large one, git's name of a small one."""

    size: int
    sha256: str | None
    oid: str


class Remote:
    """A repository of the kind `dataset`, by its name."""

    def __init__(self, name: str):
        self.name = name
        self._api = HfApi(library_name="ncagen", library_version=VERSION)

    def find(self) -> bool | None:
        """Whether the repository is private; None if this login can see none."""
        try:
            return bool(self._api.repo_info(self.name, repo_type=KIND).private)
        except HfHubHTTPError as error:
            if error.response.status_code == 404 or error.response.headers.get("X-Error-Code") == "RepoNotFound":
                return None
            raise

    def create(self, private: bool) -> None:
        """Makes the repository; no change if it exists."""
        if self.find() is None:
            self._api.create_repo(self.name, repo_type=KIND, private=private)

    def branches(self) -> dict[str, str]:
        """The head of every branch."""
        return {ref.name: ref.target_commit for ref in self._refs().branches}

    def tags(self) -> dict[str, str]:
        """The commit of every tag."""
        return {ref.name: ref.target_commit for ref in self._refs().tags}

    def head(self, revision: str) -> str:
        """The commit that a branch, tag or sha names."""
        sha = self._api.repo_info(self.name, repo_type=KIND, revision=revision).sha
        assert sha is not None
        return sha

    def files(self, revision: str) -> dict[str, RemoteFile]:
        """Every file of a commit by its path."""
        entries = self._api.list_repo_tree(self.name, recursive=True, revision=revision, repo_type=KIND)
        files = (entry for entry in entries if isinstance(entry, RepoFile))
        return {file.path: RemoteFile(file.size, file.lfs.sha256 if file.lfs else None, file.blob_id) for file in files}

    def read_range(self, path: str, revision: str, start: int, size: int) -> bytes:
        """Bytes `start` to `start + size` - 1 of a file of a commit, or whatever the server sends; one request.

        The library's file system would list the file's folder first.
        """
        url = hf_hub_url(self.name, path, repo_type=KIND, revision=revision)
        headers = build_hf_headers(library_name="ncagen", library_version=VERSION)
        headers["Range"] = f"bytes={start}-{start + size - 1}"
        response = http_backoff("GET", url, headers=headers, timeout=HF_HUB_DOWNLOAD_TIMEOUT)
        hf_raise_for_status(response)
        return response.content

    def branch(self, branch: str, start: str) -> None:
        """Makes a branch at a commit; no change if it exists."""
        self._api.create_branch(self.name, branch=branch, revision=start, repo_type=KIND, exist_ok=True)

    def drop_branch(self, branch: str) -> None:
        """Removes a branch; no change if it is missing."""
        if branch in self.branches():
            self._api.delete_branch(self.name, branch=branch, repo_type=KIND)

    def tag(self, tag: str, revision: str) -> None:
        """Tags a commit; no change if the tag exists."""
        self._api.create_tag(self.name, tag=tag, revision=revision, repo_type=KIND, exist_ok=True)

    def upload(self, additions: list[CommitOperationAdd], branch: str) -> None:
        """Sends the contents of large files, which no commit refers to yet; those that the Hub has are not sent."""
        self._api.preupload_lfs_files(self.name, additions, repo_type=KIND, revision=branch)

    def commit(self, operations: Iterable[Operation], branch: str, title: str, parent: str | None = None) -> str:
        """One commit on a branch, whose head must be `parent`; returns its sha."""
        made = self._api.create_commit(
            self.name, operations, commit_message=title, repo_type=KIND, revision=branch, parent_commit=parent
        )
        return made.oid

    def _refs(self):
        return self._api.list_repo_refs(self.name, repo_type=KIND)
