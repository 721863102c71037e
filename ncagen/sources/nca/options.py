"""Converts settings as a user types them, on the command line or in a TOML file, to `Settings`.

`Settings` checks the values; this module reads text and accepts spellings that mean the same.
"""

from collections.abc import Mapping
from typing import Any

from ncagen.errors import SpecError
from ncagen.sources.fact_columns import in_order
from ncagen.sources.nca.settings import CONTROLS, FACTS, MEASURES, PRESETS, STARTS, Settings
from ncagen.sources.patches import parse_grid
from ncagen.sources.source import Option

DEFAULT_PRESET = "released"

OPTIONS = (
    Option("preset", str, f"{' or '.join(PRESETS)}: what the authors' code ran, or what the paper states."),
    Option("states", int, "States of a cell, 2 to 256.  [10]"),
    Option("grid", str, "Cells of the grid: a side, or height x width as in 12x16.  [12]"),
    Option("patch", int, "Cells along a side of a patch, which is one token.  [2]"),
    Option("warmup", int, "Steps before the first recorded grid.  [10]"),
    Option("stride", int, "Steps between recorded grids.  [1]"),
    Option("temperature", float, "0 to 1.  [0.0001]"),
    Option("identity_bias", float, "Added to the logit of a cell's own state.  [0]"),
    Option("start", str, f"Start cells: {' or '.join(STARTS)}.  [categorical]"),
    Option("channel_wrap", bool, "The released code's wrapped channels.  [on]"),
    Option("trajectories_per_rule", int, "Neighbouring candidates that share a rule.  [1]"),
    Option("facts", str, f"Further columns, joined by commas: {', '.join(FACTS)}.  [none]"),
    Option("measure", str, f"What bands select by: {' or '.join(MEASURES)}.  [gzip]"),
    Option("control", str, f"Rows without some of what can be learned: {', '.join(CONTROLS)}.  [none]"),
    Option("rule_candidate", int, "Of frozen-rule: whose rule, a candidate of the pilot.  [the first in the band]"),
    Option("change_at", int, "Of new-rule: the first grid that follows another rule.  [half of the grids]"),
)


def settings_of(options: Mapping[str, Any], seq_len: int) -> Settings:
    """Makes settings from options as a user types them; missing ones have their defaults.

    seq_len: tokens that a model reads. Raises SpecError for an unknown option or a value out of range.
    """
    known = [option.name for option in OPTIONS]
    for name in options:
        if name not in known:
            raise SpecError(f"setting {name!r} is not known: known are {', '.join(known)}")
    values = dict(options)
    preset = values.pop("preset", DEFAULT_PRESET)
    if preset not in list(PRESETS):
        raise SpecError(f"preset {preset!r} is not known: use {' or '.join(PRESETS)}")
    if "grid" in values:
        values["height"], values["width"] = parse_grid(values.pop("grid"))
    values = PRESETS[preset] | values
    if "facts" in values:
        values["facts"] = in_order(values["facts"], FACTS)
    for name in ("temperature", "identity_bias"):
        value = values.get(name)
        if type(value) is float or (type(value) is int and abs(value) < 2**32):
            values[name] = float(value) + 0.0  # so that -0.0 is 0.0, which has the same rows
    if values.get("control") == "new-rule" and "change_at" not in values:
        whole = Settings(seq_len=seq_len, **(values | {"control": ""}))
        values["change_at"] = max(1, whole.frames // 2)
    return Settings(seq_len=seq_len, **values)
