"""How long a server may make this process wait.

The library itself waits as long as an answer asks it to, without a word, be it years. While `patience` runs a step,
such an answer ends the step instead: `patience` says what was asked, and waits no longer than LONGEST_ASKED. In threads
of the library's own, where nobody would see an exception, the answer is changed to ask for no more than that.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from huggingface_hub.utils import get_session

from ncagen.hub.errors import PASSING, asked_wait

# Twice the window in which the Hub counts requests, which its RateLimit-Policy header gives as w=300.
LONGEST_ASKED = 600.0

# The longest that the library waits of its own accord between two of its tries; that needs no word.
LIBRARY_SECONDS = 8.0

_ours: ContextVar[bool] = ContextVar("ncagen_waits", default=False)


class AskedToWait(Exception):
    """An answer that asks to wait. response: the answer, as the library's own errors have it."""

    def __init__(self, response):
        super().__init__(f"status {response.status_code}")
        self.response = response


@contextmanager
def bounded() -> Iterator[None]:
    """Within it, no server makes the library wait longer than it would of its own accord. Raises AskedToWait.

    The library before version 1 has clients without such hooks, and waits as it likes whatever a server asks.
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
    """What the library's client calls with every answer."""
    asked = asked_wait(response.headers) if response.status_code in PASSING else 0.0
    if asked > LIBRARY_SECONDS and _ours.get():
        raise AskedToWait(response)
    if asked > LONGEST_ASKED:
        response.headers.pop("RateLimit", None)
        response.headers["Retry-After"] = f"{LONGEST_ASKED:.0f}"
