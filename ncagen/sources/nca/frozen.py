"""Finds the rule of the control frozen-rule: that of the pilot's first candidate whose trajectory lies in a band.

Not covered: how rows are made by it (`rules.rule_address`).
"""

from dataclasses import replace

import numpy as np

from ncagen.errors import SpecError
from ncagen.philox import STREAMS
from ncagen.selection import Band, inside
from ncagen.sources.nca import batch, cpu, selfcheck
from ncagen.sources.nca.facts import measure
from ncagen.sources.nca.settings import Settings

# Candidates that are tried at most, fewer where these would take more than about 20 seconds of a core.
CANDIDATES, WORK = 65536, 20 * 10**9


def first_candidate(settings: Settings, seed: int, band: Band, work: int) -> int:
    """Returns the number of the first candidate of the pilot's stream in a band, scored without the control.

    work: to score one candidate, in nanoseconds. Raises SpecError where the band has none of them, SelfCheckFailed.
    """
    plain = replace(settings, control="", facts="")
    selfcheck.check(plain)
    selects = measure(plain)
    size = cpu.batch_candidates(plain)
    most = min(CANDIDATES, max(size, WORK // work))
    for first in range(0, most, size):
        numbers = np.arange(first, min(first + size, most), dtype=np.uint64)
        score = batch.run(plain, (seed, STREAMS["pilot"]), numbers, band.limits(selects)[0]).score
        if (found := inside(selects, band, score)).any():
            return first + int(np.argmax(found))
    raise SpecError(
        f"none of {most:,} candidates is in band {band.name}, so control frozen-rule has no rule: use another band,"
        " or give the candidate whose rule all rows have, as in --rule-candidate 0"
    )
