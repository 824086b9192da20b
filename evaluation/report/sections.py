"""What a page shows of one controller in one scenario."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import markupsafe
import numpy as np

from envs import grid_env
from envs.step.termination import Reason
from evaluation import results, summary, wording
from evaluation.report import events, exemplars, figures, heat, numbers, one_line

_MOST_EVENTS = 40  # of a day that are listed


class Figure(NamedTuple):
    """A picture and what to know of it."""

    title: str
    note: str
    svg: markupsafe.Markup
    wide: bool = False  # scrolls on a phone rather than become too small to read
    legend: str = ""  # name of a legend of the style sheet


class Part(NamedTuple):
    """A controller in a scenario."""

    controller: str
    metrics: numbers.Table
    said: str  # of what is shown below, empty where nothing can be
    days: list[Figure]
    worst: str  # which day it is, and how it ended
    worst_day: list[Figure]
    trace: list[tuple[str, str, str, str, str]]  # time, where, what, round, what was before
    trace_note: str


def part(
    found: Mapping[str, Any],
    folder: results.Folder,
    task: results.Task,
    batches: Sequence[tuple[int, int]],
    env: grid_env.GridEnv,
    positions: np.ndarray,
) -> Part:
    """Returns what there is to show of a task.

    Args:
      found: a summary.
      folder: has the arrays.
      task: the controller and scenario.
      batches: (first time series, number) of each.
      env: the environment.
      positions: of buses, for diagrams.
    """
    table = numbers.everything(found, task.scenario, task.level, task.controller)
    shown = exemplars.read(folder, task, batches, env.dt_h)
    if shown is None:
        said = "What the days looked like was not kept, or cannot be read; the numbers are whole"
        return Part(task.controller, table, said, [], "", [], [], "")
    trace, note = _trace(shown, env)
    return Part(
        task.controller, table, _said(shown, found), list(_days(shown, env)),
        _worst(shown, found, env), list(_worst_day(shown, env, positions)), trace, note,
    )  # fmt: skip


def _said(shown: exemplars.Exemplar, found: Mapping[str, Any]) -> str:
    """Returns what the bands below are of."""
    days, left = found["episodes"], 100.0 * float(shown.days["going"][-1])
    said = [f"All {days} days" if days > 1 else "The day"]
    if left < 100.0:
        until = f"{left:.0f} % to the end" if left else "none to the end"
        said.append(f"while they go on ({until})")
    if shown.batches > 1:
        said.append(f"quantiles averaged over {shown.batches} batches of days")
    if shown.unread:
        said.append(f"without {shown.unread} batches that cannot be read")
    return ", ".join(said)


def _days(shown: exemplars.Exemplar, env: grid_env.GridEnv) -> Iterator[Figure]:
    bus = env.grid.bus
    alike = np.ptp(bus.vm_min_pu) == np.ptp(bus.vm_max_pu) == 0
    differ = "" if alike else "; limits differ by bus, the widest are drawn"
    yield Figure(
        "Voltages, pu", f"all live buses, the middle 90 %, and the median{differ}",
        figures.voltage(shown, env),
    )  # fmt: skip
    yield Figure(
        "Branch loading, % of limit", "from the median to 95 % of branches, and to the fullest",
        figures.loading(shown, env),
    )  # fmt: skip
    yield Figure(
        "Frequency, Hz",
        "the worst day: end of each step and, thin, its lowest; dotted: the lowest of all days",
        figures.frequency(shown, env),
    )  # fmt: skip
    moved = heat.controls(shown.days, env)
    if moved is not None:
        note = "mean size of each by hour of the day; of very many, neighbours share a line"
        yield Figure("Controls", note, moved)


def _worst(shown: exemplars.Exemplar, found: Mapping[str, Any], env: grid_env.GridEnv) -> str:
    series = int(shown.worst["episode"])
    day = f"Day {series + 1} of {found['episodes']} (time series {series} in episodes.csv)"
    if not shown.died:
        return f"{day}, the one with the fullest branch: it was played to its end."
    reason = wording.ENDINGS[Reason(shown.reason).name]
    at = events.clock(shown.steps, env.dt_h)
    return f"{day} ended at {at}: {reason}."


def _worst_day(
    shown: exemplars.Exemplar, env: grid_env.GridEnv, positions: np.ndarray
) -> Iterator[Figure]:  # fmt: skip
    if shown.steps == 0:
        return  # It ended at once, there is no state to show.
    step = min(int(shown.worst["worst_step"]), shown.steps - 1)
    words = "; ".join(one_line.extremes(env.grid, shown.worst, step))
    yield Figure(
        f"The grid at {events.clock(step, env.dt_h)}, when its fullest branch was fullest", words,
        one_line.diagram(env.grid, positions, shown.worst, step), wide=True, legend="one_line",
    )  # fmt: skip
    of = f"the {len(figures.departed(shown, env.grid))} that left it most"
    units = len(env.grid.units)
    which = of if units > len(figures.departed(shown, env.grid)) else "all of them"
    yield Figure(
        "Units against their plan, MW", f"{which}, between Pmin and Pmax; dashed: the plan",
        figures.generation(shown, env),
    )  # fmt: skip
    sources = "units; dashed: load as it came; thin: load left by relays"
    if env.fleet.n_renewable:
        sources += "; wind and sun below, shaded where spilled"
    yield Figure("Balance, MW", sources, figures.balance(shown, env))
    stored = figures.storage(shown, env)
    if stored is not None:
        yield Figure("Energy in batteries, MWh", "all together", stored)
    yield Figure("Cost, $/h", "every price included", figures.cost(shown, env))


def _trace(shown: exemplars.Exemplar, env: grid_env.GridEnv):
    """Returns the rows of the table of events, and what was left out of it."""
    recloses = env.options.protection.recloses
    happened = events.of(shown.worst, env.grid, recloses=recloses)
    rows = [
        (
            events.clock(event.step, env.dt_h), event.where, event.what, str(event.round or ""),
            event.before,
        )
        for event in happened[:_MOST_EVENTS]
    ]  # fmt: skip
    left = len(happened) - len(rows)
    note = f"and {left} more" if left > 0 else ""
    if not happened:
        note = "Nothing was taken out, tripped, switched or shed."
    return rows, note


def reasons(found: Mapping[str, Any], task: results.Task) -> str:
    """Returns how many days of a task ended early and why, empty where none did."""
    row = wording.row(found, task.scenario, task.level, task.controller)
    return wording.ended(row.get("endings", {}), found["episodes"]) if row else ""


def headline(found: Mapping[str, Any], task: results.Task) -> str:
    """Returns what a controller's line says before it is opened."""
    row = wording.row(found, task.scenario, task.level, task.controller)["metrics"]
    said = []
    for metric in ("survival", summary.GAP if summary.GAP in row else "total_cost"):
        kind = summary.METRICS[metric]
        said.append(f"{kind.title} {wording.interval(row[metric])[0]} {kind.unit}")
    return ", ".join(said)
