"""What the loopback Hub keeps: repositories with commits, branches and tags in memory, file contents on disk.

A commit is a whole tree, paths to entries, so nothing is ever merged. Nothing of HTTP is here.
"""

import hashlib
import threading
from dataclasses import dataclass, field
from pathlib import Path

ATTRIBUTES = b"*.parquet filter=lfs diff=lfs merge=lfs -text\n*.arrow filter=lfs diff=lfs merge=lfs -text\n"


class Missing(Exception):
    """No such repository, revision or file; the first argument is the Hub's code for it."""


class Conflict(Exception):
    """Something of this name is there already, or the branch has moved on."""


@dataclass(frozen=True)
class Entry:
    """A file of a commit. oid: git's, of the pointer where the content is stored beside it, under sha256 or in Xet."""

    size: int
    oid: str
    sha256: str | None = None
    xet: str | None = None


@dataclass(frozen=True)
class Commit:
    sha: str
    title: str
    parent: str | None
    files: dict[str, Entry]


@dataclass
class Repo:
    """A repository; `branches` and `tags` hold the sha of a commit."""

    private: bool = False
    commits: dict[str, Commit] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def at(self, revision: str) -> Commit:
        """The commit that a branch, a tag or a sha names. Raises Missing."""
        name = revision.removeprefix("refs/heads/")
        sha = self.branches.get(name) or self.tags.get(name) or name
        if sha not in self.commits:
            raise Missing("RevisionNotFound", f"Invalid rev id: {revision}")
        return self.commits[sha]

    def history(self, revision: str) -> list[Commit]:
        """The commits of a revision, newest first."""
        found, sha = [], self.at(revision).sha
        while sha is not None:
            found.append(self.commits[sha])
            sha = found[-1].parent
        return found

    def add(self, branch: str, title: str, files: dict[str, Entry], parent: str | None) -> Commit:
        """Moves a branch to a new commit."""
        text = repr((parent, title, sorted(files.items(), key=lambda item: item[0]), len(self.commits)))
        commit = Commit(hashlib.sha1(text.encode()).hexdigest(), title, parent, files)
        self.commits[commit.sha] = commit
        self.branches[branch] = commit.sha
        return commit


class Store:
    """Every repository by kind and name, and the contents of their files."""

    def __init__(self, folder: Path):
        self.folder, self.repos, self.lock = folder, dict[tuple[str, str], Repo](), threading.RLock()
        folder.mkdir(parents=True, exist_ok=True)

    def repo(self, kind: str, name: str) -> Repo:
        """Raises Missing."""
        if (kind, name) not in self.repos:
            raise Missing("RepoNotFound", "Repository not found")
        return self.repos[kind, name]

    def create(self, kind: str, name: str, private: bool = False) -> Repo:
        """A repository with a first commit, as the Hub makes it. Raises Conflict."""
        if (kind, name) in self.repos:
            raise Conflict("You already created this repo")
        repo = self.repos[kind, name] = Repo(private)
        repo.add("main", "initial commit", {".gitattributes": self.small(ATTRIBUTES)}, None)
        return repo

    def small(self, content: bytes) -> Entry:
        """Keeps a file that lies in the repository itself."""
        oid = blob_oid(content)
        (self.folder / oid).write_bytes(content)
        return Entry(len(content), oid)

    def large(self, sha256: str, size: int, xet: str | None = None) -> Entry:
        """The entry of a file whose content was uploaded before."""
        return Entry(size, blob_oid(pointer(sha256, size)), sha256, xet)

    def put(self, content: bytes) -> str:
        """Keeps the content of a large file; returns its sha256."""
        sha256 = hashlib.sha256(content).hexdigest()
        (self.folder / sha256).write_bytes(content)
        return sha256

    def path(self, name: str) -> Path:
        """Where a content lies, by its oid or sha256."""
        return self.folder / name


def blob_oid(content: bytes) -> str:
    """Git's name of a file's content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def pointer(sha256: str, size: int) -> bytes:
    """What git holds of a large file."""
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()
