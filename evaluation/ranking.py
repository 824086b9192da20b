"""Who is best by a metric, where the intervals of paired differences let one say so."""

import numpy as np

from agents import controllers as controllers_lib
from evaluation import alterations, results, runner, summary as summary_lib


def knows_future(summary: summary_lib.Summary, controller: str) -> bool:
    """Returns whether a controller knows what is yet to come, so that it competes with nobody."""
    knows = summary.get("knows", {}).get(controller)
    return controller == runner.OPTIMAL or knows == controllers_lib.NEXT_ROW


def opened_first(summary: summary_lib.Summary, samples: summary_lib.Samples) -> str:
    """Returns the controller whose part is open at first: a learned one, else the cheapest."""
    names = [name for name in summary["controllers"] if name != runner.NOTHING]
    for name in names:
        if summary_lib.is_learned(name):
            return name
    fair = [name for name in names if not knows_future(summary, name)] or names
    tasks = lambda name: [results.Task(*place, name) for place in summary["scenarios"]]
    cost = lambda name: np.mean([samples[task]["total_cost"].mean() for task in tasks(name)])
    return min(fair, key=cost) if fair else runner.NOTHING


def best(
    summary: summary_lib.Summary,
    samples: summary_lib.Samples,
    scenario: str,
    level: str,
    metric: str,
) -> str | None:
    """Returns who is better than every other, or none where that cannot be told.

    A controller that knows the future, and an ablation, neither wins nor keeps another from it. The
    scenario may be `summary.ALL`.
    """
    places = [
        (name, at) for name, at in summary["scenarios"]
        if at == level and scenario in (summary_lib.ALL, name)
    ]  # fmt: skip
    strata = {}
    for controller in summary["controllers"]:
        tasks = [results.Task(*place, controller) for place in places]
        known = summary_lib.strata(tasks, samples, {metric, "survival"})
        competes = not (knows_future(summary, controller) or alterations.is_ablation(controller))
        if metric in known and competes:
            strata[controller] = known
    if len(strata) < 2:
        return None
    sign = 1.0 if summary_lib.METRICS[metric].higher_is_better else -1.0
    mean = lambda name: np.mean([values.mean() for values in strata[name][metric]])
    first, *others = sorted(strata, key=lambda name: -sign * mean(name))
    seed = summary["identity"]["seed"]
    differing = (summary_lib.differences(strata[first], strata[other], seed) for other in others)
    return first if all(each[metric]["verdict"] == "better" for each in differing) else None
