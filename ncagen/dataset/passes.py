"""Chooses the next pass: the one rule of all readers for passes, epochs and resume. Standard library only.

    Pass n + 1 is epoch n + 1.
    A loaded state applies to the next pass alone; the pass after it is a whole epoch.
    `set_epoch(e)` makes epoch e the next pass, and keeps a loaded state that is within it.

A pass of k epochs is block n of k epochs, and starts where the previous one ends. A pass without an end is followed by
one from the epoch after that in which it started.

A pass is counted when its first batch is requested. To share the count among processes, replace `Memory`.
"""

from collections.abc import Callable
from typing import NamedTuple

from ncagen.errors import NcagenError


class Span(NamedTuple):
    """Positions counted over all epochs: from `start` to before `end`; end None: no end."""

    start: int
    end: int | None


class Memory:
    """Stores the next pass and the latest one: here, in attributes of this process."""

    def __init__(self) -> None:
        self._next = Span(0, None)
        self._current: Span | None = None

    @property
    def next(self) -> Span:
        """The next pass to start."""
        return self._next

    @property
    def current(self) -> Span | None:
        """The latest pass to start; None if none has started since `move`."""
        return self._current

    def move(self, span: Span) -> None:
        """Makes a span the next pass; none is in progress then."""
        self._next, self._current = span, None

    def begin(self, after: Callable[[Span], Span]) -> Span:
        """Takes the next pass. after(span): the pass that follows one."""
        return self.take(self.next, after)

    def take(self, span: Span, after: Callable[[Span], Span]) -> Span:
        """Makes a span the pass in progress, and what follows it the next."""
        self._current, self._next = span, after(span)
        return span


class Passes:
    """The passes over `length` positions an epoch, of `epochs` epochs each (None: no end)."""

    def __init__(self, length: int, epochs: int | None, memory: Memory | None = None):
        self._length, self._epochs = length, epochs
        self._memory = memory or Memory()
        self._loaded: int | None = None  # a position that was loaded; it is the next pass's start until that begins
        self._memory.move(self._whole(0))

    @property
    def next(self) -> Span:
        """The pass that starts with the next first batch."""
        return self._memory.next

    @property
    def current(self) -> Span | None:
        """The latest pass to start; None if none has started since the last load or set_epoch."""
        return self._memory.current

    def begin(self) -> Span:
        """Starts the next pass."""
        return self._memory.begin(self._after)

    def begin_at(self, position: int) -> Span:
        """Begins with what is left of the pass that a position lies in."""
        return self._memory.take(self._from(position), self._after)

    def resume(self, position: int) -> None:
        """Makes the rest of a pass the next one. position: of its first row, counted over all epochs."""
        self._loaded = position
        self._memory.move(self._from(position))

    def set_epoch(self, epoch: int) -> None:
        """Makes the pass that starts with an epoch the next one, or the part of it that a loaded state leaves.

        Raises NcagenError for an epoch within a pass: a trainer that counts passes would start inside one.
        """
        if self._epochs is not None and epoch % self._epochs:
            raise NcagenError(
                f"epoch {epoch} is within a pass of {self._epochs} epochs: use a multiple of {self._epochs}, or"
                " epochs=1 with a trainer that calls set_epoch for each pass"
            )
        whole = self._whole(epoch)
        loaded = self._loaded
        if loaded is not None and loaded == self.next.start >= whole.start and (not whole.end or loaded < whole.end):
            whole = Span(loaded, whole.end)
        self._memory.move(whole)

    def whole(self) -> Span:
        """A pass with nothing left out, for its length."""
        return self._whole(0)

    def _whole(self, epoch: int) -> Span:
        end = None if self._epochs is None else (epoch + self._epochs) * self._length
        return Span(epoch * self._length, end)

    def _after(self, span: Span) -> Span:
        return self._whole(span.start // self._length + 1 if span.end is None else span.end // self._length)

    def _from(self, position: int) -> Span:
        """What is left of the pass that a position lies in."""
        if self._epochs is None:
            return Span(position, None)
        rows = self._epochs * self._length
        return Span(position, (position // rows + 1) * rows)
