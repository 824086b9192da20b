"""Sharing a total among units within their limits."""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp

_BISECTIONS = 40  # Each halves the interval; single precision is exhausted after about 30.


def share(
    target: chex.Array, low: chex.Array, high: chex.Array, weight: chex.Array, total: chex.Array
) -> tuple[chex.Array, chex.Array]:
    """Moves all units together until they sum to `total`, each staying within its limits.

    Finds x_i = clip(target_i + λ weight_i, low_i, high_i) with Σ x_i = total, the balance that
    participation factors produce when units that reach a limit stop moving.

    Args:
      target: wanted values `[n]`.
      low: lower limits `[n]`.
      high: upper limits `[n]`.
      weight: participation `[n]`, not negative; a unit of weight zero stays at its target.
      total: the sum to reach, scalar.

    Returns:
      The values `[n]`, and what no unit could take: positive when the limits leave a shortage,
      negative when they leave a surplus, zero within rounding (1e-4 of `total`).
    """
    chex.assert_equal_shape([target, low, high, weight])
    start = jnp.clip(target, low, high)
    moves = weight > 0
    safe = jnp.where(moves, weight, 1.0)
    # Beyond these multipliers every unit that moves is at a limit.
    bottom = jnp.where(moves, (low - target) / safe, 0.0).min()
    top = jnp.where(moves, (high - target) / safe, 0.0).max()

    def values(multiplier):
        return jnp.where(moves, jnp.clip(target + multiplier * weight, low, high), start)

    def halve(_, bounds):
        lower, upper = bounds
        middle = 0.5 * (lower + upper)
        enough = values(middle).sum() >= total
        return jnp.where(enough, lower, middle), jnp.where(enough, middle, upper)

    lower, upper = jax.lax.fori_loop(0, _BISECTIONS, halve, (bottom, top))
    found = values(0.5 * (lower + upper))
    # Bisection leaves a rounding error; the units between their limits take it.
    inside = moves & (found > low) & (found < high)
    slope = jnp.where(inside, weight, 0.0)
    correction = (total - found.sum()) / jnp.where(inside.any(), slope.sum(), 1.0)
    found = jnp.where(inside, jnp.clip(found + correction * slope, low, high), found)
    rest = total - found.sum()
    return found, jnp.where(jnp.abs(rest) > 1e-4 * jnp.maximum(1.0, jnp.abs(total)), rest, 0.0)
