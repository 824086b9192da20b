"""What an actor and a learner see of the queue between them, whatever carries it."""

from collections.abc import Callable, Iterator
from typing import Protocol

from replay import schema


class Writer(Protocol):
    """The actor's end."""

    def write(self, unroll: schema.Unroll, stopping: Callable[[], bool]) -> bool:
        """Adds `unroll`, waiting while the queue is full; false if `stopping()` came first."""


class Reader(Protocol):
    """The learner's end."""

    def read(self) -> Iterator[schema.Unroll]:
        """Yields unrolls for ever, waiting while the queue is empty."""

    def size(self) -> int:
        """Returns how many unrolls wait."""
