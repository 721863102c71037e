"""Puts a finished, verified dataset on the Hub, so that whoever reads it sees the old one or the new one.

    1. stage     shards go to a branch of their own, in groups, each kept by a commit: what arrived stays, so a push
                 that ended half way goes on, from any machine, and sends nothing twice
    2. compare   the Hub's hashes of that branch with the manifest's, before anybody is shown anything
    3. publish   one commit on the revision that people read: the shards by reference, the card, the manifest, and the
                 end of old shards that are no longer part of it. Its parent is named, so it cannot mix with another
    4. compare   again, with what the commit holds; then tag it, and remove the branch

Each step looks at what is there first, so it can be tried again, and a second push finds nothing to do. Whether the
folder is what its manifest says is for the caller to verify before.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import huggingface_hub
from huggingface_hub import CommitOperationAdd, CommitOperationCopy, CommitOperationDelete

from ncagen.dataset.card import CARD
from ncagen.dataset.folder import Folder
from ncagen.dataset.manifest import MANIFEST, read_manifest
from ncagen.errors import NcagenError
from ncagen.hub.errors import not_logged_in
from ncagen.hub.names import check_name
from ncagen.hub.preview import Drawing
from ncagen.hub.remote import Operation, Remote, RemoteFile
from ncagen.hub.retry import Patience
from ncagen.hub.upload_files import Piece, groups, papers, shards

# Of one commit: few enough that little is sent again, many enough that the Hub's limit on commits is far.
GROUP_FILES, GROUP_BYTES = 64, 2**29

# Sent at a time within a group, after which the bar moves.
SENT_FILES = 8

# Names of shards. Those that are not of the new dataset are of an older one, and go.
_SHARD = re.compile(r"data/[^/]+/(train|validation)-\d+-of-\d+\.(parquet|arrow)")

# What a card's patterns may find, those of older versions too, which take in more.
_TAKEN = re.compile(r"data/[^/]+/(train|validation)-[^/]*\.(parquet|arrow)")

Progress = Callable[[int], None]
Files = Mapping[str, RemoteFile]


@dataclass(frozen=True)
class Push:
    """What to do. folder: a dataset that was verified. revision: the branch that people read.

    For the card, picture: lines of a histogram, drawing: rows.
    """

    folder: Folder
    name: str
    revision: str = "main"
    private: bool = False
    tag: str | None = None
    picture: tuple[str, ...] = ()
    drawing: Drawing | None = None


@dataclass(frozen=True)
class Plan:
    """What a push will send and delete; both empty where the Hub has it all."""

    send: tuple[Piece, ...]
    delete: tuple[str, ...]

    @property
    def bytes(self) -> int:
        return sum(piece.size for piece in self.send)


def check_login() -> None:
    """Raises NcagenError where there is no login. Nothing is asked of the Hub."""
    if huggingface_hub.get_token() is None:
        raise not_logged_in()


def plan(order: Push, patience: Patience) -> Plan:
    """Compares the folder with the Hub, and changes nothing. Raises NcagenError where a push would be refused."""
    check_name(order.name)
    check_login()
    remote, pieces = Remote(order.name), _pieces(order)
    private = patience.run(remote.find, first=True)
    if private is None:
        return Plan(tuple(pieces), ())
    if order.private and not private:
        raise NcagenError(f"{order.name} is public: make it private in its settings on the Hub, or leave --private out")
    branches, tags = patience.run(remote.branches), patience.run(remote.tags)
    there = patience.run(lambda: remote.files(branches.get(order.revision, branches["main"])))
    made = _difference(order, there, pieces)
    _check_tag(order, tags, branches.get(order.revision), made)
    staged = branches.get(staging(pieces))
    kept = patience.run(lambda: remote.files(staged)) if staged else {}
    return Plan(tuple(piece for piece in made.send if not piece.same(kept.get(piece.path))), made.delete)


def push(order: Push, patience: Patience, progress: Progress = lambda size: None) -> str:
    """Carries out what `plan` says; returns the commit that holds the dataset. progress(bytes) as they arrive.

    Raises NcagenError; after it, or after the process has ended at any moment, the same call goes on.
    """
    remote, pieces = Remote(order.name), _pieces(order)
    patience.run(lambda: remote.create(order.private))
    branches = patience.run(remote.branches)
    if order.revision not in branches:
        patience.run(lambda: remote.branch(order.revision, branches["main"]))
    there = patience.run(lambda: remote.files(order.revision))
    branch, kept = staging(pieces), None
    if any(not piece.same(there.get(piece.path)) for piece in _large(pieces)):
        start = patience.run(lambda: remote.head(order.revision))
        patience.run(lambda: remote.branch(branch, start))
        kept = _stage(remote, branch, _large(pieces), patience, progress)
    else:
        progress(sum(piece.size for piece in _large(pieces)))
    sha = patience.run(lambda: _publish(order, remote, pieces, kept))
    _compare(order, patience.run(lambda: remote.files(sha)), pieces)
    if order.tag:
        _tag(order, order.tag, sha, remote, patience)
    patience.run(lambda: remote.drop_branch(branch))
    return sha


def staging(pieces: list[Piece]) -> str:
    """The branch that shards wait on: its name is the manifest's hash, so two datasets never share one."""
    return f"ncagen-{next(piece.sha256 for piece in pieces if piece.path == MANIFEST)[:16]}"


def _pieces(order: Push) -> list[Piece]:
    manifest = read_manifest(order.folder)
    return [
        *shards(order.folder, manifest),
        *papers(order.folder, manifest, order.name, list(order.picture), order.drawing),
    ]


def _large(pieces: list[Piece]) -> list[Piece]:
    return [piece for piece in pieces if isinstance(piece.source, Folder)]


def _difference(order: Push, there: Files, pieces: list[Piece]) -> Plan:
    """What must change on the Hub. Raises NcagenError where somebody else's files are."""
    foreign = [path for path in there if path not in (CARD, ".gitattributes")]
    if foreign and MANIFEST not in there:
        raise NcagenError(f"{order.name} holds files that are not a dataset of ncagen ({foreign[0]}): use another name")
    send = tuple(piece for piece in pieces if not piece.same(there.get(piece.path)))
    others = there.keys() - {piece.path for piece in pieces}
    old = sorted(filter(_SHARD.fullmatch, others))
    if strays := sorted(path for path in others.difference(old) if _TAKEN.fullmatch(path)):
        raise NcagenError(
            f"{order.name} holds {strays[0]}, which is no shard's name and would be read as rows: delete it there, or"
            " use another name"
        )
    return Plan(send, tuple(old))


def _check_tag(order: Push, tags: Mapping[str, str], head: str | None, made: Plan) -> None:
    there = tags.get(order.tag or "")
    if there and (there != head or made.send or made.delete):
        raise NcagenError(f"{order.name} has a tag {order.tag!r} already, at commit {there[:12]}: use another --tag")


def _stage(remote: Remote, branch: str, pieces: list[Piece], patience: Patience, progress: Progress) -> str:
    """Brings every shard to the branch; returns the commit that has them all."""
    there = patience.run(lambda: remote.files(branch))
    missing = [piece for piece in pieces if not piece.same(there.get(piece.path))]
    progress(sum(piece.size for piece in pieces) - sum(piece.size for piece in missing))
    for group in groups(missing, GROUP_FILES, GROUP_BYTES):
        _send(remote, branch, group, patience, progress)
    sha = patience.run(lambda: remote.head(branch))
    there = patience.run(lambda: remote.files(sha))
    for piece in pieces:
        if not piece.same(there.get(piece.path)):
            raise NcagenError(f"{piece.path} has changed since it was verified: nothing was published; push again")
    return sha


def _send(remote: Remote, branch: str, group: list[Piece], patience: Patience, progress: Progress) -> None:
    additions: list[CommitOperationAdd] = []
    for some in groups(group, SENT_FILES, GROUP_BYTES):
        adding = [piece.addition() for piece in some]
        patience.run(partial(remote.upload, adding, branch))
        progress(sum(piece.size for piece in some))
        additions += adding
    patience.run(lambda: remote.commit(additions, branch, f"{len(group)} shards"))


def _publish(order: Push, remote: Remote, pieces: list[Piece], kept: str | None) -> str:
    """The one commit that readers see; the head that is there where it holds all of it."""
    head = remote.head(order.revision)
    there = remote.files(head)
    made = _difference(order, there, pieces)
    if not made.send and not made.delete:
        return head
    operations: list[Operation] = [CommitOperationDelete(path) for path in made.delete]
    for piece in made.send:
        if isinstance(piece.source, bytes):
            operations.append(piece.addition())
        elif kept is None:  # it was there a moment ago
            raise NcagenError(f"{order.name} is being changed by somebody else: push again")
        else:
            operations.append(CommitOperationCopy(piece.path, piece.path, src_revision=kept))
    return remote.commit(operations, order.revision, "ncagen push", parent=head)


def _compare(order: Push, there: Files, pieces: list[Piece]) -> None:
    wrong = [piece.path for piece in pieces if not piece.same(there.get(piece.path))]
    if wrong:
        raise NcagenError(f"{wrong[0]} of {order.name} is not what was sent: push again")


def _tag(order: Push, tag: str, sha: str, remote: Remote, patience: Patience) -> None:
    patience.run(lambda: remote.tag(tag, sha))
    if (there := patience.run(remote.tags)[tag]) != sha:
        raise NcagenError(f"{order.name} has a tag {tag!r} already, at commit {there[:12]}: use another --tag")
