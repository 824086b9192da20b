"""The evaluator's loop: newest bundle, validation days, score; keeps the best."""

import time
from collections.abc import Callable, Mapping

from agents import bundle as bundle_lib
from replay import monitor as monitor_lib

_POLL_S = 0.5


def run(
    source: bundle_lib.Source,
    evaluate: Callable[[bundle_lib.Bundle], Mapping[str, float]],
    keep_best: Callable[[bundle_lib.Bundle, Mapping[str, float]], None],
    record: Callable[[int, Mapping[str, float]], None],
    monitor: monitor_lib.Monitor,
    *,
    period_s: float,
    best: float = float("-inf"),
) -> None:
    """Evaluates until the monitor says to stop.

    Args:
      source: where bundles come from.
      evaluate: returns a bundle's scores; `"return"` decides which is best.
      keep_best: called with every bundle better than all before, and its scores.
      record: takes the version and its scores.
      monitor: watches the loop.
      period_s: time between the starts of two evaluations.
      best: the return to beat.
    """
    version, due = -1, time.monotonic()
    while not monitor.stopping():
        monitor.progress("waiting for its turn")
        if time.monotonic() < due:
            time.sleep(min(_POLL_S, max(due - time.monotonic(), 0.0)))
            continue
        bundle = source.newest(version + 1, _POLL_S)
        if bundle is None:
            continue
        due = time.monotonic() + period_s
        version = int(bundle.version)
        monitor.progress("evaluating")
        scores = evaluate(bundle)
        if scores["return"] > best:
            best = scores["return"]
            monitor.progress("saving the best")
            keep_best(bundle, scores)
        record(version, {**scores, "best_return": best})
