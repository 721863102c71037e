#!/usr/bin/env bash
# cuda-bindings 13.5.0: functions that fill a buffer, such as nvrtcGetProgramLog, take a bytes object and write into it,
# and its examples make that with b" " * size. A log without a message has size 1, and in CPython b" " * 1 is the one
# b" " that the whole interpreter shares: from then on b" " equals b"\0", and b"a b".split(b" ") finds nothing to split.
# Compiling to PTX without a warning is enough. A bytearray is taken too, and harms nothing. Exits 0 if this is observed;
# needs no GPU and no driver.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet cuda-bindings==13.5.0 nvidia-cuda-nvrtc==13.0.88
cat > "$folder/try.py" <<'PYTHON'
import sys
from importlib.metadata import version

from cuda.bindings import nvrtc

SOURCE = b'extern "C" __global__ void twice(unsigned* x) { x[threadIdx.x] *= 2; }'


def log_into(buffer_of):
    """Compiles, reads the log into a buffer of its size, and returns the size."""
    _, program = nvrtc.nvrtcCreateProgram(SOURCE, b"twice.cu", 0, [], [])
    nvrtc.nvrtcCompileProgram(program, 1, [b"--gpu-architecture=compute_90"])
    _, size = nvrtc.nvrtcGetProgramLogSize(program)
    nvrtc.nvrtcGetProgramLog(program, buffer_of(size))
    return size


print(f"cuda-bindings {version('cuda-bindings')}, Python {sys.version.split()[0]}")
size = log_into(bytearray)
before = b"a b".split(bytes([32]))
print(f"bytearray({size})        splits {before}")
log_into(lambda size: b" " * size)
after = b"a b".split(bytes([32]))
print(f"bytes of size {size}     splits {after}")
sys.exit(0 if size == 1 and before == [b"a", b"b"] and after == [b"a b"] else 1)
PYTHON
"$folder/venv/bin/python" "$folder/try.py"
