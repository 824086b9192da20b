"""Repeated timing of one call: median, fastest and slowest."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable

_LEAST_REPEATS = 3


@dataclasses.dataclass(frozen=True)
class Timing:
    """Seconds of one call, over its repeats."""

    median: float
    min: float
    max: float
    repeats: int
    first: float  # the call before the repeats, with compilation


def measure(run: Callable[[], None], repeats: int, seconds: float) -> Timing:
    """Returns the timing of `run`, which must not return before its work is done.

    The first call compiles and is kept apart. Then there are `repeats` calls, or as many as fit
    into `seconds`, but no fewer than three; a call that alone takes longer than three times
    `seconds` is not repeated.
    """
    first = _once(run)
    taken = [_once(run)]
    while len(taken) < repeats:
        if taken[0] > 3 * seconds or (len(taken) >= _LEAST_REPEATS and sum(taken) > seconds):
            break
        taken.append(_once(run))
    return Timing(statistics.median(taken), min(taken), max(taken), len(taken), first)


def _once(run: Callable[[], None]) -> float:
    begun = time.perf_counter()
    run()
    return time.perf_counter() - begun
