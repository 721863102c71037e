"""An audit as one page of text, and as values for JSON."""

import textwrap

import numpy as np

from ncagen.audit.checks import BAD, LOOK, Check
from ncagen.audit.figures import Figures
from ncagen.audit.shape import Shape

WIDTH = 110
MOST_PARTS = 6
BARS, BAR = 20, 40


def verdict(checks: list[Check]) -> str:
    """The worst of the checks' verdicts."""
    found = {check.verdict for check in checks}
    return next((worst for worst in (BAD, LOOK) if worst in found), "ok")


def page(found: Figures, checks: list[Check]) -> str:
    """The text: what was looked at, a line for each check, and its figures."""
    lines = [*_source(found), ""]
    for check in checks:
        start = f"{check.verdict:<5} {check.name:<11} "
        lines += textwrap.wrap(start + check.text, WIDTH, subsequent_indent=" " * len(start))
    by_name = {check.name: check for check in checks}
    for name, figures in (("gzip ratio", _complexity), ("n-grams", _ngrams)):
        if name in by_name:
            lines += ["", *figures(found, by_name[name].numbers)]
    return "\n".join([*lines, "", f"{verdict(checks)}: {found.source.name}"])


def to_dict(found: Figures, checks: list[Check]) -> dict:
    """Plain values for JSON."""
    shape, parts = found.source.shape, found.source.parts
    return {
        "verdict": verdict(checks),
        "source": found.source.name,
        "states": shape.states,
        "grid": shape.grid,
        "patch": shape.patch,
        "delimiters": shape.delimiters,
        "stride": shape.stride,
        "row_tokens": shape.row_tokens,
        "row_tokens_known": found.source.known_by,
        "parts": [
            {"name": part.name, "split": part.split, "rows": part.rows, "looked": found.looked[i]}
            for i, part in enumerate(parts)
        ],
        "checks": {check.name: {"verdict": check.verdict, "text": check.text} | check.numbers for check in checks},
    }


def _source(found: Figures) -> list[str]:
    shape, parts = found.source.shape, found.source.parts
    grids = f"{shape.frames} grids of {shape.grid} x {shape.grid} in {shape.states} states"
    lines = [found.source.name, f"rows   {grids}, patches of {shape.patch} x {shape.patch}"]
    known = f"tokens {shape.row_tokens:,} a row, {found.source.known_by}"
    lines += textwrap.wrap(known, WIDTH, subsequent_indent=" " * 7)
    for i, part in enumerate(parts[:MOST_PARTS]):
        looked = "all" if found.looked[i] == part.rows else f"{found.looked[i]:,}, evenly spaced,"
        lines.append(f"part   {part.name} ({part.split}): looked at {looked} of {part.rows:,} rows")
    return lines + [f"part   and {len(parts) - MOST_PARTS} more"] * (len(parts) > MOST_PARTS)


def _complexity(found: Figures, numbers: dict) -> list[str]:
    shares = ", ".join(f"{name} {share:.1%}" for name, share in numbers["bands"].items() if share)
    counts = {float(low): count for low, count in numbers["histogram"].items()}
    width = 0.02 * -(-round((max(counts) - min(counts)) * 50 + 1) // BARS)
    bins = np.floor(np.array(list(counts)) / width + 1e-6).astype(int)
    summed = np.bincount(bins, list(counts.values())).astype(int)
    most = int(summed.max())
    lines = [f"gzip ratios of {sum(counts.values()):,} rows: {shares}"]
    for b in range(int(bins.min()), len(summed)):
        bar = "█" * max(1, round(BAR * summed[b] / most)) if summed[b] else ""
        lines.append(f"  {b * width:.2f} {bar:{BAR}} {summed[b]:,}")
    return lines


def _ngrams(found: Figures, numbers: dict) -> list[str]:
    shape = found.source.shape
    common = ", ".join(f"{_cells(shape, token)} {share:.1%}" for token, share in numbers["commonest"].items())
    return [
        *textwrap.wrap(f"{numbers['tokens']:,} patches; the most common, cells row by row: {common}", WIDTH),
        f"  the patch one grid earlier tells {numbers['told_by_grid_before_bits']:.2f} bits of one,"
        f" the token before {numbers['told_by_token_before_bits']:.2f}, pooled over all rules",
    ]


def _cells(shape: Shape, token: int) -> str:
    """A patch's cells, row by row."""
    cells = [token // shape.states**k % shape.states for k in range(shape.patch**2)]
    return ("" if shape.states <= 10 else ".").join(map(str, cells[:4])) + "..." * (len(cells) > 4)
