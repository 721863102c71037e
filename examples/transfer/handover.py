"""Hands a model over from stage to stage: which weights stay, which are drawn anew, which are frozen.

The text stage begins with the model of the arm scratch of the same seed, and takes what an arm keeps from stage 1. So
what is drawn anew is equal in all arms of a seed, and differences between them are those of what was learned.
"""

from collections.abc import Mapping

import torch
from torch import nn

from transfer.parts import selected
from transfer.settings import Arm


def hand_over(arm: Arm, learned: Mapping[str, torch.Tensor] | None, fresh: nn.Module) -> dict[str, list[str]]:
    """Puts what an arm keeps of stage 1 into a fresh model, and freezes what the arm freezes.

    learned: parameters of stage 1 by name, None for the arm scratch. fresh: changed in place. Returns the names of
    parameters: those kept, drawn anew ("drawn") and frozen.
    """
    drawn = selected(fresh, arm.reinit) if learned is not None else {name for name, _ in fresh.named_parameters()}
    frozen = selected(fresh, arm.freeze)
    with torch.no_grad():
        for name, parameter in fresh.named_parameters():
            parameter.requires_grad_(name not in frozen)
            if name not in drawn:
                parameter.copy_(learned[name])
    kept = [name for name, _ in fresh.named_parameters() if name not in drawn]
    return {"kept": kept, "drawn": sorted(drawn), "frozen": sorted(frozen)}
