"""A value that one thread makes while others wait for it, and what becomes of such values in a forked process."""

import errno
import os
import threading
from typing import Generic, Protocol, TypeVar
from weakref import WeakSet

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

    def in_fork(self) -> "Promise[Value] | None":
        """The same with a lock of this process; None if the value was being made, by a thread that is not here."""
        if not self._value:
            return None
        copy = Promise[Value]()
        copy.keep(self._value[0])
        return copy


class Forked(Protocol):
    """What has locks, or waits for threads; neither survives a fork."""

    def after_fork(self) -> None:
        """Makes new locks, in a process where no other thread runs yet."""


_forked = WeakSet[Forked]()


def tell_of_forks(owner: Forked) -> None:
    """Has `after_fork` called in each process that is forked from this one, for as long as the owner is in use."""
    _forked.add(owner)


def _after_fork() -> None:
    for owner in list(_forked):
        owner.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
