"""Yardsticks: how well could a model predict these rows, and how well does one.

`ladder` computes the loss and the accuracy of predictors that need no training run, from uniform noise to the exact
rule. `oracle` computes those of the exact rule for each row. docs/evaluate.md defines each of them. `score` puts a
model beside them, `check_training` finds mistakes in a training loop with the help of an `oracle_model`.
"""

from ncagen.evaluate.check_training import check_training
from ncagen.evaluate.ladder import Ladder, Rung
from ncagen.evaluate.oracle import Oracle, oracle
from ncagen.evaluate.oracle_model import oracle_model
from ncagen.evaluate.score import score

from ncagen.evaluate.compute import ladder  # isort: skip  # the function takes the place of the module's name

__all__ = ["Ladder", "Oracle", "Rung", "check_training", "ladder", "oracle", "oracle_model", "score"]
