"""The facts of grids that a spec can ask for, as users name them, and the columns that store them. `grid_facts` defines
and computes them; this module needs no kernels, so that settings and row formats are read without a compiler."""

from collections.abc import Iterable, Sequence

from ncagen.errors import SpecError
from ncagen.row_format import Column

# The columns of each fact of grids, in the order of a spec and of the files.
GRID_FACTS = {
    "period": ("period", "transient"),
    "changed": ("changed",),
    "states": ("states", "last_states"),
    "entropy": ("entropy_micronats",),
}


LAMBDA = "langton_lambda"


def lambda_doc(neighbourhoods: int) -> str:
    """Describes the column LAMBDA. neighbourhoods: how many are counted."""
    counted = f"of {neighbourhoods:,} neighbourhoods"
    return f"Langton's lambda: {counted}, those whose next state is not the most frequent one"


def names_of(facts: str) -> list[str]:
    """The names in a setting such as "period,entropy"."""
    return facts.split(",") if facts else []


def in_order(facts: object, known: Sequence[str]) -> str:
    """Puts facts as a user types them in the order of `known`, so that equal requests have equal specs.

    known: every fact of the source. Raises SpecError for one that is not known, or is named twice.
    """
    names = [name.strip() for name in facts.split(",")] if isinstance(facts, str) and facts else []
    if not isinstance(facts, str) or not set(names) <= set(known) or len(set(names)) != len(names):
        some = ", ".join(known)
        raise SpecError(f"facts {facts!r} are not known: use some of {some}, joined by commas, or leave them out")
    return ",".join(name for name in known if name in names)


def check(facts: object, known: Sequence[str]) -> None:
    """Raises SpecError for facts that `in_order` refuses or would change."""
    if facts != (ordered := in_order(facts, known)):
        raise SpecError(f"facts {facts!r} are in another order than in a spec: use {ordered!r}")


def columns(facts: Iterable[str], frames: int, cells: int) -> tuple[Column, ...]:
    """Returns the columns of facts of grids. facts: names; others are ignored. frames, cells: of a row, of a grid."""
    docs = {
        "period": "after how many recorded grids the last ones repeat: 1 is frozen, 0 none seen",
        "transient": f"grids before those that repeat, {frames:,} if none do",
        "changed": f"cells that differ from the grid before, of {(frames - 1) * cells:,}",
        "states": "states that occur in the row",
        "last_states": "states that occur in the row's last grid",
        "entropy_micronats": "entropy of the states of the row's cells, in millionths of a nat",
    }
    return tuple(Column(name, "int32", docs[name]) for name in column_names(facts))


def column_names(facts: Iterable[str]) -> list[str]:
    """The names of the columns of facts of grids; other facts are ignored."""
    return [name for fact in facts for name in GRID_FACTS.get(fact, ())]
