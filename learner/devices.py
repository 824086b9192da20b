"""The devices that an update is spread over, and what is averaged over them."""

import chex
import jax

AXIS = "learners"  # of the mapping that an update runs under


def moments(x: chex.Array) -> tuple[chex.Array, chex.Array]:
    """Returns mean and variance over the first axis of all devices' rows."""
    mean = jax.lax.pmean(x.mean(0), AXIS)
    return mean, jax.lax.pmean(((x - mean) ** 2).mean(0), AXIS)
