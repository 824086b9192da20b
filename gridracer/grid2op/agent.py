"""A policy that was trained with Gridracer, as an agent of Grid2Op."""

import dataclasses
import functools
import os
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from agents import controllers, networks as networks_lib
from agents.grid2op import play
from agents.grid2op.action_to_grid2op import ONLY_HERE, ONLY_THERE, Converter
from agents.grid2op.observation_from_grid2op import Observer
from envs import grid_env
from envs.options import EnvOptions
from envs.step.layout import Layout
from envs.time_series.options import RECORDED, SYNTHETIC
from gridracer import policy as policy_lib
from launch.run import run_folder

try:
    from grid2op.Agent import BaseAgent
    from grid2op.Exceptions import NoForecastAvailable, SimulateError
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(f"{play.ABSENT} ({error})") from error


class _Seen(NamedTuple):
    """What a policy reads of a state."""

    observation: chex.Array  # `[1, observation_size]`


class GridracerAgent(BaseAgent):
    """Plays a trained policy in Grid2Op, its most likely action in each step.

    It does nothing where an action is foreseen to end the episode (`observation.simulate`, where
    the environment has forecasts): Grid2Op ends one in which redispatch leaves units no way to
    follow load, and chronics may jump from row to row by more than all ramps.

    What it cannot do there is in `without_counterpart`, by name; what Grid2Op has and it never
    does, in `never_used`.
    """

    def __init__(self, env: Any, workdir: str | os.PathLike, checkpoint: str | None = None):
        """Takes Grid2Op's environment, and the folder of a run or of a policy that ships.

        Its `checkpoint` is `best` by validation days, `newest`, or by default the best that it has.

        Raises:
          launch.run.run_folder.RunFolderError, learner.checkpoint.CheckpointError: there is no run,
            or no checkpoint in it that can be read.
          ValueError: the policy is of another grid, or its layout has what Grid2Op has not.
        """
        super().__init__(env.action_space)
        run = run_folder.RunFolder(workdir)
        experiment = run.experiment()
        layout = layout_of(experiment.env)
        self._observe = Observer(layout, env.observation_space)
        self._convert = Converter(layout, experiment.env, env.action_space)
        self.without_counterpart = (*ONLY_HERE, *self._convert.not_allowed)
        self.never_used = ONLY_THERE
        networks = networks_lib.make(layout, experiment.team)
        bundle = jax.tree.map(jnp.asarray, policy_lib.read(run, networks, checkpoint))
        learned = controllers.learned(networks, bundle)
        self._begin = functools.partial(controllers.acting, networks, bundle, 1)
        self._act = jax.jit(lambda seen, memory: learned.act(seen, None, memory))
        self._memory = self._begin()

    def reset(self, obs: Any) -> None:
        """Forgets what it remembers of the episode before."""
        self._memory = self._begin()

    def act(self, observation: Any, reward: float, done: bool = False):
        """Returns Grid2Op's action, or none where that is foreseen to end the episode."""
        action = self._convert(self.decide(self._observe(observation)), observation)
        try:
            *_, ends, _ = observation.simulate(action)
        except (NoForecastAvailable, SimulateError):
            return action
        return self.action_space() if ends else action

    def decide(self, observation: np.ndarray) -> np.ndarray:
        """Returns the policy's action `[action_size]` for an observation `[observation_size]`."""
        actions, self._memory = self._act(_Seen(observation[None]), self._memory)
        return np.asarray(actions[0])


def layout_of(options: EnvOptions) -> Layout:
    """Returns the layout of an environment; its days are not read.

    Raises:
      FileNotFoundError: its case or fleet is not there.
      ValueError: an option names something that does not exist.
    """
    schedule = "proportional" if options.schedule in (RECORDED, "secured") else options.schedule
    options = dataclasses.replace(
        options, time_series=SYNTHETIC, schedule=schedule, load_scale=1.0, pool="", scenarios="",
        curriculum="",
    )  # fmt: skip
    return grid_env.check(options).layout
