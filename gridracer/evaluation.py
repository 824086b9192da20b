"""Evaluations from Python: what `launch.evaluate` measures and writes, and its numbers."""

import dataclasses
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
from absl import logging

from launch import evaluation_request, evaluation_run
from launch.host import runtime
from launch.run import run_folder


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What an evaluation measured, and where it is written."""

    folder: pathlib.Path  # report.html, summary.json, episodes.csv and the results of each batch
    summary: dict[str, Any]  # what summary.json holds
    failed: dict[str, str]  # controllers (and `bound`) that could not go on, and why; left out

    @property
    def records(self) -> list[dict[str, Any]]:
        """A row for each scenario, level, controller and metric: plain values, for a data frame.

        `mean`, `low` and `high` are over days, with a 95 % bootstrap interval, in `unit`.
        """
        units = {name: about["unit"] for name, about in self.summary["metrics"].items()}
        return [
            {
                **{name: row[name] for name in ("scenario", "level", "controller")},
                "metric": metric, "unit": units[metric],
                **{end: values[end] for end in ("mean", "low", "high")},
            }
            for row in self.summary["rows"] for metric, values in row["metrics"].items()
        ]  # fmt: skip

    def mean(self, controller: str, metric: str, scenario: str = "normal") -> float:
        """Returns the mean of a metric over the days of a scenario, of its first level.

        Raises:
          KeyError: it was not measured.
        """
        for row in self.records:
            if (row["controller"], row["metric"], row["scenario"]) == (
                controller, metric, scenario,
            ):  # fmt: skip
                return row["mean"]
        raise KeyError(f"{metric} of {controller} in {scenario}: was not measured")


def evaluate(
    folder: str | os.PathLike | None = None,
    controllers: Sequence[str] | None = None,
    scenarios: Sequence[str] = ("normal",),
    days: int = 50,
    *,
    level: Sequence[str] = ("easy",),
    split: str = "test",
    seed: int = 0,
    bound: bool = True,
    shield: bool = False,
    ablations: Sequence[str] | None = None,
    checkpoint: str | None = None,
    config: str | None = None,
    out: str | os.PathLike | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Evaluation:
    """Returns the evaluation of a run, of baselines, or of both, and leaves its folder.

    All but these two is as the flags of `launch.evaluate` of the same names, whose folders are gone
    on with: what was played there is not played again.

    Args:
      folder: of a run, or of several seeds; none for baselines alone.
      controllers: who plays, by name; `learned` with a run and all baselines without, by default.
      scenarios: how days go, by name.
      days: of each scenario, `--episodes`.
      level: levels of the scenarios.
      split: which days of the year.
      seed: of the days and of the bootstrap.
      bound: whether to solve an AC optimal power flow for every five minutes.
      shield: whether every controller plays with a shield as well.
      ablations: what of a team is left out in plays of their own, by name.
      checkpoint: which one of a run, newest or best.
      config: experiment, by name or file, whose environment baselines play in.
      out: folder to write to.
      say: takes lines about files that cannot be read.

    Raises:
      ValueError: it cannot be done; the message names the option as a flag.
      RunFolderError: there is no run in the folder.
      CheckpointError: there is no such checkpoint.
      FolderError: the folder is another evaluation's, or in use.
      RuntimeError: what every comparison rests on failed.
      OSError: a file cannot be read or written.
    """
    logging.set_verbosity(logging.ERROR)  # Orbax tells every step of a restore.
    runtime.keep()
    runs = run_folder.trained_in(folder) if folder is not None else []
    chosen = evaluation_request.Choices(
        controllers=controllers, scenarios=scenarios, level=level, episodes=days, split=split,
        seed=seed, bound=bound, shield=shield, ablations=ablations, checkpoint=checkpoint,
        config=config, out=None if out is None else os.fspath(out),
    )  # fmt: skip
    for name in ("controllers", "scenarios", "level", "ablations"):
        if isinstance(given := getattr(chosen, name), str):
            raise ValueError(f"{name}={given!r}: must be a list of names; give [{given!r}]")
    request = evaluation_request.from_flags(chosen, runs)
    where = evaluation_run.open_folder(
        request, say, jax.default_backend(), "gridracer.evaluate, from Python"
    )
    try:
        work = evaluation_run.Evaluation(request, where, runs)
        failed = {task.controller: str(error) for task, error in work.play().items()}
        work.write()
    finally:
        where.release()
    return Evaluation(where.path, work.content, failed)
