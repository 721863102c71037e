"""The texts of a dataset's card about rows of automata: the row, its score, and the limits of the data.

Not covered: the card's file, its tables of files and bands (`ncagen.hub`).
"""

import math

from ncagen.row_format import SourceCard
from ncagen.sources.nca.facts import ORACLE, row_format, stores_oracle
from ncagen.sources.nca.settings import Settings

PAPER = "https://arxiv.org/abs/2603.10055"
PRETTY_NAME = "Trajectories of random neural cellular automata"
TAGS = ("synthetic", "neural-cellular-automata", "pre-training", "ncagen", "arxiv:2603.10055")
CITATION = (
    "```bibtex",
    "@article{lee2026nca,",
    "  title  = {Training Language Models via Neural Cellular Automata},",
    "  author = {Lee and Han and Kumar and Agrawal},",
    "  year   = {2026},",
    "  eprint = {2603.10055},",
    "  archivePrefix = {arXiv}",
    "}",
    "```",
)

# What a row of each control is, what of a trajectory it keeps, and what it tells.
CONTROL_TEXTS = {
    "shuffle-time": (
        "the grids of one trajectory in a random order",
        "every grid of it, so all that is within a grid",
        "what the order of grids is worth",
    ),
    "shuffle-cells": (
        "the grids of one trajectory, the patches of each in a random order of its own",
        "the patches of each grid, so how frequencies change from grid to grid",
        "what the places of patches are worth",
    ),
    "shuffle-row": (
        "all patches of one trajectory in a random order",
        "how often each patch occurs, exactly",
        "what all order is worth",
    ),
    "unigram": (
        "independent draws from the patches of one trajectory",
        "how often each patch occurs, on average",
        "what frequencies alone are worth",
    ),
    "noise": (
        "independent uniform draws of patches",
        "the form of a row, and nothing of the trajectory",
        "what the form of rows alone is worth",
    ),
    "frozen-rule": (
        "a trajectory of the one rule that all rows share, from a start of its own",
        "everything but the variety of rules, so a model can learn the rule once, in its weights",
        "what inferring a rule in context is worth",
    ),
    "new-rule": (
        "a trajectory whose rule is replaced by another one on its way",
        "everything but that one rule makes the row",
        "whether a model infers the rule of the grids it has just seen",
    ),
}
NOISY = 0.01  # at this temperature and above, much of a row is noise


def card(settings: Settings) -> SourceCard:
    """Returns the card's texts for these settings."""
    return SourceCard(
        row=f"{settings.frames} grids of {settings.size} in {settings.states} states"
        + f", control {settings.control}" * bool(settings.control),
        details=_details(settings),
        columns=row_format(settings).columns,
        pretty_name=f"Control {settings.control}: t{PRETTY_NAME[1:]}" if settings.control else PRETTY_NAME,
        tags=(*TAGS, "control") if settings.control else TAGS,
        what=(*_what(settings), "", *_table(settings)),
        measure=_ratio(settings),
        loss=_loss(settings),
        limits=_limits(settings),
        citation=CITATION,
    )


def _details(settings: Settings) -> tuple[tuple[str, str], ...]:
    return (
        *((("control", _control(settings)),) if settings.control else ()),
        ("temperature", str(settings.temperature)),
        ("start", settings.start),
        ("warm-up steps", f"{settings.warmup:,}"),
        *((("measure", settings.measure),) if settings.measure != "gzip" else ()),
        ("recorded", "each step" if settings.stride == 1 else f"every {settings.stride:,} steps"),
    )


def _what(settings: Settings) -> tuple[str, ...]:
    return (
        *(_what_control(settings) if settings.control else _what_trajectory(settings)),
        "",
        f"A row is {settings.frames} grids of {settings.size} cells in {settings.states} states, as"
        f" {settings.row_tokens:,} tokens: {settings.patch} x {settings.patch} patches",
        f"(ids 0 to {settings.patch_ids - 1}) between start-of-grid ({settings.patch_ids}) and end-of-grid"
        f" ({settings.patch_ids + 1}). The vocabulary has {settings.vocabulary:,} ids.",
    )


def _what_trajectory(settings: Settings) -> tuple[str, ...]:
    rules = "each of a different random rule" if settings.trajectories_per_rule == 1 else "each of a random rule"
    return (
        "Synthetic data to train language models on before text, after",
        f"[*Training Language Models via Neural Cellular Automata*]({PAPER}). Each row is one trajectory, {rules} that",
        "a model must infer in context. It contains no text.",
    )


def _what_control(settings: Settings) -> tuple[str, ...]:
    row, keeps, tells = CONTROL_TEXTS[settings.control]
    same = (
        "The same spec without the control has the same candidates in the same order:",
        "row i here belongs to row i there.",
    )
    return (
        f"**This is a control** (`{_control(settings)}`) of the trajectories of",
        f"[*Training Language Models via Neural Cellular Automata*]({PAPER}), not those trajectories.",
        f"Each row is {row}.",
        f"It keeps {keeps}: beside the trajectories, it shows {tells}.",
        *(same if settings.rearranges else ()),
    )


def _control(settings: Settings) -> str:
    """The control and its setting."""
    if settings.control == "frozen-rule":
        return f"frozen-rule, that of candidate {settings.rule_candidate} of the pilot"
    return f"new-rule, from grid {settings.change_at} on" if settings.control == "new-rule" else settings.control


def _table(settings: Settings) -> tuple[str, ...]:
    wrap = "wrap around, as in the released code" if settings.channel_wrap else "do not wrap around"
    every = f"{settings.stride} steps" if settings.stride > 1 else "step"
    return (
        "| setting | value |",
        "|---|---|",
        f"| rule | 3 x 3 convolution to 4 channels, to 16, ReLU, to {settings.states} logits; weights random |",
        f"| next state | one draw for each cell, temperature {settings.temperature:g}, identity bias"
        f" {settings.identity_bias:g} |",
        f"| start | {settings.start}, on a torus |",
        f"| channels | {wrap} |",
        f"| recorded | every {every}, after the first {settings.warmup} |",
        f"| trajectories of a rule | {settings.trajectories_per_rule} |",
    )


def _ratio(settings: Settings) -> tuple[str, ...]:
    if settings.measure != "gzip":
        return _gap(settings)
    scored = "the trajectory without the control" if settings.rearranges else "the row itself"
    return (
        f"The ratio is the length of gzip, level 9, over the first {settings.scored_frames} grids of {scored},"
        f" as {settings.scored_bytes:,} bytes of",
        "little-endian int32, delimiters left out. It means nothing for another alphabet, width or length.",
        _rules_of_splits(settings),
    )


def _rules_of_splits(settings: Settings) -> str:
    return "All splits share one rule." if settings.control == "frozen-rule" else "Rules of the splits are disjoint."


def _gap(settings: Settings) -> tuple[str, ...]:
    whose = "original trajectory's" if settings.rearranges else "row's"
    return (
        f"The ratio is the gap between two learners of the {whose} first {settings.scored_frames} grids: by how many of"
        f" {settings.predicted_cells:,} cells",
        "a linear one beats one that remembers neighbourhoods. Noise has 0, and so have rows that can be remembered.",
        _rules_of_splits(settings),
    )


def _loss(settings: Settings) -> tuple[str, ...]:
    return (
        "Nothing predicts a row's first grid,",
        f"its first {settings.tokens_per_grid} tokens: leave it out of the loss, as the paper does.",
        *(
            ("It is left out here too, so that both datasets have a loss at the same places.",)
            if settings.rearranges
            else ()
        ),
        *(_oracle(settings) if stores_oracle(settings) else ()),
    )


def _oracle(settings: Settings) -> tuple[str, ...]:
    noise = round(settings.patch**2 * math.log(settings.states) * 10**6)
    return (
        "",
        f"`{ORACLE}` is the oracle loss: of a model that knows the row's rule, for a patch, mean of all grids but the",
        f"first. No model can have less; pure noise has {noise:,}.",
    )


def _limits(settings: Settings) -> tuple[str, ...]:
    measured = "gzip" if settings.measure == "gzip" else "two learners"
    noise = (f"- At temperature {settings.temperature:g} much of a row is noise.",)
    return (
        "- This is data, without a promise of gains: replications of the paper are mixed.",
        "- It is for training before text, not instead of it. A model of it knows no language.",
        "- Tokens are patches of cells. Ids have nothing to do with any tokenizer of text.",
        "- Not the rows of the paper: the random numbers of its released code differ. The distribution is the same",
        "  for the same settings.",
        f"- Complexity is measured by {measured} only, over the first grids only; later ones may settle or cycle.",
        *(noise if settings.temperature >= NOISY else ()),
        *(
            ("- This is a control, made to be compared with the trajectories, not to be trained on in their place.",)
            if settings.control
            else ()
        ),
    )
