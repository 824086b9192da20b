"""Writes `trials.csv` and `report.html` of a sweep: its trials by result, and what led to it."""

import csv
import io
import shlex
from collections.abc import Sequence

import markupsafe
import numpy as np

from evaluation import shared_files
from evaluation.report import page, parallel_coordinates, svg
from launch import option_fields, panel
from launch.run import run_folder
from launch.sweep import folder as folder_lib, search as search_lib, space as space_lib

NAME = "report.html"

_APART, _LETTERS = 0.05, 20  # between marks, of an axis; of what a tick says


def write(folder: folder_lib.SweepFolder, plan: folder_lib.Plan, search: search_lib.Search) -> None:
    """Writes both files into the folder of a sweep, whose trials `search` has.

    Raises:
      OSError: they cannot be written.
    """
    rows = _by_result(search.rows())
    shared_files.replace(folder.table, _table(rows, plan).encode())
    shared_files.replace(folder.path / NAME, _page(folder, plan, rows, search).encode())


def _by_result(rows: Sequence[search_lib.Row]) -> list[search_lib.Row]:
    """Returns trials, the best first and those without a result last."""
    return sorted(rows, key=lambda row: (row.result is None, -(row.result or 0.0), row.number))


def _table(rows: Sequence[search_lib.Row], plan: folder_lib.Plan) -> str:
    fields = [dimension.field for dimension in space_lib.parse(plan.vary)]
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    seeds = [f"return_seed_{seed}" for seed in plan.seeds]
    table.writerow(["trial", "state", "return", *seeds, "seconds", *fields, "note"])
    for row in rows:
        returns = row.returns or [""] * len(seeds)
        values = [row.values.get(field, "") for field in fields]
        result = "" if row.result is None else row.result
        table.writerow([
            row.number + 1, row.state, result, *returns, f"{row.seconds:.1f}", *values, row.note
        ])  # fmt: skip
    return text.getvalue()


def _page(folder, plan: folder_lib.Plan, rows, search: search_lib.Search) -> str:
    space = space_lib.parse(plan.vary)
    done = [row for row in rows if row.result is not None]
    best = done[0] if done else None
    run = run_folder.of_seed(folder.trial(best.number), plan.seeds[0]).path if best else None
    drawn = _plot(space, done) if len(done) > 1 else ""
    return page.template("sweep.html").render(
        title=f"{plan.experiment.name}: {len(space)} field{'s' * (len(space) > 1)} varied",
        facts=_facts(plan, rows),
        best=best,
        best_return=f"{best.result:.2f}" if best else "",
        best_flags=shlex.join(plan.flags(best.values)) if best else "",
        best_run=folder_lib.as_typed(run) if best else "",
        seeds=len(plan.seeds),
        plot=drawn,
        width=parallel_coordinates.width(len(space) + 1),
        undrawn=len(rows) - len(done),
        importances=[(f, f"{100 * share:.0f}") for f, share in search.importances().items()],
        headings=_headings(space, plan),
        rows=[_cells(row, space, plan) for row in rows],
    )


def _facts(plan: folder_lib.Plan, rows: Sequence[search_lib.Row]) -> list[tuple[str, str]]:
    """Returns what the page is of, as (what, value)."""
    states = [row.state for row in rows]
    counted = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    return [
        ("held", shlex.join(plan.flags({}))),
        ("search", f"{plan.search}, seed {plan.search_seed}"),
        ("trials", f"{counted}, of {plan.trials}"),
        ("seeds", ", ".join(map(str, plan.seeds))),
        *(("varies", text) for text in plan.vary),
    ]


def _headings(space: space_lib.Space, plan: folder_lib.Plan) -> list[tuple[str, str]]:
    several = [(f"seed {seed}", "return") for seed in plan.seeds] if len(plan.seeds) > 1 else []
    fields = [dimension.field.rpartition(".") for dimension in space]
    named = [(name, group) for group, _, name in fields]
    return [("trial", ""), ("return", ""), *several, *named, ("time", ""), ("", "")]


def _cells(row: search_lib.Row, space: space_lib.Space, plan: folder_lib.Plan) -> list[str]:
    result = "–" if row.result is None else f"{row.result:.2f}"
    returns = [f"{value:.2f}" for value in row.returns] or ["–"] * len(plan.seeds)
    several = returns if len(plan.seeds) > 1 else []
    values = [search_lib.short(row.values.get(dimension.field, "–")) for dimension in space]
    said = row.note if row.state == "finished" else f"{row.state} {row.note}".rstrip()
    return [str(row.number + 1), result, *several, *values, panel.clock(row.seconds), said]


def _plot(space: space_lib.Space, done: Sequence[search_lib.Row]) -> markupsafe.Markup:
    """Returns the picture of at least two trials, the best first."""
    axes = [_axis(dimension, [row.values[dimension.field] for row in done]) for dimension in space]
    results = np.array([row.result for row in done])
    y = svg.Axis(*svg.spread(results), 0.0, 1.0)
    ticks = [(float(y(tick)), f"{tick:g}") for tick in y.ticks()]
    axes.append(parallel_coordinates.Axis("best of validation", "return", ticks, y(results)))
    rank = 1.0 - np.arange(len(done)) / (len(done) - 1)
    return parallel_coordinates.plot(axes, rank, "Values and return of every trial")


def _axis(dimension: space_lib.Dimension, values: Sequence) -> parallel_coordinates.Axis:
    group, _, name = dimension.field.rpartition(".")
    if dimension.values:
        texts = [option_fields.as_text(value) for value in dimension.values]
        places = np.linspace(0.0, 1.0, len(texts))
        where = dict(zip(texts, places))
        at = [where[option_fields.as_text(value)] for value in values]
        said = [search_lib.short(value)[:_LETTERS] for value in dimension.values]
        ticks = list(zip(places, said))
        return parallel_coordinates.Axis(group, name, ticks, at)
    scale = np.log if dimension.log else np.asarray
    y = svg.Axis(scale(dimension.low), scale(dimension.high), 0.0, 1.0)
    even = svg.Axis(*dimension.ends, 0.0, 1.0).ticks
    marks = _round_marks(dimension) if dimension.log else even()
    ticks = [(float(y(scale(mark))), f"{mark:g}") for mark in marks]
    return parallel_coordinates.Axis(group, name, ticks, y(scale(values)))


def _round_marks(dimension: space_lib.Dimension) -> list[float]:
    """Returns the ends of a logarithmic range, and round numbers between that are not near them."""
    low, high = dimension.ends
    powers = 10.0 ** np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
    digits = (1,) if high / low > 100 else (1, 2, 5)
    apart = (high / low) ** _APART
    marks = [digit * power for power in powers for digit in digits]
    return [low, *(mark for mark in marks if apart * low < mark < high / apart), high]
