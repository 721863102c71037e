#!/usr/bin/env bash
# The CUDA simulator of numba-cuda 0.30.4 counts bits by Python integers: cuda.popc of int32(-1) is 1, cuda.clz of
# uint64(1) is 31 and cuda.ffs of uint64(2**40) is 8, without an error. The instructions that the same calls compile to
# (popc.b32, clz.b64, and ffs by brev.b64) give 32, 63 and 41. So a kernel that is right in the simulator is wrong on a
# device, or the other way round. Exits 0 if this is observed; needs no GPU.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet numba-cuda==0.30.4 numba==0.68.1 numpy==2.4.6
cat > "$folder/try.py" <<'PYTHON'
import sys
from importlib.metadata import version

import numpy as np
from numba import cuda


@cuda.jit
def count(signed, one, high, found):
    found[0] = cuda.popc(signed[0])
    found[1] = cuda.clz(one[0])
    found[2] = cuda.ffs(high[0])


found = np.zeros(3, np.int32)
count[1, 1](np.array([-1], np.int32), np.array([1], np.uint64), np.array([2**40], np.uint64), found)
print(f"numba-cuda {version('numba-cuda')}, simulator")
for name, seen, right in zip(("popc(int32(-1))", "clz(uint64(1))", "ffs(uint64(2**40))"), found, (32, 63, 41)):
    print(f"{name:20} {seen:3}, on a device {right}")
sys.exit(0 if found.tolist() == [1, 31, 8] else 1)
PYTHON
NUMBA_ENABLE_CUDASIM=1 "$folder/venv/bin/python" "$folder/try.py"
