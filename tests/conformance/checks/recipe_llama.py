"""Runs a recipe for a Llama of transformers, and checks both stages and the hand-over between them."""

from functools import wraps
from itertools import islice

import numpy as np
from common import report
from consumer_common import LENGTH, drawn, order, received
from page import RECIPES, folder, run
from recipe_common import VOCABULARY, handed_over, received_text, text_rows
from transformers import LlamaConfig, LlamaForCausalLM

SEED = 1
NEW = {"model.embed_tokens.weight": 0, "lm_head.weight": 0}


class Watched:
    """Notes, for each Llama that is trained, its weights before the first batch, its batches and its losses."""

    def __init__(self) -> None:
        self.start: list[dict[str, np.ndarray]] = []
        self.batches: list[list[dict[str, np.ndarray]]] = []
        self.losses: list[float] = []
        self._models: list[LlamaForCausalLM] = []

    def watch(self) -> None:
        """Notes every forward pass from now on."""
        forward = LlamaForCausalLM.forward

        @wraps(forward)  # Trainer keeps the columns that the signature names
        def noting(model, *arguments, **named):
            if not any(model is known for known in self._models):
                self._models.append(model)
                self.start.append(weights(model))
                self.batches.append([])
            self.batches[-1].append({name: named[name].numpy().copy() for name in ("input_ids", "labels")})
            found = forward(model, *arguments, **named)
            self.losses.append(float(found.loss.detach()))
            return found

        LlamaForCausalLM.forward = noting


def weights(model: LlamaForCausalLM) -> dict[str, np.ndarray]:
    """A copy of all parameters by name."""
    return {name: weight.detach().numpy().copy() for name, weight in model.named_parameters()}


def check(section: str, package: str, changes: dict[str, str], ordered: bool = True) -> None:
    """Runs the recipe of a section, and reports. ordered: rows come in the order of a stream, else in any."""
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2
    )
    watched = Watched()
    watched.watch()
    with folder():
        hand_over = run("Models of transformers", page=RECIPES)["hand_over"]
        names = run(section, page=RECIPES, changes=changes, config=config, hand_over=hand_over, islice=islice)
    assert len(watched.start) == 2 and np.isfinite(watched.losses).all()
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
