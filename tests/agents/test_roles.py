"""How agents learn by role: step sizes, and how it is said."""

import dataclasses

import jax
import numpy as np
import pytest
from support import one_step_task as task

from agents import networks as networks_lib, roles, team as team_lib, teams
from agents.options import TeamOptions
from agents.team import Learning
from envs import grid_env
from envs.options import EnvOptions

SMALL = {"policy_layers": (8, 8), "value_layers": (8,)}


def _with_rates(nets, *rates, **more):
    """Returns networks of the same agents with step sizes of their own."""
    agents = tuple(
        dataclasses.replace(agent, learning=Learning(learning_rate=rate), **more)
        for agent, rate in zip(nets.team.agents, rates)
    )
    team = dataclasses.replace(nets.team, agents=agents)
    return networks_lib.TeamNetworks(team, TeamOptions(**SMALL))


def test_agents_with_parameters_of_their_own_have_their_own_step_size(key):
    nets = task.networks(agents=2)
    params = nets.init(key)
    assert roles.step_sizes(nets.team, params) is None
    sizes = roles.step_sizes(_with_rates(nets, 0.5, 3.0).team, params)
    for part in ("policy", "value"):
        for agent, rate in (("agent 0", 0.5), ("agent 1", 3.0)):
            assert {float(leaf) for leaf in jax.tree.leaves(sizes[part][agent])} == {rate}


@pytest.mark.parametrize("rates, shared", [((0.5, 0.5), 0.5), ((0.5, 3.0), 1.0)])
def test_what_is_shared_has_the_step_size_that_all_agree_on(rates, shared, key):
    nets = _with_rates(task.networks(agents=2), *rates, parameters="all")
    params = nets.init(key)
    sizes = roles.step_sizes(nets.team, params)
    assert {float(leaf) for leaf in jax.tree.leaves(sizes["policy"]["all"])} == {shared}
    head = sizes["value"]["all"].pop("head")  # a last layer of each agent's own
    assert {float(leaf) for leaf in jax.tree.leaves(sizes["value"]["all"])} == {shared}
    for name, leaf in head.items():
        full = np.broadcast_to(leaf, params["value"]["all"]["head"][name].shape)
        np.testing.assert_array_equal(full[0], rates[0])
        np.testing.assert_array_equal(full[1], rates[1])


def test_roles_of_a_hierarchy_have_what_they_are_given(key):
    layout = grid_env.check(EnvOptions(case="case30", layout="full")).layout
    by_role = "strategic:learning_rate=0.5:entropy=2,safety:policy=4:value=0"
    nets = networks_lib.make(layout, TeamOptions(kind="hierarchical", by_role=by_role, **SMALL))
    told = {agent.name: agent.learning for agent in nets.team.agents}
    assert told == {
        "strategic": Learning(learning_rate=0.5, entropy=2.0), "area_1": Learning(),
        "area_2": Learning(), "safety": Learning(policy=4.0, value=0.0),
    }  # fmt: skip
    np.testing.assert_array_equal(nets.team.weights("policy"), [1, 1, 1, 4])
    sizes = roles.step_sizes(nets.team, nets.init(key))["policy"]["team"]
    rate = lambda name: {float(leaf) for leaf in jax.tree.leaves(sizes[name])}
    assert rate("in_strategic") == rate("heads_strategic") == {0.5}
    assert rate("in_area_1") == rate("heads_safety") == rate("attention") == {1.0}


@pytest.mark.parametrize(
    "by_role, message",
    [
        ("guard:policy=2", "no agent has the role 'guard'; team.kind=centralised has operator"),
        ("operator", "name each role once, with its settings"),
        ("operator:policy=2,operator:value=1", "name each role once"),
        ("operator:momentum=2", "'momentum=2' must be one of learning_rate, policy, value, ent"),
        ("operator:policy=2:policy=3", "'policy=3' must be one of .*, once"),
        ("operator:policy=-1", "'policy=-1' must be one of .* with a number from 0 to 1000"),
        ("operator:policy", "'policy' must be one of"),
    ],
)
def test_what_no_role_can_have_is_refused(by_role, message):
    layout = grid_env.check(EnvOptions()).layout
    with pytest.raises(ValueError, match=f"team.by_role={by_role.split(',')[-1]}: .*{message}"):
        teams.make(layout, TeamOptions(by_role=by_role))


def test_weights_are_in_the_order_of_agents():
    agents = tuple(
        team_lib.Agent(f"a{i}", np.arange(1), np.array([i]), 1.0, learning=Learning(value=i))
        for i in range(3)
    )
    team = team_lib.Team(agents, 1, 3)
    np.testing.assert_array_equal(team.weights("value"), [0, 1, 2])
    np.testing.assert_array_equal(team.weights("entropy"), [1, 1, 1])
