#!/usr/bin/env bash
# numba-cuda 0.30.4 compiles a function for a named compute capability, cuda.compile_ptx(f, args, cc=(9, 0)), on a
# machine without a driver, but only while f calls no other device function: then it asks the
# driver for the capability of the current device, although cc is given, and raises. Exits 0 if this is observed, 3 where
# there is a driver.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet 'numba-cuda[cu13]==0.30.4' numba==0.68.1 numpy==2.4.6
cat > "$folder/try.py" <<'PYTHON'
import ctypes
import sys
from importlib.metadata import version

from numba import cuda, types

try:
    ctypes.CDLL("libcuda.so.1")
except OSError:
    pass
else:
    print("there is a driver here")
    sys.exit(3)


@cuda.jit(device=True)
def twice(x):
    return 2 * x


def alone(x):
    return x + 1


def calling(x):
    return twice(x) + 1


def compiled(function):
    try:
        ptx, _ = cuda.compile_ptx(function, (types.int32,), device=True, cc=(9, 0))
        return f"{len(ptx)} bytes of PTX"
    except Exception as error:
        return f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"


found = compiled(alone), compiled(calling)
print(f"numba-cuda {version('numba-cuda')}")
print(f"calls nothing             {found[0]}")
print(f"calls a device function   {found[1]}")
sys.exit(0 if found[0].endswith("PTX") and found[1].startswith("CudaSupportError") else 1)
PYTHON
"$folder/venv/bin/python" "$folder/try.py"
