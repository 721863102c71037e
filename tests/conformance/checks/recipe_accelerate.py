"""accelerate, from stage 1 to text, by the code of docs/recipes.md with a Llama of two layers."""

from recipe_llama import check

FEWER = {"Loader(ncagen.open(folder), 8, seed=1)": "islice(Loader(ncagen.open(folder), 2, seed=1), 4)"}

check("accelerate", "accelerate", FEWER)
