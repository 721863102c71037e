"""What can go wrong with a request. A fault is planned for the requests that match, once or several times.

hub.fault("POST", "/commit/", Status(503), times=2)
"""

import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Status:
    """An answer instead of the real one."""

    code: int
    headers: dict[str, str] = field(default_factory=dict)
    message: str = "planned by the test"


@dataclass(frozen=True)
class Drop:
    """The connection ends without an answer, before the request was carried out or after."""

    after: bool = False


@dataclass(frozen=True)
class Slow:
    """The answer comes late."""

    seconds: float


@dataclass(frozen=True)
class Wrong:
    """The answer's body has one other byte."""


@dataclass(frozen=True)
class Call:
    """Something else happens first: a commit of somebody else, the end of the client."""

    function: Callable[[], None]


Fault = Status | Drop | Slow | Wrong | Call


class Faults:
    """The faults planned, which take effect in the order of the plan."""

    def __init__(self):
        self._planned: list[list] = []
        self._lock = threading.Lock()

    def plan(self, method: str, path: str, fault: Fault, times: int = 1, skip: int = 0) -> None:
        """For `times` requests after `skip` of them. method, path: patterns, of all of it and of a part of it."""
        with self._lock:
            self._planned.append([re.compile(method), re.compile(path), fault, skip, times])

    def take(self, method: str, path: str) -> Fault | None:
        """The fault of this request, if any."""
        with self._lock:
            for plan in self._planned:
                if plan[0].fullmatch(method) and plan[1].search(path) and plan[4]:
                    if plan[3]:
                        plan[3] -= 1
                        continue
                    plan[4] -= 1
                    return plan[2]
        return None

    def clear(self) -> None:
        """Nothing goes wrong any more."""
        with self._lock:
            self._planned.clear()


def before(fault: Fault | None) -> None:
    """What happens before the request is carried out."""
    if isinstance(fault, Slow):
        time.sleep(fault.seconds)
    if isinstance(fault, Call):
        fault.function()


def spoiled(body: bytes) -> bytes:
    """The body with its middle byte changed."""
    middle = len(body) // 2
    return body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :] if body else body
