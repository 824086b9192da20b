"""What a report shows of a team's decisions: attention, directives, and what is held back."""

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
