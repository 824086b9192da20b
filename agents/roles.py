"""How agents learn by role: step sizes and loss weights, each a multiple of the learner's."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from agents import options as options_lib, team as team_lib
from agents.team import Learning
from envs.inputs.bounds import Range

_MULTIPLE = Range(0, 1e3)
_SETTINGS = tuple(field.name for field in dataclasses.fields(Learning))


def assign(team: team_lib.Team, options: options_lib.TeamOptions) -> team_lib.Team:
    """Returns the team whose agents learn as `team.by_role` says of their roles.

    Raises:
      ValueError: no agent has such a role, or it cannot be read.
    """
    if not options.by_role:
        return team
    roles = list(dict.fromkeys(agent.role for agent in team.agents))
    learning = {}
    for part in options.by_role.split(","):
        role, *settings = part.split(":")
        if role not in roles:
            raise ValueError(
                f"team.by_role={part}: no agent has the role {role!r}; team.kind={options.kind} "
                f"has {', '.join(roles)}"
            )
        if role in learning or not settings:
            raise ValueError(
                f"team.by_role={part}: name each role once, with its settings, e.g. "
                f"{role}:learning_rate=0.5:entropy=2"
            )
        learning[role] = _learning(part, settings)
    agents = (
        dataclasses.replace(agent, learning=learning.get(agent.role, agent.learning))
        for agent in team.agents
    )
    return dataclasses.replace(team, agents=tuple(agents))


def _learning(part: str, settings: list[str]) -> Learning:
    values = {}
    for setting in settings:
        name, _, text = setting.partition("=")
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if name not in _SETTINGS or name in values or not _MULTIPLE.contains(value):
            raise ValueError(
                f"team.by_role={part}: {setting!r} must be one of {', '.join(_SETTINGS)}, once, "
                f"with a number {_MULTIPLE}"
            )
        values[name] = value
    return Learning(**values)


def step_sizes(team: team_lib.Team, params):
    """Returns the step size of each leaf of a team's parameters over the learner's, alike a tree.

    Of what several agents share it is their own where they agree, and otherwise 1. None is returned
    where all are 1.
    """
    rates = {agent.name: agent.learning.learning_rate for agent in team.agents}
    if set(rates.values()) == {1.0}:
        return None
    every = np.array(list(rates.values()), np.float32)

    def rate(path, leaf):
        part, group, *names = (entry.key for entry in path)
        members = list(team.groups.get(group, range(team.size)))
        if group in rates:
            return jnp.float32(rates[group])
        for name in names:
            _, _, agent = name.partition("_")
            if agent in rates:
                return jnp.float32(rates[agent])
        if part == "value" and names[0] == "head":  # a last layer of each agent's own
            return every[members].reshape(-1, *[1] * (leaf.ndim - 1))
        return jnp.float32(every[members[0]] if np.ptp(every[members]) == 0 else 1.0)

    return jax.tree_util.tree_map_with_path(rate, params)
