"""The CUDA source of the kernels for given settings: C++ files and the macros that they read.

The same text is compiled by NVRTC for a device (`nvrtc`) and by a C++ compiler for the host (`host`), where tests
compare it with the definition. `WORK` is the layout of what a launch works on. Not covered: compiling, memory and
launches.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

FILES = ("team.h", "philox.h", "rule.h", "automaton.h", "lz77.h", "huffman.h", "kernels.h")

KERNELS = ("rollout", "score", "rows")
MOST_SCORED = 1024  # tokens whose gzip length is computed: up to 4,096 bytes, where zlib has few limits (`lz77`)

WARP = 32
CELLS_A_LANE = 32  # a block has more than one warp for larger grids
MOST_LANES = 256
WARPS = 12  # that a multiprocessor has registers for at least: 168 for each thread
MOST_TOGETHER = 5  # cells of a lane whose sums are in registers at once, so that each weight is read once for all

# `Work` of kernels.h. Pointers are addresses in the memory of the device.
WORK = np.dtype(
    [
        ("key", "<u4", 2),
        ("rule_key", "<u4", 2),
        *((name, "<u8") for name in ("candidates", "rules", "later_rules", "chosen")),
        *((name, "<u8") for name in ("weights", "start", "gumbel")),
        ("temperature", "<i8"),
        ("reach", "<u4"),
        ("bias", "<i4"),
        *((name, "<u8") for name in ("warmup", "stride", "frames", "change_at", "at_least")),
        *((name, "<u8") for name in ("patches", "last", "scores", "rows")),
    ]
)


@dataclass(frozen=True)
class Program:
    """The kernels for an automaton of these sizes.

    states: of a cell. height, width: of a grid, in cells. patch: cells along a side of a patch. wrap: whether the
    channels are wrapped. uniform_start, has_noise, has_bias: of the settings. scored_frames: recorded grids that are
    scored. token_bytes: 2 or 4.
    """

    states: int
    height: int
    width: int
    patch: int
    wrap: bool
    uniform_start: bool
    has_noise: bool
    has_bias: bool
    scored_frames: int
    token_bytes: int

    @property
    def cells(self) -> int:
        """Cells of a grid."""
        return self.height * self.width

    @property
    def patches(self) -> int:
        """Patches of a grid."""
        return self.cells // self.patch**2

    @property
    def scored(self) -> int:
        """Tokens that are scored."""
        return self.scored_frames * self.patches

    @property
    def scores(self) -> bool:
        """Whether the kernels compute the gzip length; otherwise there is no kernel `score`."""
        return self.scored <= MOST_SCORED

    @property
    def kernels(self) -> tuple[str, ...]:
        """The names of the kernels."""
        return KERNELS if self.scores else tuple(name for name in KERNELS if name != "score")

    @property
    def lanes(self) -> int:
        """Threads of a block: a warp, or more for grids of over a thousand cells. A power of two."""
        lanes = WARP
        while lanes < MOST_LANES and self.cells > lanes * CELLS_A_LANE:
            lanes *= 2
        return lanes

    @property
    def macros(self) -> dict[str, int | str]:
        """What the files read."""
        a_lane = -(-self.cells // self.lanes)
        return {
            "TEAM": self.lanes,
            "BLOCKS": max(1, WARPS * WARP // self.lanes),
            "STATES": self.states,
            "HEIGHT": self.height,
            "WIDTH": self.width,
            "CELLS": self.cells,
            "PATCH": self.patch,
            "PATCHES": self.patches,
            "WRAP": int(self.wrap),
            "UNIFORM_START": int(self.uniform_start),
            "HAS_NOISE": int(self.has_noise),
            "HAS_BIAS": int(self.has_bias),
            # The fewest passes over a lane's cells, and no more at once than these need.
            "TOGETHER": -(-a_lane // -(-a_lane // MOST_TOGETHER)),
            "SCORED_FRAMES": self.scored_frames,
            "SCORED": self.scored,
            "START_OF_GRID": f"{self.states**self.patch**2}u",
            "Token": f"u{8 * self.token_bytes}",
        }

    @cached_property
    def source(self) -> str:
        """The text to compile."""
        folder = Path(__file__).parent
        macros = "".join(f"#define {name} {value}\n" for name, value in self.macros.items())
        return macros + "".join((folder / name).read_text(encoding="utf-8") for name in FILES)

    def shared_bytes(self, kernel: str) -> int:
        """Bytes of shared memory of a block, as the kernel takes them. kernel: of KERNELS."""
        if kernel == "score":
            row = [
                _padded(size)
                for size in (4 * (self.scored + 1 + self.lanes), 4 * self.scored, 8 * (self.scored + 1), 128, 4, 4)
            ]
            counts = [_padded(4 * 320), _padded(8), _padded(4)]
            trees = [_padded(size * item + more) for size in (286, 30) for item, more in ((4, 8), (4, 0), (2, 2))]
            trees += [_padded(8), _padded(8), _padded(4 * 19)]
            matches = 16 * (self.scored + 1)
            return sum(row) + sum(counts) + max(_padded(matches), sum(trees))
        rule = _padded(9 * self.states * 8) + 16 * 16 + 64 * self.states
        close = _padded(2 * self.cells if self.has_noise else 2)
        grids = 2 * _padded(self.cells) + close + _padded(4)
        return rule + grids + (_padded(4 * self.states) if kernel == "rollout" else 0)


def _padded(size: int) -> int:
    """Bytes of an array of shared memory, which begins at a multiple of 16."""
    return -(-size // 16) * 16
