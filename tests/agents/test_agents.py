"""Teams, distributions, normalisation and networks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from agents import (
    bundle as bundle_lib,
    controllers,
    distributions,
    networks as networks_lib,
    normaliser,
    team as team_lib,
    teams,
)
from agents.options import TeamOptions


def test_centralised_sees_and_moves_everything(env):
    team = teams.make(env.layout, TeamOptions(effective_horizon=20.0))
    assert team.size == 1 and team.discounts.tolist() == pytest.approx([0.95])
    assert team.membership.shape == (env.layout.action_size, 1) and np.all(team.membership == 1)


def test_a_team_moves_each_action_once():
    agent = team_lib.Agent("a", np.arange(3), np.array([0, 1]), 10.0)
    with pytest.raises(ValueError, match="must move each of 3 actions once"):
        team_lib.Team((agent,), 3, 3)


def test_an_unknown_team_suggests_the_nearest(env):
    with pytest.raises(ValueError, match="did you mean centralised"):
        teams.make(env.layout, TeamOptions(kind="centralized"))


def test_networks_keep_the_order_of_actions_when_agents_interleave():
    agents = (
        team_lib.Agent("odd", np.arange(4), np.array([1, 3]), 10.0),
        team_lib.Agent("even", np.arange(2), np.array([0, 2]), 5.0),
    )
    team = team_lib.Team(agents, 4, 4)
    nets = networks_lib.TeamNetworks(team, TeamOptions(policy_layers=(4,), value_layers=(4,)))
    params = nets.init(jax.random.PRNGKey(0))
    bias = jnp.array([10.0, 20.0])
    for agent, factor in (("odd", 1.0), ("even", -1.0)):
        params["policy"][agent]["mean"]["bias"] = factor * bias
    mean = nets.policy(params, normaliser.initial(4), jnp.zeros(4)).mean
    np.testing.assert_allclose(mean, [-10, 10, -20, 20], atol=1e-5)
    assert nets.value(params, normaliser.initial(4), jnp.zeros((7, 4))).shape == (7, 2)
    log_prob = nets.log_prob(networks_lib.Distribution(mean, jnp.zeros(4)), mean + 1.0)
    np.testing.assert_allclose(log_prob, 2 * scipy.stats.norm.logpdf(1.0) * np.ones(2), rtol=1e-6)


def test_log_prob_entropy_and_kl_equal_scipy_and_quadrature():
    mean, log_std = jnp.array(0.3), jnp.array(-0.7)
    normal = scipy.stats.norm(0.3, np.exp(-0.7))
    assert float(distributions.log_prob(1.1, mean, log_std)) == pytest.approx(normal.logpdf(1.1))
    assert float(distributions.entropy(log_std)) == pytest.approx(float(normal.entropy()))
    other = scipy.stats.norm(-0.2, np.exp(0.1))
    x = np.linspace(-6, 6, 200_001)
    by_hand = np.trapezoid if hasattr(np, "trapezoid") else np.trapz
    kl = by_hand(normal.pdf(x) * (normal.logpdf(x) - other.logpdf(x)), x)
    divergence = distributions.kl(mean, log_std, jnp.array(-0.2), jnp.array(0.1))
    assert float(divergence) == pytest.approx(kl, rel=1e-4)


def test_the_squash_reaches_its_limits_and_keeps_zero():
    assert float(distributions.squash(jnp.array(2.0))) == 1.0
    assert float(distributions.squash(jnp.array(-2.0))) == -1.0
    assert float(distributions.squash(jnp.array(0.0))) == 0.0


def test_samples_have_the_distribution(key):
    raw = distributions.sample(key, 0.4 * jnp.ones(20_000), jnp.log(0.2) * jnp.ones(20_000))
    assert float(raw.mean()) == pytest.approx(0.4, abs=0.01)
    assert float(raw.std()) == pytest.approx(0.2, rel=0.03)


def test_normalised_observations_are_centred_scaled_and_clipped():
    statistics = normaliser.ObservationStatistics(
        jnp.array(10.0), jnp.array([100.0, 1.0]), jnp.array([25.0, 0.0])
    )
    scaled = normaliser.normalise(statistics, jnp.array([[110.0, 1.0], [1000.0, 1.0 + 1e-7]]))
    np.testing.assert_allclose(scaled, [[2.0, 0.0], [10.0, 0.0]], atol=0.02)


def test_a_fresh_policy_is_close_to_doing_nothing(env, networks, key):
    learned = controllers.learned(networks, bundle_lib.initial(networks, key))
    days = jax.jit(jax.vmap(env.sample_series))(jax.random.split(key, 4))
    states = jax.jit(jax.vmap(env.start))(days)
    seen = jax.random.normal(key, states.observation.shape)
    states = states.replace(observation=seen)
    act = lambda controller: controller.act(states, days, controller.start(days, 0))[0]
    nothing = act(controllers.do_nothing(env))
    assert nothing.shape == (4, env.layout.action_size) and not nothing.any()
    np.testing.assert_allclose(act(learned), nothing, atol=0.1)
    # With no weight, anyone does nothing.
    random = controllers.Controller(
        "all", "all", "nothing", controllers.stateless, lambda s, t, m: (jnp.ones((4, 3)), m)
    )
    assert not act(controllers.weighted(random, 0.0)).any()


def _by_hand(torso, x, activation, layer_norm):
    """Returns what fully connected layers with these parameters make of `x`."""
    layers = len([name for name in torso if name.startswith("Dense")])
    for i in range(layers):
        dense = torso[f"Dense_{i}"]
        x = x @ np.asarray(dense["kernel"], float) + np.asarray(dense["bias"], float)
        if layer_norm:
            norm = torso[f"LayerNorm_{i}"]
            x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)
            x = x * norm["scale"] + norm["bias"]
        x = {"tanh": np.tanh, "relu": lambda v: np.maximum(v, 0.0),
             "silu": lambda v: v / (1.0 + np.exp(-v))}[activation](x)  # fmt: skip
    return x


@pytest.mark.parametrize("layer_norm", [False, True])
@pytest.mark.parametrize("activation", ["tanh", "silu", "relu"])
def test_networks_compute_what_their_layers_say(activation, layer_norm, key):
    agent = team_lib.Agent("a", np.arange(4), np.arange(2), 10.0)
    options = TeamOptions(
        policy_layers=(8, 6), value_layers=(5,), activation=activation, layer_norm=layer_norm
    )
    nets = networks_lib.TeamNetworks(team_lib.Team((agent,), 4, 2), options)
    # Fresh layers neither shift nor scale; these do.
    params = jax.tree.map(lambda leaf: leaf + 0.1 * jnp.arange(leaf.shape[-1]), nets.init(key))
    seen = np.random.default_rng(0).normal(size=(7, 4))
    mean = nets.policy(params, normaliser.initial(4), jnp.asarray(seen, jnp.float32)).mean
    value = nets.value(params, normaliser.initial(4), jnp.asarray(seen, jnp.float32))
    for got, group, head in ((mean, "policy", "mean"), (value, "value", "head")):
        part = params[group]["a"]
        (torso,) = (name for name in part if "Torso" in name)
        features = _by_hand(part[torso], seen, activation, layer_norm)
        expected = features @ np.asarray(part[head]["kernel"], float) + part[head]["bias"]
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)


def test_an_unknown_activation_suggests_the_nearest():
    with pytest.raises(ValueError, match="team.activation='tan': did you mean tanh"):
        TeamOptions(activation="tan")


@pytest.mark.parametrize("change", [{"effective_horizon": 0.5}, {"initial_std": 0.0},
                                    {"policy_layers": ()}, {"value_layers": (0,)}])  # fmt: skip
def test_options_out_of_range_are_refused_by_name(change):
    (name,) = change
    with pytest.raises(ValueError, match=f"team.{name}"):
        TeamOptions(**change)


def test_what_has_passed_a_limit_comes_back_and_goes_no_further():
    raw = jnp.array([-9.0, -1.6, -0.5, 0.7, 1.6, 9.0])
    for sign in (1.0, -1.0):  # descent moves a sample against the sign of its slope
        total = lambda raw, sign=sign: sign * distributions.squash_to_minimise(raw).sum()
        slope = sign * np.asarray(jax.grad(total)(raw))
        inside = 1.1 / np.cosh(np.array([-0.5, 0.7])) ** 2
        at_limit = 1.1 * (1.0 - 1.0 / 1.1**2)
        low, high = (0.0, at_limit) if sign > 0 else (at_limit, 0.0)
        np.testing.assert_allclose(slope, [low, low, *inside, high, high], rtol=1e-5)
    np.testing.assert_array_equal(distributions.squash_to_minimise(raw), distributions.squash(raw))
