"""Overrides: what a safety agent or a shield did not let pass, and which limit that would break.

An override is a step in which more than `LEAST` of what an agent, or a controller, requested was
held back. Its reason is what a look-ahead says of the request if nothing of it were held back: the
gravest limit that it would break in the next step, as far as that is foreseen.
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from agents.baselines import look_ahead, shield
from agents.team import LEAST_HELD_BACK
from envs import grid_env
from envs.time_series import series as series_lib

LEAST = LEAST_HELD_BACK
SAFETY, SHIELD = "safety", "shield"  # who holds back
WHOLE = "grid"  # whose request a shield holds back


class Override(NamedTuple):
    """What was held back in one step, `[B, …]`; over an episode `[T, B, …]`."""

    share: chex.Array  # `[…, R]` of the request of each of R regions
    # Of the gravest limit that the request as a whole would break: `Limit`, `NONE` where there is
    # none or nothing is held back; which element, and how far beyond (`look_ahead.Broken`) by the
    # request and by what was taken instead. None: nobody looked ahead.
    limit: chex.Array | None = None
    element: chex.Array | None = None
    size: chex.Array | None = None
    taken: chex.Array | None = None

    @property
    def held(self) -> chex.Array:
        """Whether it is an override, bool `[…]`."""
        return (self.share > LEAST).any(-1)


class Reasons:
    """Looks ahead at what a batch of grids would come to if nothing were held back."""

    def __init__(self, env: grid_env.GridEnv):
        """Takes the environment of the grids."""
        self._look = look_ahead.LookAhead(env)
        self._explain = jax.jit(self._reasons)

    def __call__(
        self,
        state: grid_env.State,
        series: series_lib.TimeSeries,
        unheld: chex.Array,
        action: chex.Array,
        share: chex.Array,
    ) -> Override:
        """Returns the overrides of a step, leaves `[B, …]`.

        Args:
          state: that decisions were made in.
          series: of the batch.
          unheld: `[B, action_size]` what was requested.
          action: `[B, action_size]` what was done.
          share: `[B, R]` that was held back.
        """
        return self._explain(state, series, unheld, action, share)

    def _reasons(self, state, series, unheld, action, share):
        blank = Override(share, *_nothing(share.shape[:1]))
        held = blank.held & ~state.terminated

        def look():
            ahead = jax.vmap(look_ahead.foresee)(state, series)
            requested, done = (jax.vmap(self._look)(state, ahead, a) for a in (unheld, action))
            broken = self._look.broken(requested)
            found = (*broken, self._look.at(done, broken))
            return Override(share, *(jnp.where(held, x, jnp.zeros_like(x)) for x in found))

        return jax.lax.cond(held.any(), look, lambda: blank)


def of_shield(memory: shield.Guarded) -> Override:
    """Returns the overrides of a shield in the step after which it has this memory."""
    last = memory.last
    held = last.share > LEAST
    found = (*last.broken, last.taken)
    reasons = (jnp.where(held, x, jnp.zeros_like(x)) for x in found)
    return Override(last.share[:, None], *reasons)


def _nothing(shape) -> tuple[chex.Array, ...]:
    whole = jnp.zeros(shape, jnp.int32)
    return whole, whole, jnp.zeros(shape), jnp.zeros(shape)
