"""The lines of `overrides.csv`: one for each step and region in which something was held back."""

import csv
import pathlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from agents.baselines.look_ahead import Limit
from envs.case import grid as grid_lib
from envs.step.termination import Reason
from evaluation import element_names, overrides, results

NAME = "overrides.csv"
UNITS = {
    Limit.NONE: "", Limit.COLLAPSE: "", Limit.OVERLOAD: "%", Limit.OUTAGE: "%",
    Limit.VOLTAGE: "pu", Limit.REACTIVE: "MVAr",
}  # fmt: skip
_COLUMNS = ("day", "step", "region", "share", "limit", "element", "size", "taken")


def rows(
    overrides_of: Mapping[str, overrides.Override],
    counted: np.ndarray,
    regions: Sequence[str],
    first: int,
) -> dict[str, np.ndarray]:
    """Returns the overrides of episodes as columns `[N]` of one line for each step and region.

    Those are `by` and `_COLUMNS`, of the steps that are `counted` `[T, B]`; `regions` are those of
    the safety agent, and days are numbered from the `first`. Who did not look ahead has no lines.
    """
    columns: dict[str, list] = {name: [] for name in ("by", *_COLUMNS)}
    for by, override in overrides_of.items():
        if override.limit is None:
            continue
        names = np.array(regions if by == overrides.SAFETY else [overrides.WHOLE])
        step, day, region = np.nonzero((override.share > overrides.LEAST) & counted[..., None])
        columns["by"].append(np.full(step.size, by))
        columns["day"].append(first + day)
        columns["step"].append(step)
        columns["region"].append(names[region])
        columns["share"].append(override.share[step, day, region])
        for name in ("limit", "element", "size", "taken"):
            columns[name].append(np.asarray(getattr(override, name))[step, day])
    return {name: np.concatenate(parts) for name, parts in columns.items() if parts}


def describe(grid: grid_lib.Grid, limit: int, element: int) -> str:
    """Returns the element that a limit is of, in words; of a collapse the reason of the end."""
    return {
        Limit.COLLAPSE: lambda: Reason(element).name.lower(),
        Limit.OVERLOAD: lambda: f"branch {element_names.branch(grid, element)}",
        Limit.OUTAGE: lambda: f"outage of branch {element_names.branch(grid, element)}",
        Limit.VOLTAGE: lambda: f"bus {grid.bus.id[element]}",
        Limit.REACTIVE: lambda: element_names.unit(grid, element),
    }.get(Limit(limit), lambda: "")()


def write_csv(
    path: pathlib.Path, folder: results.Folder, tasks: Sequence[results.Task],
    batches: Sequence[tuple[int, int]], grid: grid_lib.Grid,
) -> bool:  # fmt: skip
    """Writes every override of `tasks`, a line each; returns whether there are any to write.

    The size of an overload, after an outage too, is in % of the limit above it.
    """
    lines = list(_lines(folder, tasks, batches, grid))
    if lines:
        with path.open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow(["scenario", "level", "controller", "by", *_COLUMNS, "unit"])
            table.writerows(lines)
    return bool(lines)


def _lines(folder, tasks, batches, grid) -> Iterator[list]:
    for task in tasks:
        for batch in batches:
            arrays = folder.arrays(task, *batch) or {}
            stored = [arrays.get(f"override_{name}") for name in ("by", *_COLUMNS)]
            if stored[0] is None:
                continue
            for by, day, step, region, share, limit, element, *sizes in zip(*stored):
                scale = 100.0 if UNITS[Limit(limit)] == "%" else 1.0
                yield [
                    *task, by, day, step, region, f"{share:.4g}", Limit(limit).name.lower(),
                    describe(grid, limit, element), *(f"{scale * size:.4g}" for size in sizes),
                    UNITS[Limit(limit)],
                ]  # fmt: skip
