"""A trained policy that acts: observations in physical units in, actions out."""

import dataclasses
import functools
import os
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging

from agents import bundle as bundle_lib, controllers, networks as networks_lib
from configs.experiment import Experiment
from envs import grid_env
from envs.options import EnvOptions
from launch.run import parts, run_folder
from learner import checkpoint as checkpoint_lib


class Policy:
    """Takes the most likely actions of what was trained, for one grid or a batch of grids."""

    units = "physical"  # of observations, as `gridracer.vector_env.make` calls them

    def __init__(
        self,
        experiment: Experiment,
        networks: networks_lib.TeamNetworks,
        bundle: bundle_lib.Bundle,
    ):
        """Takes what was trained: the experiment, its networks, and their parameters.

        `load_policy` and `Trainer.policy` make one.
        """
        self.experiment, self.networks = experiment, networks
        self.bundle = jax.tree.map(jnp.asarray, bundle)
        self._decide = jax.jit(functools.partial(controllers.decide, networks))
        self._memory: controllers.Acting | None = None

    @functools.cached_property
    def env(self) -> grid_env.GridEnv:
        """The environment that it was trained in, with days as they come."""
        return grid_env.make(_days_as_they_come(self.experiment))

    @property
    def version(self) -> int:
        """How many updates made it."""
        return int(self.bundle.version)

    @property
    def controller(self) -> controllers.Controller:
        """The same as a controller of batches, as evaluations and `agents.controllers` have it."""
        return controllers.learned(self.networks, self.bundle)

    def reset(self) -> None:
        """Has agents forget what they decided before: call it where days begin."""
        self._memory = None

    def __call__(self, observations: Any) -> jax.Array:
        """Returns actions in [−1, 1], `[action_size]` or `[B, action_size]`.

        Teams whose agents hear one another or hold decisions remember the call before, of as many
        grids, until `reset`.

        Args:
          observations: of the environment, physical units, `[observation_size]` or
            `[B, observation_size]`; or states of it, one or a batch.

        Raises:
          ValueError: they are of another environment, or of another number of grids than before.
        """
        given = jnp.asarray(getattr(observations, "observation", observations))
        size = self.networks.team.observation_size
        if given.ndim not in (1, 2) or given.shape[-1] != size:
            raise ValueError(
                f"observations={list(given.shape)}: must be [{size}] or [B, {size}], of "
                f"{self.experiment.env.case}, layout {self.experiment.env.layout}"
            )
        batch = jnp.atleast_2d(given)
        actions, memory = self._decide(batch, self._remembered(len(batch)))
        if self.networks.team.memory_size:
            self._memory = memory
        return actions.reshape(*given.shape[:-1], -1)

    def _remembered(self, count: int) -> controllers.Acting:
        if self._memory is None:
            return controllers.acting(self.networks, self.bundle, count)
        if len(self._memory.memory) != count:
            raise ValueError(
                f"observations of {count} grids: agents remember {len(self._memory.memory)}; call "
                "reset() where other days begin"
            )
        return self._memory


def load_policy(folder: str | os.PathLike, checkpoint: str | None = None) -> Policy:
    """Returns the policy of a run, which may still be going on.

    Args:
      folder: of the run, as `launch.local`, `launch.fused` or a trainer made it.
      checkpoint: `best` by validation days, `newest`, or, by default, the best that there is.

    Raises:
      RunFolderError: there is no run.
      CheckpointError: it has no such checkpoint, or it cannot be read.
      ValueError: there is no such kind of checkpoint.
    """
    if checkpoint not in (None, "best", "newest"):
        raise ValueError(f"checkpoint={checkpoint!r}: must be best or newest")
    logging.set_verbosity(logging.ERROR)  # Orbax tells every step of a restore.
    run = run_folder.RunFolder(folder)
    experiment = run.experiment()
    # The layout is all that networks need of an environment.
    networks = parts.networks(experiment, grid_env.check(_days_as_they_come(experiment)))
    return Policy(experiment, networks, read(run, networks, checkpoint))


def read(
    run: run_folder.RunFolder, networks: networks_lib.TeamNetworks, checkpoint: str | None
) -> bundle_lib.Bundle:
    """Returns what a checkpoint of a run holds, arrays of the host; see `load_policy`."""
    kind = checkpoint or ("best" if _any(run, "best") else "newest")
    restored = checkpoint_lib.Checkpoints(run.path, kind, create=False).read(networks)
    return jax.tree.map(np.asarray, restored.bundle)


def _any(run: run_folder.RunFolder, kind: str) -> bool:
    try:
        return checkpoint_lib.Checkpoints(run.path, kind, create=False).any()
    except checkpoint_lib.CheckpointError:
        return False


def _days_as_they_come(experiment: Experiment) -> EnvOptions:
    return dataclasses.replace(experiment.env, pool="", scenarios="")
