"""Names the parameters of a Llama by module and layer. Not covered: parameters of other models, which are refused."""

import re
from collections.abc import Iterable

from torch import nn

from transfer.settings import Choice

_IN_LAYER = re.compile(r"model\.layers\.(\d+)\.(self_attn|mlp|input_layernorm|post_attention_layernorm)\.")
_MODULES = {"self_attn": "attention", "mlp": "mlp", "input_layernorm": "norm", "post_attention_layernorm": "norm"}
_OUTSIDE = {"model.embed_tokens.weight": "embeddings", "lm_head.weight": "head", "model.norm.weight": "norm"}


def part_of(name: str) -> tuple[str, int | None]:
    """The part that a parameter belongs to, and its layer; None for those outside of layers.

    Raises ValueError for a name that no Llama has.
    """
    if found := _IN_LAYER.match(name):
        return _MODULES[found[2]], int(found[1])
    if name not in _OUTSIDE:
        raise ValueError(f"{name} is no parameter of a Llama")
    return _OUTSIDE[name], None


def selected(model: nn.Module, choices: Iterable[Choice]) -> set[str]:
    """The names of the parameters that any of the choices means.

    A choice of layers leaves the last norm out, which is in no layer. Where embeddings are the head, either name means
    both.
    """
    chosen = list(choices)
    if model.config.tie_word_embeddings:
        chosen += [Choice("embeddings") for choice in chosen if choice.part == "head"]
    return {name for name, _ in model.named_parameters() if any(_means(choice, *part_of(name)) for choice in chosen)}


def _means(choice: Choice, part: str, layer: int | None) -> bool:
    if choice.part != part:
        return False
    return choice.first is None or (layer is not None and choice.first <= layer <= choice.last)
