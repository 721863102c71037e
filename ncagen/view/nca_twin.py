"""Makes the data for the NCA's JavaScript twin (`page/nca.js`): settings as integers, choices of the page, checksums.

The twin computes rows from the numbers of their candidates. Python computes temperature and identity bias as integers,
which JavaScript cannot compute exactly.
"""

from dataclasses import replace

import numpy as np

from ncagen.errors import SpecError
from ncagen.sources.nca import rules
from ncagen.sources.nca.settings import Settings
from ncagen.sources.nca.source import Nca
from ncagen.sources.source import Source
from ncagen.view.palette import palette

# Choices of the page, in addition to the dataset's settings.
STATES = range(2, 17)
SIDES = (6, 8, 9, 12, 16, 18, 24, 32, 36, 48)


def twin(source: Source, seed: int) -> dict | None:
    """Returns the argument of the constructor in nca.js, as plain values for JSON. source: an Nca.

    None for a control: the page computes trajectories of one rule each, and shows stored rows of others.
    """
    assert isinstance(source, Nca)
    chosen = source.settings
    if chosen.control:
        return None
    return {"settings": settings(chosen, seed), "choices": choices(chosen), "tableSums": table_sums()}


def settings(chosen: Settings, seed: int = 0) -> dict:
    """Returns settings for automaton.js, rule.js and nca.js. height and width count cells of a grid."""
    return {
        "seed": seed,
        "states": chosen.states,
        "height": chosen.height,
        "width": chosen.width,
        "patch": chosen.patch,
        "seqLen": chosen.seq_len,
        "frames": chosen.frames,
        "warmup": chosen.warmup,
        "stride": chosen.stride,
        "temperature": rules.logit_units(chosen, chosen.temperature),
        "bias": rules.logit_units(chosen, chosen.identity_bias),
        "start": chosen.start,
        "channelWrap": chosen.channel_wrap,
        "perRule": chosen.trajectories_per_rule,
    }


def choices(chosen: Settings) -> dict:
    """Returns the grids ([height, width]) and numbers of states that the page offers, the latter with colours.

    The integers of temperature and bias depend on the number of states, so they are listed with it.
    """
    states = {}
    for count in sorted({*STATES, chosen.states}):
        try:
            other = settings(replace(chosen, states=count))
        except SpecError:  # more patches than ids
            continue
        units = {name: other[name] for name in ("temperature", "bias")}
        states[count] = units | {"colours": ["#{:02x}{:02x}{:02x}".format(*colour) for colour in palette(count)]}
    own = settings(chosen)
    squares = {(side, side) for side in SIDES if side % own["patch"] == 0}
    return {"states": states, "grids": [list(grid) for grid in sorted({*squares, (own["height"], own["width"])})]}


def table_sums() -> dict[str, int]:
    """Returns a checksum of each table. The page computes the tables, and warns if a browser's arithmetic differs."""
    tables = {
        "perception": rules.weight_table(rules.PERCEPTION_SCALE),
        "hidden": rules.weight_table(rules.HIDDEN_SCALE),
        "output": rules.weight_table(rules.OUTPUT_SCALE),
        "start": rules.start_table(),
        "gumbel": rules.gumbel_table(),
    }
    places = np.arange(1, 65537, dtype=np.int64)
    return {name: int((table * places).sum() % 2**32) for name, table in tables.items()}
