"""Writes the golden data of this automaton version, from the definition alone: python tests/golden/make.py

A change that moves any of it is a new AUTOMATON_VERSION, and a new file beside the old one.
"""

from pathlib import Path

import numpy as np

from ncagen import philox
from ncagen.deflate.lengths import token_gzip_lengths
from ncagen.sources.nca import definition, rules, tokens
from ncagen.spec import AUTOMATON_VERSION, Spec, from_settings

SPECS = {
    "released": {},
    "paper": {"preset": "paper", "seed": 1},
    "five": {"states": 5, "channel_wrap": False, "identity_bias": 0.1},
    "fifteen": {"states": 15, "grid": 8, "stride": 2, "warmup": 3, "temperature": 0.01, "trajectories_per_rule": 2},
    "cells": {"states": 40, "grid": 9, "patch": 1, "start": "uniform", "temperature": 0.0},
}
CANDIDATES = np.array([0, 1, 2, 3, 2**32, 2**32 + 1, 2**33 + 12345, 2**63 + 1], np.uint64)


def path() -> Path:
    """The file of this version."""
    return Path(__file__).parent / f"automaton-{AUTOMATON_VERSION}.npz"


def spec_of(name: str) -> Spec:
    """A spec by its name here."""
    return from_settings({"tokens": "1M", "band": "0-2"} | SPECS[name])


def golden(name: str) -> dict[str, np.ndarray]:
    """Rules, start grids, scored trajectories, their tokens and lengths, in both streams."""
    spec, found = spec_of(name), {}
    for split in ("train", "validation"):
        stream = philox.STREAMS[split]
        drawn = rules.sample_rules(spec, stream, CANDIDATES)
        grids = definition.trajectories(spec, stream, CANDIDATES, spec.scored_frames)
        patches = tokens.patch_tokens(spec, grids)
        found |= {
            f"{name} {split} perception": drawn.perception,
            f"{name} {split} hidden": drawn.hidden,
            f"{name} {split} output": drawn.output,
            f"{name} {split} starts": rules.sample_starts(spec, stream, CANDIDATES),
            f"{name} {split} grids": grids,
            f"{name} {split} patches": patches,
            f"{name} {split} lengths": token_gzip_lengths(patches.reshape(len(CANDIDATES), -1)),
        }
    return found


if __name__ == "__main__":
    np.savez_compressed(path(), **{key: value for name in SPECS for key, value in golden(name).items()})
    print(path(), path().stat().st_size)
