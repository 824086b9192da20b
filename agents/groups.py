"""Groups of agents with parameters in common, and the networks of each group."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import chex
import numpy as np

from agents import (
    attention_networks,
    breakers as breakers_lib,
    dense_networks,
    graph_networks,
    grid_features,
    options as options_lib,
    shared_networks,
    team as team_lib,
)

TEAM = "team"  # name of the parameters of agents who attend to one another


class Group(NamedTuple):
    """Agents and what their parameters make of what they read."""

    name: str  # of the parameters
    members: tuple[int, ...]  # numbers of agents
    make: Callable[[chex.PRNGKey, list], dict]  # parameters, by what the members read
    run: Callable[..., list]  # what the network says for each member, by `{"params": …}` and inputs

    def init(self, key: chex.PRNGKey, inputs: Sequence):
        """Returns fresh parameters, by what all agents read."""
        return self.make(key, [inputs[i] for i in self.members])["params"]

    def apply(self, params, inputs: Sequence) -> list:
        """Returns what the network says for each member."""
        return self.run({"params": params}, [inputs[i] for i in self.members])


def each(groups: Sequence[Group], params: dict, inputs: Sequence) -> list:
    """Returns what networks say for each agent, in the order of the team."""
    said = {}
    for group in groups:
        said.update(zip(group.members, group.apply(params[group.name], inputs)))
    return [said[index] for index in sorted(said)]


def policies(
    team: team_lib.Team,
    options: options_lib.TeamOptions,
    features: grid_features.GridFeatures | None,
    controls: Sequence[np.ndarray],
    operated: Sequence[breakers_lib.Breakers],
) -> list[Group]:
    """Returns the policies: of continuous `controls` and breakers `operated` of each agent.

    With `features` of the grid's elements they follow the grid, and shapes are the same for all.
    """
    made = []
    if team.attends:
        network = attention_networks.AttendingPolicyNetwork(
            options, tuple(agent.name for agent in team.agents),
            tuple(agent.role for agent in team.agents), tuple(moved.size for moved in controls),
            tuple(own.action.size for own in operated),
        )  # fmt: skip
        return [Group(TEAM, tuple(range(team.size)), network.init, network.apply)]
    for name, members in team.groups.items():
        moved = [controls[i] for i in members]
        opened = [operated[i].action for i in members]
        if features:
            networks = [
                graph_networks.GraphPolicyNetwork(options, features, *parts)
                for parts in zip(moved, opened)
            ]
            made.append(_same(name, members, networks))
        elif len(members) == 1:
            network = dense_networks.PolicyNetwork(options, moved[0].size, opened[0].size)
            made.append(_same(name, members, [network]))
        else:
            sizes = [tuple(part.size for part in parts) for parts in (moved, opened)]
            agents = [team.agents[i] for i in members]
            reads = _kinds(agents, [team.seen[i].size for i in members])
            moves = _kinds(agents, list(zip(*sizes)))
            network = shared_networks.SharedPolicyNetwork(options, reads, moves, *sizes)
            made.append(Group(name, members, network.init, network.apply))
    return made


def values(
    team: team_lib.Team,
    options: options_lib.TeamOptions,
    features: grid_features.GridFeatures | None,
    costs: int,
) -> list[Group]:
    """Returns the value functions, with as many values beside the reward's as there are `costs`.

    Those that follow the grid are each agent's own, as PopArt rescales what they end in.
    """
    made = []
    together = {TEAM: tuple(range(team.size))} if team.attends else team.groups
    for name, members in together.items():
        if features:
            network = graph_networks.GraphValueNetwork(options, features, costs)
            made += [_same(team.agents[i].name, (i,), [network]) for i in members]
        elif len(members) == 1:
            made.append(_same(name, members, [dense_networks.ValueNetwork(options, costs)]))
        else:
            first, *others = (team.agents[i] for i in members)
            alike = first.critic is not None and all(
                np.array_equal(first.critic, agent.critic) for agent in others
            )
            kinds = ("",) * len(members)
            if not alike:
                kinds = _kinds([first, *others], [team.judged[i].size for i in members])
            network = shared_networks.SharedValueNetwork(options, kinds, costs, alike)
            made.append(Group(name, members, network.init, network.apply))
    return made


def _kinds(agents: Sequence[team_lib.Agent], sizes: Sequence) -> tuple[str, ...]:
    """Returns the kind of each agent, as its parameters are named: empty where all are of one.

    Agents of equal entries and sizes are of one kind. Where entries are not told, all are if they
    have equal `sizes`, and each is one of its own if not.
    """
    if all(agent.entries for agent in agents):
        keys = [(agent.entries, size) for agent, size in zip(agents, sizes)]
    else:
        keys = sizes if len({*sizes}) == 1 else [agent.name for agent in agents]
    first = {key: agent.name for key, agent in reversed(list(zip(keys, agents)))}
    return tuple("" if len(first) == 1 else f"_{first[key]}" for key in keys)


def _same(name: str, members: tuple[int, ...], networks: Sequence) -> Group:
    """Returns the group of networks with parameters of the same shapes, one for each member."""
    return Group(
        name, members, lambda key, inputs: networks[0].init(key, inputs[0]),
        lambda params, inputs: [n.apply(params, x) for n, x in zip(networks, inputs)],
    )  # fmt: skip
