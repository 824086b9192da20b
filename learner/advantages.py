"""Advantage estimation."""

import chex
import jax
import jax.numpy as jnp


def generalised_advantages(
    rewards: chex.Array,
    values: chex.Array,
    next_values: chex.Array,
    terminated: chex.Array,
    truncated: chex.Array,
    discounts: chex.Array,
    gae_lambda: float,
) -> chex.Array:
    """Returns generalised advantage estimates (Schulman et al. 2016, equation 16).

        δ_t = r_t + γ (1 − terminated_t) v_{t+1} − v_t
        Â_t = δ_t + γ λ (1 − done_t) Â_{t+1}

    A terminated episode has no value to come; a truncated one does, that of the observation it
    was cut at, but its advantages do not run on into the next episode.

    Args:
      rewards: `[T, A]`.
      values: values of the observations decided on `[T, A]`.
      next_values: values of the observations that followed, before any reset `[T, A]`.
      terminated: bool `[T]`.
      truncated: bool `[T]`.
      discounts: γ of each agent `[A]`.
      gae_lambda: λ.

    Returns:
      Advantages `[T, A]`.
    """
    chex.assert_equal_shape([rewards, values, next_values])
    chex.assert_equal_shape([terminated, truncated])
    chex.assert_shape(discounts, rewards.shape[-1:])
    continues = 1.0 - terminated.astype(rewards.dtype)[:, None]
    going = 1.0 - (terminated | truncated).astype(rewards.dtype)[:, None]
    deltas = rewards + discounts * continues * next_values - values

    def backward(later, step):
        delta, going_on = step
        now = delta + discounts * gae_lambda * going_on * later
        return now, now

    _, advantages = jax.lax.scan(backward, jnp.zeros_like(discounts), (deltas, going), reverse=True)
    return advantages
