"""Limits how long a server may make this process wait.

The library waits as long as a response requests, without a message, even for years. While `retry` runs a step, such a
response ends the step instead: `retry` prints the requested wait, and waits no longer than MAX_WAIT. In the
library's threads, where an exception would be lost, the response is changed to request no more than that.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from huggingface_hub.utils import get_session

from ncagen.hub.errors import PASSING, requested_wait

# Twice the window in which the Hub counts requests, which its RateLimit-Policy header gives as w=300.
MAX_WAIT = 600.0

# The library's longest wait between two of its tries when no server requests one; it is not reported.
LIBRARY_SECONDS = 8.0

_ours: ContextVar[bool] = ContextVar("ncagen_waits", default=False)


class WaitRequested(Exception):
    """A response that requests a wait. response: as the library's errors hold it."""

    def __init__(self, response):
        super().__init__(f"status {response.status_code}")
        self.response = response


@contextmanager
def bounded() -> Iterator[None]:
    """Within this context no server makes the library wait longer than LIBRARY_SECONDS. Raises WaitRequested.

    Not covered: the library before version 1, whose clients have no such hooks.
    """
    hooks = getattr(get_session(), "event_hooks", None)
    if hooks is not None and _bound not in hooks["response"]:
        hooks["response"].append(_bound)
    token = _ours.set(True)
    try:
        yield
    finally:
        _ours.reset(token)


def _bound(response) -> None:
    """Hook that the library's client calls with every response."""
    seconds = requested_wait(response.headers) if response.status_code in PASSING else 0.0
    if seconds > LIBRARY_SECONDS and _ours.get():
        raise WaitRequested(response)
    if seconds > MAX_WAIT:
        response.headers.pop("RateLimit", None)
        response.headers["Retry-After"] = f"{MAX_WAIT:.0f}"
