"""Lightning, from stage 1 to text, by the code of docs/recipes.md with a Llama of two layers."""

from recipe_llama import check

FEWER = {
    "8, seed=1": "2, seed=1",
    "max_epochs=1": "max_epochs=1, limit_train_batches=4, logger=False, enable_checkpointing=False",
}

check("Lightning", "lightning", FEWER)
