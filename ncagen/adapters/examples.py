"""A dataset or a mixture as a sequence of examples, for loaders that ask by number. NumPy only.

Example i is the one at position i of the order, so a loader that goes from 0 on, on one machine or with a stride on
many, gives the rows in the order of a `Stream` of the same seed. The loader's own state then is what resumes it. Who
asks by number does not tell which pass this is: `set_epoch` does.
"""

from collections.abc import Sequence

import numpy as np

from ncagen.dataset.division import Division
from ncagen.dataset.formats import Part
from ncagen.dataset.layout import Layout
from ncagen.dataset.mixture import Mixture
from ncagen.dataset.stream import Stream


class Examples(Sequence):
    """`examples[i]`: a dict of int64 arrays [place], as the layout has them. `len()`: whole sequences of `epochs`."""

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
        """Several examples at once, which torch's DataLoader asks for and which reads each row group once."""
        for number in numbers:
            if not -len(self) <= number < len(self):
                raise IndexError(f"example {number} is out of range: there are {len(self)}")
        positions = [self._division.positions([int(number) % len(self)]) for number in numbers]
        batch = self._stream.take(np.concatenate(positions))
        return [{name: column[i] for name, column in batch.items()} for i in range(len(numbers))]
