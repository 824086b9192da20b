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
    gae_lambda: chex.Numeric,
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
      gae_lambda: λ; or `[T, A]`, of `semi_markov`, what it is after each step.
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

    keeps = jnp.broadcast_to(gae_lambda, rewards.shape)

    def backward(later, step):
        delta, going_on, weight, keep = step
        now = delta + discounts * keep * going_on * later
        return now if weight is None else weight * now, now

    steps = (deltas, going, weights, keeps)
    _, advantages = jax.lax.scan(backward, jnp.zeros_like(discounts), steps, reverse=True)
    return advantages


def semi_markov(gae_lambda: float, deciding: chex.Array) -> chex.Array:
    """Returns what λ is after each step `[T, …]`, where decisions hold for several steps.

    Between two decisions nothing is decided, and what is earned there is all of the first one: only
    where the next step decides is its value trusted by 1 − λ. So Â at a decision is that of the
    semi-Markov process of decisions (Sutton, Precup and Singh 1999, section 1.3), with rewards and
    discounts of the steps between summed up.

    Args:
      gae_lambda: λ.
      deciding: bool `[T, …]`, at which steps is decided.
    """
    after = jnp.concatenate([deciding[1:], jnp.ones_like(deciding[:1])])
    return jnp.where(after, gae_lambda, 1.0)


def truncated_weights(log_ratios: chex.Array) -> chex.Array:
    """Returns V-trace's weights min(1, π/μ) of log π − log μ: ρ̄ and c̄ are 1, as in IMPALA."""
    return jnp.exp(jnp.minimum(log_ratios, 0.0))
