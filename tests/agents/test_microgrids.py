"""The team of microgrids: who sees and moves what, what is refused, what islands live on."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agents import breakers, networks, teams
from agents.options import TeamOptions
from configs import ieee13_mg
from envs import grid_env
from envs.options import EnvOptions

OPTIONS = ieee13_mg.experiment().env
NAMES = ["MG1", "MG2", "MG3"]


@pytest.fixture(scope="module")
def layout():
    return grid_env.check(OPTIONS).layout


def _team(layout, **options):
    return teams.make(layout, TeamOptions(kind="microgrids", **options))


def _moves(layout, agent):
    return {layout.action_names[entry] for entry in agent.action}


def test_each_microgrid_moves_what_is_in_it_and_what_couples_it(layout):
    team = _team(layout)
    assert [agent.name for agent in team.agents] == [*NAMES, "feeder"]
    assert _moves(layout, team.agents[0]) == {
        "unit power: bus 711", "unit voltage: bus 711", "storage: bus 711", "load: bus 712",
        "curtailment: bus 712", "coupling: 680-711",
    }  # fmt: skip
    (rest,) = (agent for agent in team.agents if agent.name == "feeder")
    assert {"unit power: bus 600", "load: bus 671"} <= _moves(layout, rest)
    assert not any("coupling" in name for name in _moves(layout, rest))
    assert len({agent.parameters or agent.name for agent in team.agents}) == 4


def test_a_microgrid_sees_its_own_area_and_what_is_of_the_whole_system(layout):
    agent = _team(layout).agents[1]
    seen = {layout.observation_names[entry] for entry in agent.observation}
    assert {"bus_vm: bus 721", "branch_closed: 675-721", "clock: sine"} <= seen
    assert not {"bus_vm: bus 675", "bus_vm: bus 711", "unit_p: bus 600"} & seen


def test_where_every_branch_can_be_switched_each_still_has_its_own_coupling():
    layout = grid_env.check(EnvOptions(case="ieee13_mg", layout="full")).layout
    for agent, coupling in zip(_team(layout).agents, ("680-711", "675-721", "633-731")):
        assert f"switch: {coupling}" in _moves(layout, agent)


def test_microgrids_earn_what_is_in_them(layout):
    team = _team(layout, own_reward=1.0)
    earned = {"generation_cost": jnp.arange(20.0)}
    rewards = np.asarray(team.rewards(jnp.float32(5.0), earned))
    np.testing.assert_allclose(rewards, [14 + 15, 16 + 17, 18 + 19, sum(range(14))])


def test_central_control_is_one_agent(layout):
    (agent,) = _team(layout, microgrid_control="central").agents
    assert agent.action.size == layout.action_size


def test_only_the_microgrids_that_are_named_have_an_agent(layout):
    team = _team(layout, microgrids="MG3,MG1")
    assert [agent.name for agent in team.agents] == ["MG3", "MG1", "feeder"]
    assert "coupling: 675-721" in _moves(layout, team.agents[-1])


@pytest.mark.parametrize(
    "options, message",
    [
        ({"microgrids": "MG9"}, "team.microgrids=MG9: 'MG9' is none of ieee13_mg; .*MG1, MG2, MG3"),
        ({"microgrids": "MG1,MG1"}, "team.microgrids=MG1,MG1: 'MG1' is there twice"),
        ({"microgrid_control": "both"}, "team.microgrid_control.*distributed, central"),
    ],
)
def test_what_is_no_microgrid_is_refused(layout, options, message):
    with pytest.raises(ValueError, match=message):
        _team(layout, **options)


def test_a_grid_without_microgrids_is_refused():
    without = grid_env.check(EnvOptions(case="case14", layout="full")).layout
    with pytest.raises(ValueError, match="team.kind=microgrids: .*case14.* has none; .*ieee13_mg"):
        _team(without)
    with pytest.raises(
        ValueError,
        match="env.layout: .* couples microgrids, and case14 .* has none; .*env.layout=full",
    ):
        grid_env.check(EnvOptions(case="case14", layout="microgrids"))


def test_breakers_are_the_couplings(layout):
    found = breakers.find(layout)
    names = [layout.observation_names[entry] for entry in found.closed]
    assert names == [f"branch_closed: {ends}" for ends in ("680-711", "675-721", "633-731")]
    assert [layout.observation_names[entry] for entry in found.cooldown] == [
        name.replace("closed", "cooldown") for name in names
    ]


@pytest.mark.parametrize("encoder", ["mlp", "graph"])
def test_every_agent_has_a_policy_of_its_own(layout, encoder):
    options = TeamOptions(kind="microgrids", encoder=encoder, policy_layers=(8,), value_layers=(8,))
    nets = networks.make(layout, options)
    params = nets.init(jax.random.PRNGKey(0))
    assert list(params["policy"]) == [*NAMES, "feeder"]
