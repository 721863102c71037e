"""A value that one thread makes while others wait for it, and that a forked process can tell to be lost."""

import errno
import os
import threading
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Promise(Generic[Value]):
    """A value, or the error that its making raised; neither for as long as it is being made."""

    def __init__(self) -> None:
        self._done, self._value, self._error = threading.Event(), list[Value](), list[Exception]()

    @property
    def is_done(self) -> bool:
        return self._done.is_set()

    @property
    def has_failed(self) -> bool:
        return bool(self._error)

    def keep(self, value: Value) -> None:
        """Gives the value to those that wait."""
        self._value.append(value)
        self._done.set()

    def fail(self, error: BaseException) -> None:
        """Raises the error in those that wait; an interrupt of the thread that made the value is not theirs."""
        interrupted = OSError(errno.EINTR, os.strerror(errno.EINTR))
        self._error.append(error if isinstance(error, Exception) else interrupted)
        self._done.set()

    def get(self) -> Value:
        """Waits for the value. Raises what its making raised."""
        self._done.wait()
        if self._error:
            raise self._error[0]
        return self._value[0]

    def after_fork(self) -> "Promise[Value] | None":
        """The same with a lock of this process; None if the value was being made, by a thread that is not here."""
        if not self._value:
            return None
        copy = Promise[Value]()
        copy.keep(self._value[0])
        return copy
