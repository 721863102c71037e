"""Fills the tables of docs/evidence.md and draws its pictures from reports of examples/transfer.

python docs/make_evidence.py                         from docs/evidence/cpu.json
python docs/make_evidence.py runs/cpu/report.json    from a new report, which becomes docs/evidence/cpu.json
"""

import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent
PAGE, DATA = DOCS / "evidence.md", DOCS / "evidence" / "cpu.json"
Report = dict[str, Any]


def filled(text: str, report: Report) -> str:
    """The page with each table between <!-- table NAME --> and <!-- end --> made from a report."""

    def fill(found: re.Match[str]) -> str:
        rows = TABLES[found[1].split()[0]](report, *found[1].split()[1:])
        return f"<!-- table {found[1]} -->\n" + "\n".join(rows) + "\n<!-- end -->"

    return re.sub(r"<!-- table ([\w -]+) -->\n.*?<!-- end -->", fill, text, flags=re.S)


def sources(report: Report) -> Iterator[str]:
    """Stage 1: what each arm's rows are like and what was learned of them, means over seeds."""
    yield "| rows | gzip ratio | nats a token of a patch | right | rung reached, by seed | the next rung |"
    yield "|---|---|---|---|---|---|"
    for name, seeds in report["source"].items():
        runs = list(seeds.values())
        loss, right = (sum(run[key] for run in runs) / len(runs) for key in ("patch", "accuracy"))
        reached, missed = (_each([run[key] or "none" for run in runs]) for key in ("reached", "missed"))
        ratio = "" if runs[0]["complexity"] is None else f"{runs[0]['complexity']:.3f}"
        yield f"| {name} | {ratio} | {loss:.3f} | {right:.1%} | {reached} | {missed} |"


def domain(report: Report, name: str) -> Iterator[str]:
    """Stage 2 in one domain."""
    yield "| arm | loss | perplexity | against scratch | interval | by seed | scratch's loss reached | |"
    yield "|---|---|---|---|---|---|---|---|"
    for arm, found in report["text"][name].items():
        low, high = found["change_interval"]
        seeds = ", ".join(f"{change:+.1%}" for change in found["changes"])
        yield (
            f"| {arm} | {found['loss']:.3f} | {found['perplexity']:.1f} | {found['change']:+.1%} |"
            f" {low:+.1%} to {high:+.1%} | {seeds} | {_speed(found)} | {found['verdict']} |"
        )


def _speed(found: Report) -> str:
    if found["speed"] is not None:
        low, high = found["speed_interval"]
        return f"{found['speed']:.2f} times as fast ({low:.2f} to {high:.2f})"
    return f"by {found['reached']} of {len(found['seeds'])} seeds"


def _each(values: list[str]) -> str:
    return values[0] if len(set(values)) == 1 else ", ".join(values)


TABLES: dict[str, Callable[..., Iterator[str]]] = {"sources": sources, "domain": domain}


def draw(report: Report) -> None:
    """Writes the pictures: curves of each domain, and losses by grid beside the ladder."""
    sys.path.insert(0, str(DOCS.parent / "examples"))
    from transfer import plots

    for name, arms in report["text"].items():
        (DATA.parent / f"{name}.svg").write_text(plots.curves(arms))
    (DATA.parent / "grids.svg").write_text(plots.by_grid(report["source"]["nca-low"]))


def main() -> None:
    """Reads the report, and writes the page and its pictures."""
    report = json.loads(Path(sys.argv[1] if sys.argv[1:] else DATA).read_text())
    DATA.parent.mkdir(exist_ok=True)
    DATA.write_text(json.dumps(report, separators=(",", ":")) + "\n")
    draw(report)
    PAGE.write_text(filled(PAGE.read_text(), report))


if __name__ == "__main__":
    main()
