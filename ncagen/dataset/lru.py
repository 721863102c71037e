"""A cache of the most recently used values, for values that are expensive to make."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

from ncagen.dataset.promise import Promise, tell_of_forks

Key = TypeVar("Key")
Value = TypeVar("Value")


class LruCache(Generic[Key, Value]):
    """The values used last, `most` of them; for several threads, of which one makes a value, and after a fork."""

    def __init__(self, most: int):
        self._most, self._values, self._making = most, OrderedDict[Key, Value](), dict[Key, Promise[Value]]()
        self._lock = threading.Lock()
        tell_of_forks(self)

    def __contains__(self, key: Key) -> bool:
        """Whether a value is held or being made."""
        return key in self._values or key in self._making

    def get(self, key: Key, make: Callable[[], Value]) -> Value:
        """The value of a key, made where it is not held. Raises what `make` raises, in all threads that wait for it."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key]
            if others := self._making.get(key):
                promise = others
            else:
                promise = self._making[key] = Promise()
        return promise.get() if others else self._make(key, make, promise)

    def _make(self, key: Key, make: Callable[[], Value], promise: Promise[Value]) -> Value:
        try:
            value = make()
        except BaseException as error:
            with self._lock:
                del self._making[key]
            promise.fail(error)
            raise
        with self._lock:
            self._values[key] = value
            del self._making[key]
            while len(self._values) > self._most:
                self._values.popitem(last=False)
        promise.keep(value)
        return value

    def resize(self, most: int) -> None:
        """Changes how many values are held, from the next one on."""
        self._most = most

    def drop(self, key: Key) -> None:
        """Lets go of a value."""
        with self._lock:
            self._values.pop(key, None)

    def after_fork(self) -> None:
        """Forgets what other threads were making, and the lock that they may have held."""
        self._lock, self._making = threading.Lock(), {}

    def __reduce__(self):
        return LruCache, (self._most,)
