#!/usr/bin/env bash
# TRL 1.16.0 packs columns of lists, and refuses columns of lists of a fixed size (Arrow's FixedSizeList, which is what
# `datasets` makes of List(..., length=n) and of many token files): "Packing requires all columns to be lists of lists".
# The same values in lists without a size are packed. Exits 0 if this is observed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 transformers==5.23.0 accelerate==1.15.0 datasets==5.2.0 \
    trl==1.16.0 numpy==2.4.6
cat > "$folder/try.py" <<'PYTHON'
import sys

import datasets
import trl
from datasets import Dataset, Features, List, Value

datasets.disable_progress_bars()
rows = {"input_ids": [[1, 2, 3, 4], [5, 6, 7, 8]]}
print(f"trl {trl.__version__}, datasets {datasets.__version__}")
seen = []
for name, kind, expected in (
    ("lists", List(Value("int32")), [[1, 2, 3, 4, 5, 6, 7, 8]]),
    ("lists of a fixed size", List(Value("int32"), length=4), "Packing requires all columns to be lists of lists."),
):
    dataset = Dataset.from_dict(rows, features=Features({"input_ids": kind}))
    for strategy in ("bfd", "wrapped"):
        try:
            found = trl.pack_dataset(dataset, seq_length=8, strategy=strategy)["input_ids"][:]
        except TypeError as error:
            found = str(error)
        print(f"{name}, {strategy}: {found}")
        seen.append(found == expected)
sys.exit(0 if all(seen) else 1)
PYTHON
"$folder/venv/bin/python" "$folder/try.py"
