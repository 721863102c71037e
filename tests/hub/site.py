"""A Hub with a user, and what that user's commands do with it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from hub.commands import Command
from hub.server import Hub
from hub.store import Repo

NAME = "user/nca"
TOKEN = "hf_TheseLettersAreTheCanary"
OTHER = "hf_SomebodyElse"


class Run(NamedTuple):
    """What a command did."""

    status: int
    out: str
    err: str


class Site:
    """environment: what a process needs to find the Hub, and nothing that is the developer's own."""

    def __init__(self, hub: Hub, folder: Path):
        mine = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGING"))}
        mine |= {"HF_ENDPOINT": hub.url, "HF_TOKEN": TOKEN, "HF_HOME": str(folder / "home")}
        self.hub, self.environment = hub, mine | ({} if hub.use_xet else {"HF_HUB_DISABLE_XET": "1"})

    def start(self, *arguments: object, **changes: str | None) -> Command:
        """A command of the user's; changes are to the environment, None takes a variable away."""
        changed = {**self.environment, **changes}
        return Command(arguments, {key: value for key, value in changed.items() if value is not None})

    def run(self, *arguments: object, **changes: str | None) -> Run:
        command = self.start(*arguments, **changes)
        return Run(command.wait(), command.out, command.err)

    def push(self, folder: Path, *flags: str, **changes: str | None) -> Run:
        return self.run("push", folder, NAME, *flags, **changes)

    def fails(self, *arguments: object, **changes: str | None) -> str:
        """The one line of a command that is refused."""
        done = self.run(*arguments, **changes)
        assert (done.status, done.out) == (2, ""), done
        assert done.err.startswith("ncagen: ") and done.err.count("\n") == 1 and done.err.endswith("\n"), done
        return done.err.removeprefix("ncagen: ").removesuffix("\n")

    def python(self, program: str, **changes: str | None) -> str:
        """What a Python program prints; what the library warns of is its own."""
        done = self.run("-c", program, **changes)
        assert done.status == 0, done
        return done.out

    def publish(self, folder: Path, private: bool = False, tag: str | None = None) -> str:
        """Puts a folder there without any client, as a push leaves it; returns the commit."""
        store = self.hub.store
        repo = store.repos.get(("dataset", NAME)) or store.create("dataset", NAME, private)
        files = {".gitattributes": repo.at("main").files[".gitattributes"]}
        for path in folder.rglob("*"):
            if path.is_file():
                content, name = path.read_bytes(), path.relative_to(folder).as_posix()
                large = path.suffix in (".parquet", ".arrow")
                files[name] = store.large(store.put(content), len(content)) if large else store.small(content)
        sha = repo.add("main", "published", files, repo.branches["main"]).sha
        repo.tags |= {tag: sha} if tag else {}
        return sha

    @property
    def host(self) -> str:
        return self.hub.url.removeprefix("http://")

    @property
    def repo(self) -> Repo:
        return self.hub.store.repo("dataset", NAME)

    def published(self, revision: str = "main") -> dict[str, bytes]:
        """What a reader of a revision finds, but for the Hub's own file."""
        files = self.repo.at(revision).files
        return {path: self.hub.content(entry) for path, entry in files.items() if path != ".gitattributes"}


@contextmanager
def site(folder: Path, use_xet: bool = False, page: int = 1000) -> Iterator[Site]:
    """A new Hub in a folder."""
    with Hub(folder / "hub", {TOKEN: "user", OTHER: "other"}, use_xet, page) as hub:
        yield Site(hub, folder)
