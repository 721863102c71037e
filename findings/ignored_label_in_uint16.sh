#!/usr/bin/env bash
# -100, the label that losses ignore, among uint16 token ids: NumPy 2.4.6 and torch 2.13.0 turn it into 65436 without an
# error or a warning in np.where, torch.where, torch.full, Tensor.fill_ and tensor[i] = -100, while NumPy's a[i] = -100
# and np.full raise OverflowError and torch's pad_sequence RuntimeError. Token files are uint16 in nanoGPT, llm.c,
# Megatron and others. Exits 0 if this is observed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
cat > "$folder/try.py" <<'PYTHON'
import sys
import warnings

import numpy as np
import torch

warnings.simplefilter("error")
ids, first = np.array([5, 6, 7], np.uint16), np.array([True, False, False])
tensor, mask = torch.from_numpy(ids), torch.from_numpy(first)


def set_item(array):
    array[0] = -100
    return array


attempts = {
    "np.where(mask, -100, ids)": (lambda: np.where(first, -100, ids), "65436"),
    "a[0] = -100 (NumPy)": (lambda: set_item(ids.copy()), "OverflowError"),
    "np.full(3, -100, uint16)": (lambda: np.full(3, -100, np.uint16), "OverflowError"),
    "torch.where(mask, -100, ids)": (lambda: torch.where(mask, -100, tensor), "65436"),
    "t[0] = -100 (torch)": (lambda: set_item(tensor.clone()), "65436"),
    "torch.full((3,), -100, uint16)": (lambda: torch.full((3,), -100, dtype=torch.uint16), "65436"),
    "ids.new_full((3,), -100)": (lambda: tensor.new_full((3,), -100), "65436"),
    "ids.fill_(-100)": (lambda: tensor.clone().fill_(-100), "65436"),
    "pad_sequence(padding_value=-100)": (
        lambda: torch.nn.utils.rnn.pad_sequence([tensor, tensor[:2]], padding_value=-100),
        "RuntimeError",
    ),
}
print(f"numpy {np.__version__}, torch {torch.__version__}")
seen = []
for name, (attempt, expected) in attempts.items():
    try:
        found = str(int(np.asarray(attempt()).reshape(-1)[0]))
    except Exception as error:
        found = type(error).__name__
    print(f"{name:34} {found}")
    seen.append(found == expected)
sys.exit(0 if all(seen) else 1)
PYTHON
"$folder/venv/bin/python" "$folder/try.py"
