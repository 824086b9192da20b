"""Controllers: anything that decides for grids, learned or not, behind one interface."""

import dataclasses
from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

import chex
import jax
import jax.numpy as jnp

from agents import (
    bundle as bundle_lib,
    distributions,
    inspection,
    networks as networks_lib,
    team as team_lib,
)
from envs import grid_env
from envs.time_series import series as series_lib

Memory = TypeVar("Memory")  # what a controller keeps from one decision to the next, a pytree
Act = Callable[[grid_env.State, series_lib.TimeSeries, Memory], tuple[chex.Array, Memory]]

# What a controller may look at. None is kept from it but by its word, which reports repeat.
OBSERVATIONS = "observations"
STATE = "state and plan"
FORECASTS = "state, plan and forecasts"
NEXT_ROW = "the next five minutes as they will be"


@dataclasses.dataclass(frozen=True)
class Controller(Generic[Memory]):
    """Decides for a batch of grids."""

    name: str
    title: str
    knows: str
    # Takes the time series of a batch, leaves `[B, …]`, and a seed; called before each episode.
    start: Callable[[series_lib.TimeSeries, int], Memory]
    # Takes states and time series, leaves `[B, …]`, and its memory; returns actions.
    act: Act[Memory]
    traceable: bool = True  # whether `act` can be compiled; otherwise it gets and returns arrays
    close: Callable[[], None] = lambda: None  # ends what it started
    # Whether its memory takes for granted that its decisions were carried out: such a one cannot be
    # asked what it would do while another decides.
    assumes_control: bool = False
    team: team_lib.Team | None = None  # who decides, where it is a team
    # What its decisions are made of, of states and the memory that they are made with: for reports.
    inspect: Callable[[grid_env.State, Memory], inspection.Inspection] | None = None


def per_grid(decide: Callable[[grid_env.State, series_lib.TimeSeries], chex.Array]) -> Act[Memory]:
    """Returns the `act` of a controller that decides for each grid by itself, without memory."""

    def act(state, series, memory):
        return jax.vmap(decide)(state, series), memory

    return act


def stateless(days: series_lib.TimeSeries, seed: int) -> tuple[()]:
    """Returns the memory of a controller that has none."""
    del days, seed
    return ()


def do_nothing(env: grid_env.GridEnv) -> Controller:
    """Returns the controller that follows the day-ahead plan."""
    nothing = lambda state, series: jnp.zeros(env.layout.action_size)
    return Controller("do_nothing", "do nothing", "nothing", stateless, per_grid(nothing))


class Acting(NamedTuple):
    """What a team that acts needs from step to step."""

    bundle: bundle_lib.Bundle
    memory: chex.Array  # `[B, M]` of the team


def acting(networks: networks_lib.TeamNetworks, bundle: bundle_lib.Bundle, count: int) -> Acting:
    """Returns the memory that a policy begins the days of `count` grids with."""
    return Acting(bundle, jnp.zeros((count, networks.team.memory_size)))


def decide(
    networks: networks_lib.TeamNetworks, observation: chex.Array, memory: Acting
) -> tuple[chex.Array, Acting]:
    """Returns a policy's most likely actions `[B, action_size]` at observations, and its memory.

    Observations are the environment's, `[B, observation_size]`.
    """
    seen, raw = _most_likely(networks, observation, memory)
    kept = Acting(memory.bundle, networks.team.remember(seen, raw))
    return networks.team.to_grid(distributions.squash(raw)), kept


def _most_likely(networks, observation, memory):
    """Returns what a team sees, and its most likely actions before the squash."""
    seen = networks.team.input(observation, memory.memory)
    policy = networks.policy(memory.bundle.params, memory.bundle.statistics, seen)
    return seen, networks.mode(policy)


def learned(networks: networks_lib.TeamNetworks, bundle: bundle_lib.Bundle) -> Controller:
    """Returns the controller that takes a policy's most likely action.

    The bundle is in its memory, so that other parameters need no compilation.
    """
    team = networks.team

    def act(state, series, memory):
        return decide(networks, state.observation, memory)

    def inspect(state, memory):
        decided = _most_likely(networks, state.observation, memory)
        return inspection.inspect(networks, memory.bundle, *decided)

    start = lambda days, seed: acting(networks, bundle, len(days.day))
    return Controller("learned", "learned", OBSERVATIONS, start, act, team=team, inspect=inspect)


def weighted(controller: Controller, weight: float) -> Controller:
    """Returns the controller that does `weight` of what another does.

    With a weight of 0 it does nothing: a program compiled for one serves for both.
    """

    def act(state, series, memory):
        inner, weight = memory
        action, inner = controller.act(state, series, inner)
        return weight * action, (inner, weight)

    start = lambda days, seed: (controller.start(days, seed), jnp.float32(weight))
    return dataclasses.replace(controller, start=start, act=act, inspect=None)
