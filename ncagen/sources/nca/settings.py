"""The settings of an automaton and of its rows, and every size that follows from them.

A `Settings` is checked once and never changes. With a key (seed and stream) and a candidate's number it determines a
row. Not covered: settings as a user types them (`options`), and those of a build (`ncagen.spec`: tokens, bands).
"""

from dataclasses import dataclass
from math import gcd
from typing import Any

from ncagen.errors import SpecError
from ncagen.sources import fact_columns
from ncagen.sources.fact_columns import GRID_FACTS
from ncagen.sources.scored import TOKEN_BYTES

# `released` is what the authors' launcher ran, `paper` what their text states.
PRESETS: dict[str, dict[str, Any]] = {
    "released": {"temperature": 1e-4, "start": "categorical"},
    "paper": {"temperature": 1e-3, "start": "uniform"},
}

STARTS = ("categorical", "uniform")
FACTS = ("oracle", "lambda", *GRID_FACTS)  # what a build stores in further columns where it is asked to
MEASURES = ("gzip", "linear-gap")  # what bands select by
DELIMITERS = 2  # start-of-grid and end-of-grid, the two ids above all patches
SCORED_GRIDS = 10
MOST_VOCABULARY = 2**32

# Temperature and bias are bounded so that logits stay inside int32 for every alphabet: see `rules`.
RANGES: dict[str, tuple[type[int] | type[float], float, float]] = {
    "states": (int, 2, 256),
    "height": (int, 3, 128),
    "width": (int, 3, 128),
    "patch": (int, 1, 128),
    "warmup": (int, 0, 10**6),
    "stride": (int, 1, 10**4),
    "temperature": (float, 0.0, 1.0),
    "identity_bias": (float, -10.0, 10.0),
    "trajectories_per_rule": (int, 1, 10**6),
    "seq_len": (int, 1, 2**23),  # a build allows fewer: `ncagen.spec`
}


class Patching:
    """Sizes that follow from cutting grids into square patches. Subclasses have the four attributes."""

    states: int
    height: int
    width: int
    patch: int

    @property
    def size(self) -> str:
        """The grid's size as text: height x width, in cells."""
        return f"{self.height} x {self.width}"

    @property
    def cells(self) -> int:
        """Number of cells in a grid."""
        return self.height * self.width

    @property
    def patches(self) -> int:
        """Number of patches in a grid."""
        return (self.height // self.patch) * (self.width // self.patch)

    @property
    def patch_ids(self) -> int:
        """Number of ids that a patch can have. It is also the id of start-of-grid; end-of-grid is the next."""
        return self.states ** (self.patch * self.patch)


@dataclass(frozen=True)
class Settings(Patching):
    """The settings of an automaton and of its rows.

    height and width count cells, patch those along a side of a patch. warmup and stride count steps. temperature and
    identity_bias are in the logits of the paper's network. trajectories_per_rule neighbouring candidates share a rule.
    seq_len: tokens of a row that a model reads as input; it determines how many grids are recorded. facts: further
    columns to store, of FACTS in their order, joined by commas; they change no row. measure: what bands select by, of
    MEASURES.
    Raises SpecError for a value out of the range in RANGES, and for patches that do not fit the grid.
    """

    states: int = 10
    height: int = 12
    width: int = 12
    patch: int = 2
    warmup: int = 10
    stride: int = 1
    temperature: float = 1e-4
    identity_bias: float = 0.0
    start: str = "categorical"
    channel_wrap: bool = True
    trajectories_per_rule: int = 1
    seq_len: int = 1024
    facts: str = ""
    measure: str = "gzip"

    def __post_init__(self):
        _check_ranges(self)
        fact_columns.check(self.facts, FACTS)
        _check_patches(self)
        _check_measure(self)

    @property
    def vocabulary(self) -> int:
        """Number of ids, patches and delimiters: 0 to vocabulary - 1."""
        return self.patch_ids + DELIMITERS

    @property
    def token_dtype(self) -> str:
        """The narrower of uint16 and uint32 that holds every id."""
        return "uint16" if self.vocabulary <= 2**16 else "uint32"

    @property
    def tokens_per_grid(self) -> int:
        """Tokens of a grid: its patches and the two delimiters."""
        return self.patches + DELIMITERS

    @property
    def frames(self) -> int:
        """Number of recorded grids in a row: the fewest that give `seq_len` inputs and the token after each."""
        return -(-(self.seq_len + 1) // self.tokens_per_grid)

    @property
    def row_tokens(self) -> int:
        """Number of stored tokens in a row."""
        return self.frames * self.tokens_per_grid

    @property
    def scored_frames(self) -> int:
        """Number of grids that are scored: the first ten, or all of a shorter row."""
        return min(SCORED_GRIDS, self.frames)

    @property
    def scored_bytes(self) -> int:
        """Number of bytes that are scored."""
        return self.scored_frames * self.patches * TOKEN_BYTES

    @property
    def predicted_cells(self) -> int:
        """Number of cells in the scored grids but the first: those that the learners of `linear-gap` predict."""
        return (self.scored_frames - 1) * self.cells

    @property
    def scored_steps(self) -> int:
        """Number of steps from the start grid to the last scored one."""
        return self.warmup + self.stride * (self.scored_frames - 1)


def _check_ranges(settings: Settings) -> None:
    """Raises SpecError for the first setting with a wrong type or a value out of its range."""
    for name, (kind, least, most) in RANGES.items():
        value = getattr(settings, name)
        shown = "grid" if name in ("height", "width") and settings.height == settings.width else name
        if type(value) is not kind:
            raise SpecError(f"{shown} {value!r} is not {'a whole number' if kind is int else 'a number'}")
        if not least <= value <= most:
            raise SpecError(f"{shown} {value} is out of range: use {_plain(least)} to {_plain(most)}")
    if type(settings.channel_wrap) is not bool:
        raise SpecError(f"channel_wrap {settings.channel_wrap!r} is not true or false")
    if settings.start not in STARTS:
        raise SpecError(f"start {settings.start!r} is not known: use {' or '.join(STARTS)}")


def _check_measure(settings: Settings) -> None:
    """Raises SpecError for a measure that is not known, or that rows of one grid do not have."""
    if settings.measure not in MEASURES:
        raise SpecError(f"measure {settings.measure!r} is not known: use {' or '.join(MEASURES)}")
    if settings.measure != "gzip" and settings.frames < 2:
        raise SpecError(
            f"measure {settings.measure} needs rows of two grids or more: use a seq_len of"
            f" {settings.tokens_per_grid} or more, or a smaller grid"
        )


def _check_patches(settings: Settings) -> None:
    """Raises SpecError if patches do not divide the grid, or have too many ids."""
    height, width, patch = settings.height, settings.width, settings.patch
    if height % patch or width % patch:
        grid = str(height) if height == width else f"{height}x{width}"
        common = gcd(height, width)
        fitting = ", ".join(str(p) for p in range(1, common + 1) if common % p == 0)
        raise SpecError(f"grid {grid} is not divisible by patch {patch}: use a patch of {fitting}")
    if settings.vocabulary > MOST_VOCABULARY:
        raise SpecError(
            f"vocabulary of states {settings.states} to the power {patch**2} (the cells of a patch), and {DELIMITERS},"
            f" is over {MOST_VOCABULARY}: use fewer states or a smaller patch"
        )


def _plain(limit: float) -> str:
    """Formats an integer in full, another number in short."""
    return str(limit) if isinstance(limit, int) else f"{limit:g}"
