"""A cache of the most recently used values, for values that are expensive to make."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class LruCache(Generic[Key, Value]):
    """The values used last, `most` of them; safe to use from several threads, which may both make a value."""

    def __init__(self, most: int):
        self._most, self._values, self._lock = most, OrderedDict[Key, Value](), threading.Lock()

    def get(self, key: Key, make: Callable[[], Value]) -> Value:
        """The value of a key, made where it is not held."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key]
        value = make()
        with self._lock:
            self._values[key] = value
            if len(self._values) > self._most:
                self._values.popitem(last=False)
        return value

    def drop(self, key: Key) -> None:
        """Lets go of a value."""
        with self._lock:
            self._values.pop(key, None)

    def __reduce__(self):
        return LruCache, (self._most,)
