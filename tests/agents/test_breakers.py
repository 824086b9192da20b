"""Which breaker is operated: as probabilities, under its mask, and as the environment does it."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats

from agents import (
    breakers,
    distributions,
    networks as networks_lib,
    normaliser,
    team as team_lib,
    teams,
)
from agents.options import TeamOptions
from envs.case import fleet_file
from envs.step import layouts, switching
from envs.time_series import series

K = 4
ALL = breakers.Breakers(np.arange(K), np.arange(K), K + np.arange(K))
IN_SERVICE = jnp.full(K, series.IN_SERVICE)


def _observation(closed, cooldown):
    return jnp.concatenate([jnp.asarray(closed, float), jnp.asarray(cooldown, float)], -1)


def _random(seed, batch=()):
    rng = np.random.default_rng(seed)
    closed, cooldown = rng.random((*batch, K)) < 0.6, rng.integers(0, 4, (*batch, K))
    return rng.normal(0.0, 2.0, (*batch, 1 + K)), closed, cooldown


def test_log_prob_entropy_and_kl_equal_those_of_the_choices_that_are_left():
    for seed in range(8):
        (p, closed, cooldown), (q, *_) = _random(seed), _random(100 + seed)
        seen = _observation(closed, cooldown)
        ours, others = (breakers.operation(ALL, jnp.asarray(x), seen) for x in (p, q))
        left = np.flatnonzero(np.append(True, cooldown <= 1))
        log_p, log_q = (scipy.special.log_softmax(x[left]) for x in (p, q))
        for choice, expected in zip(left, log_p):
            raw = np.zeros(K)
            if choice:
                raw[choice - 1] = -2.0 if closed[choice - 1] else 2.0
            assert float(breakers.log_prob(ours, jnp.asarray(raw))) == pytest.approx(
                expected, abs=1e-5
            )
        assert float(breakers.entropy(ours)) == pytest.approx(
            scipy.stats.entropy(np.exp(log_p)), abs=1e-5
        )
        assert float(breakers.kl(ours, others)) == pytest.approx(
            scipy.stats.entropy(np.exp(log_p), np.exp(log_q)), abs=1e-5
        )


def test_what_is_masked_is_never_drawn_and_has_no_gradient(key):
    _, closed, _ = _random(0)
    seen = _observation(closed, [2, 0, 3, 1])
    # Those that cool down would be by far the likeliest.
    logits = jnp.array([0.0, 9.0, 1.0, 9.0, 0.5])
    operation = breakers.operation(ALL, logits, seen)
    many = jax.tree.map(lambda x: jnp.broadcast_to(x, (50_000, *x.shape)), operation)
    raw = np.asarray(breakers.sample(key, many))
    assert ((raw != 0).sum(-1) <= 1).all() and not raw[:, [0, 2]].any()
    drawn = np.append((raw == 0).all(-1).mean(), (raw != 0).mean(0)[[1, 3]])
    np.testing.assert_allclose(drawn, scipy.special.softmax([0.0, 1.0, 0.5]), atol=0.01)
    assert np.flatnonzero(breakers.mode(operation)).tolist() == [1]

    def value(logits):
        ours = breakers.operation(ALL, logits, seen)
        others = breakers.operation(ALL, jnp.arange(1.0 + K), seen)
        return (
            breakers.log_prob(ours, raw[:100]).sum() + breakers.entropy(ours)
            + breakers.kl(ours, others) + breakers.kl(others, ours)
        )  # fmt: skip

    slope = np.asarray(jax.grad(value)(logits))
    assert np.isfinite(slope).all() and not slope[[1, 3]].any() and slope[[0, 2, 4]].all()


def _state(why, cooldown):
    zero = jnp.zeros(K, jnp.int32)
    why = jnp.asarray(why, jnp.int8)
    return switching.BranchState(why, jnp.ones(K, bool), jnp.asarray(cooldown, jnp.int32), zero)


def test_the_environment_does_what_is_chosen():
    states = list(itertools.product((switching.CLOSED, switching.OPENED), (0, 1, 2)))
    for shift in range(len(states)):
        why, cooldown = zip(*(states[(shift + i) % len(states)] for i in range(K)))
        state = _state(why, cooldown)
        seen = _observation(state.closed, state.cooldown)
        for choice in range(1 + K):
            logits = jnp.zeros(1 + K).at[choice].set(5.0)
            raw = breakers.mode(breakers.operation(ALL, logits, seen))
            then = switching.advance(state, IN_SERVICE)
            switched = switching.switch(then, distributions.squash(raw))
            moved = np.flatnonzero(np.asarray(switched.state.why) != np.asarray(then.why))
            allowed = choice and cooldown[choice - 1] <= 1
            assert moved.tolist() == ([choice - 1] if allowed else [])
            assert int(switched.operations) == bool(allowed) and int(switched.refused) == 0


def test_what_anyone_requests_is_read_as_what_the_environment_does():
    rng = np.random.default_rng(0)
    step = jax.jit(lambda s, a: switching.switch(switching.advance(s, IN_SERVICE), a).state.why)
    counted = np.zeros(1 + K, int)
    for _ in range(200):
        state = _state(rng.integers(0, 2, K), rng.integers(0, 3, K))
        action = jnp.asarray(rng.uniform(-1, 1, K), jnp.float32)
        moved = np.flatnonzero(np.asarray(step(state, action)) != np.asarray(state.why))
        seen = _observation(state.closed, state.cooldown)
        choice = int(breakers.carried_out(ALL, action, seen))
        assert ([choice - 1] if choice else []) == moved.tolist()
        counted[choice] += 1
    assert (counted > 0).all()


def _team(agents=1):
    """Returns a team of two controls and K breakers, between the controls."""
    own = breakers.Breakers(1 + np.arange(K), np.arange(K), K + np.arange(K))
    parts = ((0, 1, 2, 3, 4, 5),) if agents == 1 else ((4, 0, 2), (5, 3, 1))
    agents = tuple(
        team_lib.Agent(f"agent {i}", np.arange(2 * K), np.array(part), 10.0)
        for i, part in enumerate(parts)
    )
    return team_lib.Team(agents, 2 * K, 2 + K, own)


def _networks(agents=1, **options):
    layers = TeamOptions(policy_layers=(8,), value_layers=(8,), initial_switching=0.6)
    return networks_lib.TeamNetworks(_team(agents), layers, **options)


@pytest.mark.parametrize("agents", [1, 2])
def test_normals_and_choices_of_all_agents_are_one_action(agents, key):
    nets = _networks(agents)
    params = nets.init(key)
    for i, agent in enumerate(params["policy"].values()):
        agent["mean"]["bias"] += 10.0 + 10.0 * (jnp.arange(2 // agents) + i)
    _, closed, cooldown = _random(1, (64,))
    seen = _observation(closed, cooldown)
    policy = nets.policy(params, normaliser.initial(2 * K), seen)
    raw = nets.sample(key, policy)
    np.testing.assert_allclose(raw[:, [0, 5]].mean(0), [10.0, 20.0], atol=0.3)
    operated = np.asarray(raw[:, 1:5])
    assert ((operated != 0).sum(-1) <= agents).all() and (operated != 0).any(0).all()
    assert not operated[cooldown > 1].any()
    assert (np.sign(operated) == np.where(closed, -1, 1))[operated != 0].all()
    # Each agent's probability is of its own normals and of its own choice.
    expected = np.zeros((64, agents))
    for number, agent in enumerate(nets.team.agents):
        own = sorted(set(agent.action) & {1, 2, 3, 4})
        log_probs = np.asarray(policy.operations[number].log_probs)
        block = np.asarray(raw[:, own]) != 0
        choice = np.where(block.any(-1), 1 + block.argmax(-1), 0)
        expected[:, number] = log_probs[np.arange(64), choice]
        for place, entry in enumerate((0, 5)):
            if entry in agent.action:
                normal = scipy.stats.norm(policy.mean[:, place], np.exp(policy.log_std[:, place]))
                expected[:, number] += normal.logpdf(raw[:, entry])
    np.testing.assert_allclose(nets.log_prob(policy, raw), expected, rtol=1e-4, atol=1e-4)
    mode = np.asarray(nets.mode(policy))
    np.testing.assert_array_equal(mode[:, [0, 5]], policy.mean)


def test_the_objective_says_what_samples_are_of(key):
    _, closed, cooldown = _random(2, (512,))
    seen, made = _observation(closed, cooldown), {}
    for objective in ("ppo", "analytic", "both"):
        nets = _networks(objective=objective)
        policy = nets.policy(nets.init(key), normaliser.initial(2 * K), seen)
        raw = nets.sample(key, policy)
        made[objective] = raw, nets.log_prob(policy, raw), nets.entropy(policy)
        np.testing.assert_array_equal(raw[:, [0, 5]], made["ppo"][0][:, [0, 5]])
    # Most likely is no operation: gradients leave breakers alone.
    assert not made["analytic"][0][:, 1:5].any() and made["ppo"][0][:, 1:5].any()
    np.testing.assert_array_equal(made["both"][0], made["ppo"][0])
    (choice,) = policy.operations
    np.testing.assert_allclose(
        made["both"][1][:, 0], breakers.log_prob(choice, made["both"][0][:, 1:5])
    )
    np.testing.assert_allclose(made["both"][2][..., 0], breakers.entropy(choice))
    normal = distributions.entropy(policy.log_std).sum(-1)
    np.testing.assert_allclose(made["ppo"][2][..., 0], normal + made["both"][2][..., 0], rtol=1e-5)


@pytest.mark.parametrize("encoder", ["mlp", pytest.param("graph", marks=pytest.mark.slow)])
def test_a_fresh_policy_operates_as_often_as_it_is_told(encoder, case14, key):
    spec = layouts.LAYOUTS["full"]
    site = layouts.site(case14, fleet_file.load("case14", case14), spec)
    layout = layouts.make(site, spec)
    nets = networks_lib.make(layout, TeamOptions(initial_switching=0.2, encoder=encoder))
    seen = jax.random.normal(key, (4, layout.observation_size))
    seen = seen.at[:, layout.observation["branch_cooldown"]].set(0.0)
    policy = nets.policy(nets.init(key), nets.statistics(), seen)
    assert policy.operations[0].log_probs.shape == (4, 1 + case14.n_branch)
    np.testing.assert_allclose(1 - np.exp(policy.operations[0].log_probs[:, 0]), 0.2, rtol=0.05)


def test_breakers_that_nobody_sees_are_refused(case14):
    spec = layouts.Spec(("bus_vm", "branch_closed"), ("generator", "switch"))
    site = layouts.site(case14, fleet_file.load("case14", case14), spec)
    with pytest.raises(
        ValueError, match="action block switch and does not observe branch_cooldown"
    ):
        teams.make(layouts.make(site, spec), TeamOptions())
