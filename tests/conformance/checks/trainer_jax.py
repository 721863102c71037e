"""JAX with grain and optax: what a model receives from the code of the page, and the labels of its loss."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from common import report
from consumer_common import GRID, LENGTH, inputs, next_labels, order
from page import folder, run

SEED, CLASSES = 1, 64
SPLIT = "validation"  # a sixth of the rows: the logits of all ids take their time
FEWER = {"epochs=3": "epochs=1", '"data/nca-high"': f'"data/nca-high", split="{SPLIT}"'}
seen: list[dict] = []


def keep(tokens: np.ndarray) -> None:
    seen.append(np.array(tokens))


def apply(weights: jax.Array, tokens: jax.Array) -> jax.Array:
    """Logits of ids modulo CLASSES, repeated over the vocabulary: float32 [sequence, place, vocabulary]."""
    jax.debug.callback(keep, tokens, ordered=True)
    return jnp.tile(weights[tokens % CLASSES], 157)


weights = jnp.zeros((CLASSES, CLASSES))
optimizer = optax.sgd(0.1)
with folder():
    names = run(
        "JAX with grain and optax",
        apply=apply,
        weights=weights,
        state=optimizer.init(weights),
        optimizer=optimizer,
        changes=FEWER,
    )
jax.effects_barrier()
numbers = order(SPLIT, seed=SEED)
found = np.concatenate(seen)
assert np.array_equal(found, inputs(SPLIT, numbers)), "inputs differ"
last = names["batch"]
count = len(last["labels"])
expected = next_labels(SPLIT, numbers[-count:])
assert np.array_equal(last["loss_mask"], expected >= 0) and int(last["loss_mask"].sum()) == count * (LENGTH - GRID + 1)
assert np.array_equal(np.where(last["loss_mask"], last["labels"], -100), expected)
assert np.isfinite(float(names["value"]))
report("optax", "grain's map_dataset and a jitted step", found.size)
