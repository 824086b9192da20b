"""The evaluator's loop: newest bundle, validation days, score; keeps the best."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from agents import bundle as bundle_lib

_POLL_S = 0.5


def run(
    variables: Any,
    evaluate: Callable[[bundle_lib.Bundle], Mapping[str, float]],
    keep_best: Callable[[bundle_lib.Bundle, Mapping[str, float]], None],
    report: Callable[[int, Mapping[str, float]], None],
    stopping: Callable[[], bool],
    progress: Callable[..., None] = lambda doing, limited=True: None,
    *,
    period_s: float,
    best: float = float("-inf"),
) -> None:
    """Evaluates until `stopping()`.

    Args:
      variables: where bundles come from; has `newest(at_least, timeout_s)`.
      evaluate: returns a bundle's scores; `"return"` decides which is best.
      keep_best: called with every bundle better than all before, and its scores.
      report: takes the version and its scores.
      stopping: says when to stop.
      progress: told what the loop does next, as `launch.nodes.heartbeat.Heartbeat.progress` is.
      period_s: time between the starts of two evaluations.
      best: the return to beat.
    """
    version, due = -1, time.monotonic()
    while not stopping():
        progress("waiting for its turn")
        if time.monotonic() < due:
            time.sleep(min(_POLL_S, max(due - time.monotonic(), 0.0)))
            continue
        bundle = variables.newest(version + 1, _POLL_S)
        if bundle is None:
            continue
        due = time.monotonic() + period_s
        version = int(bundle.version)
        progress("evaluating")
        scores = evaluate(bundle)
        if scores["return"] > best:
            best = scores["return"]
            progress("saving the best")
            keep_best(bundle, scores)
        report(version, {**scores, "best_return": best})
