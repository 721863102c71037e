"""Makes the page: one HTML file with style, scripts and the dataset's figures, which needs no network.

If the dataset's source has a JavaScript twin (`TWINS`), the modules under `page/` compute every row from its
candidate's number, and compare some with checksums of the stored rows. For another source the page contains and shows
the stored tokens of some rows, drawn as grids where they are grids.

All values from a dataset are JSON in a data block, in which no character can end the block, and are shown as text only.
The policy in the page's head allows only this style and script, by their hashes, and no requests.
"""

import base64
import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path

from ncagen.dataset.folder import Folder, folder_at
from ncagen.dataset.manifest import Manifest, read_manifest
from ncagen.dataset.reader import Dataset
from ncagen.evaluate.cache import largest
from ncagen.evaluate.report import page_table
from ncagen.row_format import Measure
from ncagen.selection import BANDS, DOMAINS, Band
from ncagen.sources import source_of
from ncagen.sources.grid_tokens import PatchGrids
from ncagen.sources.scored import GZIP_BYTES, GZIP_COLUMNS
from ncagen.sources.source import Source
from ncagen.version import VERSION
from ncagen.view import nca_twin
from ncagen.view.bundle import bundle
from ncagen.view.figures import RowShape, figures
from ncagen.view.palette import palette

PAGE = Path(__file__).with_name("page")

# Sources whose rows the page can compute, and the functions that make the data for their JavaScript; `source.js` lists
# the same sources.
TWINS: dict[str, Callable[[Source, int], dict | None]] = {"nca": nca_twin.twin}

PANELS = 3  # automata side by side, more if the dataset has more bands


@dataclass(frozen=True)
class Shown:
    """The data that the page takes from a dataset's source.

    source: its name. shape: of its rows. frames: grids of a row, 0 if rows are not grids. grids: see `grid_shape`; None
    if rows are not grids of patches. twin: the argument of the source's class in JavaScript, as plain values for JSON,
    or None. details: settings to list, as (name, text).
    """

    source: str
    shape: RowShape
    frames: int
    grids: dict | None
    twin: dict | None
    details: list[tuple[str, str]]


def shown(manifest: Manifest) -> Shown:
    """Collects the data of a dataset's source; no other function here reads the source. Raises SpecError."""
    spec, rows, source = manifest.spec, manifest.row_format, source_of(manifest.spec)
    grids = source.grids()
    measure = manifest.measure if manifest.measure and manifest.measure.column in GZIP_COLUMNS else None
    # The twin finds rows by their gzip length, and the page's charts are of its ratio.
    twinned = spec.source.name in TWINS and measure is not None
    return Shown(
        source=spec.source.name,
        shape=RowShape(
            rows.row_tokens,
            rows.structural,
            GZIP_BYTES if measure else None,  # of the row as it is written
            measure.denominator if measure else Fraction(0),
            rows.row_tokens // grids.frames if grids else 0,
        ),
        frames=grids.frames if grids else 0,
        grids=grid_shape(grids) if isinstance(grids, PatchGrids) else None,
        twin=TWINS[spec.source.name](source, spec.seed) if twinned else None,
        details=[*source.card().details, ("seed", str(spec.seed))],
    )


def grid_shape(grids: PatchGrids) -> dict:
    """Returns what stored_grids.js needs to draw rows from their tokens, as plain values for JSON.

    steps: whether the grids of a row are those of steps in their order; those that a control rearranged are not.
    """
    shape = grids.shape
    sizes = ("states", "height", "width", "patch", "patches", "frames", "warmup", "stride")
    colours = ["#{:02x}{:02x}{:02x}".format(*colour) for colour in palette(shape.states)]
    return {name: getattr(shape, name) for name in sizes} | {"colours": colours, "steps": shape.in_order}


def page(place: str | os.PathLike | Folder) -> str:
    """Returns the page of a finished dataset as HTML.

    place: a folder, a URL or a name on the Hub. Raises NcagenError if it cannot be read.
    """
    folder = folder_at(place)
    manifest = read_manifest(folder)
    known = shown(manifest)
    split = manifest.first_split
    parts = {band.name: Dataset(folder, split, band.name) for band in manifest.spec.bands}
    found = {name: asdict(figures(rows, known.shape, known.twin is None)) for name, rows in parts.items()}
    ladders = [page_table(ladder) for ladder in largest(folder, manifest.dataset_sha256)]
    return html(describe(manifest, known, folder.title) | {"figures": found, "ladders": ladders})


def describe(manifest: Manifest, known: Shown, name: str) -> dict:
    """Returns the data of a dataset for the page, without the figures of its rows, as plain values for JSON."""
    spec, rows = manifest.spec, manifest.row_format
    return {
        "version": VERSION,
        "name": name,
        "source": known.source,
        "split": manifest.first_split,
        "twin": known.twin,
        "row": {
            "tokens": rows.row_tokens,
            "seqLen": rows.seq_len,
            "vocabulary": rows.vocabulary,
            "unpredictable": rows.unpredictable,
            "structural": list(rows.structural),
        },
        "measured": known.shape.measure is not None,
        "frames": known.frames,
        "grids": known.grids,
        "details": known.details,
        "bands": [band.name for band in spec.bands],
        "panels": [panel(band, manifest.measure) for band in panels(spec.bands, manifest.measure)],
        "named": {name: list(limits) for name, limits in BANDS.items()},
        "domains": DOMAINS,
        "parts": totals(manifest),
        "ladders": [],
        "manifest": {
            "dataset_sha256": manifest.dataset_sha256,
            "spec_sha256": spec.sha256,
            "format": manifest.file_format,
            "bytes": sum(file.bytes for file in manifest.files.values()),
            "files": len(manifest.files),
            "toolchain": dict(manifest.toolchain),
            "spec": spec.to_dict(),
        },
    }


def totals(manifest: Manifest) -> list[dict]:
    """Adds up rows and candidates of each band and split over all shards."""
    found: dict[tuple[str, str], dict] = {}
    for record in manifest.records:
        key = record.band, record.split
        part = found.setdefault(key, {"band": record.band, "split": record.split})
        for name in ("rows", "tried", "below", "above"):
            part[name] = part.get(name, 0) + getattr(record, name)
    return list(found.values())


def panels(bands: tuple[Band, ...], measure: Measure | None) -> list[Band]:
    """Returns the bands to show live: the dataset's, and known bands up to three in all that do not overlap them."""
    chosen = {band: band.ratios(measure) for band in bands}
    for name in ("low", "medium", "high", "upper"):
        band = Band.parse(name)
        low, high = band.ratios(measure)
        if len(chosen) < PANELS and not any(low < end and start < high for start, end in chosen.values()):
            chosen[band] = low, high
    return sorted(chosen, key=lambda band: chosen[band])


def panel(band: Band, measure: Measure | None) -> dict:
    """Returns a band for the page, as plain values for JSON.

    low, high: its limits as ratios of the measure. exact: both as (numerator, denominator) in text, exact however many
    digits they have. shares: of a normalised band its limits as shares of what noise scores, otherwise None.
    """
    limits = band.ratios(measure)
    return {
        "name": band.name,
        "low": float(limits[0]),
        "high": float(limits[1]),
        "exact": [(str(limit.numerator), str(limit.denominator)) for limit in limits],
        "shares": [band.low, band.high] if band.of else None,
    }


def html(data: dict) -> str:
    """Returns HTML made of the template, style and scripts under `page/`, and the data."""
    style, script = read("page.css"), bundle(PAGE, "page.js")
    policy = (
        f"default-src 'none'; style-src '{digest(style)}'; script-src '{digest(script)}'; img-src data:;"
        " base-uri 'none'; form-action 'none'"
    )
    pieces = {"policy": policy, "style": style, "data": escaped(data), "script": script}
    # Split, not replaced, so that no piece is searched for the name of another.
    first, *rest = read("page.html").split("{{")
    return first + "".join(pieces[name] + text for name, _, text in (part.partition("}}") for part in rest))


def read(name: str) -> str:
    """Reads a file under `page/`."""
    return (PAGE / name).read_text(encoding="utf-8")


def escaped(data: dict) -> str:
    """Returns JSON in ASCII without <, > and &, so that no value can be markup."""
    text = json.dumps(data, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def digest(text: str) -> str:
    """Returns the source expression of an inline style or script in a content security policy."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
