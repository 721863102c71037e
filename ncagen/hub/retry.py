"""Trying again, beyond what the library does itself: it gives up on 429 and 503 after about 23 seconds.

What is tried must look at what is there before it changes anything, because an answer that is lost says nothing about
whether the request was carried out.
"""

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from ncagen.hub.errors import Trouble, explained, trouble
from ncagen.hub.waits import LONGEST_ASKED, bounded

# Waits of 1, 2, 4, ... 60 seconds: about five minutes for one step, and longer where the Hub asks for it.
TRIES = 11
FIRST, LONGEST = 1.0, 60.0

_LOG = logging.getLogger("ncagen")

Result = TypeVar("Result")
Say = Callable[[str], None]


class Patience:
    """Runs steps that may fail for a while. name: the dataset, for the line of an error that stays.

    say: told of every wait. Without it, waits longer than LONGEST, which a server has asked for, are logged.
    """

    def __init__(self, name: str, revision: str | None = None, say: Say | None = None, tries: int = TRIES):
        self._name, self._revision, self._say, self._tries = name, revision, say, tries

    def run(self, step: Callable[[], Result], first: bool = False) -> Result:
        """What the step returns, once it does. Raises NcagenError for what does not pass, or not soon enough.

        first: of several steps, so that who has no network at all learns it at once.
        """
        for number in range(1, self._tries + 1):
            try:
                with bounded():
                    return step()
            except Exception as error:
                found = trouble(error)
                if found is None:
                    raise
                if not found.passing or number == self._tries or (first and found.status is None):
                    raise explained(found, self._name, self._revision) from None
            self._wait(found, number)
        raise ValueError("tries must be 1 or more")

    def _wait(self, found: Trouble, number: int) -> None:
        seconds = max(min(LONGEST_ASKED, found.wait), min(LONGEST, FIRST * 2 ** (number - 1)))
        what = f"answers {found.status}" if found.status else "cannot be reached"
        asked = f" and asks to wait {found.wait:.0f} s" if found.wait > LONGEST_ASKED else ""
        text = f"the Hub {what}{asked}: trying again in {seconds:.0f} s"
        if self._say is not None:
            self._say(text)
        elif seconds > LONGEST:
            _LOG.warning(text)
        time.sleep(seconds)
