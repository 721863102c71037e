"""Runs the Hub until it is stopped, for trying things by hand: python -m hub FOLDER (in tests/)

It prints what to set; the token `hf_user` is user `user`'s.
"""

import signal
import sys
from pathlib import Path

from hub.server import Hub

with Hub(Path(sys.argv[1]), {"hf_user": "user"}) as hub:
    print(f"export HF_ENDPOINT={hub.url} HF_TOKEN=hf_user", flush=True)
    signal.sigwait({signal.SIGINT, signal.SIGTERM})
