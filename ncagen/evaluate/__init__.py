"""Yardsticks: how well could a model predict these rows, and how well does one.

`ladder` computes the loss and the accuracy of predictors that need no training run, from uniform noise to the exact
rule. docs/evaluate.md defines each of them.
"""

from ncagen.evaluate.ladder import Ladder, Rung

__all__ = ["Ladder", "Rung"]
