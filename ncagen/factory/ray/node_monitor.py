"""Counts the nodes of a Ray cluster in a thread of its own, because asking a head that is gone may never return.

It does not say why a node left, and does not notice one that left and came back within COUNT_SECONDS.
"""

import threading
import time
from typing import NamedTuple

from ncagen.factory.ray.workers import Node

COUNT_SECONDS = 2.0


class Count(NamedTuple):
    """The nodes that were alive at some time."""

    alive: list[Node]


class NodeMonitor:
    """Keeps the nodes of the cluster that `ray` is connected to. head: HOST:PORT of the head.

    loss: when a node was last found missing, in seconds of time.monotonic; minus infinity before.
    """

    def __init__(self) -> None:
        import ray

        self.head = ray.get_runtime_context().gcs_address
        self.loss = float("-inf")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._news: Count | None = None
        self._alive: set[str] = set()
        self._look()

    @property
    def silence(self) -> float:
        """Seconds since the head last answered."""
        return time.monotonic() - self._heard

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()

    def news(self) -> Count | None:
        """The nodes that are alive, if they are others than at the last call; None if not."""
        news, self._news = self._news, None
        return news

    def _watch(self) -> None:
        while not self._stop.wait(COUNT_SECONDS):
            try:
                self._look()
            except Exception:  # the head is restarted, or the connection ends: `silence` grows
                continue

    def _look(self) -> None:
        import ray

        nodes = [node for node in ray.nodes() if node["Alive"]]
        self._heard = time.monotonic()
        alive = {node["NodeID"] for node in nodes}
        if self._alive - alive:
            self.loss = self._heard
        if alive != self._alive:
            self._alive, self._news = alive, Count(nodes)
