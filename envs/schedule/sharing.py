"""Sharing a total among units within their limits."""

import chex
import jax
import jax.numpy as jnp

_STEPS = 12  # Newton needs one for each unit that stops on the way; bisection steps in between.
_NEAR = 2e-6  # of the total: single precision knows a sum no better


@jax.custom_jvp
def share(
    target: chex.Array, low: chex.Array, high: chex.Array, weight: chex.Array, total: chex.Array
) -> tuple[chex.Array, chex.Array]:
    """Moves all units together until they sum to `total`, each staying within its limits.

    Finds x_i = clip(target_i + λ weight_i, low_i, high_i) with Σ x_i = total, the balance that
    participation factors produce when units that reach a limit stop moving. All are `[n]`, or
    `[n, batch]`, with `total` `[]` or `[batch]`. A weight is not negative; a unit of weight zero
    stays at its target.

    Returns:
      The values, and what no unit could take: positive when the limits leave a shortage,
      negative when they leave a surplus, zero within rounding (1e-4 of `total`).

    It has a derivative, that of the units' moves with those at a limit staying there; weights count
    as constants.
    """
    chex.assert_equal_shape([target, low, high, weight])
    start = jnp.clip(target, low, high)
    moves = weight > 0
    safe = jnp.where(moves, weight, 1.0)
    # Beyond these multipliers every unit that moves is at a limit.
    bottom = jnp.where(moves, (low - target) / safe, 0.0).min(0)
    top = jnp.where(moves, (high - target) / safe, 0.0).max(0)

    def values(multiplier):
        return jnp.where(moves, jnp.clip(target + multiplier * weight, low, high), start)

    def narrow(state):
        multiplier, lower, upper, open_, step = state
        x = values(multiplier)
        lack = total - x.sum(0)
        lower = jnp.where(lack > 0, multiplier, lower)
        upper = jnp.where(lack > 0, upper, multiplier)
        # Newton's step on a function that is linear between the points where a unit stops; where
        # it leaves the bracket, or nothing moves, the middle of the bracket.
        slope = jnp.where(moves & (x > low) & (x < high), weight, 0.0).sum(0)
        newton = multiplier + lack / jnp.where(slope > 0, slope, 1.0)
        inside = (slope > 0) & (newton >= lower) & (newton <= upper)
        better = jnp.where(inside, newton, 0.5 * (lower + upper))
        # Each grid of a batch stops where it is near, so that it does not depend on the others.
        open_ &= jnp.abs(lack) > near
        return jnp.where(open_, better, multiplier), lower, upper, open_, step + 1

    near = _NEAR * jnp.maximum(1.0, jnp.abs(total))
    least, most = values(bottom).sum(0), values(top).sum(0)
    first = jnp.where(total >= most, top, jnp.clip(jnp.zeros_like(total), bottom, top))
    first = jnp.where(total <= least, bottom, first)
    open_ = (total > least) & (total < most)
    multiplier, *_ = jax.lax.while_loop(
        lambda state: state[3].any() & (state[4] < _STEPS), narrow, (first, bottom, top, open_, 0)
    )
    x = values(multiplier)
    # What is left, the units between their limits take.
    inside = moves & (x > low) & (x < high)
    slope = jnp.where(inside, weight, 0.0)
    correction = (total - x.sum(0)) / jnp.where(inside.any(0), slope.sum(0), 1.0)
    x = jnp.where(inside, jnp.clip(x + correction * slope, low, high), x)
    rest = total - x.sum(0)
    return x, jnp.where(jnp.abs(rest) > 1e-4 * jnp.maximum(1.0, jnp.abs(total)), rest, 0.0)


@share.defjvp
def _share_slope(primals, tangents):
    _, low, high, weight, _ = primals
    of_target, of_low, of_high, _, of_total = tangents
    x, rest = share(*primals)
    inside = (x > low) & (x < high)
    alone = jnp.where(inside, of_target, jnp.where(x > low, of_high, of_low))
    free = jnp.where(inside, weight, 0.0)
    lack, slope = of_total - alone.sum(0), free.sum(0)
    taken = jnp.where(slope > 0, lack / jnp.where(slope > 0, slope, 1.0), 0.0)
    return (x, rest), (alone + taken * free, jnp.where(slope > 0, 0.0, lack))
