"""The work of an evaluation, whoever asks for it: plays what is left, and writes what it was."""

import dataclasses
import datetime
import importlib.metadata
import json
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

from agents.baselines import registry
from evaluation import override_lines, results, runner, summary
from evaluation.report import page
from launch import evaluation_request
from launch.host import machine
from launch.run import run_folder

_PACKAGES = ("jax", "jaxlib", "numpy", "casadi", "flax")


def open_folder(
    request: evaluation_request.Request, say: Callable[[str], None], platform: str, command: str
) -> results.Folder:
    """Returns the folder of an evaluation, held and made sure to be of it.

    Results there of the user's own controllers that are another version now are forgotten.

    Args:
      request: what is evaluated.
      say: is told of files that cannot be read.
      platform: where it is computed.
      command: who asked, for readers.

    Raises:
      FolderError: the folder is another evaluation's, in use, or cannot be written.
    """
    folder = results.Folder(request.folder, say)
    folder.hold()
    folder.open(request.identity, {
        "date": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "policy": request.restored,
        "versions": {name: importlib.metadata.version(name) for name in _PACKAGES},
        "commit": machine.commit(),
        "platform": platform,
        "command": command,
    })  # fmt: skip
    folder.renew(request.own)
    return folder


class Evaluation:
    """Plays a request, and writes its summary, tables and report."""

    def __init__(
        self,
        request: evaluation_request.Request,
        folder: results.Folder,
        runs: Sequence[run_folder.RunFolder] = (),
    ):
        """Takes the request, the folder that `open_folder` made, and the runs it is of."""
        self._request, self._folder, self._runs = request, folder, runs
        self._work = runner.Runner(request.env, folder, request.make, request.plan)
        self.plan = request.plan  # once it is played, with what was evaluated there before
        self.content: dict[str, Any] = {}  # of summary.json, once it is played

    def left(self) -> list[tuple[results.Task, int, int]]:
        """Returns (task, first day, number of days) of what is to be played."""
        return self._work.left()

    def play(
        self, progress: runner.Progress = lambda task, steps: None
    ) -> dict[results.Task, Exception]:
        """Plays what is left; returns what failed, which the summary leaves out.

        Raises:
          RuntimeError: what every comparison rests on failed.
          OSError: the folder cannot be written.
        """
        env, folder = self._request.env, self._folder
        failed = self._work.run(progress)
        plan = self.plan = self._with_earlier({task.controller for task in failed})
        samples, notes = summary.collect(folder, plan, env.grid.n_bus)
        content = summary.summarise(samples, notes, plan)
        days = env.recorded_days
        self.content = {
            **folder.manifest(),
            **content,
            "knows": {name: self._work.knows(name) for name in content["controllers"]},
            "recorded_days": days and len(days[plan.split].day),
        }
        summary.write_csv(folder.path / "episodes.csv", samples)
        lines = folder.path / override_lines.NAME
        batches = plan.batches(env.grid.n_bus)
        override_lines.write_csv(lines, folder, plan.played_tasks(), batches, env.grid)
        return failed

    def write(self) -> pathlib.Path:
        """Writes `content` and the report of it; returns the report's path."""
        folder, plan = self._folder, self.plan
        (folder.path / "summary.json").write_text(json.dumps(self.content, indent=1) + "\n")
        single = len(self._runs) == 1
        played = [run.path for run in self._runs if single or run.path.name in plan.controllers]
        return page.write(folder, self.content, plan, self._request.env, played)

    def _with_earlier(self, failed: set[str]) -> runner.Plan:
        """Returns the plan without what failed, and with what was evaluated on the days before."""
        plan, known = self._request.plan, (*registry.BASELINES, *self._request.ablations)
        others = [n for n in known if n not in (*plan.controllers, runner.NOTHING)]
        played = [name for name in plan.controllers if name not in failed]
        seeds = tuple(name for name in plan.seeds if name not in failed)
        return dataclasses.replace(
            plan, controllers=(*played, *self._work.complete(others)),
            bound=plan.bound and runner.BOUND not in failed, seeds=seeds if len(seeds) > 1 else (),
        )  # fmt: skip
