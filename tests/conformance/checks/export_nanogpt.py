"""nanoGPT has no package: what its train.py does, in other words. meta.pkl is taken apart, not loaded."""

import pickletools

import numpy as np
from common import EXPORT, report, same, source

tokens = 0
for split, name in (("train", "train.bin"), ("validation", "val.bin")):
    data = np.memmap(EXPORT / name, dtype=np.uint16, mode="r")
    tokens += same(data.reshape(source(split).shape), split)

meta = [argument for _, argument, _ in pickletools.genops((EXPORT / "meta.pkl").read_bytes()) if argument is not None]
assert meta[meta.index("vocab_size") :][-1] == 10002, meta
report(None, "np.memmap of train.bin and val.bin, and vocab_size", tokens)
