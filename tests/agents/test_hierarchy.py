"""The hierarchy: directives, what is held back, attention."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agents import attention_networks, bundle as bundle_lib, networks as networks_lib, teams
from agents.options import TeamOptions
from envs import grid_env
from envs.options import EnvOptions

SMALL = {"policy_layers": (8, 8), "value_layers": (8,)}


@pytest.fixture(scope="module")
def layout():
    return grid_env.check(EnvOptions(case="case30", layout="full")).layout


@pytest.fixture(scope="module")
def nets(layout):
    return networks_lib.make(layout, TeamOptions(kind="hierarchical", **SMALL), objective="both")


def test_its_agents_have_the_horizons_and_periods_of_their_roles(layout):
    team = teams.make(layout, TeamOptions(kind="hierarchical"))
    told = [(a.name, a.role, a.effective_horizon, a.period) for a in team.agents]
    assert told == [
        ("strategic", "strategic", 100.0, 12), ("area_1", "region", 10.0, 1),
        ("area_2", "region", 10.0, 1), ("safety", "safety", 1.0, 1),
    ]  # fmt: skip
    # A directive for the area that has units, two shares that are held back, and how long ago the
    # strategic agent decided.
    assert (team.latents, team.memory_size) == (3, 4)
    strategic, first, second, safety = team.agents
    assert first.hears.tolist() == strategic.action.tolist() == [layout.action_size]
    assert not any(agent.hears.size for agent in (strategic, second, safety))


def test_directives_move_units_and_safety_holds_back_all_of_an_area():
    layout = grid_env.check(EnvOptions(case="case118", layout="full")).layout
    team = teams.make(layout, TeamOptions(kind="hierarchical"))
    n, (_, first, second, *_) = layout.action_size, team.agents
    wanted = np.linspace(-0.5, 0.5, n)

    def shown(directives=(), held_back=()):
        latents = np.zeros((2, 4))
        latents[0, : len(directives)], latents[1, : len(held_back)] = directives, held_back
        return np.asarray(team.to_grid(jnp.concatenate([wanted, latents.ravel()])))

    np.testing.assert_allclose(shown(), wanted, rtol=1e-6)
    np.testing.assert_allclose(shown([], [-0.7, -1]), wanted, rtol=1e-6)
    units = np.array([name.startswith("unit power") for name in layout.action_names])
    inside, there = (np.isin(np.arange(n), agent.action) for agent in (first, second))
    assert units[inside].any() and units[there].any()
    expected = wanted + np.where(units & inside, 0.25, 0.0) - np.where(units & there, 1.0, 0.0)
    expected = np.clip(expected, -1.0, 1.0)
    np.testing.assert_allclose(shown([0.25, -1.0]), expected, rtol=1e-5, atol=1e-7)
    expected *= 1.0 - 0.4 * inside - 1.0 * there
    np.testing.assert_allclose(shown([0.25, -1.0], [0.4, 1.0]), expected, rtol=1e-5, atol=1e-7)
    # What would be held back less than nothing is led back to nothing, by what it would cost.
    cost = lambda back: (
        team.to_grid(jnp.concatenate([wanted, jnp.zeros(4), back * jnp.ones(4)])) ** 2
    ).sum()
    assert jax.grad(cost)(-0.3) < 0 and jax.grad(lambda back: -cost(back))(-0.3) == 0


def test_attention_equals_a_reference_by_hand(key):
    tokens = jax.random.normal(key, (3, 5, attention_networks.WIDTH))
    network = attention_networks.Attention()
    params = network.init(jax.random.PRNGKey(1), tokens)["params"]
    got, state = network.apply({"params": params}, tokens, mutable="intermediates")
    (weights,) = state["intermediates"][attention_networks.WEIGHTS]
    x = np.asarray(tokens, float)
    matrix = {name: np.asarray(params[name]["kernel"], float) for name in params}
    size = attention_networks.WIDTH // attention_networks.HEADS
    expected = np.zeros_like(x)
    for b in range(3):
        for i in range(5):
            read = []
            for head in range(attention_networks.HEADS):
                own = slice(head * size, (head + 1) * size)
                query = x[b, i] @ matrix["query"][:, own]
                scores = [query @ (x[b, j] @ matrix["key"][:, own]) for j in range(5)]
                shares = np.exp(np.array(scores) / np.sqrt(size))
                shares /= shares.sum()
                np.testing.assert_allclose(weights[b, head, i], shares, rtol=1e-4)
                read.append(sum(s * (x[b, j] @ matrix["value"][:, own])
                                for j, s in enumerate(shares)))  # fmt: skip
            expected[b, i] = np.concatenate(read) @ matrix["out"] + params["out"]["bias"]
    np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-4)


def test_messages_tell_an_agent_what_it_does_not_see(nets, key):
    bundle = bundle_lib.initial(nets, key)
    seen = jax.random.normal(key, (nets.team.input_size,))
    slope = jax.jacobian(lambda x: nets.policy(bundle.params, bundle.statistics, x).mean)(seen)
    area = nets.team.agents[1]
    unseen = np.setdiff1d(np.arange(nets.team.input_size), nets.team.seen[1])
    continuous = np.setdiff1d(np.arange(nets.team.output_size), nets.team.breakers.action)
    own = np.isin(continuous, area.action)
    assert np.asarray(slope)[own][:, unseen].any()
    weights = nets.attention(bundle.params, bundle.statistics, seen)
    assert weights.shape == (attention_networks.HEADS, 4, 4)
    np.testing.assert_allclose(weights.sum(-1), 1.0, rtol=1e-5)
    # Without what messages are made of, nobody hears of it.
    bundle.params["policy"]["team"]["attention"]["out"]["kernel"] *= 0.0
    slope = jax.jacobian(lambda x: nets.policy(bundle.params, bundle.statistics, x).mean)(seen)
    assert not np.asarray(slope)[own][:, unseen].any() and np.asarray(slope)[own].any()


def test_samples_teach_what_holds_and_gradients_the_rest(nets, layout, key):
    bundle = bundle_lib.initial(nets, key)
    seen = jnp.zeros((3, nets.team.input_size))  # all decide
    policy = nets.policy(bundle.params, bundle.statistics, seen)
    raw = nets.sample(key, policy)
    strategic, first, *_ = nets.team.agents
    moved = lambda entry: (
        nets.log_prob(policy, raw.at[:, entry].add(1.0)) - nets.log_prob(policy, raw)
    )
    assert np.abs(moved(strategic.action[0]))[:, 0].min() > 0
    own = np.setdiff1d(first.action, nets.team.breakers.action)[0]
    np.testing.assert_array_equal(moved(own), 0.0)
    slope = jax.grad(lambda raw: (nets.differentiated(raw) ** 2).sum())(raw[0])
    np.testing.assert_array_equal(
        slope == 0, np.isin(np.arange(raw.shape[1]), strategic.action) | (raw[0] == 0)
    )


def test_a_graph_of_the_grid_has_no_place_for_messages(layout):
    with pytest.raises(ValueError, match="team.encoder=graph: .* agents of team.kind=hierarchical"):
        networks_lib.make(layout, TeamOptions(kind="hierarchical", encoder="graph"))


def test_what_is_held_back_is_told_of_each_area(layout):
    team = teams.make(layout, TeamOptions(kind="hierarchical"))
    first, second = team.safety.entries
    action = np.zeros((4, team.output_size), np.float32)
    action[:, first], action[:, second] = [0.5, -0.5, 0.04, 1.0], -1.0
    told = {name: float(value) for name, value in team.held_back(jnp.asarray(action)).items()}
    assert told == pytest.approx({
        "agents/area_1/held_back": 1.54 / 4, "agents/area_1/overrides": 0.5,
        "agents/area_2/held_back": 0.0, "agents/area_2/overrides": 0.0,
    })  # fmt: skip
    assert not teams.make(layout, TeamOptions(kind="ippo")).held_back(jnp.asarray(action))
