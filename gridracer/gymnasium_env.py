"""One grid as a `gymnasium.Env`."""

from collections.abc import Mapping
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


class GridGymEnv(rendering.Rendered, gymnasium.Env):
    """A day of one grid, operated by one agent; five minutes a step.

    Observations: of the layout, a vector, or with `observations="named"` a dict with a vector for
      each block; over the rating of each entry, or in MW, pu and rad with `units="physical"`.
    Actions: −1 to 1 for each control, 0 as planned (`docs/mdp.md`).
    Reward: of the options, thousand $ with those that are shipped.
    Infos: every reward term and metric of the step by name, and `reason`, `NONE` unless it ends the
      day before its last step; at the end of a day `day`, the metrics of the whole day.
    """

    metadata = {"render_modes": list(rendering.MODES), "render_fps": 12}  # noqa: RUF012

    def __init__(
        self,
        simulator: simulator_lib.Simulator,
        units: str = simulator_lib.PER_UNIT,
        observations: str = spaces.FLAT,
        render_mode: str | None = None,
    ):
        """Wraps one grid of a simulator of one agent, which others may wrap as well."""
        if render_mode is not None:
            choices.require("render_mode", render_mode, rendering.MODES)
        self._simulator, self.render_mode = simulator, render_mode
        layout = simulator.env.layout
        self._observe = spaces.Observations(layout, simulator.ratings, units, observations)
        self.observation_space = self._observe.space
        self.action_space = spaces.actions(layout.action_size)
        self._grids: simulator_lib.Grids | None = None
        self._totals: metrics_lib.DayTotals | None = None
        self._over = True

    @property
    def functional(self) -> grid_env.GridEnv:
        """The environment as pure functions of JAX, with its grid, fleet, layout and options."""
        return self._simulator.env

    @property
    def state(self) -> grid_env.State:
        """The state of the grid, physical units, unbatched."""
        return jax.tree.map(lambda leaf: leaf[0], spaces.begun(self._grids).states)

    def reset(self, *, seed: int | None = None, options: Mapping[str, Any] | None = None):
        """Returns the observation at the start of a new day, and its number in the year.

        `options={"day": n}` starts the n-th draw of the split, whatever was drawn before.
        """
        super().reset(seed=seed)
        key = simulator_lib.day_key(self.np_random, options)
        self._grids = self._simulator.start(key[None])
        self._totals, self._over = None, False
        if self.render_mode == "human":
            self.render()
        states = self._grids.states
        info = {"day_of_year": int(self._grids.days.day[0])}
        return self._observe(states.observation[0]), info

    def step(self, action: np.ndarray):
        """Returns observation, reward, terminated, truncated and info of five minutes.

        Raises:
          ValueError: the action is not of the space's shape, or not finite.
          gymnasium.error.ResetNeeded: the day has not begun, or is over.
        """
        if self._over:
            raise gymnasium.error.ResetNeeded("the day is over, or has not begun: call reset()")
        action = spaces.checked(action, self.action_space.shape)
        self._grids, outcome = self._simulator.step(self._grids, action[None])
        outcome = jax.device_get(outcome._replace(earned=None))
        names = self._simulator.metrics.names
        info: dict[str, Any] = dict(zip(names, outcome.metrics[0].tolist()))
        info["reason"] = Reason.NONE.name
        self._totals = self._totals or metrics_lib.DayTotals(self._simulator.metrics, 1)
        self._totals.add(outcome.metrics)
        terminated, truncated = bool(outcome.terminated[0]), bool(outcome.truncated[0])
        self._over = terminated or truncated
        if self._over:
            info["reason"] = Reason(int(self._grids.states.reason[0])).name
            info["day"] = dict(zip(names, self._totals.take(np.ones(1, bool))[0].tolist()))
        if self.render_mode == "human":
            self.render()
        observation = self._observe(outcome.observation[0])
        return observation, float(outcome.reward[0, 0]), terminated, truncated, info


def make(
    case: str,
    scenario: str = "",
    level: str = "",
    split: str = "train",
    units: str = simulator_lib.PER_UNIT,
    observations: str = spaces.FLAT,
    metrics: Mapping[str, metrics_lib.Metric | metrics_lib.Function] | None = None,
    render_mode: str | None = None,
    **options,
) -> GridGymEnv:
    """Returns the environment of a task, see `tasks.make`; `options` are of `EnvOptions`.

    Several of the same task in a process share their compiled programs. `metrics` adds to the
    infos, see `gridracer/metrics.py`.

    Raises:
      ValueError: a name, an option or its value is not accepted.
      FileNotFoundError: there is no such case.
    """
    task = tasks.make(case, scenario, level, split, make, **options)
    simulator = simulator_lib.shared(task, metrics)
    return GridGymEnv(simulator, units, observations, render_mode)
