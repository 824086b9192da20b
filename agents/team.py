"""Teams: the agents that share a grid, who sees which observations and moves which actions."""

import dataclasses

import numpy as np

from agents import breakers as breakers_lib, options as options_lib
from envs.inputs import choices
from envs.step import layout as layout_lib


@dataclasses.dataclass(frozen=True)
class Agent:
    """One member of a team."""

    name: str
    observation: np.ndarray  # indices into the observation vector
    action: np.ndarray  # indices into the action vector
    effective_horizon: float  # steps it looks ahead, 1/(1 − γ)


@dataclasses.dataclass(frozen=True)
class Team:
    """Agents whose actions together are the grid's action vector, each entry moved by one."""

    agents: tuple[Agent, ...]
    observation_size: int
    action_size: int
    breakers: breakers_lib.Breakers = breakers_lib.NONE  # among the actions

    def __post_init__(self):
        moved = np.concatenate([agent.action for agent in self.agents])
        if sorted(moved.tolist()) != list(range(self.action_size)):
            raise ValueError(
                f"a team must move each of {self.action_size} actions once; "
                f"{', '.join(agent.name for agent in self.agents)} move {sorted(moved.tolist())}"
            )

    @property
    def size(self) -> int:
        """Number of agents, A."""
        return len(self.agents)

    @property
    def discounts(self) -> np.ndarray:
        """Discount of each agent per step, `[A]`."""
        return np.array([1.0 - 1.0 / agent.effective_horizon for agent in self.agents], np.float32)

    @property
    def membership(self) -> np.ndarray:
        """Which agent moves which action, one-hot `[action_size, A]`."""
        owner = np.zeros((self.action_size, self.size), np.float32)
        for index, agent in enumerate(self.agents):
            owner[agent.action, index] = 1.0
        return owner


def centralised(layout: layout_lib.Layout, options: options_lib.TeamOptions) -> Team:
    """Returns the team of one: an operator who sees and moves everything."""
    operator = Agent(
        "operator",
        observation=np.arange(layout.observation_size),
        action=np.arange(layout.action_size),
        effective_horizon=options.effective_horizon,
    )
    breakers = breakers_lib.find(layout)
    return Team((operator,), layout.observation_size, layout.action_size, breakers)


TEAMS = {"centralised": centralised}


def make(layout: layout_lib.Layout, options: options_lib.TeamOptions) -> Team:
    """Returns the team that `options` describe.

    Raises:
      ValueError: for a kind of team that does not exist, or breakers that nobody can tell from
        others.
    """
    choices.require("team.kind", options.kind, TEAMS)
    return TEAMS[options.kind](layout, options)
