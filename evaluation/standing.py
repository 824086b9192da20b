"""Who is best by a metric, where the intervals of paired differences let one say so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from agents import controllers as controllers_lib
from evaluation import results, runner, summary


def foresees(found: Mapping[str, Any], controller: str) -> bool:
    """Returns whether a controller is told what is yet to come, so that it competes with nobody."""
    knows = found.get("knows", {}).get(controller)
    return controller == runner.OPTIMAL or knows == controllers_lib.NEXT_ROW


def shown_first(found: Mapping[str, Any], samples: summary.Samples) -> str:
    """Returns the controller that a reader is shown first: the learned one, else the cheapest."""
    names = [name for name in found["controllers"] if name != runner.NOTHING]
    if "learned" in names:
        return "learned"
    fair = [name for name in names if not foresees(found, name)] or names
    cost = lambda name: np.mean(
        [
            samples[results.Task(scenario, level, name)]["total_cost"].mean()
            for scenario, level in found["scenarios"]
        ]
    )
    return min(fair, key=cost) if fair else runner.NOTHING


def best(
    found: Mapping[str, Any], samples: summary.Samples, scenario: str, level: str, metric: str
) -> str | None:
    """Returns who is better than every other, or none where that cannot be told.

    A controller that is told the future neither wins nor keeps another from it.

    Args:
      found: a summary.
      samples: what it was made from.
      scenario: its name, or `summary.ALL`.
      level: of it.
      metric: its name.
    """
    places = [
        (name, at) for name, at in found["scenarios"]
        if at == level and scenario in (summary.ALL, name)
    ]  # fmt: skip
    strata = {}
    for controller in found["controllers"]:
        tasks = [results.Task(*place, controller) for place in places]
        known = summary.strata(tasks, samples, {metric, "survival"})
        if metric in known and not foresees(found, controller):
            strata[controller] = known
    if len(strata) < 2:
        return None
    sign = 1.0 if summary.METRICS[metric].higher_is_better else -1.0
    order = sorted(strata, key=lambda name: -sign * _mean(strata[name][metric]))
    first, *others = order
    seed = found["identity"]["seed"]
    differing = (summary.differences(strata[first], strata[other], seed) for other in others)
    return first if all(each[metric]["verdict"] == "better" for each in differing) else None


def _mean(strata: Sequence[np.ndarray]) -> float:
    return float(np.mean([values.mean() for values in strata]))
