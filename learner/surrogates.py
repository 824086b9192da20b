"""What a policy gains by samples of another: three ways to make up for the difference.

Every function takes log-probabilities and advantages `[N, A]` and returns what to maximise, whose
derivative is the policy gradient. Where the policy is the one that acted, all three are the same.
"""

import chex
import jax
import jax.numpy as jnp

from learner import advantages as advantages_lib


def clipped(ratio: chex.Array, advantages: chex.Array, clip: float) -> chex.Array:
    """Returns the clipped surrogate (Schulman et al. 2017, equation 7).

    Args:
      ratio: of probabilities, to those of the policy that is not to be left far behind `[N, A]`.
      advantages: `[N, A]`.
      clip: how far a ratio may leave 1 to advantage.
    """
    kept = jnp.clip(ratio, 1.0 - clip, 1.0 + clip)
    return jnp.minimum(ratio * advantages, kept * advantages)


def decoupled(
    ratio: chex.Array, log_weight: chex.Array, advantages: chex.Array, clip: float
) -> chex.Array:
    """Returns the decoupled clipped surrogate (Hilton, Cobbe and Schulman 2022, section 3).

    The ratio is to the proximal policy, which bounds the step; the weight corrects for who acted.

    Args:
      ratio: of probabilities, to those of the proximal policy `[N, A]`.
      log_weight: log-probabilities of the proximal policy less those of the one that acted.
      advantages: `[N, A]`.
      clip: how far a ratio may leave 1 to advantage.
    """
    return jnp.exp(log_weight) * clipped(ratio, advantages, clip)


def weighted(log_probs: chex.Array, behaviour: chex.Array, advantages: chex.Array) -> chex.Array:
    """Returns V-trace's policy gradient (Espeholt et al. 2018, section 4.2), undone by no clip.

    Args:
      log_probs: of the policy `[N, A]`.
      behaviour: log-probabilities of the policy that acted `[N, A]`.
      advantages: of `generalised_advantages` with weights `[N, A]`.
    """
    weights = advantages_lib.truncated_weights(log_probs - behaviour)
    return jax.lax.stop_gradient(weights) * advantages * log_probs
