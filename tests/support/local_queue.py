"""An in-process queue, for actors and learner on threads of one process."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator

from replay import schema


class LocalQueue:
    """Writer and reader of one process. First in, first out; writers wait when it is full."""

    def __init__(self, max_size: int):
        self._items: queue.Queue = queue.Queue(max_size)

    def write(self, unroll: schema.Unroll, stopping: Callable[[], bool]) -> bool:
        """Adds `unroll`, waiting while the queue is full; false if `stopping()` came first."""
        while not stopping():
            try:
                self._items.put(unroll, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def read(self) -> Iterator[schema.Unroll]:
        """Yields unrolls for ever, waiting while the queue is empty."""
        while True:
            yield self._items.get()

    def size(self) -> int:
        """Returns how many unrolls wait."""
        return self._items.qsize()
