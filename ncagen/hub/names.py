"""Parses names of datasets on the Hugging Face Hub: `user/name`. No requests are made here."""

import re

from ncagen.errors import NcagenError

# As the Hub has them: letters, digits, - _ . with no two dashes or dots in a row, 96 characters at most.
_NAME = re.compile(r"(?!.*(?:--|\.\.))[A-Za-z0-9][\w-]*/[A-Za-z0-9_](?:[\w.-]*[\w])?", re.ASCII)
LONGEST = 96


def is_name(text: str) -> bool:
    """Whether a dataset on the Hub could have this name."""
    return len(text) <= LONGEST and not text.endswith(".git") and _NAME.fullmatch(text) is not None


def check_name(text: str) -> None:
    """Raises NcagenError for what is no name."""
    if not is_name(text):
        raise NcagenError(f"{text!r} is not the name of a dataset on the Hub: use user/name, as in ada/nca-high")
