"""Formats ladders: a table for the terminal, plain values for JSON, and a table for a dataset's card."""

import textwrap

from ncagen.evaluate.ladder import Ladder, Rung

WIDTH = 110
BAR = 24
GRIDS = (1, 2, 4, 8, 15)  # known grids of the columns, and the last


def to_dict(ladder: Ladder) -> dict:
    """The ladder as plain values for JSON, each rung with its means."""
    rungs = [rung.to_dict() | _means(rung) for rung in ladder.rungs]
    return ladder.to_dict() | {"rungs": rungs}


def _means(rung: Rung) -> dict[str, float]:
    means = {"mean": rung.mean, "trainer_mean": rung.trainer_mean, "mean_accuracy": rung.mean_accuracy}
    return {name: round(value, 6) for name, value in means.items()}


def text(ladder: Ladder) -> str:
    """The ladder as a table: a line for each rung, with a bar of its mean loss and its loss by grid."""
    first = ladder.rungs[0]
    grid, patch = words(first)
    last = len(first.nats)
    columns = [known for known in GRIDS if known + 1 < last] + [last - 1]
    most = max(rung.mean for rung in ladder.rungs)
    wide = max(len(rung.name) for rung in ladder.rungs)
    title = f"{ladder.band} {ladder.split}, {ladder.rows:,} rows: nats a {patch}, mean of {grid}s 2 to {last}"
    numbers = "".join(f"{known + 1:>6}" for known in columns)
    tokens = f"{'a token':>9}" if first.delimiters else ""
    lines = [title, "", f"{'':{wide + BAR + 1}} {'mean':>6} {'±':>5}{tokens} {'right':>6}  {grid}{numbers}"]
    for rung in ladder.rungs:
        bar = "█" * round(BAR * rung.mean / most) if rung.mean > 0 else ""
        tokens = f"{rung.trainer_mean:9.3f}" if rung.delimiters else ""
        by_grid = "".join(f"{rung.nats[known]:6.2f}" for known in columns)
        head = f"{rung.name:{wide}} {bar:{BAR}} {rung.mean:6.3f} {rung.mean_stderr:5.3f}{tokens}"
        lines.append(f"{head} {rung.mean_accuracy:6.1%}  {'':{len(grid)}}{by_grid}")
    return "\n".join([*lines, "", *textwrap.wrap(_legend(first), WIDTH), *_readings(ladder)])


def words(rung: Rung) -> tuple[str, str]:
    """What a grid and a patch of these rows are called."""
    return ("grid", "patch") if rung.delimiters else ("part", "token")


def page_table(ladder: Ladder) -> dict:
    """The ladder as a small table for the page: a title, names of columns, and a line for each rung, all text."""
    first = ladder.rungs[0]
    grid, patch = words(first)
    rows = f"{ladder.rows:,} rows of {ladder.band} {ladder.split}"
    names = ["predictor", f"nats a {patch}", f"in the last {grid}", "a token, delimiters counted", "right"]
    lines = [
        [rung.name, *(f"{nats:.3f}" for nats in (rung.mean, rung.last, rung.trainer_mean)), f"{rung.mean_accuracy:.1%}"]
        for rung in ladder.rungs
    ]
    return {"title": f"{rows}, {grid}s 2 to {len(first.nats)}", "names": names, "lines": lines}


def card(ladder: Ladder) -> list[str]:
    """The same as Markdown, for a dataset's card."""
    table = page_table(ladder)
    lines = [table["names"], ["---"] * len(table["names"]), *table["lines"]]
    return [f"{table['title']}:", "", *(f"| {' | '.join(line)} |" for line in lines), ""]


def _legend(rung: Rung) -> str:
    text = "±: standard error over rows; right: the most likely value follows."
    if rung.delimiters:
        text += " a token: the mean that a trainer reports that counts delimiters, which cost nothing."
    return text


def _readings(ladder: Ladder) -> list[str]:
    """What the differences between rungs say, a line each."""
    if not ladder.rungs[0].delimiters:
        return [
            "These rows are not grids: uniform, unigram, patch histogram and copy are all the rungs that they have."
        ]
    means = {rung.name: rung.mean for rung in ladder.rungs}
    lines = []
    if {"cell histogram", "lookup"} <= means.keys():
        gain = means["cell histogram"] - means["lookup"]
        lines.append(f"Remembering neighbourhoods gains {gain:.2f} nats over the row's histogram.")
    if {"lookup", "linear"} <= means.keys():
        gain = means["lookup"] - means["linear"]
        lines.append(f"Generalising between neighbourhoods (linear) gains {gain:.2f} more.")
    best = [name for name in ("linear", "architecture") if name in means]
    if best and "oracle" in means:
        name = min(best, key=lambda name: means[name])
        lines.append(
            f"The rule itself, known from the start, would gain {means[name] - means['oracle']:.2f} over {name}."
        )
    return lines
