"""The folder of one run, a stage of an arm and seed: its settings, log, checkpoint, model, and how it ended.

run.json          all that its result depends on; a folder with other settings is refused
log.jsonl         a line for each step and each evaluation; equal runs have equal bytes
timing.jsonl      a line for each time that it was started: seconds, tokens a second, device, versions
checkpoint.pt     model, optimizer and data after the last evaluation
model/            the finished model, for from_pretrained
done.json, failed.json    written last
lock              held while a process trains it
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Any, TextIO

import torch

from ncagen import NcagenError


class RunFolder:
    """The files of one run. `writes` is false for ranks that only read."""

    def __init__(self, path: Path, settings: dict[str, Any], writes: bool = True):
        """settings: all that the run depends on. Raises NcagenError where the folder has a run of others."""
        self.path, self.writes = path, writes
        self._lock: TextIO | None = None
        self.settings = json.loads(json.dumps(settings))
        self.sha256 = hashlib.sha256(json.dumps(self.settings, sort_keys=True).encode()).hexdigest()
        before = self.read("run.json")
        if before is not None and before != self.settings:
            names = sorted(name for name in {**before, **self.settings} if before.get(name) != self.settings.get(name))
            raise NcagenError(
                f"{path} has a run with another {names[0]}: use another --out, or remove it and what was made from it"
            )

    def begin(self) -> None:
        """Makes the folder, and locks it until the run has ended. Raises NcagenError where another process has it."""
        if self.writes:
            self.path.mkdir(parents=True, exist_ok=True)
            self._hold()
            self.write("run.json", self.settings)

    def _hold(self) -> None:
        self._lock = (self.path / "lock").open("w")
        if os.name != "posix":
            return
        import fcntl

        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise NcagenError(
                f"{self.path} is being trained by another process: wait for it, or run other seeds with --seeds"
            ) from None

    def _release(self) -> None:
        if self._lock is not None:
            (self.path / "lock").unlink(missing_ok=True)
            self._lock.close()

    def read(self, name: str) -> Any:
        """The content of a JSON file, None where there is none."""
        return read_json(self.path / name)

    def write(self, name: str, values: Any) -> None:
        """Writes a JSON file, whole or not at all."""
        if self.writes:
            temporary = self.path / f".{name}.tmp"
            temporary.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
            temporary.replace(self.path / name)

    def add(self, name: str, values: dict[str, Any]) -> None:
        """Adds a line to a file of JSON Lines."""
        if self.writes:
            with (self.path / name).open("a", encoding="utf-8") as file:
                file.write(json.dumps(values) + "\n")

    def lines(self) -> list[dict[str, Any]]:
        """The lines of the log, without one that was cut off."""
        return log_lines(self.path)

    def save(self, step: int, state: dict[str, Any]) -> None:
        """Writes a checkpoint, whole or not at all."""
        if self.writes:
            temporary = self.path / ".checkpoint.tmp"
            torch.save({"step": step, **state}, temporary)
            temporary.replace(self.path / "checkpoint.pt")

    def resume(self, device: str) -> dict[str, Any] | None:
        """The last checkpoint, and the log cut back to it; None, with an empty log, where there is none."""
        file = self.path / "checkpoint.pt"
        state = torch.load(file, map_location=device, weights_only=True) if file.exists() else None
        if self.writes:
            kept = [line for line in self.lines() if state and line["step"] <= state["step"]]
            (self.path / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
        return state

    def finish(self, model: Any, values: dict[str, Any]) -> None:
        """Saves the model and marks the run as done. The checkpoint is not needed any more."""
        if self.writes:
            model.save_pretrained(self.path / "model")
            self.write("done.json", values)
            (self.path / "checkpoint.pt").unlink(missing_ok=True)
            self._release()

    def fail(self, step: int, reason: str) -> None:
        """Marks the run as failed, which a later start does not try again."""
        self.write("failed.json", {"step": step, "reason": reason})
        self._release()

    @property
    def done(self) -> dict[str, Any] | None:
        """What `finish` wrote."""
        return self.read("done.json")

    @property
    def failed(self) -> dict[str, Any] | None:
        """What `fail` wrote."""
        return self.read("failed.json")


def log_lines(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run's log, without one that was cut off; none where there is no log."""
    file = folder / "log.jsonl"
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    return [json.loads(line) for line in text.split("\n")[:-1]]


def read_json(file: Path) -> Any:
    """The content of a JSON file, None where there is none."""
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else None
