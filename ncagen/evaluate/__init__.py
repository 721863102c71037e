"""Yardsticks: how well could a model predict these rows, and how well does one.

`ladder` computes the loss and the accuracy of predictors that need no training run, from uniform noise to the exact
rule. `oracle` computes those of the exact rule for each row. docs/evaluate.md defines each of them.
"""

from ncagen.evaluate.ladder import Ladder, Rung
from ncagen.evaluate.oracle import Oracle, oracle

from ncagen.evaluate.compute import ladder  # isort: skip  # the function takes the place of the module's name

__all__ = ["Ladder", "Oracle", "Rung", "ladder", "oracle"]
