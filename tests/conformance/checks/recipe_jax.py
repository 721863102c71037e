"""JAX with grain and optax, from stage 1 to text, by the code of docs/recipes.md with a transformer of two layers."""

import jax
import jax.numpy as jnp
import numpy as np
from common import report
from consumer_common import inputs, order
from page import RECIPES, folder, run
from recipe_common import handed_over, received_text

SEED, ROWS, WIDTH, LAYERS = 1, 16, 16, 2
FEWER = {"map_dataset(data, layout, seed=1)": f"map_dataset(data, layout, seed=1)[:{ROWS}]"}
seen: list[np.ndarray] = []


def keep(tokens: np.ndarray) -> None:
    seen.append(np.array(tokens))


def initial(key: jax.Array, vocabulary: int) -> dict:
    """Weights of a transformer without norms: embedding, head, and two blocks."""
    keys = iter(jax.random.split(key, 2 + 3 * LAYERS))

    def normal(*shape: int) -> jax.Array:
        return 0.1 * jax.random.normal(next(keys), shape)

    def block() -> dict:
        return {"qkv": normal(WIDTH, 3 * WIDTH), "up": normal(WIDTH, 2 * WIDTH), "down": normal(2 * WIDTH, WIDTH)}

    ends = {"embedding": normal(vocabulary, WIDTH), "head": normal(WIDTH, vocabulary)}
    return ends | {"blocks": [block() for _ in range(LAYERS)]}


def apply(weights: dict, tokens: jax.Array) -> jax.Array:
    """float32 [sequence, place, id]."""
    jax.debug.callback(keep, tokens, ordered=True)
    hidden = weights["embedding"][tokens]
    for block in weights["blocks"]:
        query, key, value = jnp.split((hidden @ block["qkv"])[:, :, None], 3, axis=-1)
        hidden += jax.nn.dot_product_attention(query, key, value, is_causal=True)[:, :, 0]
        hidden += jax.nn.relu(hidden @ block["up"]) @ block["down"]
    return hidden @ weights["head"]


def named(weights: dict) -> dict[str, np.ndarray]:
    """Each weight by its path."""
    return {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(weights)}


with folder():
    names = run("JAX", page=RECIPES, changes=FEWER, initial=initial, apply=apply)
jax.effects_barrier()
received = np.concatenate(seen)
assert len(received) == 2 * ROWS
assert np.array_equal(received[:ROWS], inputs("train", order(seed=SEED)[:ROWS])), "stage 1 received other rows"
tokens = received[:ROWS].size + received_text(received[ROWS:], SEED)
start, stage2 = named(names["start"]), named(names["stage2"])
handed_over(named(names["stage1"]), start, {"['embedding']": 0, "['head']": 1})
assert all(not np.array_equal(stage2[name], start[name]) for name in start), "stage 2 did not train a weight"
assert np.isfinite([float(names["loss1"]), float(names["loss2"])]).all()
report("jax", "stage 1 and text, with grain and optax: the weights kept, and what the model receives", tokens)
