"""Synthetic language-model data from random neural cellular automata, bit for bit reproducible.

`ncagen.open(folder)` reads a finished dataset with numpy and pyarrow alone; the factory behind `ncagen build` is
imported only where it is used.
"""

from ncagen.dataset.reader import Dataset
from ncagen.dataset.reader import Dataset as open
from ncagen.errors import NcagenError
from ncagen.version import VERSION as __version__

__all__ = ["Dataset", "NcagenError", "__version__", "open"]
