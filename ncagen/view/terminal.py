"""Formats a dataset and one of its rows as text for a terminal: coloured half-blocks, or plain characters.

In colour, two rows of cells share one line of text: an upper half-block with a foreground and a background colour. Not
covered: pictures (`picture`), playing frames (`animation`).
"""

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np

from ncagen.dataset.manifest import SPLITS, Manifest
from ncagen.sources import source_of
from ncagen.sources.source import Grids
from ncagen.view.figures import fact_figures
from ncagen.view.palette import palette

PLAIN = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def trajectory(drawn: Grids, input_ids: np.ndarray, width: int, colour: bool) -> str:
    """Formats the recorded grids of one row, as many side by side as fit `width` columns.

    input_ids: integers [token], one well-formed row.
    """
    grids = drawn.cells(input_ids[None])[0]
    across = max(1, (width + 1) // (drawn.width + 1))
    lines = []
    for first in range(0, len(grids), across):
        some = grids[first : first + across]
        names = (drawn.frame_name(first + i) for i in range(len(some)))
        lines.append(" ".join(name.ljust(drawn.width) for name in names).rstrip())
        lines += _coloured(drawn.states, some) if colour else _plain(drawn.states, some)
    return "\n".join(lines)


def frames(drawn: Grids, input_ids: np.ndarray, colour: bool) -> list[str]:
    """Formats the recorded grids of one row, each below its step, as texts of equally many lines.

    input_ids: integers [token], one well-formed row.
    """
    draw = _coloured if colour else _plain
    grids = drawn.cells(input_ids[None])[0]
    return [
        "\n".join([drawn.frame_name(i).ljust(drawn.width), *draw(drawn.states, [grid])[:-1]])
        for i, grid in enumerate(grids)
    ]


def row_text(input_ids: np.ndarray, width: int) -> str:
    """Formats the tokens of a row without grids, in lines of at most `width` columns. input_ids: integers [token]."""
    return textwrap.fill(" ".join(map(str, input_ids.tolist())), max(width, 20))


def parts(manifest: Manifest) -> list[dict]:
    """Returns rows, shards, tokens (rows * seq_len) and candidates of every band and split of a dataset."""
    found = []
    for band in manifest.spec.bands:
        for split in SPLITS:
            records = manifest.part(split, band.name)
            if records:
                rows = sum(record.rows for record in records)
                part = {"band": band.name, "split": split, "rows": rows, "shards": len(records)}
                part |= {"tokens": rows * manifest.spec.seq_len, "candidates": sum(record.tried for record in records)}
                found.append(part)
    return found


def summary(manifest: Manifest) -> dict:
    """Returns a dataset's figures as plain values for JSON."""
    return {
        "dataset_sha256": manifest.dataset_sha256,
        "format": manifest.file_format,
        "bytes": sum(file.bytes for file in manifest.files.values()),
        "vocabulary": manifest.row_format.vocabulary,
        "row_tokens": manifest.row_format.row_tokens,
        "parts": parts(manifest),
        "spec": manifest.spec.to_dict(),
    }


def figures(manifest: Manifest) -> list[tuple[str, str]]:
    """Returns a dataset's figures as (name, text): sizes, acceptance of each band, identity."""
    spec, rows, whole = manifest.spec, manifest.row_format, summary(manifest)
    card = source_of(spec).card()
    lines = [
        ("row", card.row if "tokens" in card.row else f"{card.row} = {rows.row_tokens} tokens"),
        ("vocabulary", f"{rows.vocabulary:,} ids, {rows.token_dtype}"),
        *((name, text.replace("`", "")) for name, text in card.details),
    ]
    if measure := manifest.measure:
        ratio = measure.ratio.replace("_", " ")
        lines += [(f"band {band.name}", f"{ratio} {band.text(measure)}") for band in spec.bands if band.of]
    for part in whole["parts"]:
        shards = f"{part['shards']:,} shard{'' if part['shards'] == 1 else 's'}"
        kept = f"{part['rows'] / part['candidates']:.1%} of {part['candidates']:,} candidates"
        text = f"{part['rows']:,} rows in {shards}, {kept} ({part['tokens']:,} tokens)"
        lines.append((f"{part['band']} {part['split']}", text))
    return [
        *lines,
        ("size", f"{whole['bytes'] / 1e6:,.1f} MB of {manifest.file_format}"),
        ("seed", str(spec.seed)),
        ("dataset sha256", manifest.dataset_sha256),
    ]


def histogram(counts: np.ndarray, width: int = 40) -> list[str]:
    """Formats a bar for each ratio, from the lowest that occurs. counts: int[bin], as `selection.ratio_counts`."""
    first, most = int(np.flatnonzero(counts)[0]), counts.max()
    return [
        f"{b / 50:.2f} {'█' * max(1, round(width * counts[b] / most)) if counts[b] else '':{width}} {counts[b]:,}"
        for b in range(first, len(counts))
    ]


def facts(columns: Mapping[str, np.ndarray], measure: str | None) -> list[str]:
    """Formats a line for each stored integer but the measure: mean, median and 99th percentile.

    columns: by name, [row] or [row, token] each.
    """
    found = fact_figures(columns, measure)
    texts = {name: (f"{value:,.0f}" for value in values) for name, values in found.items()}
    return [
        f"{name.replace('_', ' ')}  mean {mean}, median {median}, 99 % of rows up to {most}"
        for name, (mean, median, most) in texts.items()
    ]


def _coloured(states: int, grids: Sequence[np.ndarray]) -> list[str]:
    colours = [";".join(map(str, colour)) for colour in palette(states)]
    height, width = grids[0].shape
    lines = []
    for y in range(0, height, 2):
        parts = []
        for grid in grids:
            below = grid[y + 1] if y + 1 < height else [None] * width
            cells = []
            for upper, lower in zip(grid[y], below, strict=True):
                ground = f"\x1b[48;2;{colours[lower]}m" if lower is not None else "\x1b[49m"
                cells.append(f"\x1b[38;2;{colours[upper]}m{ground}▀")
            parts.append("".join(cells) + "\x1b[0m")
        lines.append(" ".join(parts))
    return [*lines, ""]


def _plain(states: int, grids: Sequence[np.ndarray]) -> list[str]:
    marks = PLAIN if states <= len(PLAIN) else None
    lines = []
    for y in range(len(grids[0])):
        rows = ("".join(marks[s] if marks else chr(0x100 + int(s)) for s in grid[y]) for grid in grids)
        lines.append(" ".join(rows))
    return [*lines, ""]
