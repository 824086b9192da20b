"""Running statistics of observations and what is done with them."""

from typing import NamedTuple

import chex
import flax.struct
import jax.numpy as jnp
import numpy as np

_CLIP = 10.0  # standard deviations
# Below this share of its mean an entry counts as constant: single precision knows no better.
_RELATIVE_FLOOR = 1e-5
# Past this many samples the statistics forget slowly, instead of freezing in single precision.
_MAX_COUNT = 4_000_000.0


@flax.struct.dataclass
class ObservationStatistics:
    """Mean and variance of each observation, and how many they were taken from."""

    count: chex.Array
    mean: chex.Array  # `[observation_size]`
    variance: chex.Array  # `[observation_size]`


def initial(observation_size: int) -> ObservationStatistics:
    """Returns statistics that only clip observations, with no weight of their own."""
    return ObservationStatistics(
        jnp.zeros(()), jnp.zeros(observation_size), jnp.ones(observation_size)
    )


def normalise(statistics: ObservationStatistics, observation: chex.Array) -> chex.Array:
    """Returns observations `[..., observation_size]` centred, scaled and clipped."""
    floor = _RELATIVE_FLOOR * jnp.abs(statistics.mean) + 1e-6
    scale = jnp.maximum(jnp.sqrt(statistics.variance), floor)
    return jnp.clip((observation - statistics.mean) / scale, -_CLIP, _CLIP)


def merge(
    statistics: ObservationStatistics, count: float, mean: chex.Array, variance: chex.Array
) -> ObservationStatistics:
    """Returns statistics that include a batch (Chan, Golub and LeVeque 1979, equation 1.5).

    `mean` and `variance` `[observation_size]` are those of the batch's `count` observations.
    """
    total = statistics.count + count
    share = count / total
    delta = mean - statistics.mean
    spread = (1.0 - share) * statistics.variance + share * variance
    return ObservationStatistics(
        count=jnp.minimum(total, _MAX_COUNT),
        mean=statistics.mean + share * delta,
        variance=spread + share * (1.0 - share) * delta**2,
    )


class Pooling(NamedTuple):
    """Entries of an observation that share statistics, which are of shares of their ratings."""

    group: np.ndarray  # `[observation_size]` whose statistics an entry has
    rating: np.ndarray  # `[observation_size]` by which it is divided before
    groups: int

    def moments(self, mean: chex.Array, variance: chex.Array) -> tuple[chex.Array, chex.Array]:
        """Returns mean and variance `[groups]` over the entries that have these, of each one.

        A group without entries has those that leave observations as they are.
        """
        mean, variance = mean / self.rating, variance / self.rating**2
        count = np.bincount(self.group, minlength=self.groups)
        average = lambda x: jnp.zeros(self.groups).at[self.group].add(x) / np.maximum(count, 1)
        overall = average(mean)
        spread = average(variance + (mean - overall[self.group]) ** 2)
        return overall, jnp.where(count > 0, spread, 1.0)

    def per_entry(self, statistics: ObservationStatistics) -> ObservationStatistics:
        """Returns the statistics of each entry, in its own unit."""
        return statistics.replace(
            mean=statistics.mean[self.group] * self.rating,
            variance=statistics.variance[self.group] * self.rating**2,
        )


@flax.struct.dataclass
class ValueStatistics:
    """First two moments of the targets of V values, as running averages."""

    weight: chex.Array  # how much of the average is data, 0 to 1; corrects the start
    first: chex.Array  # `[V]` average target
    second: chex.Array  # `[V]` average squared target

    @property
    def mean(self) -> chex.Array:
        """Mean target `[V]`."""
        return self.first / jnp.maximum(self.weight, 1e-8)

    @property
    def std(self) -> chex.Array:
        """Standard deviation, 1 before any data."""
        second = self.second / jnp.maximum(self.weight, 1e-8)
        spread = jnp.sqrt(jnp.maximum(second - self.mean**2, 1e-8))
        return jnp.where(self.weight > 0, jnp.maximum(spread, 1e-4), 1.0)


def initial_value(n_values: int) -> ValueStatistics:
    """Returns statistics that leave values as they are."""
    return ValueStatistics(jnp.zeros(()), jnp.zeros(n_values), jnp.zeros(n_values))
