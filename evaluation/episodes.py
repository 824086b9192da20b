"""Plays whole episodes of a controller on time series, and keeps their outcomes."""

import functools
from collections.abc import Callable, Mapping
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from agents import controllers
from agents.baselines import shield
from envs import grid_env, restart
from envs.time_series import series as series_lib

_CUT_MW, _CUT_PU = 1e-2, 1e-4  # what projection cuts below these is rounding


class EpisodeOutcomes(NamedTuple):
    """One step of a batch, every array `[B, …]`; over an episode `[T, B, …]`."""

    counted: chex.Array  # bool, whether the episode was still going on
    reward: chex.Array
    terminated: chex.Array  # bool, whether this step ended it
    reason: chex.Array  # `envs.step.termination.Reason`
    terms: Mapping[str, chex.Array]  # `envs.step.rewards.TERM_UNITS`
    metrics: Mapping[str, chex.Array]  # of the state
    frequency_hz: chex.Array  # at the end of the step
    shed_share: chex.Array  # of load that frequency relays hold off at its end
    overridden: chex.Array  # bool, whether projection changed the requested action
    held_back: chex.Array  # bool, whether a shield did not let pass what the controller proposed


class Recording(NamedTuple):
    """What only a report needs of one step, `[B, …]`; over an episode `[T, B, …]`."""

    action: chex.Array
    vm_pu: chex.Array
    va_rad: chex.Array
    energy_mwh: chex.Array
    trip_round: chex.Array
    why: chex.Array  # of branches, see `envs.step.switching`
    available: chex.Array  # bool, branches that the time series leaves in service
    detail: grid_env.Detail  # but for what buses have earned


class Episodes(NamedTuple):
    """Episodes of one controller, numpy arrays `[T, B, …]`."""

    outcomes: EpisodeOutcomes
    recording: Recording | None


def held_out(env: grid_env.GridEnv, split: str, episodes: int, seed: int) -> series_lib.TimeSeries:
    """Returns time series of `split`, every leaf `[episodes, …]`; the same for every controller."""
    sample = lambda key: env.sample_series(key, split)
    return jax.jit(jax.vmap(sample))(jax.random.split(jax.random.PRNGKey(seed), episodes))


class Player:
    """Plays episodes in one environment; a batch size is compiled once, for every controller."""

    def __init__(self, env: grid_env.GridEnv, *, record: bool = False):
        """Takes the environment, and whether to keep what only a report needs."""
        self._env, self._record = env, record
        self._start = jax.jit(jax.vmap(lambda series: restart.strong(env.start(series))))
        self._step = jax.jit(self._advance)
        self._acts: dict[controllers.Act, controllers.Act] = {}  # compiled

    def play(
        self,
        controller: controllers.Controller,
        days: series_lib.TimeSeries,
        seed: int = 0,
        *,
        memory: controllers.Memory | None = None,
        progress: Callable[[int], None] = lambda steps: None,
        watch: Callable[[grid_env.State], None] = lambda state: None,
        active: np.ndarray | None = None,
    ) -> Episodes:
        """Returns the episodes on `days`, leaves `[B, …]`; nothing is counted after an end.

        Args:
          controller: who decides.
          days: one for each episode.
          seed: of controllers that draw random numbers.
          memory: for the controller to begin with, instead of what its `start` returns.
          progress: called with the number of steps played since its last call.
          watch: called with every state that a decision is made in.
          active: bool `[B]`, which episodes are played, usually all; the others have ended before
            they begin, so that nobody has to decide in them.
        """
        days = jax.tree.map(jnp.asarray, days)
        act = self.compiled(controller)
        state = self._start(days)
        if active is not None:
            state = state.replace(terminated=state.terminated | ~jnp.asarray(active))
        start, carry = state, (state, state.terminated)
        memory = controller.start(days, seed) if memory is None else memory
        rows = []
        for _ in range(self._env.horizon):
            if rows and not rows[-1].outcomes.counted.any():
                rows.append(rows[-1])  # All have ended.
                progress(1)
                continue
            watch(carry[0])
            action, memory = act(carry[0], days, memory)
            carry, row = self._step(
                carry, jnp.asarray(action), _held_back(memory, carry[1]), days, start
            )
            rows.append(jax.tree.map(np.asarray, row))
            progress(1)
        return jax.tree.map(lambda *leaves: np.stack(leaves), *rows)

    def compiled(self, controller: controllers.Controller) -> controllers.Act:
        """Returns the controller's `act`, compiled where it can be."""
        if not controller.traceable:
            return controller.act
        if controller.act not in self._acts:
            self._acts[controller.act] = jax.jit(controller.act)
        return self._acts[controller.act]

    def _advance(self, carry, action, held_back, days, start):
        state, ended = carry
        # Where an episode has ended its beginning is stepped in its place, and forgotten: a grid
        # that has collapsed would take as long to solve as it can, and all others with it.
        before = jax.tree.map(functools.partial(_where, ended), start, state)
        after, detail = jax.vmap(self._env.detailed)(before, action, days)
        metrics = after.metrics
        cut = metrics["projected_mw"] + metrics["projected_storage_mw"]
        outcomes = EpisodeOutcomes(
            counted=~ended,
            reward=after.reward,
            terminated=after.terminated,
            reason=after.reason,
            terms=after.terms,
            metrics=metrics,
            frequency_hz=self._env.frequency.nominal_hz + after.frequency.deviation_hz,
            shed_share=after.frequency.shed_share,
            overridden=(cut > _CUT_MW)
            | (metrics["projected_voltage_pu"] > _CUT_PU)
            | (metrics["refused_switches"] > 0),
            held_back=held_back,
        )
        recording = None
        if self._record:
            recording = Recording(
                action, after.vm_pu, after.va_rad, after.energy_mwh, after.trip_round,
                after.branch.why, after.branch.available, detail._replace(earned={}),
            )  # fmt: skip
        kept = jax.tree.map(functools.partial(_where, ended), state, after)
        return (restart.strong(kept), ended | after.terminated), Episodes(outcomes, recording)


def _held_back(memory: controllers.Memory, like: chex.Array) -> chex.Array:
    """Returns where a shield did so, bool `[B]`; nowhere without one."""
    return memory.held_back if isinstance(memory, shield.Guarded) else jnp.zeros_like(like)


def _where(ended, old, new):
    return jnp.where(ended.reshape(ended.shape + (1,) * (new.ndim - 1)), old, new)
