"""The report: report.json with all figures, and report.html, one page that needs no other file."""

import html
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from transfer import plots
from transfer.figures import collect
from transfer.paper import CLAIMS, REPLICATIONS
from transfer.settings import Arm, Experiment

STYLE = """body { font: 15px/1.5 sans-serif; max-width: 62em; margin: 2em auto; padding: 0 1em; color: #222 }
table { border-collapse: collapse; margin: 1em 0 } td, th { padding: .25em .8em; text-align: right;
  border-bottom: 1px solid #ddd }
td:first-child, th:first-child { text-align: left } svg { max-width: 100%; height: auto } .note { color: #666 }"""


def write(experiment: Experiment, out: Path) -> str:
    """Writes both files. Returns the summary for people."""
    found = collect(experiment, out)
    out.mkdir(parents=True, exist_ok=True)
    (out / "report.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    (out / "report.html").write_text(_page(experiment, found), encoding="utf-8")
    return "\n".join([*_summary(found), f"{out / 'report.html'}, {out / 'report.json'}"])


def _summary(found: dict[str, Any]) -> Iterable[str]:
    for domain, arms in found["text"].items():
        yield f"{domain}:"
        for name, arm in arms.items():
            yield "  " + "  ".join([f"{name:20}", *_cells(arm)])


def _page(experiment: Experiment, found: dict[str, Any]) -> str:
    title = f"Transfer: {html.escape(experiment.name)}"
    parts = [f"<!DOCTYPE html><html lang='en'><meta charset='utf-8'><title>{title}</title><style>{STYLE}</style>"]
    parts += [f"<h1>{title}</h1>", _about(experiment)]
    for domain, arms in found["text"].items():
        parts += [f"<h2>Text: {html.escape(domain)}</h2>", _text_table(arms), plots.curves(arms)]
        parts.append(plots.changes(arms, experiment.scratch.name))
    parts += ["<h2>By module</h2>", _modules(experiment, found["text"])]
    parts += ["<h2>Complexity and domain</h2>", _complexity(experiment, found)]
    parts += ["<h2>What stage 1 learned</h2>", *_sources(found["source"])]
    if found["tune"]:
        parts += ["<h2>Instructions</h2>", *(_tune(name, arms) for name, arms in found["tune"].items())]
    parts += ["<h2>Beside the paper</h2>", _paper(experiment, found["text"]), "<h2>Failures</h2>", _failures(found)]
    return "\n".join([*parts, "</html>"]) + "\n"


def _about(experiment: Experiment) -> str:
    seeds, model = len(experiment.seeds), experiment.model
    note = f"Where nothing differs, {seeds} seeds have one sign, and 0 is outside, in {2 / 2**seeds:.0%} of cases."
    if seeds < 3:
        note = "With fewer than three seeds no verdict is given."
    return (
        f"<p>Preset {experiment.preset}, {model.layers} layers of width {model.width}, seeds"
        f" {', '.join(map(str, experiment.seeds))}. A change is that of perplexity against scratch, paired by seed; the"
        f" interval is a 95 % bootstrap over seeds. {note} It says nothing of other sizes, texts or budgets."
        " Speed is scratch's tokens over those until its final loss is reached.</p>"
    )


def _cells(arm: dict[str, Any]) -> list[str]:
    """An arm's figures as they stand in a row."""
    if "loss" not in arm:
        return ["", "", "", "", "", "", _reasons(arm["missing"])]
    low, high = arm["change_interval"]
    tokens = [f"{reached:,.0f}" if reached is not None else "never" for reached in arm["tokens_to_scratch"]]
    speed = f"{arm['speed']:.2f}" if arm["speed"] is not None else f"{arm['reached']} of {len(arm['seeds'])} seeds"
    said = "; ".join(filter(None, (arm["verdict"], _reasons(arm["missing"]))))
    return [
        f"{arm['loss']:.4f}",
        f"{arm['perplexity']:.2f}",
        f"{arm['change']:+.2%}",
        f"{low:+.2%} to {high:+.2%}",
        ", ".join(tokens),
        speed,
        said,
    ]


def _text_table(arms: dict[str, dict[str, Any]]) -> str:
    heads = ["arm", "loss", "perplexity", "change", "interval", "tokens to scratch's loss", "speed", "result"]
    return table(heads, [[name, *_cells(arm)] for name, arm in arms.items()])


def _modules(experiment: Experiment, text: dict[str, dict[str, Any]]) -> str:
    """Arms of one source that draw other parts anew or freeze some."""
    rows = []
    for arm in experiment.arms:
        same = [
            other
            for other in experiment.arms
            if (other.source_run, other.checkpoint) == (arm.source_run, arm.checkpoint)
        ]
        if arm.is_scratch or len(same) < 2:
            continue
        changes = [f"{arms[arm.name]['change']:+.2%}" if "change" in arms[arm.name] else "" for arms in text.values()]
        rows.append([arm.name, _listed(arm.reinit), _listed(arm.freeze), *changes])
    if not rows:
        return "<p>No two arms share a stage 1: give arms one source and another reinit or freeze.</p>"
    return table(["arm", "drawn anew", "frozen", *text], rows)


def _complexity(experiment: Experiment, found: dict[str, Any]) -> str:
    """The change of each arm by the mean ratio of its rows, and of each domain's."""
    rows = sorted(
        [_ratio(found["source"][arm.source_run]), arm.name, *_changes(arm, found["text"])]
        for arm in experiment.arms
        if arm.source_run and arm.name in _plain(experiment)
    )
    ratios = [_ratio(arms[experiment.scratch.name]["runs"]) for arms in found["text"].values()]
    heads = ["gzip ratio", "arm", *(f"{domain} ({ratio})" for domain, ratio in zip(found["text"], ratios, strict=True))]
    return table(heads, rows)


def _plain(experiment: Experiment) -> list[str]:
    """Arms with a stage 1 that draw embeddings and head anew alone, as the paper does."""
    usual = {"embeddings", "head"}
    return [a.name for a in experiment.arms if not (a.is_scratch or a.freeze) and {*map(str, a.reinit)} == usual]


def _changes(arm: Arm, text: dict[str, dict[str, Any]]) -> list[str]:
    return [f"{arms[arm.name]['change']:+.2%}" if "change" in arms[arm.name] else "" for arms in text.values()]


def _ratio(runs: dict[int, dict[str, Any]]) -> str:
    ratios = [run["complexity"] for run in runs.values() if run.get("complexity") is not None]
    return f"{ratios[0]:.3f}" if ratios else ""


def _sources(sources: dict[str, dict[int, dict[str, Any]]]) -> Iterable[str]:
    heads = ["arm", "seed", "nats", "right", "reached", "not", "ended"]
    rows = [
        [
            name,
            str(seed),
            f"{run['patch']:.3f}",
            f"{run['accuracy']:.1%}",
            run["reached"] or "no rung",
            run["missed"] or "",
            run.get("missing", ""),
        ]
        if "patch" in run
        else [name, str(seed), "", "", "", "", run["missing"]]
        for name, runs in sources.items()
        for seed, run in runs.items()
    ]
    yield table(heads, rows)
    for name, runs in sources.items():
        if any("by_grid" in run for run in runs.values()):
            said = next(run["sentence"] for run in runs.values() if "sentence" in run)
            note = f"<p class='note'>First seed: {html.escape(said)}</p>"
            yield f"<h3>{html.escape(name)}</h3>{note}{plots.by_grid(runs)}"


def _tune(name: str, arms: dict[str, dict[str, Any]]) -> str:
    figures = sorted({figure for arm in arms.values() for figure in arm["tasks"]})
    rows = []
    for arm, found in arms.items():
        scores = [found["tasks"].get(figure) for figure in figures]
        loss = "" if found["loss"] is None else f"{found['loss']:.4f}"
        cells = ["" if score is None else f"{score[0]:.3f} ({score[1]:.3f} to {score[2]:.3f})" for score in scores]
        rows.append([arm, loss, *cells, _reasons(found["missing"])])
    return f"<h3>{html.escape(name)}</h3>" + table(["arm", "loss", *figures, ""], rows)


def _paper(experiment: Experiment, text: dict[str, dict[str, Any]]) -> str:
    rows = []
    for claim in CLAIMS:
        names = [name for name in _plain(experiment) if claim.is_of(name)]
        found = [
            f"{name}, {domain}: {_figure(arms[name], claim.figure)}" for domain, arms in text.items() for name in names
        ]
        here = "; ".join(found) or ("no such arm" if claim.arm else "the tables above")
        rows.append([claim.text, claim.reported, here])
    others = [[who, result, note] for who, result, note in REPLICATIONS]
    return table(["claim", "paper", "here"], rows) + table(["others", "result", "note"], others)


def _figure(arm: dict[str, Any], name: str | None) -> str:
    """The change of an arm, or its speed."""
    if "loss" not in arm:
        return "failed"
    if name == "change":
        return f"{arm['change']:+.2%}"
    return "scratch's loss is not reached in all seeds" if arm["speed"] is None else f"{arm['speed']:.2f}"


def _failures(found: dict[str, Any]) -> str:
    stages = {f"text {domain}": arms for domain, arms in found["text"].items()}
    stages |= {f"instructions {name}": arms for name, arms in found["tune"].items()}
    rows = [
        [stage, name, str(seed), why]
        for stage, arms in stages.items()
        for name, arm in arms.items()
        for seed, why in arm["missing"].items()
    ]
    rows += [
        ["stage 1", name, str(seed), run["missing"]]
        for name, runs in found["source"].items()
        for seed, run in runs.items()
        if "missing" in run
    ]
    return table(["stage", "arm", "seed", "why"], rows) if rows else "<p>None: every run finished.</p>"


def _reasons(missing: dict[int, str]) -> str:
    return "; ".join(f"seed {seed}: {why}" for seed, why in missing.items())


def _listed(choices: tuple) -> str:
    return ", ".join(map(str, choices)) or "nothing"


def table(heads: list[str], rows: Iterable[list[str]]) -> str:
    """A table of HTML."""
    head = "".join(f"<th>{html.escape(text)}</th>" for text in heads)
    body = "".join(f"<tr>{''.join(f'<td>{html.escape(text)}</td>' for text in row)}</tr>\n" for row in rows)
    return f"<table><tr>{head}</tr>\n{body}</table>"
