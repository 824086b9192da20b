"""Plays whole episodes of a controller on time series, and keeps their outcomes."""

import functools
from collections.abc import Callable, Mapping
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from agents import controllers, inspection
from agents.baselines import shield
from envs import grid_env, restart
from envs.time_series import series as series_lib
from evaluation import overrides as overrides_lib

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
    held_back: chex.Array  # bool, whether a shield or a safety agent held something back
    foreseen: chex.Array  # 1 where what it held back would have broken a limit; NaN: not looked at
    averted: chex.Array  # 1 where what was done instead keeps that limit; NaN: not looked at


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
    inspection: inspection.Inspection | None  # of a team's decisions
    overrides: Mapping[str, overrides_lib.Override]  # by who held back
    earned: inspection.Earned | None = None  # by the agents of a team


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
        self._compiled: dict[Callable, Callable] = {}
        self._reasons: overrides_lib.Reasons | None = None  # made when somebody holds back

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
        act, inspect = self.compiled(controller), None
        if self._record and controller.inspect:
            inspect = self._once(controller.inspect)
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
            shown = inspect and inspect(carry[0], memory)
            action, memory = act(carry[0], days, memory)
            action = jnp.asarray(action)
            held_back = self._overrides(carry[0], days, memory, shown, action)
            carry, row = self._step(carry, action, shown, held_back, days, start)
            rows.append(jax.tree.map(np.asarray, self._told(row, controller)))
            progress(1)
        return jax.tree.map(lambda *leaves: np.stack(leaves), *rows)

    def compiled(self, controller: controllers.Controller) -> controllers.Act:
        """Returns the controller's `act`, compiled where it can be."""
        return self._once(controller.act) if controller.traceable else controller.act

    def _once(self, function: Callable) -> Callable:
        """Returns a function compiled, the same for the same function."""
        if function not in self._compiled:
            self._compiled[function] = jax.jit(function)
        return self._compiled[function]

    def _told(self, row: Episodes, controller: controllers.Controller) -> Episodes:
        """Returns a step with what agents have earned, in place of what buses have."""
        recording = row.recording
        if recording is None:
            return row
        detail, earned = recording.detail, None
        if controller.team is not None:
            earned = inspection.earned(controller.team, row.outcomes.reward, detail.earned)
        detail = detail._replace(earned={})
        return row._replace(recording=recording._replace(detail=detail, earned=earned))

    def _overrides(self, state, days, memory, shown, action) -> dict[str, overrides_lib.Override]:
        """Returns what was held back in a step, by who did so; nothing of who never does."""
        held_back = {}
        if isinstance(memory, shield.Guarded):
            held_back[overrides_lib.SHIELD] = overrides_lib.of_shield(memory)
        if shown is None or shown.held_back is None:
            return held_back
        override = overrides_lib.Override(shown.held_back)
        if shown.unheld is not None:
            self._reasons = self._reasons or overrides_lib.Reasons(self._env)
            override = self._reasons(state, days, shown.unheld, action, shown.held_back)
        return {**held_back, overrides_lib.SAFETY: override}

    def _advance(self, carry, action, shown, overrides, days, start):
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
            **_held_back(overrides, ended),
        )
        recording = None
        if self._record:
            recording = Recording(
                action, after.vm_pu, after.va_rad, after.energy_mwh, after.trip_round,
                after.branch.why, after.branch.available, detail, shown, overrides,
            )  # fmt: skip
        kept = jax.tree.map(functools.partial(_where, ended), state, after)
        return (restart.strong(kept), ended | after.terminated), Episodes(outcomes, recording)


def _held_back(overrides: Mapping[str, overrides_lib.Override], like: chex.Array) -> dict:
    """Returns the outcomes `[B]` of a step that are of overrides; none is held back without any."""
    held_back = jnp.zeros_like(like)
    foreseen = averted = jnp.zeros(like.shape)
    for override in overrides.values():
        held_back |= override.held
        if override.limit is None:
            foreseen = averted = jnp.full(like.shape, jnp.nan)
            continue
        broken = override.limit > 0
        foreseen = jnp.maximum(foreseen, broken)
        averted = jnp.maximum(averted, broken & (override.taken <= 0))
    return {"held_back": held_back, "foreseen": foreseen, "averted": averted}


def _where(ended, old, new):
    return jnp.where(ended.reshape(ended.shape + (1,) * (new.ndim - 1)), old, new)
