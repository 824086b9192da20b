"""A shield: looks ahead at what a controller proposes, and holds it back where that is unsafe.

Where a branch would be overloaded or the grid would not survive the next step, as it is foreseen
(`agents/baselines/look_ahead.py`), other actions are tried, and the first safe one is taken: ever
less of the proposal on the way to the plan, then what the sensitivity expert would do who took over
now. If none is safe, it is the least unsafe.
"""

import dataclasses
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from agents import controllers
from agents.baselines import expert as expert_lib, look_ahead
from envs import grid_env

SUFFIX = "+shield"  # of the name of a controller that has one
_SHARES = (0.75, 0.5, 0.25, 0.0)  # of the proposal, the rest being the plan


class HeldBack(NamedTuple):
    """What a shield did not let pass, and why, `[B]` each."""

    share: chex.Array  # of the proposal; 0 of what passes, 1 where another takes over
    broken: look_ahead.Broken  # by the proposal, as it was foreseen
    taken: chex.Array  # the same limit by what is done instead, in the unit of its size


class Guarded(NamedTuple):
    """The memory of a controller with a shield."""

    inner: controllers.Memory
    last: HeldBack  # of the last proposal


def shielded(env: grid_env.GridEnv, inner: controllers.Controller) -> controllers.Controller:
    """Returns the controller that does what `inner` proposes where that is safe."""
    shield = _Shield(env)
    guard = shield.guard if inner.traceable else jax.jit(shield.guard)

    def start(days, seed):
        whole, none = jnp.zeros(len(days.day)), jnp.zeros(len(days.day), jnp.int32)
        last = HeldBack(whole, look_ahead.Broken(none, none, whole), whole)
        return Guarded(inner.start(days, seed), last)

    def act(state, series, memory):
        proposal, kept = inner.act(state, series, memory.inner)
        action, last = guard(state, series, jnp.asarray(proposal))
        return action, Guarded(kept, last)

    inspect = inner.inspect and (lambda state, memory: inner.inspect(state, memory.inner))
    return dataclasses.replace(
        inner, name=inner.name + SUFFIX, title=f"{inner.title}, shield", start=start, act=act,
        inspect=inspect, assumes_control=True,
    )  # fmt: skip


class _Shield:
    """Judges actions of a batch of grids in one environment."""

    def __init__(self, env: grid_env.GridEnv):
        self._look = look_ahead.LookAhead(env)
        self._relieve = expert_lib.takeover(env)

    def guard(self, state, series, proposal: chex.Array) -> tuple[chex.Array, HeldBack]:
        """Returns the actions `[B, action_size]` that are taken, and what was held back."""
        ahead = jax.vmap(look_ahead.foresee)(state, series)
        excess = jax.vmap(self._look)(state, ahead, proposal)
        unsafe = look_ahead.danger(excess) > look_ahead.LOADING_TOLERANCE
        unsafe &= ~state.terminated
        broken = self._look.broken(excess)
        none = jnp.zeros(unsafe.shape)
        return jax.lax.cond(
            unsafe.any(),
            lambda: self._held_back(state, series, ahead, proposal, excess, broken, unsafe),
            lambda: (proposal, HeldBack(none, broken, none)),
        )

    def _held_back(self, state, series, ahead, proposal, excess, broken, unsafe):
        relief = jax.vmap(self._relieve)(state, series)
        candidates = jnp.stack([share * proposal for share in _SHARES] + [relief])  # [K, B, n]
        excesses = jax.vmap(lambda action: jax.vmap(self._look)(state, ahead, action))(candidates)
        dangers = look_ahead.danger(excesses)
        dangers = jnp.where(jnp.isfinite(dangers), dangers, jnp.inf)
        safe = dangers <= look_ahead.LOADING_TOLERANCE
        chosen = jnp.where(safe.any(0), safe.argmax(0), dangers.argmin(0))
        pick = lambda of_each: jax.vmap(lambda values, k: values[k], (1, 0))(of_each, chosen)
        held_back = unsafe & (pick(dangers) < look_ahead.danger(excess))
        action = jnp.where(held_back[:, None], pick(candidates), proposal)
        share = 1.0 - jnp.asarray((*_SHARES, 0.0))[chosen]
        taken = self._look.at(jax.tree.map(pick, excesses), broken)
        return action, HeldBack(jnp.where(held_back, share, 0.0), broken, taken)
