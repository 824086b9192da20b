"""The part of a page on one controller in one scenario."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from envs import grid_env
from envs.step.termination import Reason
from evaluation import results, summary as summary_lib, wording
from evaluation.report import (
    day_records,
    events,
    figure,
    figures,
    heat,
    held_back,
    numbers,
    one_line,
    team_sections,
)

_MOST_EVENTS = 40  # of a day that are listed


class Part(NamedTuple):
    """A controller in a scenario."""

    controller: str
    headline: str  # what its line says before it is opened
    ended: str  # how many days ended early and why, empty where none did
    metrics: numbers.Table
    said: str  # what the figures below are of, or why there are none
    days: Sequence[figure.Figure] = ()
    team: Sequence[figure.Figure] = ()
    held_back: str = ""  # how often, and whether a limit was foreseen
    worst: str = ""  # which day it is, and how it ended
    worst_day: Sequence[figure.Figure] = ()
    trace: Sequence[tuple[str, str, str, str, str]] = ()  # time, where, what, round, before
    trace_note: str = ""


def part(
    summary: summary_lib.Summary,
    folder: results.Folder,
    task: results.Task,
    batches: Sequence[tuple[int, int]],
    env: grid_env.GridEnv,
    positions: np.ndarray,
) -> Part:
    """Returns the part of a page on a task, whose `batches` are (first day, number of days)."""
    row = wording.row(summary, task.scenario, task.level, task.controller)
    ended = wording.ended(row["endings"], summary["episodes"])
    table = numbers.everything(summary, task.scenario, task.level, task.controller)
    records = day_records.read(folder, task, batches, env.dt_h)
    if records is None:
        said = "What the days looked like was not kept, or cannot be read; the numbers are whole"
        return Part(task.controller, _headline(row["metrics"]), ended, table, said)
    trace, note = _trace(records, env)
    return Part(
        task.controller, _headline(row["metrics"]), ended, table, _said(records, summary),
        list(_days(records, env)), list(team_sections.figures(records, summary, task, env)),
        team_sections.held_back(row["metrics"]), _worst(records, summary, env),
        list(_worst_day(records, env, positions)), trace, note,
    )  # fmt: skip


def _said(records: day_records.DayRecords, summary: summary_lib.Summary) -> str:
    """Returns what the bands below are of."""
    days, left = summary["episodes"], 100.0 * float(records.days["going"][-1])
    said = [f"All {days} days" if days > 1 else "The day"]
    if left < 100.0:
        until = f"{left:.0f} % to the end" if left else "none to the end"
        said.append(f"while they go on ({until})")
    if records.batches > 1:
        said.append(f"quantiles averaged over {records.batches} batches of days")
    if records.unread:
        said.append(f"without {records.unread} batches that cannot be read")
    return ", ".join(said)


def _days(records: day_records.DayRecords, env: grid_env.GridEnv) -> Iterator[figure.Figure]:
    bus = env.grid.bus
    alike = np.ptp(bus.vm_min_pu) == np.ptp(bus.vm_max_pu) == 0
    differ = "" if alike else "; limits differ by bus, the widest are drawn"
    yield figure.Figure(
        "Voltages, pu", f"all energised buses, the middle 90 %, and the median{differ}",
        figures.voltage(records, env),
    )  # fmt: skip
    yield figure.Figure(
        "Branch loading, % of limit", "from the median to 95 % of branches, and to the most loaded",
        figures.loading(records, env),
    )  # fmt: skip
    yield figure.Figure(
        "Frequency, Hz",
        "the worst day: end of each step and, thin, its lowest; dotted: the lowest of all days",
        figures.frequency(records, env),
    )  # fmt: skip
    moved = heat.controls(records.days, env)
    if moved is not None:
        note = "mean size of each by hour of the day; of very many, neighbours share a line"
        yield figure.Figure("Controls", note, moved)


def _worst(
    records: day_records.DayRecords, summary: summary_lib.Summary, env: grid_env.GridEnv
) -> str:
    number = int(records.worst["episode"])
    day = f"Day {number + 1} of {summary['episodes']} (day {number} in episodes.csv)"
    if not records.ended_early:
        return f"{day}, the one with the most loaded branch: it was played to its end."
    reason = wording.ENDINGS[Reason(records.reason).name]
    at = events.clock(records.steps, env.dt_h)
    return f"{day} ended at {at}: {reason}."


def _worst_day(
    records: day_records.DayRecords, env: grid_env.GridEnv, positions: np.ndarray
) -> Iterator[figure.Figure]:  # fmt: skip
    if records.steps == 0:
        return  # It ended at once, there is no state to show.
    step = min(int(records.worst["worst_step"]), records.steps - 1)
    words = "; ".join(one_line.extremes(env.grid, records.worst, step))
    yield figure.Figure(
        f"The grid at {events.clock(step, env.dt_h)}, when its most loaded branch was most loaded",
        words, _diagram(records, env, positions, step), diagram=True,
        marked=held_back.any_at(records.worst, step),
    )  # fmt: skip
    most = held_back.strongest(records.worst, records.steps)
    if most is not None and not held_back.any_at(records.worst, step):
        held = held_back.words(records.worst, env.grid, most)
        said = "; ".join(f"{where}: {what}" for where, what in held)
        yield figure.Figure(
            f"The grid at {events.clock(most, env.dt_h)}, when most was held back", said,
            _diagram(records, env, positions, most), diagram=True, marked=True,
        )  # fmt: skip
    count = len(figures.departed(records, env.grid))
    few = len(env.grid.units) > count
    which = f"the {count} that left it most" if few else "all of them"
    yield figure.Figure(
        "Units against their plan, MW", f"{which}, between Pmin and Pmax; dashed: the plan",
        figures.generation(records, env),
    )  # fmt: skip
    sources = "units; dashed: load before shedding; thin: load after it"
    if env.fleet.n_renewable:
        sources += "; wind and sun below, shaded where spilled"
    yield figure.Figure("Balance, MW", sources, figures.balance(records, env))
    stored = figures.storage(records, env)
    if stored is not None:
        yield figure.Figure("Energy in batteries, MWh", "all together", stored)
    yield figure.Figure("Cost, $/h", "every price included", figures.cost(records, env))


def _diagram(records, env: grid_env.GridEnv, positions: np.ndarray, step: int):
    marks = held_back.marks(records.worst, env, step)
    return one_line.diagram(env.grid, positions, records.worst, step, marks)


def _trace(records: day_records.DayRecords, env: grid_env.GridEnv):
    """Returns the rows of the table of events, and what was left out of it."""
    recloses = env.options.protection.recloses
    trace = events.episode_events(records.worst, env.grid, recloses=recloses)
    held, unlisted = held_back.episode_events(records.worst, env.grid, env.dt_h)
    trace += held
    trace.sort(key=lambda event: event.step)
    rows = [
        (
            events.clock(event.step, env.dt_h), event.where, event.what, str(event.round or ""),
            event.before,
        )
        for event in trace[:_MOST_EVENTS]
    ]  # fmt: skip
    left = len(trace) - len(rows) + unlisted
    note = f"and {left} more" if left > 0 else ""
    if not trace:
        note = "Nothing was taken out, tripped, switched or shed."
    return rows, note


def _headline(metrics: Mapping[str, Mapping[str, float]]) -> str:
    said = []
    for metric in ("survival", summary_lib.GAP if summary_lib.GAP in metrics else "total_cost"):
        kind = summary_lib.METRICS[metric]
        said.append(f"{kind.title} {wording.interval(metrics[metric])[0]} {kind.unit}")
    return ", ".join(said)
