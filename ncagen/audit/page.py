"""Formats an audit as one page of text, and as plain values for JSON."""

import textwrap
from collections.abc import Sequence

import numpy as np

from ncagen.audit.checks import BAD, LOOK, Check
from ncagen.audit.figures import Figures
from ncagen.audit.parts import Part, TokenPart
from ncagen.audit.shape import Shape
from ncagen.audit.token_figures import TokenFigures

WIDTH = 110
MOST_PARTS = 6
BARS, BAR = 20, 40


def verdict(checks: list[Check]) -> str:
    """Returns the worst verdict of the checks."""
    found = {check.verdict for check in checks}
    return next((worst for worst in (BAD, LOOK) if worst in found), "ok")


def page(found: Figures, checks: list[Check]) -> str:
    """Formats the page: the rows that were read, a line for each check, and figures."""
    figures = []
    for check in checks:
        if check.name == "gzip ratio":
            figures += ["", *_ratios(check)]
        elif check.name == "n-grams":
            figures += ["", *_ngrams(found, check.numbers)]
    return _page(found, _source(found), checks, figures)


def token_page(found: TokenFigures, checks: list[Check]) -> str:
    """Formats the page of rows that are not grids."""
    rows = found.source.row_format
    head = [
        found.source.name,
        f"rows   of source {found.source.rows_of}, {rows.vocabulary:,} ids",
        f"tokens {rows.row_tokens:,} a row, by the manifest",
    ]
    figures = []
    for check in checks:
        if "histogram" in check.numbers:
            figures += ["", *_ratios(check)]
        elif "commonest" in check.numbers:
            common = ", ".join(f"{token} {share:.1%}" for token, share in check.numbers["commonest"].items())
            figures += ["", f"{check.numbers['tokens']:,} tokens; the most common: {common}"]
    return _page(found, head, checks, figures)


def _page(found: Figures | TokenFigures, head: list[str], checks: list[Check], figures: list[str]) -> str:
    lines = [*head, *_parts(found), ""]
    for check in checks:
        start = f"{check.verdict:<5} {check.name:<11} "
        lines += textwrap.wrap(start + check.text, WIDTH, subsequent_indent=" " * len(start))
    return "\n".join([*lines, *figures, "", f"{verdict(checks)}: {found.source.name}"])


def to_dict(found: Figures, checks: list[Check]) -> dict:
    """Returns the audit as plain values for JSON."""
    shape = found.source.shape
    return {
        "verdict": verdict(checks),
        "source": found.source.name,
        "states": shape.states,
        "height": shape.height,
        "width": shape.width,
        "patch": shape.patch,
        "delimiters": shape.delimiters,
        "stride": shape.stride,
        "row_tokens": shape.row_tokens,
        "row_tokens_known": found.source.known_by,
        "control": found.source.control,
        **_found(found, checks),
    }


def token_dict(found: TokenFigures, checks: list[Check]) -> dict:
    """Returns the audit of rows that are not grids as plain values for JSON."""
    rows = found.source.row_format
    return {
        "verdict": verdict(checks),
        "source": found.source.name,
        "rows_of": found.source.rows_of,
        "vocabulary": rows.vocabulary,
        "row_tokens": rows.row_tokens,
        **_found(found, checks),
    }


def _found(found: Figures | TokenFigures, checks: list[Check]) -> dict:
    parts: Sequence[Part | TokenPart] = found.source.parts
    return {
        "parts": [
            {"name": part.name, "split": part.split, "rows": part.rows, "looked": found.looked[i]}
            for i, part in enumerate(parts)
        ],
        "checks": {check.name: {"verdict": check.verdict, "text": check.text} | check.numbers for check in checks},
    }


def _source(found: Figures) -> list[str]:
    shape = found.source.shape
    grids = f"{shape.frames} grids of {shape.size} in {shape.states} states"
    lines = [found.source.name, f"rows   {grids}, patches of {shape.patch} x {shape.patch}"]
    if found.source.control:
        lines.append(f"rows   are a control: {found.source.control}")
    known = f"tokens {shape.row_tokens:,} a row, {found.source.known_by}"
    return lines + textwrap.wrap(known, WIDTH, subsequent_indent=" " * 7)


def _parts(found: Figures | TokenFigures) -> list[str]:
    parts: Sequence[Part | TokenPart] = found.source.parts
    lines = []
    for i, part in enumerate(parts[:MOST_PARTS]):
        looked = "all" if found.looked[i] == part.rows else f"{found.looked[i]:,}, evenly spaced,"
        lines.append(f"part   {part.name} ({part.split}): read {looked} of {part.rows:,} rows")
    return lines + [f"part   and {len(parts) - MOST_PARTS} more"] * (len(parts) > MOST_PARTS)


def _ratios(check: Check) -> list[str]:
    numbers = check.numbers
    shares = ", ".join(f"{name} {share:.1%}" for name, share in numbers["bands"].items() if share)
    counts = {float(low): count for low, count in numbers["histogram"].items()}
    width = 0.02 * -(-round((max(counts) - min(counts)) * 50 + 1) // BARS)
    bins = np.floor(np.array(list(counts)) / width + 1e-6).astype(int)
    summed = np.bincount(bins, list(counts.values())).astype(int)
    most = int(summed.max())
    lines = [f"{check.name}s of {sum(counts.values()):,} rows: {shares}"]
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
    """Formats a patch's cells, row by row."""
    cells = [token // shape.states**k % shape.states for k in range(shape.patch**2)]
    return ("" if shape.states <= 10 else ".").join(map(str, cells[:4])) + "..." * (len(cells) > 4)
