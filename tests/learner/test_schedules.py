"""Step sizes and costs in the course of a run, and clipped values, against their formulas."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import one_step_task as task

from learner import losses, options as options_lib, ppo, schedules
from learner.devices import AXIS

UPDATES = 5


@pytest.mark.parametrize("divergence, expected", [(0.05, 1 / 1.5), (0.01, 1.0), (0.001, 1.5)])
def test_the_step_size_is_steered_to_the_wanted_divergence(divergence, expected):
    rate = schedules.steered(jnp.float32(2e-4), jnp.float32(divergence), 0.01, 2e-4)
    assert float(rate) == pytest.approx(expected * 2e-4, rel=1e-5)


def test_a_steered_step_size_stays_within_thirty_times_its_start():
    rate = jnp.float32(1e-3)
    for _ in range(20):
        rate = schedules.steered(rate, jnp.float32(1.0), 0.01, 1e-3)
    assert float(rate) == pytest.approx(1e-3 / 30, rel=1e-5)
    for _ in range(40):
        rate = schedules.steered(rate, jnp.float32(0.0), 0.01, 1e-3)
    assert float(rate) == pytest.approx(1e-3 * 30, rel=1e-5)


def test_step_size_and_entropy_bonus_follow_half_a_cosine_to_their_ends():
    nets = task.networks()
    options = options_lib.LearnerOptions(
        epochs=1, minibatches=1, target_kl=0.0, learning_rate=1e-3, final_learning_rate=0.1,
        entropy_cost=0.02, final_entropy_cost=0.25,
    )  # fmt: skip
    algorithm = ppo.PPO(nets, options, updates=UPDATES)
    update = task.mapped(algorithm, 1)
    state = task.replicated(task.seen(algorithm.init(jax.random.PRNGKey(0))), 1)
    unroll = task.split(task.unroll(nets, task.one(state), jax.random.PRNGKey(1)), 1)
    rates, costs = [1e-3], []
    for _ in range(UPDATES + 2):  # Two more than planned, at the end's values.
        state, metrics = update(state, unroll)
        costs.append(float(metrics["policy/entropy_cost"][0]))
        rates.append(float(metrics["policy/learning_rate"][0]))
        # What was learned by has that cost in it.
        value = lambda name, metrics=metrics: float(metrics[name][0])
        parts = value("loss/policy") + 0.5 * value("loss/value")
        parts -= costs[-1] * value("policy/entropy")
        assert value("loss/total") == pytest.approx(parts, abs=1e-6)
    for done, (rate, cost) in enumerate(zip(rates, costs)):
        half = 0.5 * (1.0 + math.cos(math.pi * min(done / UPDATES, 1.0)))
        assert rate == pytest.approx(1e-3 * (0.1 + 0.9 * half), rel=1e-5)
        assert cost == pytest.approx(0.02 * (0.25 + 0.75 * half), rel=1e-5)


def test_an_entropy_bonus_that_stays_is_a_constant_of_the_program():
    nets = task.networks()
    algorithm = ppo.PPO(nets, options_lib.LearnerOptions(epochs=1, minibatches=1))
    state = task.replicated(algorithm.init(jax.random.PRNGKey(0)), 1)
    unroll = task.split(task.unroll(nets, task.one(state), jax.random.PRNGKey(1)), 1)
    _, metrics = jax.eval_shape(task.mapped(algorithm, 1), state, unroll)
    assert "policy/entropy_cost" not in metrics


def test_an_entropy_schedule_without_a_bonus_is_refused():
    with pytest.raises(ValueError, match="learner.final_entropy_cost=0.5: .* no entropy bonus"):
        options_lib.LearnerOptions(objective="analytic", window=1, final_entropy_cost=0.5)


@pytest.mark.parametrize("limit", [0.0, 0.2])
def test_the_clipped_value_loss_equals_brute_force(limit):
    rng = np.random.default_rng(0)
    nets = task.networks(agents=2)
    options = options_lib.LearnerOptions(value_clip=limit)
    state = task.seen(ppo.PPO(nets, options).init(jax.random.PRNGKey(0)))
    statistics = state.value_statistics.replace(
        weight=jnp.float32(1.0), first=jnp.array([3.0, -1.0]), second=jnp.array([13.0, 2.0])
    )
    observations = jnp.asarray(rng.normal(size=(32, task.OBSERVED)), jnp.float32)
    predicted = np.asarray(nets.value(state.params, state.statistics, observations), float)
    former = predicted + rng.normal(0.0, 0.3, predicted.shape)
    targets = rng.normal(size=predicted.shape)
    blank = jnp.zeros((32, 2))
    batch = losses.Batch(
        observations, jnp.zeros((32, task.MOVED)), blank, blank,
        jnp.asarray(targets * np.array([2.0, 1.0]) + np.array([3.0, -1.0]), jnp.float32),
        former_values=jnp.asarray(former, jnp.float32) if limit else None,
    )  # fmt: skip
    fixed = losses.Fixed(state.statistics, statistics, 0.0)
    judge = jax.vmap(
        lambda batch: losses.Losses(nets, options)(state.params, fixed, batch), axis_name=AXIS
    )
    _, metrics = judge(jax.tree.map(lambda x: x[None], batch))
    total, clipped = 0.0, 0
    for n, a in np.ndindex(predicted.shape):
        error = (predicted[n, a] - targets[n, a]) ** 2
        if limit:
            near = former[n, a] + np.clip(predicted[n, a] - former[n, a], -limit, limit)
            clipped += (near - targets[n, a]) ** 2 > error
            error = max(error, (near - targets[n, a]) ** 2)
        total += error
    assert float(metrics["loss/value"][0]) == pytest.approx(0.5 * total / predicted.size, rel=1e-4)
    assert clipped > 5 or not limit


def test_values_are_clipped_in_the_units_that_popart_has_come_to():
    """A value has not moved before the first step, however far its statistics have."""
    nets = task.networks()
    results = []
    for limit in (0.0, 1e-4):
        options = options_lib.LearnerOptions(epochs=1, minibatches=1, value_clip=limit)
        algorithm = ppo.PPO(nets, options)
        update = task.mapped(algorithm, 1)
        state = task.seen(algorithm.init(jax.random.PRNGKey(0)))
        unroll = task.unroll(nets, state, jax.random.PRNGKey(1))
        far = unroll.replace(rewards=300.0 * unroll.rewards - 5_000.0)
        after, metrics = update(task.replicated(state, 1), task.split(far, 1))
        results.append((task.one(after.params), metrics["loss/value"]))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), *results)
