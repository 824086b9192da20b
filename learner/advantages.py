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
    weights: chex.Array | None = None,
) -> chex.Array:
    """Returns generalised advantage estimates (Schulman et al. 2016, equation 16).

        δ_t = r_t + γ (1 − terminated_t) v_{t+1} − v_t
        Â_t = δ_t + γ λ (1 − done_t) w_{t+1} Â_{t+1}

    A terminated episode has no value to come; a truncated one does, that of the observation it
    was cut at, but its advantages do not run on into the next episode.

    Without weights w is 1. With those of `truncated_weights` this is V-trace (Espeholt et al. 2018,
    equation 1, with λ as in its remark 2): v_t + w_t Â_t is the value target, and w_t Â_t the
    advantage of the policy gradient, which looks as far ahead as λ lets it.

    Args:
      rewards: `[T, A]`.
      values: values of the observations decided on `[T, A]`.
      next_values: values of the observations that followed, before any reset `[T, A]`.
      terminated: bool `[T]`.
      truncated: bool `[T]`.
      discounts: γ of each agent `[A]`.
      gae_lambda: λ.
      weights: of each decision `[T, A]`, or none.

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
        delta, going_on, weight = step
        now = delta + discounts * gae_lambda * going_on * later
        return now if weight is None else weight * now, now

    steps = (deltas, going, weights)
    _, advantages = jax.lax.scan(backward, jnp.zeros_like(discounts), steps, reverse=True)
    return advantages


def truncated_weights(log_ratios: chex.Array) -> chex.Array:
    """Returns V-trace's weights min(1, π/μ) of log π − log μ: ρ̄ and c̄ are 1, as in IMPALA."""
    return jnp.exp(jnp.minimum(log_ratios, 0.0))
