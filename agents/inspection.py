"""What a report shows of a team's decisions: attention, directives, and what is held back."""

from collections.abc import Mapping
from typing import NamedTuple

import chex
import numpy as np

from agents import distributions, networks as networks_lib, team as team_lib
from agents.bundle import Bundle


class Inspection(NamedTuple):
    """What a team's decisions in a batch were made of; none: the team has no such thing."""

    attention: chex.Array | None = None  # `[B, heads, A, A]`, reader before read
    directives: chex.Array | None = None  # `[B, D]` latent actions that agents hear, in [−1, 1]
    held_back: chex.Array | None = None  # `[B, R]` share of each request, see `team.Safety`
    unheld: chex.Array | None = None  # `[B, action_size]` actions if nothing were held back


def directives(team: team_lib.Team) -> np.ndarray:
    """Returns the latent actions that an agent hears, indices `[D]` into actions, in order."""
    return np.unique(np.concatenate([agent.hears for agent in team.agents]).astype(int))


def unheld(team: team_lib.Team, action: chex.Array) -> chex.Array:
    """Returns what the environment would get of `action` `[..., output_size]` if all were let pass.

    Of a team that can hold back; actions are in [−1, 1].
    """
    return team.to_grid(action.at[..., team.safety.entries].set(0.0))


def inspect(
    networks: networks_lib.TeamNetworks, bundle: Bundle, seen: chex.Array, raw_action: chex.Array
) -> Inspection:
    """Returns what there is to show of decisions before the squash, made at inputs `seen`."""
    team, heard = networks.team, directives(networks.team)
    action = distributions.squash(raw_action)
    attention = None
    if team.attends:
        attention = networks.attention(bundle.params, bundle.statistics, seen)
    return Inspection(
        attention,
        action[..., heard] if heard.size else None,
        team.share_held_back(action),
        unheld(team, action) if team.safety else None,
    )


class Earned(NamedTuple):
    """What the agents of a team earn in a step, `[…, A]`, thousand $ with the shipped rewards."""

    reward: chex.Array  # its own
    area: chex.Array  # what its buses earn of the terms that are its own; NaN of who has no buses


def earned(team: team_lib.Team, reward: chex.Array, by_bus: Mapping[str, chex.Array]) -> Earned:
    """Returns what each agent earns where the whole grid's reward is `reward` `[…]`.

    `by_bus` `[…, n_bus]` is what each bus earns, by term, see `Detail.earned`.
    """
    reward = np.asarray(reward)
    by_bus = {name: np.asarray(values) for name, values in by_bus.items()}
    area = np.full((*reward.shape, team.size), np.nan)
    for index, agent in enumerate(team.agents):
        if agent.buses is not None:
            terms = [values @ agent.buses for name, values in by_bus.items()
                     if name in agent.own_terms]  # fmt: skip
            area[..., index] = np.sum(terms, 0)
    return Earned(np.asarray(team.rewards(reward, by_bus)), area)
