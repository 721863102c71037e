"""What a command needs and what takes long to import or to load, done once: see `hub.commands`.

Not huggingface_hub itself, because it reads its environment when it is imported.
"""

import filelock
import fsspec
import hf_xet
import numpy as np
import tqdm
import yaml

import ncagen.cli
import ncagen.commands.push
import ncagen.dataset.verify
import ncagen.sources.nca.source
from ncagen.deflate.lengths import token_gzip_lengths

try:
    import httpx2  # the library's second version
except ModuleNotFoundError:
    httpx2 = None

IMPORTED = (filelock, fsspec, hf_xet, tqdm, yaml, ncagen, httpx2)

token_gzip_lengths(np.zeros((2, 360), np.uint16))
