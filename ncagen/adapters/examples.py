"""A dataset or a mixture as a sequence of examples, for loaders that index by number. NumPy only.

Example i is at position i of the shuffled order, so a loader that counts up from 0, on one machine or with a stride on
many, gives the rows in the order of a `Stream` of the same seed, and the loader's state resumes it. An index does not
contain the pass: call `set_epoch` for each.
"""

from collections.abc import Sequence

import numpy as np

from ncagen.dataset.division import Division
from ncagen.dataset.formats import Part
from ncagen.dataset.layout import Layout
from ncagen.dataset.mixture import Mixture
from ncagen.dataset.options import LAYOUT, redirect
from ncagen.dataset.stream import Stream


class Examples(Sequence):
    """`examples[i]` is a dict of int64 arrays [position], by the layout. `len()`: whole sequences of `epochs`."""

    @redirect(LAYOUT)
    def __init__(
        self,
        data: Part | Mixture,
        layout: Layout | None = None,
        *,
        shuffle: bool = False,
        seed: int = 0,
        epochs: int = 1,
    ):
        """layout: `Layout()` if left out. shuffle: position i holds the row that a `Stream` of this seed has there.

        epochs: how many follow one another, each in an order of its own; a loader that repeats them repeats their
        order, unless `set_epoch` is called. Raises NcagenError.
        """
        self._stream = Stream(data, layout=layout or Layout(), shuffle=shuffle, seed=seed, epochs=epochs)
        self._length = len(self._stream)
        self.set_epoch(0)

    def __len__(self) -> int:
        return self._length

    def __repr__(self) -> str:
        return f"<ncagen.adapters.examples.Examples: {self.described()}>"

    def described(self) -> str:
        """How many examples of which data, for `repr`."""
        stream = self._stream
        return f"{len(self):,} of {stream.data!r}, layout={stream.layout!r}, seed={stream.seed}, epoch={self.epoch}"

    def set_epoch(self, epoch: int) -> None:
        """Example 0 is the first of this epoch from now on. Raises NcagenError."""
        self._stream.set_epoch(epoch)
        self._division: Division = self._stream.divide(self._stream.next_pass)

    @property
    def epoch(self) -> int:
        """The epoch that example 0 is of."""
        return self._division.start // self._division.length

    def __getitem__(self, number):
        return self.__getitems__([number])[0]

    def __getitems__(self, numbers: Sequence[int]) -> list[dict[str, np.ndarray]]:
        """Several examples at once, as torch's DataLoader requests them; each row group is read once."""
        for number in numbers:
            if not -len(self) <= number < len(self):
                raise IndexError(f"example {number} is out of range: there are {len(self)}")
        positions = [self._division.positions([int(number) % len(self)]) for number in numbers]
        batch = self._stream.take(np.concatenate(positions))
        return [{name: column[i] for name, column in batch.items()} for i in range(len(numbers))]
