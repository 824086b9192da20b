"""Pools of scenarios' days: prepared with a bar of progress, and on demand for a run."""

import dataclasses
import os
import pathlib

import rich.console
import rich.progress

from envs.options import EnvOptions
from envs.time_series import mixture
from envs.time_series.options import SYNTHETIC
from evaluation.scenarios import preparation
from launch.host import interrupt

VALIDATION_SHARE = 1 / 8

_CACHE = pathlib.Path("~/.cache/gridracer/pools")
_DAYS_EACH = 64  # train days of each scenario and level


def prepare(plan: preparation.Plan, folder: pathlib.Path, processes: int) -> None:
    """Draws the days of `plan` into `folder`; an interrupt raises KeyboardInterrupt.

    Raises:
      ValueError: a scenario does not go with the grid or its fleet.
      OSError: the folder cannot be written.
    """
    plan.specification  # noqa: B018  # Refused before anything is begun.
    interrupt.raise_error()
    progress = rich.progress.Progress(
        rich.progress.TextColumn("{task.description}"), rich.progress.BarColumn(),
        rich.progress.MofNCompleteColumn(), rich.progress.TimeElapsedColumn(),
        rich.progress.TimeRemainingColumn(), console=rich.console.Console(), transient=True,
    )  # fmt: skip
    with progress:
        bar = progress.add_task("starting", total=plan.total)
        preparation.write(
            plan, folder, processes,
            lambda what, days: progress.update(bar, advance=days, description=what),
        )  # fmt: skip


def with_pool(options: EnvOptions, say) -> EnvOptions:
    """Returns `options` with the pool of its scenarios' days, made now if it is not there yet.

    Raises:
      ValueError: the scenarios do not exist, or do not go with the grid or its fleet; or recorded
        days are others than those of the run that goes on.
      OSError: the pool cannot be written.
    """
    former = pathlib.Path(options.pool)
    if options.pool and former.parent == _CACHE.expanduser():
        options = dataclasses.replace(options, pool="")  # of a run to resume; it may be gone
    if not options.scenarios or options.pool:
        return options
    parts = preparation.parse(options.scenarios, "env.scenarios", options)
    drawn = _DAYS_EACH * sum(part.scenario != mixture.RECORDED for part in parts)
    plan = preparation.Plan(options, parts, drawn, VALIDATION_SHARE, 0)
    folder = _CACHE.expanduser() / f"{pathlib.Path(options.case).stem}-{plan.digest}"
    if former.parent == folder.parent and former != folder and options.time_series != SYNTHETIC:
        raise ValueError(
            f"env.time_series={options.time_series}: its days are others than those that the run "
            "began with; bring them back, or start a new run in another --workdir"
        )
    if not (folder / "pool.json").exists():
        say(f"preparing    {plan.total} days of {options.scenarios}, once, into {folder}")
        prepare(plan, folder, len(os.sched_getaffinity(0)))
    return dataclasses.replace(options, pool=str(folder))
