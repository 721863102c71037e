#!/bin/sh
# np.memmap pickles its contents, not its file: a spawned DataLoader worker gets a private copy of a whole token file
# (nanoGPT's train.bin opened as its README does), and the unpickled object is a memmap that maps nothing. A slice of a
# memmap has the offset of the whole, so it cannot be opened again from its attributes.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q numpy==2.4.6
cd "$work"
"$work/venv/bin/python" - <<'PROGRAM'
import multiprocessing, pickle, sys
import numpy as np

np.arange(5_000_000, dtype=np.uint16).tofile("train.bin")  # 10 MB
data = np.memmap("train.bin", dtype=np.uint16, mode="r")
pickled = pickle.dumps(data)
again = pickle.loads(pickled)
print("NumPy", np.__version__, "Python", sys.version.split()[0])
print("pickled:", len(pickled), "bytes of a file of", data.nbytes)
print("again:", type(again).__name__, "file", getattr(again, "filename", None), "mapped", again._mmap is not None)
part = data[1000:]
print("slice: offset", part.offset, "filename kept", part.filename is not None)
seen = len(pickled) > data.nbytes and again._mmap is None and part.offset == 0 and part.filename is not None
sys.exit(0 if seen else 1)
PROGRAM
