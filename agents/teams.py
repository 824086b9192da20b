"""The teams by name. Another one is a function of the layout and the options, registered here."""

from collections.abc import Callable

import numpy as np

from agents import breakers as breakers_lib, options as options_lib, regions
from agents.team import Agent, Team
from envs.inputs import choices
from envs.step.layout import Layout


def centralised(layout: Layout, options: options_lib.TeamOptions) -> tuple[Agent, ...]:
    """Returns the team of one: an operator who sees and moves everything."""
    sees, moves = np.arange(layout.observation_size), np.arange(layout.action_size)
    return (Agent("operator", sees, moves, options.effective_horizon),)


TEAMS: dict[str, Callable[[Layout, options_lib.TeamOptions], tuple[Agent, ...]]] = {
    "centralised": centralised,
    "mappo": regions.mappo,
    "ippo": regions.ippo,
}


def make(layout: Layout, options: options_lib.TeamOptions) -> Team:
    """Returns the team that `options` describe.

    Raises:
      ValueError: for a kind of team that does not exist or that the grid cannot have, or breakers
        that nobody can tell from others.
    """
    choices.require("team.kind", options.kind, TEAMS)
    agents = TEAMS[options.kind](layout, options)
    breakers = breakers_lib.find(layout)
    return Team(agents, layout.observation_size, layout.action_size, breakers)
