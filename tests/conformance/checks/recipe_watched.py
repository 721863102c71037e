"""What a Llama is given while it trains, and with which weights it begins. Workers of Ray import it too."""

from functools import wraps

import numpy as np
from transformers import LlamaForCausalLM


class Watched:
    """Notes, for each Llama that is trained, its weights before the first batch, its batches and its losses."""

    def __init__(self) -> None:
        self.start: list[dict[str, np.ndarray]] = []
        self.batches: list[list[dict[str, np.ndarray]]] = []
        self.losses: list[float] = []
        self._models: list[LlamaForCausalLM] = []

    def watch(self) -> None:
        """Notes what every Llama receives that is made from now on; by hooks, since TRL replaces `forward`."""
        init = LlamaForCausalLM.__init__

        @wraps(init)
        def make(model, *arguments, **named):
            init(model, *arguments, **named)
            model.register_forward_pre_hook(self._begins, with_kwargs=True)
            model.register_forward_hook(self._ends)

        LlamaForCausalLM.__init__ = make

    def _begins(self, model: LlamaForCausalLM, arguments: tuple, named: dict) -> None:
        if not any(model is known for known in self._models):
            self._models.append(model)
            self.start.append(weights(model))
            self.batches.append([])
        self.batches[-1].append({name: named[name].numpy().copy() for name in ("input_ids", "labels")})

    def _ends(self, model: LlamaForCausalLM, arguments: tuple, found) -> None:
        self.losses.append(float(found.loss.detach()))


def weights(model: LlamaForCausalLM) -> dict[str, np.ndarray]:
    """A copy of all parameters by name."""
    return {name: weight.detach().numpy().copy() for name, weight in model.named_parameters()}
