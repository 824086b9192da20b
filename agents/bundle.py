"""What a learner publishes and everyone else acts on."""

from typing import Protocol

import chex
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from agents import networks as networks_lib, normaliser


@flax.struct.dataclass
class Bundle:
    """Parameters with the statistics they were trained on."""

    params: networks_lib.Params
    statistics: normaliser.ObservationStatistics
    value_statistics: normaliser.ValueStatistics
    version: chex.Array  # how many updates made it


def initial(networks: networks_lib.TeamNetworks, key: chex.PRNGKey) -> Bundle:
    """Returns the bundle of version 0."""
    return Bundle(
        networks.init(key),
        networks.statistics(),
        normaliser.initial_value(networks.n_values),
        jnp.int32(0),
    )


def blank(networks: networks_lib.TeamNetworks) -> Bundle:
    """Returns host arrays of the shapes and types of a bundle, to be filled."""
    shapes = jax.eval_shape(lambda key: initial(networks, key), jax.random.PRNGKey(0))
    return jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)


class Source(Protocol):
    """Where those who act get the newest bundle."""

    def newest(self, at_least: int, timeout_s: float) -> Bundle | None:
        """Returns the newest bundle, or nothing if no version `at_least` comes in time."""
