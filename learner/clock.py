"""How long a run has learned, and how fast it does."""

import collections
import contextlib
import time
from collections.abc import Iterator

_UPDATES = 20  # that rates and shares are taken over


class Clock:
    """Counts seconds of learning; compilation and the wait for the first data are none.

    They begin when the first update is done, so that compiling colours no rate.
    """

    def __init__(self, seconds_before: float, steps: int):
        """Takes the seconds that earlier launches learned, and the steps learned from so far."""
        self._seconds_before = seconds_before
        self._began: float | None = None
        self._waited = 0.0
        first = (time.monotonic(), steps, self._waited)
        self._recent = collections.deque([first], maxlen=_UPDATES)

    @property
    def started(self) -> bool:
        """Whether an update has been done in this launch."""
        return self._began is not None

    @property
    def seconds(self) -> float:
        """Seconds of learning, those of earlier launches too."""
        return self._seconds_before + (time.monotonic() - self._began if self.started else 0.0)

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Counts the block's seconds as a wait for data."""
        before = time.monotonic()
        yield
        self._waited += time.monotonic() - before

    def updated(self, steps: int) -> dict[str, float]:
        """Counts an update, `steps` learned from so far, and returns figures for the log."""
        now = time.monotonic()
        before, steps_before, waited_before = self._recent[0]
        if self._began is None:
            self._began = now
            self._recent.clear()
        self._recent.append((now, steps, self._waited))
        return {
            "run/seconds": self._seconds_before + now - self._began,
            "run/steps_per_second": (steps - steps_before) / (now - before),
            "run/learner_wait_share": (self._waited - waited_before) / (now - before),
        }
