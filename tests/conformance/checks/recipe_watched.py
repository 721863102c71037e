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
