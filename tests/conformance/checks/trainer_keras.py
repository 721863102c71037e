"""Keras: what a model receives from the code of the page, and that the loss leaves out what has no label."""

import os

os.environ["KERAS_BACKEND"] = "jax"

import jax
import keras
import numpy as np
from common import report
from consumer_common import inputs, next_labels, order
from page import folder, run

STEPS, BATCH, SEED, CLASSES = 8, 8, 1, 64  # of each epoch: the logits of 10,002 ids take their time
FEWER = {"epochs=3": "epochs=2, verbose=0", "len(rows) // 8": str(STEPS)}
seen: dict[str, list] = {"inputs": [], "labels": []}


def keep(name: str):
    """A callback that keeps an array under a name."""
    return lambda array: seen[name].append(np.array(array))


class Model(keras.Model):
    """A table of logits that keeps its inputs, and the labels that its loss is given."""

    def __init__(self):
        super().__init__()
        self.table = keras.layers.Embedding(CLASSES, 10_002)

    def call(self, tokens):
        """Logits [sequence, place, id]."""
        jax.debug.callback(keep("inputs"), tokens, ordered=True)
        return self.table(tokens % CLASSES)

    def compute_loss(self, x, y, y_pred, *others, **named):
        """The compiled loss."""
        jax.debug.callback(keep("labels"), y, ordered=True)
        return super().compute_loss(x, y, y_pred, *others, **named)


model = Model()
with folder():
    run("Keras", model=model, changes=FEWER)
jax.effects_barrier()
numbers = order(seed=SEED)[: 2 * STEPS * BATCH]
wanted = {"inputs": inputs("train", numbers), "labels": next_labels("train", numbers)}
for name, arrays in seen.items():
    assert np.array_equal(np.concatenate(arrays), wanted[name]), (name, "differ")
report("keras", "model.fit over a Stream, on JAX", wanted["inputs"].size)
