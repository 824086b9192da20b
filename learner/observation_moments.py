"""Updates of the running observation statistics."""

from __future__ import annotations

import chex
import jax.numpy as jnp

from agents import normaliser

# Past this many samples the statistics forget slowly, instead of freezing in single precision.
MAX_COUNT = 4_000_000.0


def merge(
    statistics: normaliser.ObservationStatistics,
    count: float,
    mean: chex.Array,
    variance: chex.Array,
) -> normaliser.ObservationStatistics:
    """Returns statistics that include a batch (Chan, Golub and LeVeque 1979, equation 1.5).

    Args:
      statistics: what is known so far.
      count: observations in the batch.
      mean: their mean `[observation_size]`.
      variance: their variance `[observation_size]`.
    """
    total = statistics.count + count
    share = count / total
    delta = mean - statistics.mean
    spread = (1.0 - share) * statistics.variance + share * variance
    return normaliser.ObservationStatistics(
        count=jnp.minimum(total, MAX_COUNT),
        mean=statistics.mean + share * delta,
        variance=spread + share * (1.0 - share) * delta**2,
    )
