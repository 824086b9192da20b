"""What an evaluation says: every controller in every scenario, and how sure one can be of it."""

from __future__ import annotations

import csv
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from evaluation import intervals, l2rpn, metrics, results, runner

_NOTHING = 1e-4  # of a mean: a difference that nobody would act on
# Days below which a percentile bootstrap is too narrow to call anything better: of two equal
# controllers it calls one better in 7 of 100 comparisons over 10 days, and in 14 over 5.
_FEWEST = 10

ALL = "all"  # in place of a scenario: all of them, each counting the same
GAP, DISPATCH_GAP, SCORE = "gap", "dispatch_gap", "l2rpn"
_MORE = {
    GAP: metrics.Metric("cost over AC-OPF", "%", False, True),  # every price included
    DISPATCH_GAP: metrics.Metric("operating cost over AC-OPF", "%", False),
    SCORE: metrics.Metric("L2RPN score", "", True, True),
}
METRICS = {**metrics.METRICS, **_MORE}
COMPARED = (runner.NOTHING, runner.OPTIMAL)  # controllers that differences are told to

Samples = dict[results.Task, dict[str, np.ndarray]]
Strata = Sequence[np.ndarray]  # of each scenario `[n]`
_DECIDED = ("better", "worse")


class Unfinished(RuntimeError):
    """Batches are missing."""


def collect(folder: results.Folder, plan: runner.Plan, n_bus: int) -> tuple[Samples, dict]:
    """Returns every metric of every episode, `{task: {metric: [episodes]}}`, and what is besides.

    Besides, by task: `endings` by reason, `latency`, `seconds` that playing took, and of the bound
    `seconds_per_row`.

    Raises:
      Unfinished: a batch is missing.
    """
    samples: Samples = {}
    besides: dict[results.Task, dict[str, Any]] = {}
    costs: dict[results.Task, l2rpn.Cost] = {}
    ended: dict[results.Task, np.ndarray] = {}
    batches = plan.batches(n_bus)
    for task in plan.tasks():
        found = [folder.batch(task, first, count) for first, count in batches]
        if None in found:
            raise Unfinished(f"{task}: {found.count(None)} of {len(found)} batches are missing")
        names = found[0]["metrics"]
        samples[task] = {
            name: np.concatenate([np.asarray(b["metrics"][name], float) for b in found])
            for name in names
        }
        reasons = [reason for batch in found for reason in batch.get("endings", [])]
        ended[task] = np.array([reason != "NONE" for reason in reasons])
        besides[task] = {
            "endings": metrics.tally(reasons),
            "seconds": sum(batch["seconds"] for batch in found),
            "latency": found[0].get("latency"),
            "seconds_per_row": found[0].get("seconds_per_row"),
        }
        if "l2rpn" in found[0]:
            costs[task] = l2rpn.Cost(
                *(
                    np.concatenate([np.asarray(b["l2rpn"][name], float) for b in found])
                    for name in l2rpn.Cost._fields
                )
            )
    for task, cost in costs.items():
        reference = lambda name, t=task: t._replace(controller=name)
        samples[task][SCORE] = l2rpn.score(
            cost.operation, costs[reference(runner.NOTHING)], costs[reference(runner.UNTRIPPED)]
        )
        bound = samples.get(reference(runner.BOUND))
        if bound is not None:
            _over_bound(samples[task], bound, ended[task])
    return samples, besides


def _over_bound(
    mine: dict[str, np.ndarray], bound: Mapping[str, np.ndarray], ended: np.ndarray
) -> None:
    """Adds what a controller's days, of which some `ended` early, cost over their bound, %.

    Of dispatch, over the hours that were played: cost per hour depends on the hour. With every
    price, over the day, as the price of its end is in it.
    """
    over = lambda cost, least: 100.0 * (cost / np.where(least > 0, least, np.nan) - 1.0)
    mine[GAP] = over(mine["total_cost"], bound["total_cost"])
    rows = bound["operating_rows"]  # `[episodes, rows]` $
    horizon = rows.shape[1]
    steps = np.round(0.01 * mine["survival"] * horizon).astype(int) + ended
    least = np.array([row[:n].sum() for row, n in zip(rows, steps)])
    mine[DISPATCH_GAP] = over(mine["cost"] * steps / horizon, least)


def summarise(samples: Samples, besides: Mapping, plan: runner.Plan) -> dict[str, Any]:
    """Returns the summary as JSON has it.

    `rows` has one entry for each scenario, level and controller, and one for all scenarios of a
    level together (`scenario` "all"); each metric comes with `mean`, `low`, `high`, `iqm`,
    `iqm_low`, `iqm_high`, and paired differences to do-nothing and to AC-OPF where it was
    evaluated, with a verdict.
    """
    rows = []
    shown = [runner.NOTHING, *plan.controllers]
    for name in dict.fromkeys(shown):
        for scenario, level in plan.scenarios:
            task = results.Task(scenario, level, name)
            rows.append(_row(scenario, level, name, [task], samples, plan, besides[task]))
        for level in dict.fromkeys(level for _, level in plan.scenarios):
            tasks = [results.Task(s, v, name) for s, v in plan.scenarios if v == level]
            if len(tasks) > 1:
                rows.append(_row(ALL, level, name, tasks, samples, plan, None))
    bound = {
        f"{task.scenario}-{task.level}": {
            "total_cost": _known(samples[task]["total_cost"]),
            "unsolved": int(np.isnan(samples[task]["total_cost"]).sum()),
            "optimal_rows": float(samples[task]["optimal_rows"].mean()),
            "seconds_per_row": besides[task]["seconds_per_row"],
            "seconds": besides[task]["seconds"],
        }
        for task in samples
        if task.controller == runner.BOUND
    }
    return {
        "metrics": {name: metric._asdict() for name, metric in METRICS.items()},
        "controllers": list(dict.fromkeys(shown)),
        "scenarios": [list(pair) for pair in plan.scenarios],
        "episodes": plan.episodes,
        "rows": rows,
        "bound": bound,
    }


def differences(
    mine: Mapping[str, Strata], theirs: Mapping[str, Strata], seed: int
) -> dict[str, dict[str, Any]]:
    """Returns by metric how one controller differs from another on the same time series.

    Each has `mean`, `low`, `high` and a `verdict`: "better", "worse" or "same"; "few" where there
    are too few days to say; "unequal" where one of the two survives longer, of metrics that then
    differ for that alone.

    Args:
      mine: by metric, samples `[n]` of each scenario.
      theirs: of the other, on the same time series; metrics that it lacks are left out.
      seed: of the bootstrap.
    """
    found: dict[str, dict[str, Any]] = {}
    names = sorted(set(mine) & set(theirs), key=lambda name: name != "survival")  # it comes first
    for name in names:
        paired = [a - b for a, b in zip(mine[name], theirs[name], strict=True)]
        found[name] = intervals.of_strata(paired, seed)._asdict()
        if sum(map(len, paired)) < _FEWEST:
            word = "few"
        elif not METRICS[name].whole_day and found.get("survival", {}).get("verdict") in _DECIDED:
            word = "unequal"
        else:
            mean = float(np.mean([values.mean() for values in mine[name]]))
            word = verdict(METRICS[name], found[name], mean)
        found[name]["verdict"] = word
    return found


def verdict(metric: metrics.Metric, difference: Mapping[str, float], mean: float) -> str:
    """Returns "better", "worse" or "same" by whether the difference's interval excludes zero.

    A difference that is nothing beside the `mean` of the metric is none, however sure it is.
    """
    low, high = difference["low"], difference["high"]
    if low <= 0.0 <= high or max(-low, high) <= _NOTHING * abs(mean):
        return "same"
    return "better" if (low > 0) == metric.higher_is_better else "worse"


def strata(
    tasks: Sequence[results.Task], samples: Samples, names: Iterable[str] = METRICS
) -> dict[str, Strata]:
    """Returns by metric, of `names` those that are known of all tasks, the samples of each."""
    found = {}
    for metric in names:
        values = [samples[task].get(metric) for task in tasks]
        if not any(each is None or np.isnan(each).any() for each in values):
            found[metric] = values
    return found


def write_csv(path: pathlib.Path, samples: Samples) -> None:
    """Writes every metric of every episode, a line for each episode."""
    names = list(METRICS)
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["scenario", "level", "controller", "day", *names])
        for task, found in samples.items():
            if task.controller in runner.UNSEEN:
                continue
            columns = [found.get(name) for name in names]
            for series in range(len(found["return"])):
                cells = [
                    "" if c is None or np.isnan(c[series]) else repr(c[series]) for c in columns
                ]
                table.writerow([*task, series, *cells])


def _row(scenario, level, name, tasks: Sequence[results.Task], samples, plan, besides):
    mine = strata(tasks, samples)
    found = {metric: intervals.describe(values, plan.seed) for metric, values in mine.items()}
    for other in COMPARED:
        rivals = [task._replace(controller=other) for task in tasks]
        if other != name and all(rival in samples for rival in rivals):
            differing = differences(mine, strata(rivals, samples), plan.seed)
            for metric, difference in differing.items():
                found[metric][f"less_{other}"] = difference
    return {
        "scenario": scenario, "level": level, "controller": name, "metrics": found,
        **(besides or {}),
    }  # fmt: skip


def _known(values: np.ndarray) -> float | None:
    """Returns the mean of what is known, or none."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else None
