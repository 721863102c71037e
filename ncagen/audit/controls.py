"""Passes the checks that only say what a control did to its rows on purpose (`ncagen.sources.nca.settings.CONTROLS`).

Rows without a rule, one rule in all rows, or two in each are faults of other datasets. Not covered: whether the rows
are what the control promises, which `ncagen verify --regenerate` compares.
"""

from collections.abc import Sequence

from ncagen.audit.checks import BAD, LOOK, OK, Check
from ncagen.sources.nca.settings import REARRANGING

NO_RULE = ("consistent", "ladder", "one rule", "gzip ratio")
INTENDED = dict.fromkeys(REARRANGING, NO_RULE) | {"frozen-rule": ("leakage",), "new-rule": ("consistent", "one rule")}
LEAKS = ("whole", "after_first_grid", "first_grid")  # numbers of the check leakage that no control intends


def intended(control: str, checks: Sequence[Check]) -> list[Check]:
    """Returns the checks of a control's rows. control: its name, empty for rows as they are."""
    return [_intended(control, check) for check in checks]


def _intended(control: str, check: Check) -> Check:
    if check.verdict not in (LOOK, BAD) or check.name not in INTENDED.get(control, ()):
        return check
    if check.name == "leakage" and any(check.numbers[name] for name in LEAKS):
        return check
    return check._replace(verdict=OK, text=f"as control {control} intends: {check.text}")
