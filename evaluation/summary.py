"""What an evaluation says: every controller in every scenario, and how sure one can be of it."""

from __future__ import annotations

import csv
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from evaluation import intervals, l2rpn, metrics, results, runner

_NOTHING = 1e-4  # of a mean: a difference that nobody would act on

ALL = "all"  # in place of a scenario: all of them, each counting the same
GAP, DISPATCH_GAP, SCORE = "gap", "dispatch_gap", "l2rpn"
_MORE = {
    GAP: metrics.Metric("cost over AC-OPF", "%", False),  # every price included
    DISPATCH_GAP: metrics.Metric("operating cost over AC-OPF", "%", False),
    SCORE: metrics.Metric("L2RPN score", "", True),
}
METRICS = {**metrics.METRICS, **_MORE}
COMPARED = (runner.NOTHING, runner.OPTIMAL)  # controllers that differences are told to

Samples = dict[results.Task, dict[str, np.ndarray]]


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
            for gap, cost_name in ((GAP, "total_cost"), (DISPATCH_GAP, "cost")):
                least = bound[cost_name]
                samples[task][gap] = 100.0 * (samples[task][cost_name] / least - 1.0)
    return samples, besides


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
            "total_cost": float(samples[task]["total_cost"].mean()),
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


def verdict(metric: metrics.Metric, difference: Mapping[str, float], mean: float) -> str:
    """Returns "better", "worse" or "same" by whether the difference's interval excludes zero.

    A difference that is nothing beside the `mean` of the metric is none, however sure it is.
    """
    low, high = difference["low"], difference["high"]
    if low <= 0.0 <= high or max(-low, high) <= _NOTHING * abs(mean):
        return "same"
    return "better" if (low > 0) == metric.higher_is_better else "worse"


def write_csv(path: pathlib.Path, samples: Samples) -> None:
    """Writes every metric of every episode, a line for each episode."""
    names = list(METRICS)
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["scenario", "level", "controller", "tape", *names])
        for task, found in samples.items():
            if task.controller in runner.UNSEEN:
                continue
            columns = [found.get(name) for name in names]
            for tape in range(len(found["return"])):
                cells = ["" if c is None or np.isnan(c[tape]) else repr(c[tape]) for c in columns]
                table.writerow([*task, tape, *cells])


def _row(scenario, level, name, tasks: Sequence[results.Task], samples, plan, besides):
    found = {}
    for metric in METRICS:
        strata = [samples[task].get(metric) for task in tasks]
        if any(values is None or np.isnan(values).any() for values in strata):
            continue
        found[metric] = intervals.describe(strata, plan.seed)
        for other in COMPARED:
            rivals = [task._replace(controller=other) for task in tasks]
            if other == name or not all(rival in samples for rival in rivals):
                continue
            paired = [values - samples[rival][metric] for values, rival in zip(strata, rivals)]
            difference = intervals.of_strata(paired, plan.seed)._asdict()
            difference["verdict"] = verdict(METRICS[metric], difference, found[metric]["mean"])
            found[metric][f"less_{other}"] = difference
    return {
        "scenario": scenario, "level": level, "controller": name, "metrics": found,
        **(besides or {}),
    }  # fmt: skip
