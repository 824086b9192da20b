"""Which nodes have fallen silent, and how old the figures of the others are.

A process that is stopped or gets no processor time writes no status any more. One whose loop hangs
still does, but its progress stands still. Both are told by how long the reader has seen no change,
by the reader's clock.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

# A process that is not up yet imports for a minute on a busy machine, and cannot say so.
_PATIENCE_AT_START = 10
# A loop may take so many times as long as it ever took until it moved, compilation included.
_PATIENCE_WITH_LOOPS = 3
# Of the time between two looks no more counts: while this process did not look, suspended or
# stopped as it was itself, nobody was silent.
_LONGEST_LOOK_S = 2.0


class Silence(NamedTuple):
    """A node that has been silent for more than half of what it may."""

    node: str
    seconds: float
    limit_s: float
    doing: str  # what it did last
    runs: bool  # its process does, and only its loop stands still

    def __str__(self) -> str:
        how = "has stood still" if self.runs else "has been silent"
        return f"{self.node} {how} for {self.seconds:.0f} s, last {self.doing}"


class Watch:
    """Looks at the nodes' statuses and measures how long they have not changed."""

    def __init__(
        self, nodes: Iterable[str], limit_s: float, clock: Callable[[], float] = time.monotonic
    ):
        """Takes the nodes' names, how long one may be silent, and a clock in seconds."""
        self._limit_s, self._clock = limit_s, clock
        self._looked, self._now = clock(), 0.0
        self._statuses: dict[str, Mapping[str, Any]] = {node: {} for node in nodes}
        self._changed: dict[tuple[str, str], float] = {}  # when a field of a node did
        self._longest = dict.fromkeys(self._statuses, 0.0)  # until a loop moved

    def look(self, read: Callable[[str], Mapping[str, Any]]) -> None:
        """Takes every node's status of now from `read`."""
        clock = self._clock()
        self._now += min(clock - self._looked, _LONGEST_LOOK_S)
        self._looked = clock
        for node, former in self._statuses.items():
            status = self._statuses[node] = read(node)
            if former and status.get("progress") != former["progress"]:
                self._longest[node] = max(self._longest[node], self.age(node, "progress"))
            for field in ("time", "progress", "reported"):
                if status.get(field) != former.get(field):
                    self._changed[node, field] = self._now

    def age(self, node: str, field: str = "reported") -> float:
        """Returns for how many seconds a field has not changed; by default the node's figures."""
        return self._now - self._changed.get((node, field), 0.0)

    def silences(self) -> list[Silence]:
        """Returns who has been silent for more than half of its limit, the longest first."""
        silences = [self._silence(node) for node in self._statuses]
        silences = [s for s in silences if s is not None and s.seconds > s.limit_s / 2]
        return sorted(silences, key=lambda s: (s.runs, -s.seconds / s.limit_s))

    def _silence(self, node: str) -> Silence | None:
        status = self._statuses[node]
        if not status:
            limit_s = _PATIENCE_AT_START * self._limit_s
            return Silence(node, self.age(node, "time"), limit_s, "being started", runs=False)
        if status["state"] == "ended":
            return None
        silence = Silence(node, self.age(node, "time"), self._limit_s, status["doing"], runs=False)
        if silence.seconds > silence.limit_s / 2 or not status["limited"]:
            return silence
        limit_s = max(self._limit_s, _PATIENCE_WITH_LOOPS * self._longest[node])
        return Silence(node, self.age(node, "progress"), limit_s, status["doing"], runs=True)
