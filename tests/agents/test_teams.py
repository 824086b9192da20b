"""Teams of several agents: who sees and moves what, who shares what, who earns what."""

import dataclasses

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agents import bundle as bundle_lib, networks as networks_lib, team as team_lib, teams
from agents.options import TeamOptions
from envs import grid_env
from envs.options import EnvOptions

SMALL = {"policy_layers": (8, 8), "value_layers": (8,)}


def _layout(case="case30", layout="full"):
    return grid_env.check(EnvOptions(case=case, layout=layout)).layout


@pytest.mark.parametrize("case", ["case30", "case118"])
def test_a_region_sees_and_moves_what_is_in_its_area(case):
    layout = _layout(case)
    grid, area = layout.site.grid, layout.site.fleet.area
    inside = {str(number): int(a) for number, a in zip(grid.bus.id, area)}
    areas_of = lambda name: {
        inside[part] for part in name.split(": ")[1].removeprefix("bus ").split("-")
    }
    team = teams.make(layout, TeamOptions(kind="mappo"))
    assert [agent.name for agent in team.agents] == [f"area_{a}" for a in np.unique(area)]
    everybody = {"forecast", "renewable_forecast", "frequency", "clock"}
    for number, agent in zip(np.unique(area), team.agents):
        for entry, name in enumerate(layout.observation_names):
            seen = name.split(": ")[0] in everybody or number in areas_of(name)
            assert seen == (entry in agent.observation), name
        for name in (layout.action_names[entry] for entry in agent.action):
            at = name.split(": ")[1].removeprefix("bus ").split("-")[0]
            assert inside[at] == number, name
    np.testing.assert_array_equal(team.membership.sum(1), 1)


def test_a_grid_of_one_area_has_no_regions():
    for kind in ("mappo", "ippo"):
        with pytest.raises(ValueError, match=f"team.kind={kind}: has an agent for each area.*one"):
            teams.make(_layout("case14"), TeamOptions(kind=kind))


@pytest.mark.parametrize(
    "actions, message",
    [
        (([0, 1], [1, 2]), "1 is moved by a and b"),
        (([0], [2]), "1 by nobody"),
        (([0, 1, 2], [3]), r"there is no 3 \(b\)"),
    ],
)
def test_a_team_that_does_not_move_each_action_once_is_refused(actions, message):
    agents = [
        team_lib.Agent(name, np.arange(2), np.array(own), 1.0) for name, own in zip("ab", actions)
    ]
    with pytest.raises(ValueError, match=message):
        team_lib.Team(tuple(agents), 2, 3)
    with pytest.raises(ValueError, match="names of their own, not a, a"):
        team_lib.Team((agents[0], agents[0]), 2, 3)


def _alike(parameters, order=(0, 1, 2)):
    """Returns networks of three agents who each see two entries and move one, in some order."""
    agents = [
        team_lib.Agent(f"agent {i}", np.array([2 * i, 2 * i + 1]), np.array([i]), 5.0,
                       parameters=parameters)
        for i in order
    ]  # fmt: skip
    return networks_lib.TeamNetworks(team_lib.Team(tuple(agents), 6, 3), TeamOptions(**SMALL))


def test_agents_that_share_parameters_act_alike_but_for_their_embedding(key):
    nets = _alike("all")
    bundle = bundle_lib.initial(nets, key)
    seen = jnp.tile(jnp.array([0.3, -1.2]), 3)
    mean = lambda params: np.asarray(nets.policy(params, bundle.statistics, seen).mean)
    assert len(np.unique(mean(bundle.params))) == 3
    (torso,) = (name for name in bundle.params["policy"]["all"] if "Torso" in name)
    bundle.params["policy"]["all"][torso]["embedding"] *= 0.0
    assert len(np.unique(mean(bundle.params))) == 1
    sizes = [
        sum(leaf.size for leaf in jax.tree.leaves(_alike(parameters).init(key)["policy"]))
        for parameters in ("all", "")
    ]
    # Three networks of 2-8-8-2 heads of one control each, or one and three embeddings.
    one = (2 * 8 + 8) + (8 * 8 + 8) + 2 * (8 + 1)
    assert sizes == [one + 3 * 8, 3 * one]


@pytest.mark.parametrize("parameters", ["all", ""])
def test_a_permutation_of_agents_permutes_results(parameters, key):
    order = (2, 0, 1)
    ours, theirs = _alike(parameters), _alike(parameters, order)
    bundle = bundle_lib.initial(ours, key)
    params = jax.tree.map(jnp.copy, bundle.params)
    if parameters:  # Embeddings and last layers of values are in the order of agents.
        for part in ("policy", "value"):
            flat = flax.traverse_util.flatten_dict(params[part]["all"])
            for path, leaf in flat.items():
                if path[-1] == "embedding" or (part == "value" and path[0] == "head"):
                    flat[path] = leaf[np.array(order)]
            params[part]["all"] = flax.traverse_util.unflatten_dict(flat)
    seen = jax.random.normal(key, (5, 6))
    raw = jax.random.normal(key, (5, 3))
    policies = [
        nets.policy(p, bundle.statistics, seen)
        for nets, p in ((ours, bundle.params), (theirs, params))
    ]
    np.testing.assert_allclose(policies[0].mean, policies[1].mean, rtol=1e-5, atol=1e-7)
    columns = np.array(order)
    for figure in ("log_prob", "entropy"):
        told = [
            getattr(nets, figure)(policy, *([raw] if figure == "log_prob" else []))
            for nets, policy in zip((ours, theirs), policies)
        ]
        np.testing.assert_allclose(told[0][..., columns], told[1], rtol=1e-5)
    values = [nets.value(p, bundle.statistics, seen)
              for nets, p in ((ours, bundle.params), (theirs, params))]  # fmt: skip
    np.testing.assert_allclose(values[0][..., columns], values[1], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("encoder", ["mlp", "graph"])
@pytest.mark.parametrize("kind, shared", [("mappo", True), ("ippo", False)])
def test_regions_share_what_they_should(kind, shared, encoder, key):
    layout = _layout()
    nets = networks_lib.make(layout, TeamOptions(kind=kind, encoder=encoder, **SMALL), costs=1)
    params = nets.init(key)
    assert [*params["policy"]] == (["regions"] if shared else ["area_1", "area_2"])
    statistics = nets.statistics()
    seen = jax.random.normal(key, (layout.observation_size,))
    slope = jax.jacobian(lambda x: nets.policy(params, statistics, x).mean)(seen)
    judged = jax.jacobian(lambda x: nets.value(params, statistics, x))(seen)
    assert judged.shape == (4, layout.observation_size)
    continuous = np.setdiff1d(np.arange(layout.action_size), nets.team.breakers.action)
    for index, agent in enumerate(nets.team.agents):
        unseen = np.setdiff1d(np.arange(layout.observation_size), agent.observation)
        own = np.isin(continuous, agent.action)
        assert not slope[own][:, unseen].any() and slope[own].any()
        # A critic of the whole grid reads what its agent does not see.
        assert bool(judged[index][unseen].any()) == shared
        assert bool(judged[index + 2][unseen].any()) == shared


def test_an_agent_earns_its_share_of_what_its_buses_and_the_grid_do():
    agents = tuple(
        team_lib.Agent(name, np.arange(1), np.array([i]), 1.0, buses=np.array(buses),
                       own_reward=weight)
        for i, (name, buses, weight) in enumerate([
            ("selfish", [True, False, False], 1.0), ("mixed", [False, True, True], 0.25),
        ])
    )  # fmt: skip
    team = team_lib.Team(agents, 1, 2)
    earned = {
        "generation_cost": jnp.array([[1.0, 0.0, 4.0], [-5.0, -1.0, 2.0]]),
        "overload": jnp.array([[0.0, 2.0, 0.0], [5.0, 0.0, -2.0]]),
        "retail_bill": jnp.array([[9.0, 9.0, 9.0], [9.0, 9.0, 9.0]]),  # no part of `savings`
    }
    rewards = team.rewards(jnp.array([10.0, 20.0]), earned)
    np.testing.assert_allclose(rewards, [[1.0, 7.5 + 1.5], [0.0, 15.0 - 0.25]])
    told = team.by_name({"episode_return": rewards[0]})
    assert {name: float(x) for name, x in told.items()} == {
        "agents/selfish/episode_return": 1.0, "agents/mixed/episode_return": 9.0,
    }  # fmt: skip
    tight = dataclasses.replace(agents[0], own_terms=("generation_cost", "retail_bill"))
    rewards = team_lib.Team((tight, agents[1]), 1, 2).rewards(jnp.array([10.0, 20.0]), earned)
    np.testing.assert_allclose(rewards, [[10.0, 9.0], [4.0, 14.75]])


# Agents who decide for several steps, and one who is heard.


def _held_team():
    """Returns a team of one who moves entry 0 every third step, and one who hears a directive."""
    slow = team_lib.Agent("slow", np.array([0]), np.array([0, 2]), 100.0, period=3)
    quick = team_lib.Agent("quick", np.array([1]), np.array([1]), 1.0, hears=np.array([2]))
    return team_lib.Team(
        (slow, quick), 2, 2, latents=1, compose=lambda a: a[..., :2] * (1.0 - 0.5 * a[..., 2:])
    )


def test_a_decision_that_is_held_is_held(key):
    team = _held_team()
    nets = networks_lib.TeamNetworks(team, TeamOptions(**SMALL))
    assert (team.input_size, team.output_size, team.memory_size) == (5, 3, 3)
    bundle = bundle_lib.initial(nets, key)
    memory, raws, told = jnp.zeros((4, 3)), [], []
    for step in range(7):
        k_see, k_act = jax.random.split(jax.random.fold_in(key, step))
        seen = team.input(jax.random.normal(k_see, (4, 2)), memory)
        policy = nets.policy(bundle.params, bundle.statistics, seen)
        raw = nets.sample(k_act, policy)
        deciding = np.array([step % 3 == 0, True])
        np.testing.assert_array_equal(team.deciding(seen)[0], deciding)
        for figure in (
            nets.log_prob(policy, raw),
            nets.entropy(policy),
            nets.kl(policy, policy._replace(mean=policy.mean + 1.0)),
        ):
            np.testing.assert_array_equal(np.asarray(figure[0]) != 0, deciding)
        mode = nets.mode(policy)
        slow = np.array([0, 2])
        if not deciding[0]:
            np.testing.assert_array_equal(raw[:, slow], raws[-1][:, slow])
            np.testing.assert_array_equal(mode[:, slow], raws[-1][:, slow])
        elif raws:
            assert (raw[:, slow] != raws[-1][:, slow]).all()
        memory = team.remember(seen, raw)
        raws.append(raw)
        told.append(memory[0])
    np.testing.assert_array_equal(np.array(told)[:, 0], [1, 2, 0, 1, 2, 0, 1])
    np.testing.assert_array_equal(np.array(told)[:, 1:], np.array(raws)[:, 0, [0, 2]])
    action = jnp.array([[0.5, -1.0, 1.0]])
    np.testing.assert_allclose(team.to_grid(action), [[0.25, -0.5]])


def test_a_directive_is_heard_a_step_later_and_what_nobody_tells_is_not(key):
    nets = networks_lib.TeamNetworks(_held_team(), TeamOptions(**SMALL))
    bundle = bundle_lib.initial(nets, key)
    mean = lambda seen: nets.policy(bundle.params, bundle.statistics, seen).mean
    slope = np.asarray(jax.jacobian(mean)(jnp.array([0.1, 0.2, 0.0, 0.3, 0.4])))
    # Inputs: two observations, steps since the slow one decided, its action and its directive.
    reads = slope != 0
    np.testing.assert_array_equal(reads[0], [True, False, True, True, True])
    np.testing.assert_array_equal(reads[1], [False, True, False, False, True])
    judged = np.asarray(
        jax.jacobian(lambda seen: nets.value(bundle.params, bundle.statistics, seen))(jnp.ones(5))
    )
    np.testing.assert_array_equal(judged != 0, reads[[0, 1]])


@pytest.mark.parametrize(
    "change, message",
    [
        ({"period": 0}, "a: period=0, effective_horizon=5.0: both are steps"),
        ({"effective_horizon": 0.0}, "a: period=1, effective_horizon=0.0: both are steps"),
        ({"hears": np.array([0])}, r"a: hears \[0\]: must be latent actions, 1 to 1"),
        ({"own_terms": ("fuel",)}, "a: own_terms has fuel: must be of generation_cost, "),
        ({"hears": np.array([2])}, r"a: hears \[2\]: must be latent actions, 1 to 1"),
    ],
)
def test_an_agent_that_cannot_be_is_refused(change, message):
    agent = {"effective_horizon": 5.0} | change
    agent = team_lib.Agent("a", np.arange(1), np.arange(2), **agent)
    with pytest.raises(ValueError, match=message):
        team_lib.Team((agent,), 1, 1, latents=1)


def test_who_operates_breakers_decides_in_every_step():
    layout = _layout("case14")
    team = teams.make(layout, TeamOptions())
    (operator,) = team.agents
    slow = dataclasses.replace(operator, period=12)
    with pytest.raises(ValueError, match="operator: period=12: who operates breakers decides"):
        dataclasses.replace(team, agents=(slow,))
