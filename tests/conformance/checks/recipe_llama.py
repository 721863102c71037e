"""Runs a recipe for a Llama of transformers, and checks both stages and the hand-over between them."""

from itertools import islice

import numpy as np
from common import report
from consumer_common import LENGTH, drawn, order, received
from page import RECIPES, folder, run
from recipe_common import VOCABULARY, handed_over, link_text, received_text, text_rows
from recipe_watched import Watched, weights
from transformers import LlamaConfig

SEED = 1
NEW = {"model.embed_tokens.weight": 0, "lm_head.weight": 0}


def config() -> LlamaConfig:
    """Of a tiny model for stage 1."""
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    return LlamaConfig(vocab_size=VOCABULARY, **sizes)


def check(
    section: str, package: str, changes: dict[str, str], ordered: bool = True, exported: str | None = None
) -> None:
    """Runs the recipe of a section, and reports.

    ordered: rows come in the order of a stream, else in any. exported: what data/<name>-... exports are called.
    """
    watched = Watched()
    watched.watch()
    with folder(f"nca-{exported}" if exported else "nca-high") as place:
        if exported:
            link_text(place, exported)
        hand_over = run("Models of transformers", page=RECIPES)["hand_over"]
        names = run(section, page=RECIPES, changes=changes, config=config(), hand_over=hand_over, islice=islice)
    assert len(watched.start) == 2, len(watched.start)
    assert np.isfinite(watched.losses).all(), watched.losses
    handed_over(weights(names["stage1"]), watched.start[1], NEW)
    first, second = watched.batches
    tokens = sum(batch["input_ids"].size for batch in first + second)
    numbers = order(seed=SEED)[: sum(len(batch["input_ids"]) for batch in first)] if ordered else drawn(first)
    received(first, "train", numbers)
    text = np.concatenate([batch["input_ids"] for batch in second])
    received_text(text, SEED) if ordered else text_in_any_order(text)
    report(package, "stage 1 and text: the weights kept, and what the model receives", tokens)


def text_in_any_order(tokens: np.ndarray) -> None:
    """Asserts that tokens [row, token] are rows of text, none of them twice."""
    known, found = ({row.tobytes() for row in rows} for rows in (text_rows()[:, :LENGTH], tokens))
    assert len(found) == len(tokens) and found <= known, "stage 2 received other rows"
