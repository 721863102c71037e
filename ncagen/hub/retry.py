"""Retries beyond the library's own, which give up on 429 and 503 after about 23 seconds.

A retried step must read the current state before it changes anything, because a lost response does not show whether the
request was carried out.
"""

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from ncagen.hub.errors import Failure, classify, user_error
from ncagen.hub.waits import MAX_WAIT, bounded

# Waits of 1, 2, 4, ... 60 seconds: about five minutes for one step, and longer if the Hub requests it.
TRIES = 11
FIRST, LONGEST = 1.0, 60.0

_LOG = logging.getLogger("ncagen")

Result = TypeVar("Result")
Notify = Callable[[str], None]


class RetryPolicy:
    """Runs steps that may fail temporarily. name, revision: the dataset, for error messages. tries: 1 or more.

    notify(text): called before every wait. Without it, waits longer than LONGEST, which a server requested, are logged.
    """

    def __init__(self, name: str, revision: str | None = None, notify: Notify | None = None, tries: int = TRIES):
        self._name, self._revision, self._notify, self._tries = name, revision, notify, tries

    def run(self, step: Callable[[], Result], first: bool = False) -> Result:
        """Returns the step's result. Raises NcagenError for a permanent failure, or after the last try.

        first: the first of several steps, which is not retried without a response, so a missing network is reported at
        once.
        """
        for number in range(1, self._tries + 1):
            try:
                with bounded():
                    return step()
            except Exception as error:
                found = classify(error)
                if found is None:
                    raise
                if not found.passing or number == self._tries or (first and found.status is None):
                    raise user_error(found, self._name, self._revision) from None
            self._wait(found, number)
        raise ValueError("tries must be 1 or more")

    def _wait(self, found: Failure, number: int) -> None:
        seconds = max(min(MAX_WAIT, found.wait), min(LONGEST, FIRST * 2 ** (number - 1)))
        what = f"returned {found.status}" if found.status else "cannot be reached"
        request = f" and requests a wait of {found.wait:.0f} s" if found.wait > MAX_WAIT else ""
        text = f"the Hub {what}{request}: retrying in {seconds:.0f} s"
        if self._notify is not None:
            self._notify(text)
        elif seconds > LONGEST:
            _LOG.warning(text)
        time.sleep(seconds)
