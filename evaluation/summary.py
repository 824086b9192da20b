"""The summary of an evaluation: every controller in every scenario, with its intervals."""

import csv
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from evaluation import alterations, intervals, l2rpn, metrics, results, runner

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

Summary = Mapping[str, Any]  # what summary.json holds
Samples = dict[results.Task, dict[str, np.ndarray]]
Strata = Sequence[np.ndarray]  # of each scenario `[n]`


def collect(folder: results.Folder, plan: runner.Plan, n_bus: int) -> tuple[Samples, dict]:
    """Returns every metric of every episode, `{task: {metric: [episodes]}}`, and notes.

    Notes are, by task: `endings` by reason, `latency`, `seconds` that playing took, and of the
    bound `seconds_per_row`.

    Raises:
      RuntimeError: a batch is missing.
    """
    samples: Samples = {}
    notes: dict[results.Task, dict[str, Any]] = {}
    costs: dict[results.Task, l2rpn.Cost] = {}
    ended: dict[results.Task, np.ndarray] = {}
    batches = plan.batches(n_bus)
    for task in plan.tasks():
        played = [folder.batch(task, first, count) for first, count in batches]
        if None in played:
            raise RuntimeError(f"{task}: {played.count(None)} of {len(played)} batches are missing")
        names = played[0]["metrics"]
        samples[task] = {
            name: np.concatenate([np.asarray(b["metrics"][name], float) for b in played])
            for name in names
        }
        reasons = [reason for batch in played for reason in batch.get("endings", [])]
        ended[task] = np.array([reason != "NONE" for reason in reasons])
        notes[task] = {
            "endings": metrics.tally(reasons),
            "seconds": sum(batch["seconds"] for batch in played),
            "latency": played[0].get("latency"),
            "seconds_per_row": played[0].get("seconds_per_row"),
        }
        if "l2rpn" in played[0]:
            costs[task] = l2rpn.Cost(
                *(
                    np.concatenate([np.asarray(b["l2rpn"][name], float) for b in played])
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
    return samples, notes


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


def summarise(samples: Samples, notes: Mapping, plan: runner.Plan) -> Summary:
    """Returns the summary as JSON has it.

    `rows` has one entry for each scenario, level and controller, and one for all scenarios of a
    level together (`scenario` "all"); each metric comes with `mean`, `low`, `high`, `iqm`,
    `iqm_low`, `iqm_high`, and paired differences, with a verdict, to do-nothing, to AC-OPF and, of
    a controller with a shield or an ablation, to the one without, where these were evaluated.
    `seeds` has, of the same places, `intervals.between_seeds` of every metric where several seeds
    of a training were evaluated.
    """
    rows = []
    names = list(dict.fromkeys([runner.NOTHING, *plan.controllers]))
    for name in names:
        for scenario, level, places in _places(plan):
            tasks = [results.Task(*place, name) for place in places]
            noted = None if scenario == ALL else notes[tasks[0]]
            rows.append(_row(scenario, level, name, tasks, samples, plan, noted))
    bound = {
        f"{task.scenario}-{task.level}": {
            "total_cost": _known(samples[task]["total_cost"]),
            "unsolved": int(np.isnan(samples[task]["total_cost"]).sum()),
            "optimal_rows": float(samples[task]["optimal_rows"].mean()),
            "seconds_per_row": notes[task]["seconds_per_row"],
            "seconds": notes[task]["seconds"],
        }
        for task in samples
        if task.controller == runner.BOUND
    }
    return {
        "metrics": {name: metric._asdict() for name, metric in METRICS.items()},
        "controllers": names,
        "scenarios": [list(pair) for pair in plan.scenarios],
        "episodes": plan.episodes,
        "rows": rows,
        "seeds": [_between_seeds(place, samples, plan) for place in _places(plan) if plan.seeds],
        "bound": bound,
    }


def _places(plan: runner.Plan) -> Iterator[tuple[str, str, list[tuple[str, str]]]]:
    """Yields (scenario or "all", level, its scenarios and levels) of all that has a row."""
    for place in plan.scenarios:
        yield *place, [place]
    for level in dict.fromkeys(level for _, level in plan.scenarios):
        places = [place for place in plan.scenarios if place[1] == level]
        if len(places) > 1:
            yield ALL, level, places


def _between_seeds(place, samples: Samples, plan: runner.Plan) -> dict[str, Any]:
    scenario, level, places = place
    each = [strata([results.Task(*p, name) for p in places], samples) for name in plan.seeds]
    metrics_of_all = [metric for metric in each[0] if all(metric in one for one in each)]
    return {
        "scenario": scenario, "level": level, "controllers": list(plan.seeds),
        "metrics": {
            metric: intervals.between_seeds(
                [np.stack(days) for days in zip(*(one[metric] for one in each))]
            )
            for metric in metrics_of_all
        },
    }  # fmt: skip


def compared_with(controller: str) -> list[str]:
    """Returns the controllers that one is compared with, where they play."""
    others = (*COMPARED, alterations.unaltered(controller))
    return [other for other in others if other and other != controller]


def is_learned(controller: str) -> bool:
    """Returns whether this is what a run has learned, or what one of several seeds has."""
    if alterations.unaltered(controller):
        return False
    return controller == "learned" or controller.startswith("seed_")


def differences(
    mine: Mapping[str, Strata], theirs: Mapping[str, Strata], seed: int
) -> dict[str, dict[str, Any]]:
    """Returns by metric how one controller differs from another on the same days.

    Each has `mean`, `low`, `high` and a `verdict`: "better", "worse" or "same"; "few" where there
    are too few days to say; "unequal" where one of the two survives longer, of metrics that then
    differ for that alone. Metrics that only one of them has are left out.
    """
    by_metric: dict[str, dict[str, Any]] = {}
    names = sorted(set(mine) & set(theirs), key=lambda name: name != "survival")  # it comes first
    for name in names:
        survival = by_metric.get("survival", {}).get("verdict")
        paired = [a - b for a, b in zip(mine[name], theirs[name], strict=True)]
        described = intervals.describe(paired, seed)
        by_metric[name] = {end: described[end] for end in ("mean", "low", "high")}
        if sum(map(len, paired)) < _FEWEST:
            word = "few"
        elif not METRICS[name].whole_day and survival in ("better", "worse"):
            word = "unequal"
        else:
            mean = float(np.mean([values.mean() for values in mine[name]]))
            word = verdict(METRICS[name], by_metric[name], mean)
        by_metric[name]["verdict"] = word
    return by_metric


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
    samples_by_metric = {}
    for metric in names:
        values = [samples[task].get(metric) for task in tasks]
        if not any(each is None or np.isnan(each).any() for each in values):
            samples_by_metric[metric] = values
    return samples_by_metric


def write_csv(path: pathlib.Path, samples: Samples) -> None:
    """Writes every metric of every episode, a line for each episode."""
    names = list(METRICS)
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["scenario", "level", "controller", "day", *names])
        for task, by_metric in samples.items():
            if task.controller in runner.REFERENCES:
                continue
            columns = [by_metric.get(name) for name in names]
            for day in range(len(by_metric["return"])):
                cells = ["" if c is None or np.isnan(c[day]) else repr(c[day]) for c in columns]
                table.writerow([*task, day, *cells])


def _row(scenario, level, name, tasks: Sequence[results.Task], samples, plan, notes):
    mine = strata(tasks, samples)
    entries = {metric: intervals.describe(values, plan.seed) for metric, values in mine.items()}
    for other in compared_with(name):
        rivals = [task._replace(controller=other) for task in tasks]
        if all(rival in samples for rival in rivals):
            differing = differences(mine, strata(rivals, samples), plan.seed)
            for metric, difference in differing.items():
                entries[metric][f"less_{other}"] = difference
    return {
        "scenario": scenario, "level": level, "controller": name, "metrics": entries,
        **(notes or {}),
    }  # fmt: skip


def _known(values: np.ndarray) -> float | None:
    """Returns the mean of what is known, or none."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else None
