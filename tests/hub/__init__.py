"""A Hub on this machine for tests: enough of the Hugging Face Hub's protocol that the real clients work with it.

It shows how clients behave: what they send, what they send again, and what they make of a fault. It does not show the
Hub's own limits: quotas, rate limits, sizes, the time that a commit takes. Standard library only, but for one thing: a
file that was stored by Xet and is asked for over plain HTTP is put together by hf_xet.
"""

from hub.faults import Call, Drop, Slow, Status, Wrong
from hub.server import Hub
from hub.store import Conflict, Missing

__all__ = ["Call", "Conflict", "Drop", "Hub", "Missing", "Slow", "Status", "Wrong"]
