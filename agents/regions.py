"""Teams of regions: an agent for each area of the grid, who sees and moves what is in it.

A branch between two areas is seen by both, and switched by the one that it begins in. What is of
no bus, such as forecasts of totals, the time and the frequency, everybody sees.
"""

from typing import NamedTuple

import numpy as np

from agents import options as options_lib, team as team_lib
from agents.team import Agent, Team
from envs.step import locations
from envs.step.layout import Layout

ROLE = "region"


class Region(NamedTuple):
    """What an agent of an area sees and moves."""

    name: str
    observation: np.ndarray  # indices
    action: np.ndarray  # indices
    buses: np.ndarray  # bool `[n_bus]`


def mappo(layout: Layout, options: options_lib.TeamOptions) -> Team:
    """Returns regions that share parameters and learn with a critic that sees the whole grid.

    Yu et al. 2022, The Surprising Effectiveness of PPO in Cooperative Multi-Agent Games.
    """
    return _team(layout, options, "regions", np.arange(layout.observation_size))


def ippo(layout: Layout, options: options_lib.TeamOptions) -> Team:
    """Returns regions that share nothing, each with a critic of what it sees itself.

    De Witt et al. 2020, Is Independent Learning All You Need in the StarCraft Multi-Agent
    Challenge?
    """
    return _team(layout, options, "", None)


def _team(layout, options, parameters: str, critic: np.ndarray | None) -> Team:
    return team_lib.on(layout, [
        Agent(
            region.name, region.observation, region.action, options.effective_horizon, ROLE,
            parameters, critic, region.buses, options.own_reward,
        )
        for region in regions(layout, options)
    ])  # fmt: skip


def regions(layout: Layout, options: options_lib.TeamOptions) -> list[Region]:
    """Returns the regions of the grid that a layout is made for.

    Raises:
      ValueError: it has one, or one where nothing can be moved.
    """
    grid, fleet = layout.site.grid, layout.site.fleet
    areas = np.unique(fleet.area)
    if areas.size < 2:
        raise ValueError(
            f"team.kind={options.kind}: has an agent for each area, and {grid.name} with the fleet "
            f"{fleet.name} has one; give a fleet with areas (docs/fleets.md), a case with areas, "
            "such as case118, or team.kind=centralised"
        )
    seen, moved = locations.observed_at(layout), locations.moved_at(layout)
    systemwide = ~seen.any(1)
    found = []
    for area in areas:
        inside = fleet.area == area
        action = np.flatnonzero(inside[moved])
        if not action.size:
            raise ValueError(
                f"team.kind={options.kind}: area {area} of {grid.name} has nothing that "
                "env.layout moves; give another layout, such as full, or another fleet"
            )
        observation = np.flatnonzero(systemwide | seen[:, inside].any(1))
        found.append(Region(f"area_{area}", observation, action, inside))
    return found
