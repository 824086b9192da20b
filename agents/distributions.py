"""The distribution of actions: a normal, squashed to [−1, 1].

Samples are kept before the squash. The squash is the same for the policy that acted and the one
that learns, so its Jacobian cancels in every probability ratio and in the KL divergence, and
log-probabilities here are those of the normal.
"""

import functools
import math

import chex
import jax
import jax.numpy as jnp

# The squash is stretched a little, so that limits are reached by finite samples.
OVERSHOOT = 1.1
_LIMIT = math.atanh(1.0 / OVERSHOOT)  # the sample from which it is reached

_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


def squash(raw: chex.Array) -> chex.Array:
    """Returns the action in [−1, 1] that a sample stands for, elementwise."""
    return jnp.clip(OVERSHOOT * jnp.tanh(raw), -1.0, 1.0)


def unsquash(action: chex.Array) -> chex.Array:
    """Returns the smallest sample that stands for an action in [−1, 1], elementwise."""
    return jnp.arctanh(action / OVERSHOOT)


@jax.custom_vjp
def squash_to_minimise(raw: chex.Array) -> chex.Array:
    """Returns `squash(raw)`, for a scalar to be minimised: its derivative does not die at a limit.

    Beyond a limit nothing changes, and a policy that has gone there for want of knowing better
    would stay. What leads back is passed on with the slope at the limit, what leads further is not:
    the projected gradient.
    """
    return squash(raw)


def _back_from_limits(raw, slope):
    kept = jnp.clip(raw, -_LIMIT, _LIMIT)
    outward = ((raw >= _LIMIT) & (slope < 0.0)) | ((raw <= -_LIMIT) & (slope > 0.0))
    return (jnp.where(outward, 0.0, slope * OVERSHOOT * (1.0 - jnp.tanh(kept) ** 2)),)


squash_to_minimise.defvjp(lambda raw: (squash(raw), raw), _back_from_limits)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def clip_to_minimise(value: chex.Array, low: float, high: float) -> chex.Array:
    """Returns `value` within limits, with the projected gradient of `squash_to_minimise`."""
    return jnp.clip(value, low, high)


def _back_within(low, high, value, slope):
    outward = ((value >= high) & (slope < 0.0)) | ((value <= low) & (slope > 0.0))
    return (jnp.where(outward, 0.0, slope),)


clip_to_minimise.defvjp(lambda value, low, high: (jnp.clip(value, low, high), value), _back_within)


def sample(key: chex.PRNGKey, mean: chex.Array, log_std: chex.Array) -> chex.Array:
    """Returns a sample before the squash, shaped like `mean`."""
    return mean + jnp.exp(log_std) * jax.random.normal(key, mean.shape, mean.dtype)


def log_prob(raw: chex.Array, mean: chex.Array, log_std: chex.Array) -> chex.Array:
    """Returns the log-density of each entry of a sample before the squash."""
    z = (raw - mean) * jnp.exp(-log_std)
    return -0.5 * z * z - log_std - _HALF_LOG_2PI


def entropy(log_std: chex.Array) -> chex.Array:
    """Returns the entropy of each entry before the squash, in nats."""
    return log_std + 0.5 + _HALF_LOG_2PI


def kl(mean_p, log_std_p, mean_q, log_std_q) -> chex.Array:
    """Returns KL(p ‖ q) of each entry, the same before and after the squash."""
    variance_ratio = jnp.exp(2 * (log_std_p - log_std_q))
    shift = (mean_p - mean_q) * jnp.exp(-log_std_q)
    return 0.5 * (variance_ratio + shift * shift - 1.0) + log_std_q - log_std_p
