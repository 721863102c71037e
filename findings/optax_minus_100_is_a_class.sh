#!/bin/sh
# optax.softmax_cross_entropy_with_integer_labels has no index to ignore, and accepts labels that are out of range.
#
# -100, which torch, transformers, TRL and Keras examples use for "no loss here", is read as an index from the end: with
# more than 100 classes the loss is finite and that of class V - 100, so a model learns to predict that class wherever
# nothing should be learned. With fewer than 100 classes the loss is NaN, and so is its mean. `where=` with a mask per
# label gives 0 there. Exits 1 if this is no longer so.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check optax==0.2.8 jax==0.10.2 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax

loss = optax.softmax_cross_entropy_with_integer_labels
print("optax", optax.__version__, "jax", jax.__version__)

logits = jnp.asarray(np.random.default_rng(0).standard_normal((1, 50_257)), jnp.float32)
ignored = loss(logits, jnp.array([-100]))
last = loss(logits, jnp.array([50_257 - 100]))
print("50,257 classes: loss of label -100", ignored, "and of label 50157", last)
gradient = jax.grad(lambda values: loss(values, jnp.array([-100])).sum())(logits)
print("the class whose logit it raises:", int(gradient[0].argmin()))

few = loss(logits[:, :64], jnp.array([-100]))
print("64 classes: loss of label -100", few)

masked = loss(logits, jnp.array([-100]), where=jnp.array([[False]]))
print("with where=False:", masked)
seen = ignored == last and bool(jnp.isfinite(ignored)) and int(gradient[0].argmin()) == 50_157 and bool(jnp.isnan(few))
sys.exit(not seen)
PYTHON
