"""The teams by name. Another one is a function of the layout and the options, registered here."""

from collections.abc import Callable

import numpy as np

from agents import (
    hierarchy,
    microgrids,
    nodes,
    options as options_lib,
    regions,
    roles,
    team as team_lib,
)
from agents.team import Team
from envs.inputs import choices
from envs.step.layout import Layout


def centralised(layout: Layout, options: options_lib.TeamOptions) -> Team:
    """Returns the team of one: an operator who sees and moves everything."""
    sees, moves = np.arange(layout.observation_size), np.arange(layout.action_size)
    operator = team_lib.Agent("operator", sees, moves, options.effective_horizon)
    return team_lib.on(layout, [operator])


TEAMS: dict[str, Callable[[Layout, options_lib.TeamOptions], Team]] = {
    "centralised": centralised,
    "mappo": regions.mappo,
    "ippo": regions.ippo,
    "hierarchical": hierarchy.hierarchical,
    "nodes": nodes.nodes,
    "microgrids": microgrids.microgrids,
}


def make(layout: Layout, options: options_lib.TeamOptions) -> Team:
    """Returns the team that `options` describe.

    Raises:
      ValueError: for a kind of team that does not exist or that the grid cannot have, a role that
        nobody has, or breakers that nobody can tell from others.
    """
    choices.require("team.kind", options.kind, TEAMS)
    return roles.assign(TEAMS[options.kind](layout, options), options)
