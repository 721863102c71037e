"""Suppresses the library's progress bars and warnings, unless the user turned them on."""

import os
import warnings

from huggingface_hub import logging
from huggingface_hub.utils import disable_progress_bars

ASKED = ("HF_DEBUG", "HF_HUB_VERBOSITY")


def quiet_library() -> None:
    """For a command line; a program that uses ncagen sets its own library up."""
    disable_progress_bars()
    if not any(os.environ.get(name) for name in ASKED):
        logging.set_verbosity(logging.CRITICAL)
        warnings.filterwarnings("ignore", module="huggingface_hub")  # such as that a disk is nearly full
