"""How step size and costs change in the course of a run."""

import chex
import jax.numpy as jnp

_RANGE = 30.0  # How far a step size may be steered from where it starts, up and down.


def half_cosine(done: chex.Numeric, end: float) -> chex.Array:
    """Returns what is left when the share `done` of a run is behind: 1 at its start, then `end`."""
    return end + (1.0 - end) * 0.5 * (1.0 + jnp.cos(jnp.pi * done))


def steered(rate: chex.Array, divergence: chex.Array, target: float, start: float) -> chex.Array:
    """Returns the step size after an update that moved the policy by `divergence`.

    It is divided by 1.5 when that is more than twice `target` and multiplied by it when less than
    half of it (Schulman et al. 2017, section 4, applied to the step size as in Rudin et al. 2022).
    `start` is where it began.
    """
    rate = jnp.where(divergence > 2.0 * target, rate / 1.5, rate)
    rate = jnp.where(divergence < 0.5 * target, rate * 1.5, rate)
    return jnp.clip(rate, start / _RANGE, start * _RANGE)
