"""Writes the golden data of this automaton version, from the definition only: python tests/golden/make.py

A change that moves any value is a new version of the source, and gets a new file next to the old one.
"""

from pathlib import Path

import numpy as np

from ncagen import philox
from ncagen.deflate.lengths import token_gzip_lengths
from ncagen.sources import grid_tokens
from ncagen.sources.nca import definition, rules
from ncagen.sources.nca.options import settings_of
from ncagen.sources.nca.settings import Settings
from ncagen.sources.nca.source import Nca

SETTINGS = {
    "released": {},
    "paper": {"preset": "paper"},
    "five": {"states": 5, "channel_wrap": False, "identity_bias": 0.1},
    "fifteen": {"states": 15, "grid": 8, "stride": 2, "warmup": 3, "temperature": 0.01, "trajectories_per_rule": 2},
    "cells": {"states": 40, "grid": 9, "patch": 1, "start": "uniform", "temperature": 0.0},
}
SEEDS = {"paper": 1}  # all other names have seed 0
CANDIDATES = np.array([0, 1, 2, 3, 2**32, 2**32 + 1, 2**33 + 12345, 2**63 + 1], np.uint64)


def path() -> Path:
    """The file of this version."""
    return Path(__file__).parent / f"automaton-{Nca.version}.npz"


def settings_named(name: str) -> Settings:
    """Settings by their name in this file."""
    return settings_of(SETTINGS[name], seq_len=1024)


def key_of(name: str, split: str) -> tuple[int, int]:
    """Seed and stream of a split."""
    return SEEDS.get(name, 0), philox.STREAMS[split]


def golden(name: str) -> dict[str, np.ndarray]:
    """Rules, start grids, scored trajectories, their tokens and lengths, in both streams."""
    settings, found = settings_named(name), {}
    for split in ("train", "validation"):
        key = key_of(name, split)
        drawn = rules.sample_rules(settings, key, CANDIDATES)
        grids = definition.trajectories(settings, key, CANDIDATES, settings.scored_frames)
        patches = grid_tokens.patch_tokens(settings, grids)
        found |= {
            f"{name} {split} perception": drawn.perception,
            f"{name} {split} hidden": drawn.hidden,
            f"{name} {split} output": drawn.output,
            f"{name} {split} starts": rules.sample_starts(settings, key, CANDIDATES),
            f"{name} {split} grids": grids,
            f"{name} {split} patches": patches,
            f"{name} {split} lengths": token_gzip_lengths(patches.reshape(len(CANDIDATES), -1)),
        }
    return found


if __name__ == "__main__":
    np.savez_compressed(path(), **{key: value for name in SETTINGS for key, value in golden(name).items()})
    print(path(), path().stat().st_size)
