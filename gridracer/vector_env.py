"""A batch of grids as a `gymnasium.vector.VectorEnv`, all in one compiled call."""

import numbers
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from envs import grid_env
from envs.inputs import choices
from envs.step.termination import Reason
from gridracer import (
    metrics as metrics_lib,
    packages,
    rendering,
    simulator as simulator_lib,
    spaces,
    tasks,
)

gymnasium = packages.required("gymnasium")

_AUTORESET = gymnasium.vector.AutoresetMode
_MODES = {"next_step": _AUTORESET.NEXT_STEP, "same_step": _AUTORESET.SAME_STEP}


class GridVectorEnv(gymnasium.vector.VectorEnv):
    """A batch of grids, each on a day of its own; spaces and infos as those of `GridGymEnv`.

    A grid whose day is over goes on with another one: in the step after, which ignores its action
    (`next_step`, what Gymnasium's own do), or at once (`same_step`), when `final_obs` has the last
    observation of the day.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 12}  # noqa: RUF012

    def __init__(
        self,
        simulator: simulator_lib.Simulator,
        num_envs: int,
        units: str = simulator_lib.PER_UNIT,
        observations: str = spaces.FLAT,
        autoreset: str = "next_step",
        render_mode: str | None = None,
    ):
        """Wraps `num_envs` grids of a simulator of one agent.

        Raises:
          ValueError: a number or a name is not accepted.
        """
        if isinstance(num_envs, bool) or not isinstance(num_envs, numbers.Integral) or num_envs < 1:
            raise ValueError(f"num_envs={num_envs!r}: must be a whole number, 1 or more")
        num_envs = int(num_envs)
        choices.require("autoreset", autoreset, _MODES)
        if render_mode is not None:
            choices.require("render_mode", render_mode, self.metadata["render_modes"])
        self.num_envs, self.render_mode = num_envs, render_mode
        self.metadata = {**self.metadata, "autoreset_mode": _MODES[autoreset]}
        self._simulator, self._same_step = simulator, autoreset == "same_step"
        self._units, layout = units, simulator.env.layout
        self._observe = spaces.Observations(layout, simulator.ratings, units, observations)
        batched = gymnasium.vector.utils.batch_space
        self.single_observation_space = self._observe.space
        self.single_action_space = spaces.actions(layout.action_size)
        self.observation_space = batched(self.single_observation_space, num_envs)
        self.action_space = batched(self.single_action_space, num_envs)
        self._grids: simulator_lib.Grids | None = None
        self._totals: metrics_lib.DayTotals | None = None
        self._over = np.zeros(num_envs, bool)  # whose day the last step ended
        self._screen: rendering.Screen | None = None

    @property
    def functional(self) -> grid_env.GridEnv:
        """The environment as pure functions of JAX, with its grid, fleet, layout and options."""
        return self._simulator.env

    @property
    def states(self) -> grid_env.State:
        """The states of the grids, every leaf `[num_envs, …]`, physical units."""
        return spaces.begun(self._grids).states

    def reset(self, *, seed: int | None = None, options: Mapping[str, Any] | None = None):
        """Returns observations `[num_envs, …]` at the start of new days, and their numbers.

        `options={"day": n}` starts the days from the n-th draw of the split on.
        """
        super().reset(seed=seed)
        self._grids = self._simulator.start(self._keys(self.num_envs, options))
        self._totals, self._over = None, np.zeros(self.num_envs, bool)
        return self._observe(self._grids.states.observation), self._begun(~self._over)

    def step(self, actions: np.ndarray):
        """Returns observations, rewards, terminated, truncated `[num_envs]` and infos of a step.

        Where a new day begins, infos have its `day_of_year`.

        Raises:
          ValueError: the actions are not of the space's shape, or not finite.
          gymnasium.error.ResetNeeded: no day has begun.
        """
        grids = spaces.begun(self._grids)
        actions = spaces.checked(actions, self.action_space.shape, "actions")
        self._grids, outcome = self._simulator.step(grids, actions)
        observations = np.array(outcome.observation)
        rewards = np.array(outcome.reward[:, 0])
        terminated, truncated = np.array(outcome.terminated), np.array(outcome.truncated)
        metrics, waited = np.asarray(outcome.metrics), self._over
        terminated &= ~waited
        truncated &= ~waited
        done = terminated | truncated
        infos = self._infos(metrics, waited, done)
        begins = waited
        if self._same_step:
            begins = done
            if done.any():
                final = _objects(self._observe(observations[done]), done)
                infos |= _masked("final_obs", final, done)
        if begins.any():
            rows = np.flatnonzero(begins)
            self._grids = self._simulator.restart(self._grids, rows, self._keys(rows.size))
            observations[rows] = np.asarray(self._grids.states.observation)[rows]
            rewards[waited] = 0.0
            infos |= self._begun(begins)
        self._over = np.zeros_like(done) if self._same_step else done
        return self._observe(observations), rewards, terminated, truncated, infos

    def play(
        self, act: Callable[[np.ndarray | dict[str, np.ndarray]], np.ndarray] | None, day: int = 0
    ) -> np.ndarray:
        """Returns what each grid earns in a day `[num_envs]`, the days from number `day` on.

        `act` returns actions `[num_envs, …]` for observations; without it they are as planned.

        Raises:
          ValueError: it is a policy that takes observations in other units.
        """
        if (units := getattr(act, "units", self._units)) != self._units:
            raise ValueError(
                f"units={self._units!r}: the policy takes observations in {units} units; make the "
                f"environment with units={units!r}"
            )
        observations, _ = self.reset(options={"day": day})
        earned, over = np.zeros(self.num_envs), np.zeros(self.num_envs, bool)
        while not over.all():
            actions = np.zeros(self.action_space.shape) if act is None else act(observations)
            observations, rewards, terminated, truncated, _ = self.step(actions)
            earned += np.where(over, 0.0, rewards)
            over |= terminated | truncated
        return earned

    def render(self) -> tuple[np.ndarray, ...] | None:
        """Returns the one-line diagram of every grid, each `[height, width, 3]`."""
        if self.render_mode is None:
            gymnasium.logger.warn("render() does nothing without render_mode=rgb_array")
            return None
        env, states = self.functional, jax.device_get(self.states)
        self._screen = self._screen or rendering.Screen(env.grid, env.options.step_minutes)
        one = lambda number: jax.tree.map(lambda leaf: leaf[number], states)
        return tuple(self._screen.picture(one(number)) for number in range(self.num_envs))

    def _keys(self, count: int, options: Mapping[str, Any] | None = None) -> np.ndarray:
        """Returns the keys of the next days."""
        return np.stack([simulator_lib.day_key(self.np_random, options, i) for i in range(count)])

    def _begun(self, which: np.ndarray) -> dict[str, np.ndarray]:
        """Returns the infos of grids whose day begins, `which` bool `[num_envs]`."""
        return _masked("day_of_year", np.where(which, np.asarray(self._grids.days.day), 0), which)

    def _infos(self, metrics: np.ndarray, waited: np.ndarray, done: np.ndarray) -> dict[str, Any]:
        """Returns the metrics of a step by name, those of days that are `done` under `day`."""
        names, played = self._simulator.metrics.names, ~waited
        infos: dict[str, Any] = {}
        for name, values in zip(names, np.where(played, metrics.T, 0.0)):
            infos[name], infos[f"_{name}"] = values, played
        self._totals = self._totals or metrics_lib.DayTotals(self._simulator.metrics, self.num_envs)
        self._totals.add(metrics, played)
        reasons = np.full(self.num_envs, Reason.NONE.name, object)
        if done.any():
            day = np.zeros((self.num_envs, len(names)))
            day[done] = self._totals.take(done)
            infos |= _masked("day", {}, done)
            for column, name in enumerate(names):
                infos["day"] |= _masked(name, day[:, column], done)
            numbers = np.asarray(self._grids.states.reason)[done]
            reasons[done] = [Reason(int(number)).name for number in numbers]
        return infos | _masked("reason", reasons, played)


def _masked(name: str, values, present: np.ndarray) -> dict[str, Any]:
    """Returns an info and its mask, as Gymnasium's vector environments have them."""
    return {name: values, f"_{name}": present}


def _objects(values, which: np.ndarray) -> np.ndarray:
    """Returns objects `[num_envs]`: those of `values` `[n, …]` at `which`, else none."""
    objects, named = np.full(which.shape, None, object), isinstance(values, dict)
    for place, row in enumerate(np.flatnonzero(which)):
        one = {name: block[place] for name, block in values.items()} if named else values[place]
        objects[row] = one
    return objects


def make(
    case: str,
    num_envs: int = 1,
    scenario: str = "",
    level: str = "",
    split: str = "train",
    units: str = simulator_lib.PER_UNIT,
    observations: str = spaces.FLAT,
    metrics: Mapping[str, metrics_lib.Metric | metrics_lib.Function] | None = None,
    autoreset: str = "next_step",
    render_mode: str | None = None,
    **options,
) -> GridVectorEnv:
    """Returns a batch of grids of a task; all but `num_envs` and `autoreset` as `GridGymEnv`'s.

    Raises:
      ValueError: a name, an option or its value is not accepted.
      FileNotFoundError: there is no such case.
    """
    task = tasks.make(case, scenario, level, split, make, **options)
    simulator = simulator_lib.shared(task, metrics)
    return GridVectorEnv(simulator, num_envs, units, observations, autoreset, render_mode)
