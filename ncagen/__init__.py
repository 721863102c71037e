"""Synthetic language-model data from random neural cellular automata, bit for bit reproducible.

`ncagen.open(folder)` reads a finished dataset and `ncagen.Stream` gives its rows in batches, with numpy and pyarrow
alone; `ncagen.open("user/name")` reads one on the Hugging Face Hub, with huggingface_hub. The factory behind
`ncagen build`, and behind `ncagen.generate`, which gives a build's rows without a file, is imported only where it is
used.
"""

from ncagen.dataset.layout import Layout
from ncagen.dataset.mixture import Mixture
from ncagen.dataset.reader import Dataset
from ncagen.dataset.stream import Stream
from ncagen.dataset.tokens import Tokens
from ncagen.errors import NcagenError
from ncagen.factory.generate import generate
from ncagen.opening import open
from ncagen.version import VERSION as __version__

__all__ = ["Dataset", "Layout", "Mixture", "NcagenError", "Stream", "Tokens", "__version__", "generate", "open"]
