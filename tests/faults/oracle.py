"""What is right: the files of an undisturbed build, and nothing else at any moment."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from conftest import contents

from ncagen.dataset.manifest import BUILDING, build_of, read_manifest

OBSERVER = Path(__file__).with_name("observer.py")


def hashes(folder: Path) -> dict[str, str]:
    """The sha256 of every file of a folder, hidden ones too, by its name within the folder."""
    return {name: hashlib.sha256(data).hexdigest() for name, data in contents(folder).items()}


def assert_recovered(folder: Path, oracle: Path) -> None:
    """The folder has the very files of the oracle: every byte, and no other name, so no temporary one either."""
    assert hashes(folder) == hashes(oracle)
    assert read_manifest(folder).dataset_sha256 == read_manifest(oracle).dataset_sha256


def expected(oracle: Path) -> dict[str, str]:
    """What a build of the oracle's order may show a reader at any moment: sha256 by final name."""
    manifest = read_manifest(oracle)
    begun = json.dumps(build_of(manifest.spec, manifest.file_format), indent=1) + "\n"
    return hashes(oracle) | {BUILDING: hashlib.sha256(begun.encode()).hexdigest()}


@contextmanager
def watched(folder: Path, *oracles: Path, claim: Path | None = None) -> Iterator[None]:
    """Reads along for as long as the context lasts, and asserts that nothing was seen but files of the oracles.

    claim: a dataset whose begun order may be seen for a moment, and nothing else of it.
    """
    allowed: dict[str, list[str]] = {}
    for oracle in oracles:
        for name, digest in expected(oracle).items():
            allowed.setdefault(name, []).append(digest)
    if claim:
        allowed[BUILDING].append(expected(claim)[BUILDING])
    command = [sys.executable, OBSERVER, folder]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        process.stdin.write(json.dumps(allowed) + "\n")
        process.stdin.flush()
        assert process.stdout.readline() == "looking\n"
        try:
            yield
        finally:
            process.stdin.close()
            saw = json.load(process.stdout)
    assert not saw["wrong"], "\n".join(saw["wrong"])
    assert saw["looks"] > 2 and saw["reads"] >= len(list(folder.rglob("*-of-*")))
