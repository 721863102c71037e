#!/usr/bin/env bash
# cuda-core 1.2.2 compiles a kernel for a named architecture into a cubin on a machine without a driver, but not into
# PTX: Program.compile("ptx") asks the driver for its version, after NVRTC has done the work, and raises. NVRTC itself,
# by cuda.bindings, returns the PTX there. So PTX, which CI can check for many architectures, needs another way.
# Exits 0 if this is observed, 3 where there is a driver.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet cuda-core==1.2.2 cuda-bindings==13.5.0 nvidia-cuda-nvrtc==13.5.37 numpy==2.4.6
cat > "$folder/try.py" <<'PYTHON'
import ctypes
import sys
from importlib.metadata import version

from cuda.bindings import nvrtc
from cuda.core import Program, ProgramOptions

try:
    ctypes.CDLL("libcuda.so.1")
except OSError:
    pass
else:
    print("there is a driver here")
    sys.exit(3)

SOURCE = 'extern "C" __global__ void twice(unsigned* x) { x[threadIdx.x] *= 2; }'


def compiled(kind):
    try:
        code = Program(SOURCE, code_type="c++", options=ProgramOptions(arch="sm_90")).compile(kind).code
        return f"{len(code)} bytes"
    except Exception as error:
        return type(error).__name__


_, program = nvrtc.nvrtcCreateProgram(SOURCE.encode(), b"twice.cu", 0, [], [])
(status,) = nvrtc.nvrtcCompileProgram(program, 1, [b"--gpu-architecture=sm_90"])
_, size = nvrtc.nvrtcGetPTXSize(program)
cubin, ptx = compiled("cubin"), compiled("ptx")
print(f"cuda-core {version('cuda-core')}, cuda-bindings {version('cuda-bindings')}")
print(f"cuda-core, cubin   {cubin}")
print(f"cuda-core, ptx     {ptx}")
print(f"NVRTC, ptx         {status.name}, {size} bytes")
sys.exit(0 if cubin.endswith(" bytes") and ptx == "DynamicLibNotFoundError" and size > 100 else 1)
PYTHON
"$folder/venv/bin/python" "$folder/try.py"
