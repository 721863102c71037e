"""transformers, from stage 1 to text, by the code of docs/recipes.md with a Llama of two layers."""

from recipe_llama import check

FEWER = {"num_train_epochs=1": "max_steps=4, per_device_train_batch_size=2, report_to=[]"}

check("transformers", "transformers", FEWER, ordered=False)
