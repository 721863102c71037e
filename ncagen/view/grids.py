"""Finds out whether a dataset's rows can be drawn as grids."""

from ncagen.dataset.manifest import Manifest
from ncagen.errors import NcagenError
from ncagen.sources import source_of
from ncagen.sources.source import Grids


def grids_of(manifest: Manifest) -> Grids | None:
    """Returns the grids of a dataset's rows; None if rows are not grids. Raises SpecError for an unknown source."""
    return source_of(manifest.spec).grids()


def drawable(manifest: Manifest, use: str) -> Grids:
    """Returns the grids of a dataset's rows. use: a verb for the error message, as in "play".

    Raises NcagenError if rows are not grids, SpecError for an unknown source.
    """
    found = grids_of(manifest)
    if found is None:
        raise NcagenError(f"rows of source {manifest.spec.source.name} are not grids: there is nothing to {use}")
    return found
