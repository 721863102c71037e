"""Sources of rows: one file or package for each, and a dict that lists them by the name used in a spec.

Only the factory, view, audit and evaluate import this package; all other modules read `ncagen.row_format`.
"""

from functools import lru_cache

from ncagen.errors import SpecError
from ncagen.sources.dyck.source import Dyck
from ncagen.sources.elementary import Elementary
from ncagen.sources.life import Life
from ncagen.sources.nca.source import Nca
from ncagen.sources.procedural.source import Procedural
from ncagen.sources.source import Source
from ncagen.sources.text.source import Text
from ncagen.spec import BuildSpec

SOURCES: dict[str, type[Source]] = {source.name: source for source in (Nca, Life, Elementary, Dyck, Procedural, Text)}


@lru_cache(maxsize=64)
def source_of(spec: BuildSpec) -> Source:
    """Returns the source of a spec's rows.

    Raises SpecError if the source is unknown, has another version, or has a setting out of range.
    """
    settings = spec.source
    if settings.name not in SOURCES:
        raise SpecError(f"source {settings.name!r} is not known: this ncagen has {', '.join(SOURCES)}")
    found = SOURCES[settings.name]
    if settings.version != found.version:
        raise SpecError(
            f"source {settings.name} of version {settings.version} is not this ncagen's: it makes version"
            f" {found.version}"
        )
    return found.from_dict(dict(settings.values), spec.seq_len)
