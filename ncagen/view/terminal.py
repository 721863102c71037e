"""A dataset and one of its trajectories as text for a terminal: coloured half-blocks, or plain characters.

Two rows of cells share one line of text (an upper half-block with a foreground and a background colour).
"""

from collections.abc import Sequence

import numpy as np

from ncagen.dataset.manifest import SPLITS, Manifest
from ncagen.sources.nca import tokens
from ncagen.spec import Spec
from ncagen.view.palette import palette

PLAIN = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def trajectory(spec: Spec, input_ids: np.ndarray, width: int, colour: bool) -> str:
    """The recorded grids of one row, as many side by side as fit into `width` columns.

    input_ids: [token], one well-formed row.
    """
    grids = tokens.grids(spec, input_ids[None])[0]
    across = max(1, (width + 1) // (spec.grid + 1))
    lines = []
    for first in range(0, len(grids), across):
        some = grids[first : first + across]
        names = (f"t={spec.warmup + spec.stride * (first + i)}" for i in range(len(some)))
        lines.append(" ".join(name.ljust(spec.grid) for name in names).rstrip())
        lines += _coloured(spec, some) if colour else _plain(spec, some)
    return "\n".join(lines)


def frames(spec: Spec, input_ids: np.ndarray, colour: bool) -> list[str]:
    """The recorded grids of one row, each with its step above it, as texts of equally many lines.

    input_ids: [token], one well-formed row.
    """
    draw = _coloured if colour else _plain
    grids = tokens.grids(spec, input_ids[None])[0]
    return [
        "\n".join([f"t={spec.warmup + spec.stride * i}".ljust(spec.grid), *draw(spec, [grid])[:-1]])
        for i, grid in enumerate(grids)
    ]


def parts(manifest: Manifest) -> list[dict]:
    """Rows, shards, training tokens and candidates of every band and split that a dataset has."""
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
    """What a dataset is, as numbers for a script."""
    return {
        "dataset_sha256": manifest.dataset_sha256,
        "format": manifest.storage,
        "bytes": sum(file.bytes for file in manifest.files.values()),
        "vocabulary": manifest.spec.vocabulary,
        "row_tokens": manifest.spec.row_tokens,
        "parts": parts(manifest),
        "spec": manifest.spec.to_dict(),
    }


def figures(manifest: Manifest) -> list[tuple[str, str]]:
    """What a dataset is, as name and value: sizes, acceptance of each band, identity."""
    spec, whole = manifest.spec, summary(manifest)
    lines = [
        ("row", f"{spec.frames} grids of {spec.grid} x {spec.grid} in {spec.states} states = {spec.row_tokens} tokens"),
        ("vocabulary", f"{spec.vocabulary:,} ids, {spec.token_dtype}"),
        (
            "rule",
            f"temperature {spec.temperature:g}, {spec.start} start, {spec.warmup} warm-up steps, every {spec.stride}",
        ),
    ]
    for part in whole["parts"]:
        shards = f"{part['shards']:,} shard{'' if part['shards'] == 1 else 's'}"
        kept = f"{part['rows'] / part['candidates']:.1%} of {part['candidates']:,} candidates"
        text = f"{part['rows']:,} rows in {shards}, {kept} ({part['tokens']:,} tokens)"
        lines.append((f"{part['band']} {part['split']}", text))
    return [
        *lines,
        ("size", f"{whole['bytes'] / 1e6:,.1f} MB of {manifest.storage}"),
        ("seed", str(spec.seed)),
        ("dataset sha256", manifest.dataset_sha256),
    ]


def histogram(counts: np.ndarray, width: int = 40) -> list[str]:
    """Bars of how many rows have which gzip ratio, from the lowest that any has. counts: as `bands.ratio_counts`."""
    first, most = int(np.flatnonzero(counts)[0]), counts.max()
    return [
        f"{b / 50:.2f} {'█' * max(1, round(width * counts[b] / most)) if counts[b] else '':{width}} {counts[b]:,}"
        for b in range(first, len(counts))
    ]


def _coloured(spec: Spec, grids: Sequence[np.ndarray]) -> list[str]:
    colours = [";".join(map(str, colour)) for colour in palette(spec.states)]
    lines = []
    for y in range(0, spec.grid, 2):
        parts = []
        for grid in grids:
            below = grid[y + 1] if y + 1 < spec.grid else [None] * spec.grid
            cells = []
            for upper, lower in zip(grid[y], below, strict=True):
                ground = f"\x1b[48;2;{colours[lower]}m" if lower is not None else "\x1b[49m"
                cells.append(f"\x1b[38;2;{colours[upper]}m{ground}▀")
            parts.append("".join(cells) + "\x1b[0m")
        lines.append(" ".join(parts))
    return [*lines, ""]


def _plain(spec: Spec, grids: Sequence[np.ndarray]) -> list[str]:
    marks = PLAIN if spec.states <= len(PLAIN) else None
    lines = []
    for y in range(spec.grid):
        rows = ("".join(marks[s] if marks else chr(0x100 + int(s)) for s in grid[y]) for grid in grids)
        lines.append(" ".join(rows))
    return [*lines, ""]
