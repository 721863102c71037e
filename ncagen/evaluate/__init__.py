"""Yardsticks: how well could a model do on these rows, how well does this one."""

from ncagen.evaluate.oracle import Oracle, oracle

__all__ = ["Oracle", "oracle"]
