"""The table of the reader matrix in docs/conformance.md: the cells of a reader and a framework, exact or refused.

A check of it is checks/matrix_<framework>.py. What its cells are, and against what they are compared, is in
tests/reader_matrix.
"""

HEAD = """
## The reader matrix

Each reader under each loader and trainer: fresh, resumed in epoch 0, at its end and in epoch 1, and with `set_epoch`,
over three epochs, without and with worker processes. Every batch is compared with the order function row by row.
A cell of the table counts the situations in which every row was right, and those that are refused in one line. Workers
that are not forked are slow and nightly tests of `tests/test_reader_matrix.py`.
""".splitlines()


def matrix_table(checks: list, results: list[dict | str]) -> list[str]:
    """The lines of the table, and the reasons for its gaps; none where the matrix was not run."""
    tried = [(c.name, r) for c, r in zip(checks, results, strict=True) if c.script.startswith("matrix_")]
    failed = [f"**{name} failed**: {result}" for name, result in tried if isinstance(result, str)]
    cells = [cell for _, result in tried if not isinstance(result, str) for cell in result["cells"]]
    if not tried:
        return []
    frameworks = list(dict.fromkeys(framework for _, framework, *_ in cells))
    readers = list(dict.fromkeys(reader for reader, *_ in cells))
    reasons: list[str] = []
    table = [f"| reader | {' | '.join(frameworks)} |", "|---|" + "---|" * len(frameworks)]
    found = {(reader, framework): counts for reader, framework, *counts in cells}
    for reader in readers:
        words = [_words(found.get((reader, framework)), reasons) for framework in frameworks]
        table.append(f"| {reader} | {' | '.join(words)} |")
    notes = [f"({number}) {reason}." for number, reason in enumerate(reasons, 1)]
    return [*HEAD, "", *failed, *table, "", *("\n".join(notes).splitlines())]


def _words(counts: list | None, reasons: list[str]) -> str:
    """One place of the table. reasons: those that were given so far; a new one is added."""
    if counts is None:
        return ""
    exact, refused, reason = counts
    if reason:
        if reason not in reasons:
            reasons.append(reason)
        return f"({reasons.index(reason) + 1})"
    words = [f"{exact} exact"] * (exact > 0) + [f"{refused} refused"] * (refused > 0)
    return ", ".join(words)
