"""The page: one HTML file with style, scripts and the dataset's figures in it, which needs no network.

The scripts under `page/` compute every row themselves from its candidate's number. Python gives them what they cannot
compute as exactly, temperature and identity bias as integers, and what is in the files: figures, hashes, and checksums
that the rows computed there are held against.

Whatever comes from a dataset is JSON in a data block, in which no character can end the block, and is shown as text
alone. The policy in the page's head lets only its own style and script run, by their hashes, and nothing be fetched.
"""

import base64
import hashlib
import json
import os
from dataclasses import asdict, replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from ncagen.dataset.folder import Folder, folder_at
from ncagen.dataset.manifest import Manifest, read_manifest
from ncagen.dataset.reader import Dataset
from ncagen.sources.nca import rules
from ncagen.spec import BANDS, DOMAINS, Band, Spec, SpecError
from ncagen.version import VERSION
from ncagen.view.figures import figures
from ncagen.view.palette import palette

SOURCES = Path(__file__).with_name("page")
SCRIPTS = ("automaton.js", "gzip.js", "draw.js", "charts.js", "watch.js", "rows.js", "page.js")

# What the page lets a reader try, beside the dataset's own.
STATES = range(2, 17)
GRIDS = (6, 8, 9, 12, 16, 18, 24, 32, 36, 48)

PANELS = 3  # automata side by side, more if the dataset has more bands


def page(place: str | os.PathLike | Folder) -> str:
    """The page of a finished dataset. Raises NcagenError."""
    folder = folder_at(place)
    manifest = read_manifest(folder)
    found = {band.name: asdict(figures(Dataset(folder, band=band.name))) for band in manifest.spec.bands}
    return html(describe(manifest, folder.title) | {"figures": found})


def describe(manifest: Manifest, name: str) -> dict:
    """What the page is told of a dataset, beside the figures of its rows."""
    spec = manifest.spec
    return {
        "version": VERSION,
        "name": name,
        "settings": settings(spec),
        "choices": choices(spec),
        "tableSums": table_sums(),
        "panels": [asdict(band) | {"exact": exact(band)} for band in panels(spec)],
        "named": {name: list(limits) for name, limits in BANDS.items()},
        "domains": DOMAINS,
        "parts": totals(manifest),
        "manifest": {
            "dataset_sha256": manifest.dataset_sha256,
            "spec_sha256": spec.sha256,
            "format": manifest.storage,
            "bytes": sum(file.bytes for file in manifest.files.values()),
            "files": len(manifest.files),
            "toolchain": dict(manifest.toolchain),
            "vocabulary": spec.vocabulary,
            "token_dtype": spec.token_dtype,
            "row_tokens": spec.row_tokens,
            "spec": spec.to_dict(),
        },
    }


def totals(manifest: Manifest) -> list[dict]:
    """Rows and candidates of each band and split, over all shards."""
    found: dict[tuple[str, str], dict] = {}
    for record in manifest.records:
        key = record.band, record.split
        part = found.setdefault(key, {"band": record.band, "split": record.split})
        for name in ("rows", "tried", "below", "above"):
            part[name] = part.get(name, 0) + getattr(record, name)
    return list(found.values())


def settings(spec: Spec) -> dict:
    """A spec as automaton.js takes it."""
    return {
        "seed": spec.seed,
        "states": spec.states,
        "grid": spec.grid,
        "patch": spec.patch,
        "seqLen": spec.seq_len,
        "frames": spec.frames,
        "warmup": spec.warmup,
        "stride": spec.stride,
        "temperature": rules.logit_units(spec, spec.temperature),
        "bias": rules.logit_units(spec, spec.identity_bias),
        "start": spec.start,
        "channelWrap": spec.channel_wrap,
        "perRule": spec.trajectories_per_rule,
    }


def choices(spec: Spec) -> dict:
    """Grid sizes and numbers of states that the page can turn to, the latter with their integers and colours."""
    states = {}
    for count in sorted({*STATES, spec.states}):
        try:
            other = replace(spec, states=count, bands=(Band.parse("0-2"),))
        except SpecError:  # the patches of so many states are more than there are ids
            continue
        units = {name: settings(other)[name] for name in ("temperature", "bias")}
        states[count] = units | {"colours": ["#{:02x}{:02x}{:02x}".format(*colour) for colour in palette(count)]}
    grids = [grid for grid in sorted({*GRIDS, spec.grid}) if grid % spec.patch == 0]
    return {"states": states, "grids": grids}


def panels(spec: Spec) -> list[Band]:
    """The bands to watch: the dataset's, and of the others those that make it three without overlapping."""
    chosen = list(spec.bands)
    for name in ("low", "medium", "high", "upper"):
        band = Band.parse(name)
        if len(chosen) < PANELS and not any(band.low < other.high and other.low < band.high for other in chosen):
            chosen.append(band)
    return sorted(chosen, key=lambda band: (band.low, band.high))


def exact(band: Band) -> list[tuple[str, str]]:
    """Both limits as fractions of whole numbers, which are as long as the limits have digits."""
    fractions = (Fraction(repr(limit)) for limit in (band.low, band.high))
    return [(str(fraction.numerator), str(fraction.denominator)) for fraction in fractions]


def table_sums() -> dict[str, int]:
    """A checksum of each table: the page makes the tables anew, and says so if a browser's arithmetic differs."""
    tables = {
        "perception": rules.weight_table(rules.PERCEPTION_SCALE),
        "hidden": rules.weight_table(rules.HIDDEN_SCALE),
        "output": rules.weight_table(rules.OUTPUT_SCALE),
        "start": rules.start_table(),
        "gumbel": rules.gumbel_table(),
    }
    places = np.arange(1, 65537, dtype=np.int64)
    return {name: int((table * places).sum() % 2**32) for name, table in tables.items()}


def html(data: dict) -> str:
    """One HTML text of the template, style and scripts under `page/`, and the data."""
    style = source("page.css")
    script = "\n".join(source(name) for name in SCRIPTS)
    policy = (
        f"default-src 'none'; style-src '{digest(style)}'; script-src '{digest(script)}'; img-src data:;"
        " base-uri 'none'; form-action 'none'"
    )
    pieces = {"policy": policy, "style": style, "data": escaped(data), "script": script}
    # Split, not replaced: no piece is searched for the name of another.
    first, *rest = source("page.html").split("{{")
    return first + "".join(pieces[name] + text for name, _, text in (part.partition("}}") for part in rest))


def source(name: str) -> str:
    """One of the page's own files."""
    return (SOURCES / name).read_text(encoding="utf-8")


def escaped(data: dict) -> str:
    """JSON in ASCII without <, > and &, so that nothing in it is markup, wherever it comes from."""
    text = json.dumps(data, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def digest(text: str) -> str:
    """How a policy names an inline style or script."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
