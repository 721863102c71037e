"""The settings of an automaton and of its rows, and every size that follows from them.

A `Settings` is checked once and never changes. With a key (seed and stream) and a candidate's number it determines a
row. Not covered: settings as a user types them (`options`), and those of a build (`ncagen.spec`: tokens, bands).
"""

from dataclasses import dataclass
from typing import Any

from ncagen.errors import SpecError
from ncagen.sources import fact_columns
from ncagen.sources.fact_columns import GRID_FACTS
from ncagen.sources.patches import GridRows, check_patches
from ncagen.sources.scored import TOKEN_BYTES

# `released` is what the authors' launcher ran, `paper` what their text states.
PRESETS: dict[str, dict[str, Any]] = {
    "released": {"temperature": 1e-4, "start": "categorical"},
    "paper": {"temperature": 1e-3, "start": "uniform"},
}

STARTS = ("categorical", "uniform")
FACTS = ("oracle", "lambda", *GRID_FACTS)  # what a build stores in further columns where it is asked to
MEASURES = ("gzip", "linear-gap")  # what bands select by
# Rows without some of what can be learned: `controls` makes the first five, `rules` and `rollout` the others.
REARRANGING = ("shuffle-time", "shuffle-cells", "shuffle-row", "unigram", "noise")
CONTROLS = (*REARRANGING, "frozen-rule", "new-rule")
SCORED_GRIDS = 10
MOST_CANDIDATE = 2**32 - 1  # of the pilot's stream

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


@dataclass(frozen=True)
class Settings(GridRows):
    """The settings of an automaton and of its rows.

    height and width count cells, patch those along a side of a patch. warmup and stride count steps. temperature and
    identity_bias are in the logits of the paper's network. trajectories_per_rule neighbouring candidates share a rule.
    seq_len: tokens of a row that a model reads as input; it determines how many grids are recorded. facts: further
    columns to store, of FACTS in their order, joined by commas; they change no row. measure: what bands select by, of
    MEASURES. control: of CONTROLS, empty for trajectories as they are. rule_candidate: of frozen-rule, the candidate of
    the pilot's stream whose rule all rows have; None until a build finds one. change_at: of new-rule, the first grid
    that follows another rule. Raises SpecError for a value out of the range in RANGES, for patches that do not fit the
    grid, and for a control that these rows cannot have.
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
    control: str = ""
    rule_candidate: int | None = None
    change_at: int | None = None

    def __post_init__(self):
        _check_ranges(self)
        fact_columns.check(self.facts, FACTS)
        check_patches(self)
        _check_measure(self)
        _check_control(self)

    @property
    def no_oracle(self) -> str:
        """Why these rows have no oracle loss, as text for an error; empty where they have one."""
        if self.rearranges:
            return f"rows of control {self.control} follow no rule"
        if self.control == "new-rule" and self.stride > 1:
            return "the oracle of rows of control new-rule is computed for a stride of 1 only"
        return ""

    @property
    def rearranges(self) -> bool:
        """Whether rows are not the trajectories that are scored: those of a control that rearranges them."""
        return self.control in REARRANGING

    @property
    def in_order(self) -> bool:
        """Whether the grids of a row are those of its steps, in their order."""
        return not self.rearranges

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


def _check_control(settings: Settings) -> None:
    """Raises SpecError for a control that is not known, that these rows cannot have, or whose settings are wrong."""
    control = settings.control
    if control not in ("", *CONTROLS):
        raise SpecError(f"control {control!r} is not known: use {', '.join(CONTROLS)}, or leave it out")
    if control in ("shuffle-time", "new-rule") and settings.frames < 2:
        raise SpecError(
            f"control {control} needs rows of two grids or more: use a seq_len of {settings.tokens_per_grid} or more,"
            " or a smaller grid"
        )
    if control == "shuffle-cells" and settings.patches < 2:
        raise SpecError("control shuffle-cells needs grids of two patches or more: use a smaller patch")
    if control == "frozen-rule" and settings.trajectories_per_rule != 1:
        raise SpecError("all rows of control frozen-rule share a rule: leave trajectories_per_rule out")
    if settings.no_oracle and "oracle" in settings.facts.split(","):
        raise SpecError(f"{settings.no_oracle}: leave oracle out of the facts")
    if "lambda" in settings.facts.split(",") and (settings.rearranges or control == "new-rule"):
        rules = "no rule" if settings.rearranges else "two rules"
        raise SpecError(f"rows of control {control} follow {rules}: leave lambda out of the facts")
    _check_whole("rule_candidate", settings.rule_candidate, 0, MOST_CANDIDATE, control == "frozen-rule", "frozen-rule")
    _check_whole("change_at", settings.change_at, 1, settings.frames - 1, control == "new-rule", "new-rule")
    if control == "new-rule" and settings.change_at is None:
        raise SpecError(f"control new-rule has no change_at: use 1 to {settings.frames - 1}")


def _check_whole(name: str, value: Any, least: int, most: int, used: bool, control: str) -> None:
    """Raises SpecError for a setting of one control that is out of range, or that is given without that control."""
    if value is None:
        return
    if not used:
        raise SpecError(f"{name} is of control {control}: leave it out")
    if type(value) is not int:
        raise SpecError(f"{name} {value!r} is not a whole number")
    if not least <= value <= most:
        raise SpecError(f"{name} {value} is out of range: use {least} to {most}")


def _plain(limit: float) -> str:
    """Formats an integer in full, another number in short."""
    return str(limit) if isinstance(limit, int) else f"{limit:g}"
