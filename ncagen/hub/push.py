"""Pushes a finished, verified dataset to the Hub, so that readers see either the old one or the new one.

    1. stage     commit the shards and their index to a staging branch, in groups: what has arrived is stored, so a
                 stopped push resumes from any machine and sends nothing twice
    2. compare   the Hub's hashes of that branch with the manifest's, before anything is visible to readers
    3. publish   one commit on the revision that people read: the shards by reference, the card, the manifest, and the
                 removal of old shards that are no longer part of it. It names its parent, so it cannot mix with another
    4. compare   again, with what the commit holds; then tag it, and remove the branch

Each step checks the current state first, so it can be retried, and a second push finds nothing to do. The caller
verifies beforehand that the folder matches its manifest.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import huggingface_hub
from huggingface_hub import CommitOperationAdd, CommitOperationCopy, CommitOperationDelete

from ncagen.dataset.card import CARD
from ncagen.dataset.folder import Folder
from ncagen.dataset.index import INDEX
from ncagen.dataset.manifest import MANIFEST, read_manifest
from ncagen.errors import NcagenError
from ncagen.hub.card import CardExtras
from ncagen.hub.errors import not_logged_in
from ncagen.hub.names import check_name
from ncagen.hub.remote import Operation, Remote, RemoteFile
from ncagen.hub.retry import RetryPolicy
from ncagen.hub.upload_files import UploadFile, documents, groups, shards

# Limits of one commit: small enough to resend little, large enough to stay far from the Hub's limit on commits.
GROUP_FILES, GROUP_BYTES = 64, 2**29

# Files sent at a time within a group; then progress is reported.
SENT_FILES = 8

# Names of shards. Those that the new dataset lacks belong to an older one, and are deleted.
_SHARD = re.compile(r"data/[^/]+/(train|validation|test)-\d+-of-\d+\.(parquet|arrow)")

# Paths that a card's patterns match, including the wider patterns of older versions.
_TAKEN = re.compile(r"data/[^/]+/(train|validation|test)-[^/]*\.(parquet|arrow)")

Progress = Callable[[int], None]
Files = Mapping[str, RemoteFile]


@dataclass(frozen=True)
class Push:
    """A push to run. folder: a verified dataset. name: `user/name` on the Hub. revision: the branch that people read.

    card: what the card has beside the manifest. private: make a new repository private. tag: set after the commit.
    """

    folder: Folder
    name: str
    card: CardExtras
    revision: str = "main"
    private: bool = False
    tag: str | None = None


@dataclass(frozen=True)
class Plan:
    """The files that a push sends and the paths that it deletes; both empty if the Hub has everything."""

    send: tuple[UploadFile, ...]
    delete: tuple[str, ...]

    @property
    def bytes(self) -> int:
        """Bytes to send."""
        return sum(upload.size for upload in self.send)


def check_login() -> None:
    """Raises NcagenError if there is no login. Makes no request."""
    if huggingface_hub.get_token() is None:
        raise not_logged_in()


def plan(job: Push, retry: RetryPolicy) -> Plan:
    """Compares the folder with the Hub, and changes nothing. Raises NcagenError if the push would be refused."""
    check_name(job.name)
    check_login()
    remote, uploads = Remote(job.name), _uploads(job)
    private = retry.run(remote.find, first=True)
    if private is None:
        return Plan(tuple(uploads), ())
    if job.private and not private:
        raise NcagenError(f"{job.name} is public: make it private in its settings on the Hub, or leave --private out")
    branches, tags = retry.run(remote.branches), retry.run(remote.tags)
    there = retry.run(lambda: remote.files(branches.get(job.revision, branches["main"])))
    made = _difference(job, there, uploads)
    _check_tag(job, tags, branches.get(job.revision), made)
    staged = branches.get(staging(uploads))
    kept = retry.run(lambda: remote.files(staged)) if staged else {}
    return Plan(tuple(upload for upload in made.send if not upload.same(kept.get(upload.path))), made.delete)


def push(job: Push, retry: RetryPolicy, progress: Progress = lambda size: None) -> str:
    """Runs a push; returns the sha of the commit with the dataset. progress(bytes) is called as they arrive.

    Raises NcagenError. After an error or a kill at any moment, the same call resumes.
    """
    remote, uploads = Remote(job.name), _uploads(job)
    retry.run(lambda: remote.create(job.private))
    branches = retry.run(remote.branches)
    if job.revision not in branches:
        retry.run(lambda: remote.branch(job.revision, branches["main"]))
    there = retry.run(lambda: remote.files(job.revision))
    branch, kept = staging(uploads), None
    if any(not upload.same(there.get(upload.path)) for upload in _large(uploads)):
        start = retry.run(lambda: remote.head(job.revision))
        retry.run(lambda: remote.branch(branch, start))
        kept = _stage(remote, branch, _large(uploads), retry, progress)
    else:
        progress(sum(upload.size for upload in _large(uploads)))
    sha = retry.run(lambda: _publish(job, remote, uploads, kept))
    _compare(job, retry.run(lambda: remote.files(sha)), uploads)
    if job.tag:
        _tag(job, job.tag, sha, remote, retry)
    retry.run(lambda: remote.drop_branch(branch))
    return sha


def staging(uploads: list[UploadFile]) -> str:
    """The name of the staging branch: it contains the manifest's hash, so two datasets never share one."""
    return f"ncagen-{next(upload.sha256 for upload in uploads if upload.path == MANIFEST)[:16]}"


def _uploads(job: Push) -> list[UploadFile]:
    manifest = read_manifest(job.folder)
    return [
        *shards(job.folder, manifest),
        *documents(job.folder, manifest, job.name, job.card),
    ]


def _large(uploads: list[UploadFile]) -> list[UploadFile]:
    return [upload for upload in uploads if isinstance(upload.source, Folder)]


def _difference(job: Push, there: Files, uploads: list[UploadFile]) -> Plan:
    """Changes that the Hub needs. Raises NcagenError if the repository has unrelated files."""
    foreign = [path for path in there if path not in (CARD, ".gitattributes")]
    if foreign and MANIFEST not in there:
        raise NcagenError(f"{job.name} holds files that are not a dataset of ncagen ({foreign[0]}): use another name")
    send = tuple(upload for upload in uploads if not upload.same(there.get(upload.path)))
    others = there.keys() - {upload.path for upload in uploads}
    old = sorted(path for path in others if path == INDEX or _SHARD.fullmatch(path))
    if strays := sorted(path for path in others.difference(old) if _TAKEN.fullmatch(path)):
        raise NcagenError(
            f"{job.name} holds {strays[0]}, which is not a shard's name and would be read as rows: delete it there,"
            " or use another name"
        )
    return Plan(send, tuple(old))


def _check_tag(job: Push, tags: Mapping[str, str], head: str | None, made: Plan) -> None:
    there = tags.get(job.tag or "")
    if there and (there != head or made.send or made.delete):
        raise NcagenError(f"{job.name} has a tag {job.tag!r} already, at commit {there[:12]}: use another --tag")


def _stage(remote: Remote, branch: str, uploads: list[UploadFile], retry: RetryPolicy, progress: Progress) -> str:
    """Sends every missing shard to the branch; returns the sha of the commit that has all of them."""
    there = retry.run(lambda: remote.files(branch))
    missing = [upload for upload in uploads if not upload.same(there.get(upload.path))]
    progress(sum(upload.size for upload in uploads) - sum(upload.size for upload in missing))
    for group in groups(missing, GROUP_FILES, GROUP_BYTES):
        _send(remote, branch, group, retry, progress)
    sha = retry.run(lambda: remote.head(branch))
    there = retry.run(lambda: remote.files(sha))
    for upload in uploads:
        if not upload.same(there.get(upload.path)):
            raise NcagenError(f"{upload.path} has changed since it was verified: nothing was published; push again")
    return sha


def _send(remote: Remote, branch: str, group: list[UploadFile], retry: RetryPolicy, progress: Progress) -> None:
    additions: list[CommitOperationAdd] = []
    for some in groups(group, SENT_FILES, GROUP_BYTES):
        adding = [upload.addition() for upload in some]
        retry.run(partial(remote.upload, adding, branch))
        progress(sum(upload.size for upload in some))
        additions += adding
    retry.run(lambda: remote.commit(additions, branch, f"{len(group)} shards"))


def _publish(job: Push, remote: Remote, uploads: list[UploadFile], kept: str | None) -> str:
    """Commits the dataset for readers; returns the sha, which is the current head if that has everything."""
    head = remote.head(job.revision)
    there = remote.files(head)
    made = _difference(job, there, uploads)
    if not made.send and not made.delete:
        return head
    operations: list[Operation] = [CommitOperationDelete(path) for path in made.delete]
    for upload in made.send:
        if isinstance(upload.source, bytes):
            operations.append(upload.addition())
        elif kept is None:  # the shard was there when `push` started
            raise NcagenError(f"{job.name} was changed by another push: push again")
        else:
            operations.append(CommitOperationCopy(upload.path, upload.path, src_revision=kept))
    return remote.commit(operations, job.revision, "ncagen push", parent=head)


def _compare(job: Push, there: Files, uploads: list[UploadFile]) -> None:
    wrong = [upload.path for upload in uploads if not upload.same(there.get(upload.path))]
    if wrong:
        raise NcagenError(f"{wrong[0]} of {job.name} is not what was sent: push again")


def _tag(job: Push, tag: str, sha: str, remote: Remote, retry: RetryPolicy) -> None:
    retry.run(lambda: remote.tag(tag, sha))
    if (there := retry.run(remote.tags)[tag]) != sha:
        raise NcagenError(f"{job.name} has a tag {tag!r} already, at commit {there[:12]}: use another --tag")
