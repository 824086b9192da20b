"""A shield: looks ahead at what a controller proposes, and holds it back where that is unsafe.

The look-ahead is a step of the environment without protection, of the loads and the weather that
are foreseen. Where a branch would be overloaded or the grid would not survive, other actions are
tried, and the first safe one is taken: ever less of the proposal on the way to the plan, then what
the sensitivity expert would do who took over now. If none is safe, it is the least unsafe.
"""

import dataclasses
from typing import NamedTuple

import chex
import flax.struct
import jax
import jax.numpy as jnp

from agents import controllers
from agents.baselines import expert as expert_lib, outlook
from envs import grid_env
from envs.time_series import series as series_lib

SUFFIX = "+shield"  # of the name of a controller that has one
_SHARES = (0.75, 0.5, 0.25, 0.0)  # of the proposal, the rest being the plan
_COLLAPSE = 1e3  # beside loadings, for a step that ends the episode
_TOLERANCE = 1e-4  # of loading: rounding of single precision


class Guarded(NamedTuple):
    """The memory of a controller with a shield."""

    inner: controllers.Memory
    held_back: chex.Array  # bool `[B]`, whether the last proposal was


@flax.struct.dataclass
class _Foreseen:
    """The next row of a time series as it is foreseen, whichever is asked for."""

    row: series_lib.TimeSeries

    def at(self, row: chex.Array) -> series_lib.TimeSeries:
        """Returns it."""
        del row
        return self.row


def shielded(env: grid_env.GridEnv, inner: controllers.Controller) -> controllers.Controller:
    """Returns the controller that does what `inner` proposes where that is safe."""
    shield = _Shield(env)
    guard = shield.guard if inner.traceable else jax.jit(shield.guard)

    def start(days, seed):
        return Guarded(inner.start(days, seed), jnp.zeros(len(days.day), bool))

    def act(state, series, memory):
        proposal, kept = inner.act(state, series, memory.inner)
        action, held_back = guard(state, series, jnp.asarray(proposal))
        return action, Guarded(kept, held_back)

    return dataclasses.replace(
        inner, name=inner.name + SUFFIX, title=f"{inner.title}, shield", start=start, act=act,
        assumes_control=True,
    )  # fmt: skip


class _Shield:
    """Judges actions of a batch of grids in one environment."""

    def __init__(self, env: grid_env.GridEnv):
        off = dataclasses.replace(env.options.protection, enabled=False)
        options = dataclasses.replace(
            env.options, protection=off, screen_outages=False, reward="economic", pool="",
            scenarios="", curriculum="",
        )  # fmt: skip
        self._step = grid_env.make(options)
        self._relieve = expert_lib.takeover(env)

    def guard(self, state, series, proposal: chex.Array) -> tuple[chex.Array, chex.Array]:
        """Returns the actions `[B, action_size]` that are taken, and which were held back."""
        ahead = jax.vmap(_foresee)(state, series)
        danger = jax.vmap(self._danger)(state, ahead, proposal)
        going = ~state.terminated
        unsafe = going & (danger > _TOLERANCE)
        return jax.lax.cond(
            unsafe.any(),
            lambda: self._held_back(state, series, ahead, proposal, danger, unsafe),
            lambda: (proposal, unsafe),
        )

    def _held_back(self, state, series, ahead, proposal, danger, unsafe):
        relief = jax.vmap(self._relieve)(state, series)
        candidates = jnp.stack([share * proposal for share in _SHARES] + [relief])  # [K, B, n]
        dangers = jax.vmap(lambda action: jax.vmap(self._danger)(state, ahead, action))(candidates)
        dangers = jnp.where(jnp.isfinite(dangers), dangers, jnp.inf)
        safe = dangers <= _TOLERANCE
        chosen = jnp.where(safe.any(0), safe.argmax(0), dangers.argmin(0))
        better = jnp.take_along_axis(dangers, chosen[None], 0)[0] < danger
        held_back = unsafe & better
        other = jnp.take_along_axis(candidates, chosen[None, :, None], 0)[0]
        return jnp.where(held_back[:, None], other, proposal), held_back

    def _danger(self, state, ahead: _Foreseen, action) -> chex.Array:
        """Returns how far an action would overload branches; much where the episode would end."""
        after, detail = self._step.detailed(state.replace(protection=None), action, ahead)
        overload = jnp.maximum(detail.rho - 1.0, 0.0).sum()
        return overload + jnp.where(after.terminated, _COLLAPSE, 0.0)


def _foresee(state: grid_env.State, series: series_lib.TimeSeries) -> _Foreseen:
    """Returns the next row of one grid as it is foreseen: totals by forecasts, shares as now."""
    now, ahead = series.at(state.t), series.at(state.t + 1)
    scale = lambda present, total: jnp.where(
        present.sum() > 1e-6, total / jnp.maximum(present.sum(), 1e-6), 1.0
    )
    load = scale(now.load_p_mw, now.load_forecast_mw[0])
    weather = scale(now.renewable_mw, now.renewable_forecast_mw[0])
    return _Foreseen(now.replace(
        load_p_mw=load * now.load_p_mw,
        load_q_mvar=load * now.load_q_mvar,
        renewable_mw=weather * now.renewable_mw,
        branch_status=outlook.foreseen(now.branch_status, ahead.branch_status),
        gen_status=outlook.foreseen(now.gen_status, ahead.gen_status),
        plan_p_mw=ahead.plan_p_mw,
        day_ahead_load_mw=ahead.day_ahead_load_mw,
        day_ahead_renewable_mw=ahead.day_ahead_renewable_mw,
    ))  # fmt: skip
