"""Plays every controller in every scenario on the same days, a batch at a time, and keeps it all.

What is in the folder already is not played again.
"""

import dataclasses
import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import numpy as np

from agents import controllers
from agents.baselines import acopf
from envs import grid_env
from envs.time_series import series as series_lib
from evaluation import episodes, l2rpn, latency, metrics, report_arrays, results
from evaluation.scenarios import suite

BATCH = 25  # days that are played together
_LARGE, _LARGE_BATCH = 500, 8  # on more buses fewer: what is recorded of them takes memory

# What every comparison rests on, measured as well as the requested controllers.
NOTHING, UNTRIPPED, BOUND = "do_nothing", "untripped", results.BOUND
REFERENCES = (UNTRIPPED, BOUND)  # of these, those that are no controllers
OPTIMAL = "acopf"  # the other controller that all are compared with, where it plays

Progress = Callable[[results.Task, int], None]  # the task, and steps of episodes that are done


@dataclasses.dataclass(frozen=True)
class Plan:
    """What to evaluate."""

    controllers: tuple[str, ...]
    scenarios: tuple[tuple[str, str], ...]  # (name, level)
    episodes: int
    split: str
    seed: int
    bound: bool = True  # whether to compute what AC-OPF says a day costs at least
    seeds: tuple[str, ...] = ()  # of the controllers those that differ by the seed of training

    def tasks(self) -> list[results.Task]:
        """Returns every task, those that others are compared with first."""
        names = [NOTHING, UNTRIPPED, *([BOUND] if self.bound else []), *self.controllers]
        return [
            results.Task(scenario, level, name)
            for scenario, level in self.scenarios
            for name in dict.fromkeys(names)
        ]

    def played_tasks(self) -> list[results.Task]:
        """Returns the tasks of controllers, without the references."""
        return [task for task in self.tasks() if task.controller not in REFERENCES]

    def batches(self, n_bus: int) -> list[tuple[int, int]]:
        """Returns (first day, number of days) of every batch."""
        size = _LARGE_BATCH if n_bus > _LARGE else BATCH
        return [
            (first, min(size, self.episodes - first)) for first in range(0, self.episodes, size)
        ]


class Runner:
    """Runs a plan in one environment."""

    def __init__(
        self,
        env: grid_env.GridEnv,
        folder: results.Folder,
        make: Callable[[str], controllers.Controller],
        plan: Plan,
    ):
        """Takes the environment, where results go, how controllers are made, and what to run."""
        self._env, self._folder, self._make, self._plan = env, folder, make, plan
        self._controllers: dict[str, controllers.Controller] = {}
        self._knows: dict[str, str] = {}
        self._players: dict[bool, tuple[grid_env.GridEnv, episodes.Player]] = {}

    def left(self) -> list[tuple[results.Task, int, int]]:
        """Returns (task, first day, number of days) of every batch not in the folder yet."""
        batches = self._plan.batches(self._env.grid.n_bus)
        return [
            (task, first, count)
            for task in self._plan.tasks()
            for first, count in batches
            if self._folder.batch(task, first, count) is None
        ]

    def run(self, progress: Progress = lambda task, steps: None) -> dict[results.Task, Exception]:
        """Plays what is left; each batch is in the folder as soon as it is done.

        A controller that fails is not played any further, and neither is the bound; the others are.

        Returns:
          What failed, and what it said; at most one task of a controller or of the bound.

        Raises:
          RuntimeError: doing nothing failed, which every comparison rests on.
        """
        failed: dict[str, tuple[results.Task, Exception]] = {}
        try:
            for place, group in itertools.groupby(self.left(), lambda batch: batch[0][:2]):
                days = self._days(*place)
                for task, first, count in group:
                    if task.controller in failed:
                        continue
                    try:
                        self._batch(task, days, first, count, lambda n, t=task: progress(t, n))
                    except (RuntimeError, ValueError) as error:
                        if task.controller in (NOTHING, UNTRIPPED):
                            raise RuntimeError(f"{task}: {error}") from error
                        failed[task.controller] = task, error
        finally:
            self._close()
        return dict(failed.values())

    def play_day(
        self, day: int, progress: Progress = lambda task, steps: None
    ) -> Iterator[tuple[results.Task, dict[str, np.ndarray]]]:
        """Plays one day of every scenario once more, and yields its `report_arrays.extract`.

        Nothing goes into the folder; a day is the same as it was in its batch.
        """
        first, size = next(b for b in self._plan.batches(self._env.grid.n_bus) if day < sum(b))
        active = np.arange(size) == day - first
        try:
            for place in self._plan.scenarios:
                days = self._days(*place)
                mine = jax.tree.map(lambda leaf: leaf[first : first + size], days)
                for task in self._plan.played_tasks():
                    if task[:2] != place:
                        continue
                    advance = lambda n, t=task: progress(t, n)
                    played = self._play(task, days, first, active, advance)
                    team = self._controller(task.controller).team
                    which = day - first
                    yield (
                        task,
                        report_arrays.extract(played, mine, self._env, first, which, team),
                    )
        finally:
            self._close()

    def knows(self, name: str) -> str:
        """Returns what a controller is told besides the state, `Controller.knows`."""
        if name not in self._knows:
            try:
                self._controller(name)
            finally:
                self._close()
        return self._knows[name]

    def complete(self, names: Iterable[str]) -> list[str]:
        """Returns of these controllers those of which the folder holds every batch."""
        batches = self._plan.batches(self._env.grid.n_bus)
        return [
            name for name in names
            if all(
                self._folder.batch(results.Task(*place, name), first, count) is not None
                for place in self._plan.scenarios for first, count in batches
            )
        ]  # fmt: skip

    def _days(self, scenario: str, level: str) -> series_lib.TimeSeries:
        plan = self._plan
        drawn = suite.draw(self._env, scenario, level, plan.split, plan.episodes, plan.seed)
        return jax.tree.map(np.asarray, drawn)

    def _batch(self, task, days, first: int, count: int, progress) -> None:
        mine = jax.tree.map(lambda leaf: leaf[first : first + count], days)
        begun, horizon = time.perf_counter(), self._env.horizon
        if task.controller == BOUND:
            bound = acopf.bound(self._env, mine, lambda days: progress(days * horizon))
            self._folder.save(task, first, {
                "metrics": {
                    # A day with a row that Ipopt does not solve has no bound.
                    "total_cost": np.where(
                        np.isfinite(bound.cost), bound.cost, np.nan
                    ).sum(1).tolist(),
                    "operating_rows": np.round(bound.operating, 4).tolist(),
                    "optimal_rows": (100.0 * bound.optimal_share).tolist(),
                },
                "seconds": time.perf_counter() - begun,
                "seconds_per_row": float(bound.seconds.mean()),
            })  # fmt: skip
            return
        if task.controller == UNTRIPPED:
            # Where nothing tripped, disconnections off would have changed nothing.
            same = self._folder.batch(task._replace(controller=NOTHING), first, count)
            if same is not None and not any(same["metrics"]["trips"]):
                self._folder.save(task, first, {**same, "seconds": 0.0})
                progress(horizon * count)
                return
        recorder = latency.Recorder()
        played = self._play(
            task, days, first, np.ones(count, bool), lambda n: progress(n * count), recorder
        )
        taken = time.perf_counter() - begun
        env, player = self._player(task.controller != UNTRIPPED)
        load = env.dt_h * np.asarray(mine.load_p_mw, np.float64)[:, 1:].sum(2).T
        report: dict[str, Any] = {
            "metrics": {n: v.tolist() for n, v in metrics.compute(played.outcomes, env).items()},
            "endings": metrics.endings(played.outcomes),
            "l2rpn": {
                name: values.tolist()
                for name, values in l2rpn.cost(played.outcomes, load, env.grid)._asdict().items()
            },
            "seconds": taken,
        }
        if first == 0:
            controller = self._controller(task.controller)
            act = player.compiled(controller)
            timed = latency.measure(controller, act, recorder.states, mine, self._plan.seed)
            report["latency"] = timed and timed._asdict()
        team = self._controller(task.controller).team
        arrays = report_arrays.extract(played, mine, env, first, team=team)
        self._folder.save(task, first, report, arrays)

    def _play(self, task, days, first: int, active: np.ndarray, progress, watch=lambda state: None):
        """Returns the episodes of the batch from day `first` on; only the active are played.

        The last batch may be smaller: it is filled up with days that are left out below, as another
        size would have to be compiled.
        """
        _, player = self._player(task.controller != UNTRIPPED)
        count, size = active.size, self._plan.batches(self._env.grid.n_bus)[0][1]
        rows = np.arange(first, first + size) % self._plan.episodes
        played = player.play(
            self._controller(task.controller), jax.tree.map(lambda leaf: leaf[rows], days),
            self._plan.seed + first, progress=progress, watch=watch,
            active=np.pad(active, (0, size - count)),
        )  # fmt: skip
        return jax.tree.map(lambda leaf: leaf[:, :count], played)

    def _close(self) -> None:
        for controller in self._controllers.values():
            controller.close()
        self._controllers.clear()

    def _controller(self, name: str) -> controllers.Controller:
        name = NOTHING if name == UNTRIPPED else name
        if name not in self._controllers:
            self._controllers[name] = made = self._make(name)
            self._knows[name] = made.knows
        return self._controllers[name]

    def _player(self, protected: bool) -> tuple[grid_env.GridEnv, episodes.Player]:
        if protected not in self._players:
            env = self._env
            if not protected:
                off = dataclasses.replace(env.options.protection, enabled=False)
                env = grid_env.make(dataclasses.replace(env.options, protection=off))
            self._players[protected] = env, episodes.Player(env, record=True)
        return self._players[protected]
