"""Controllers: anything that maps observations to actions, learned or not."""

from __future__ import annotations

from collections.abc import Callable

import chex
import jax.numpy as jnp

from agents import distributions, normaliser
from agents import networks as networks_lib

Controller = Callable[[chex.Array], chex.Array]  # [..., observation_size] -> [..., action_size]


def do_nothing(action_size: int) -> Controller:
    """Returns the controller that follows the day-ahead plan."""
    return lambda observation: jnp.zeros((*observation.shape[:-1], action_size))


def weighted(controller: Controller, weight: chex.Array) -> Controller:
    """Returns the controller that does `weight` of what another does.

    With a weight of 0 it does nothing: a program compiled for one serves for both.
    """
    return lambda observation: weight * controller(observation)


def learned(
    networks: networks_lib.TeamNetworks,
    params: networks_lib.Params,
    statistics: normaliser.ObservationStatistics,
) -> Controller:
    """Returns the controller that takes a policy's most likely action."""

    def act(observation):
        return distributions.squash(networks.policy(params, statistics, observation).mean)

    return act
