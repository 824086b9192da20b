"""Samples teach which breaker to operate, by any correction, and beside gradients for the rest."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import one_step_task as task

from agents import breakers, distributions, heads, networks as networks_lib, team as team_lib
from agents.options import TeamOptions
from learner import imitation, options as options_lib, ppo
from replay import schema

K, T, B = 3, 16, 16
# One signal, and what is closed and cools down.
OWN = breakers.Breakers(1 + np.arange(K), 1 + np.arange(K), 1 + K + np.arange(K))
OBSERVED = 1 + 2 * K


def _networks(objective="ppo", initial_switching=0.3):
    agent = team_lib.Agent("one", np.arange(OBSERVED), np.arange(1 + K), 1.0)
    team = team_lib.Team((agent,), OBSERVED, 1 + K, OWN)
    layers = TeamOptions(
        policy_layers=(32,), value_layers=(16,), initial_switching=initial_switching
    )
    return networks_lib.TeamNetworks(team, layers, objective=objective)


def _observations(key, shape):
    k_signal, k_closed, k_cooldown = jax.random.split(key, 3)
    signal = jax.random.uniform(k_signal, (*shape, 1), minval=-1.0)
    closed = jax.random.bernoulli(k_closed, 0.5, (*shape, K)).astype(jnp.float32)
    cooldown = jax.random.randint(k_cooldown, (*shape, K), 0, 3).astype(jnp.float32)
    return jnp.concatenate([signal, closed, cooldown], -1)


def _right(observations):
    """Returns what earns: the first breaker opened where the signal is low, else the last closed.

    Where that cannot be, because it is so already or cools down, no operation does.
    """
    closed, cooldown = observations[..., OWN.closed] > 0.5, observations[..., OWN.cooldown]
    low = observations[..., 0] < 0.0
    first, last = low & closed[..., 0], ~low & ~closed[..., -1]
    first, last = first & (cooldown[..., 0] < 2), last & (cooldown[..., -1] < 2)
    return jnp.stack([-1.0 * first, jnp.zeros(low.shape), 1.0 * last], -1)


def _unroll(nets, state, key):
    k_observe, k_act = jax.random.split(key)
    observations = _observations(k_observe, (T, B))
    policy = nets.policy(state.params, state.statistics, observations)
    raw = nets.sample(k_act, policy)
    action = distributions.squash(raw)
    hit = (action[..., 1:] == _right(observations)).all(-1)
    rewards = (hit - (action[..., 0] - 0.5) ** 2)[..., None]
    end, blank = jnp.ones((T, B), bool), jnp.zeros((B, OBSERVED))
    return schema.Unroll(
        observations, raw, nets.log_prob(policy, raw), rewards, end, ~end, blank, blank, {}, None
    )


def _scores(nets, state):
    """Returns how often the policy operates as it should, and how far its control is from 0.5."""
    observations = _observations(jax.random.PRNGKey(99), (512,))
    policy = nets.policy(state.params, state.statistics, observations)
    action = distributions.squash(nets.mode(policy))
    hit = (action[:, 1:] == _right(observations)).all(-1)
    return float(hit.mean()), float(jnp.abs(action[:, 0] - 0.5).mean())


def _trained(nets, options, gradient=None, updates=150):
    algorithm = ppo.PPO(nets, options, gradient, updates)
    update = task.mapped(algorithm, 1)
    make = jax.jit(lambda state, key: _unroll(nets, state, key))
    state = start = task.replicated(task.seen(algorithm.init(jax.random.PRNGKey(0))), 1)
    for index in range(updates):
        unroll = make(task.one(state), jax.random.PRNGKey(index))
        if gradient:
            usable = jnp.ones(unroll.observations.shape[:2], bool)
            unroll = unroll.replace(windows=schema.Windows(unroll.observations, usable, None, None))
        state, metrics = update(state, jax.tree.map(lambda x: x[None], unroll))
    assert int(state.bad_updates[0]) == 0
    assert np.isfinite([float(v[0]) for v in metrics.values()]).all()
    return task.one(start), task.one(state), metrics


@pytest.mark.parametrize(
    "correction",
    [options_lib.CORRECTIONS[0]]
    + [pytest.param(name, marks=pytest.mark.slow) for name in options_lib.CORRECTIONS[1:]],
)
def test_the_right_operation_is_learned_from_samples(correction):
    nets = _networks()
    options = options_lib.LearnerOptions(
        learning_rate=1e-2, target_kl=0.05, correction=correction, devices=1
    )
    start, state, metrics = _trained(nets, options)
    before, (after, off) = _scores(nets, start)[0], _scores(nets, state)
    assert before < 0.8 and after > 0.95 and off < 0.1, (before, after, off)
    # The step size is steered by both parts together.
    assert 0.005 < float(metrics["policy/kl"][0]) < 0.5


class _Distance:
    """Stands in for gradients through the environment: windows are observations to act on."""

    def __init__(self, networks):
        self._networks = networks

    def windows(self, unroll):
        return unroll.windows

    def loss(self, params, fixed, windows, chosen):
        seen = windows.states.reshape(-1, OBSERVED)[chosen]
        policy = self._networks.policy(params, fixed.statistics, seen)
        action = distributions.squash_to_minimise(self._networks.mode(policy))
        # What is operated counts, and has no slope.
        loss = ((action[:, 0] - 0.5) ** 2).mean() + action[:, 1:].mean()
        return loss, {"analytic/loss": loss}


@pytest.mark.parametrize("objective", ["both", pytest.param("analytic", marks=pytest.mark.slow)])
def test_gradients_teach_the_rest_and_leave_breakers_to_samples(objective):
    nets = _networks(objective, initial_switching=0.3)
    options = options_lib.LearnerOptions(
        objective=objective, window=1, learning_rate=1e-2, target_kl=0.0, devices=1
    )
    start, state, _ = _trained(nets, options, _Distance(nets))
    hit, off = _scores(nets, state)
    assert off < 0.05
    part = lambda state, name: state.params["policy"]["one"][name]
    unmoved = lambda name: all(
        np.array_equal(a, b)
        for a, b in zip(*(jax.tree.leaves(part(each, name)) for each in (start, state)))
    )
    # Samples say nothing of the normals here: their spread, which gradients do not move, stays.
    assert unmoved("log_std") and not unmoved("mean")
    if objective == "both":
        assert hit > 0.95 and not unmoved(heads.BREAKER)
    else:
        assert hit == _scores(nets, start)[0] and unmoved(heads.BREAKER)
        raw = _unroll(nets, state, jax.random.PRNGKey(0)).raw_actions
        assert not raw[..., 1:].any()


def test_what_an_expert_operates_is_learned(key):
    nets = _networks(initial_switching=0.01)
    observations = _observations(key, (2048,))
    right = _right(observations)
    # A second request, which is weaker and is not carried out, is not learned.
    weaker = jnp.where(observations[:, OWN.closed] > 0.5, -0.6, 0.6).at[:, [0, 2]].set(0.0)
    asked = jnp.where(right.any(-1, keepdims=True), right + weaker, 0.0)
    action = jnp.concatenate([0.5 * observations[:, :1], asked], -1)
    day = np.repeat(np.arange(16), 128)
    fit = imitation.fit(nets, np.asarray(observations), np.asarray(action), day, key, steps=2000)
    hit, _ = _scores(nets, fit.bundle)
    assert hit > 0.95, hit
    assert fit.error[0] < 0.05 and fit.error[[1, 3]].max() < 0.3
