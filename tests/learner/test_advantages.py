"""Generalised advantage estimation and V-trace against their definitions by brute force."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from learner import advantages


def _brute_force(rewards, values, next_values, terminated, truncated, discounts, gae_lambda):
    """The double sum of equation 16, cut where an episode ends."""
    length, agents = rewards.shape
    out = np.zeros((length, agents))
    for a in range(agents):
        for t in range(length):
            weight = 1.0
            for k in range(t, length):
                future = 0.0 if terminated[k] else discounts[a] * next_values[k, a]
                out[t, a] += weight * (rewards[k, a] + future - values[k, a])
                if terminated[k] or truncated[k]:
                    break
                weight *= discounts[a] * gae_lambda
    return out


def _vtrace_targets(
    rewards, values, next_values, terminated, truncated, discounts, gae_lambda, ratios
):
    """Equation 1 of IMPALA as it is printed: products of c in front of every weighted δ."""
    rho, c = np.minimum(1.0, ratios), gae_lambda * np.minimum(1.0, ratios)
    length, agents = rewards.shape
    targets = values.astype(float)
    for a in range(agents):
        for s in range(length):
            for t in range(s, length):
                if (terminated | truncated)[s:t].any():
                    break
                future = 0.0 if terminated[t] else discounts[a] * next_values[t, a]
                delta = rho[t, a] * (rewards[t, a] + future - values[t, a])
                targets[s, a] += discounts[a] ** (t - s) * np.prod(c[s:t, a]) * delta
    return targets


def _episodes(length=40, agents=3):
    """Returns steps with endings of both kinds, and an agent that looks no further than its own."""
    rng = np.random.default_rng(0)
    rewards, values, following = rng.normal(size=(3, length, agents)).astype(np.float32)
    ending = rng.uniform(size=length)
    terminated, truncated = ending < 0.1, (ending > 0.1) & (ending < 0.2)
    assert terminated.any() and truncated.any()
    # What follows a step that ends nothing is what the next one begins with.
    ended = (terminated | truncated)[:-1, None]
    following[:-1] = np.where(ended, following[:-1], values[1:])
    discounts = np.array([0.9, 0.99, 0.0], np.float32)
    return rewards, values, following, terminated, truncated, discounts


@pytest.mark.parametrize("gae_lambda", [0.0, 0.9, 1.0])
def test_equal_brute_force_with_endings_of_both_kinds(gae_lambda):
    args = _episodes()
    estimates = jax.jit(advantages.generalised_advantages, static_argnums=6)(*args, gae_lambda)
    np.testing.assert_allclose(estimates, _brute_force(*args, gae_lambda), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("gae_lambda", [0.0, 0.9, 1.0])
def test_vtrace_equals_brute_force_with_endings_of_both_kinds(gae_lambda):
    args = _episodes()
    rewards, values, following, terminated, truncated, discounts = args
    log_ratios = np.random.default_rng(1).normal(0.0, 0.7, rewards.shape).astype(np.float32)
    weights = advantages.truncated_weights(jnp.asarray(log_ratios))
    np.testing.assert_allclose(weights, np.minimum(1.0, np.exp(log_ratios)), rtol=1e-6)
    estimates = jax.jit(advantages.generalised_advantages, static_argnums=6)(
        *args, gae_lambda, weights
    )
    targets = _vtrace_targets(*args, gae_lambda, np.exp(log_ratios))
    np.testing.assert_allclose(values + weights * estimates, targets, rtol=1e-4, atol=1e-4)
    # The policy gradient's, r + γ v' − v, whose v' mixes the next target and value by λ.
    after = np.append(targets[1:], following[-1:], 0)
    after = np.where((terminated | truncated)[:, None], following, after)
    after = gae_lambda * after + (1.0 - gae_lambda) * following
    expected = rewards + discounts * np.where(terminated[:, None], 0.0, after) - values
    np.testing.assert_allclose(estimates, expected, rtol=1e-4, atol=1e-4)


def test_vtrace_without_lag_is_generalised_advantage_estimation():
    args = _episodes()
    plain = advantages.generalised_advantages(*args, 0.9)
    weights = advantages.truncated_weights(jnp.zeros(args[0].shape))
    np.testing.assert_array_equal(
        advantages.generalised_advantages(*args, 0.9, weights), np.asarray(plain)
    )


def test_worked_by_hand():
    estimates = advantages.generalised_advantages(
        rewards=jnp.array([[1.0], [2.0]]),
        values=jnp.array([[0.5], [1.0]]),
        next_values=jnp.array([[1.0], [4.0]]),
        terminated=jnp.array([False, False]),
        truncated=jnp.array([False, True]),
        discounts=jnp.array([0.5]),
        gae_lambda=0.5,
    )
    # δ1 = 2 + 0.5·4 − 1 = 3; δ0 = 1 + 0.5·1 − 0.5 = 1; Â0 = 1 + 0.25·3.
    np.testing.assert_allclose(estimates, [[1.75], [3.0]])


@pytest.mark.parametrize("gae_lambda", [0.0, 0.9, 1.0])
def test_where_decisions_hold_advantages_are_those_of_the_process_of_decisions(gae_lambda):
    """Sums up what is earned between decisions, and estimates on decisions alone (brute force)."""
    rewards, values, following, terminated, truncated, discounts = _episodes()
    length, agents = rewards.shape
    # Each agent decides every second, third and first step, anew at the start of an episode.
    deciding = np.ones((length, agents), bool)
    for a, period in enumerate((2, 3, 1)):
        since = 0
        for t in range(length):
            deciding[t, a] = since % period == 0
            since = 0 if terminated[t] or truncated[t] else since + 1
    keeps = advantages.semi_markov(gae_lambda, jnp.asarray(deciding))
    estimates = advantages.generalised_advantages(
        rewards, values, following, terminated, truncated, discounts, keeps
    )
    for a in range(agents):
        for first in np.flatnonzero(deciding[:, a]):
            expected, weight, t = 0.0, 1.0, first
            while True:  # decision by decision
                delta, discount, start = 0.0, 1.0, t
                while True:  # the steps that it holds for
                    delta += discount * rewards[t, a]
                    discount *= discounts[a]
                    over = terminated[t] or truncated[t]
                    if over or t + 1 == length or deciding[t + 1, a]:
                        break
                    t += 1
                future = 0.0 if terminated[t] else discount * following[t, a]
                expected += weight * (delta + future - values[start, a])
                weight *= discount * gae_lambda
                if over or t + 1 == length:
                    break
                t += 1
            np.testing.assert_allclose(estimates[first, a], expected, rtol=1e-4, atol=1e-4)
