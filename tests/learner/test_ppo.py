"""The update: equal on any number of devices, finite, and it learns."""

import dataclasses
import os
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import one_step_task as task
from support.one_step_task import OBSERVED, B, T

from agents import networks as networks_lib, normaliser, team as team_lib
from agents.options import TeamOptions
from learner import options as options_lib, popart, ppo

ROOT = pathlib.Path(__file__).parents[2]


def test_the_first_update_only_looks_at_observations():
    nets = task.networks()
    algorithm = ppo.PPO(nets, options_lib.LearnerOptions())
    state = algorithm.init(jax.random.PRNGKey(0))
    unroll = task.unroll(nets, state, jax.random.PRNGKey(1))
    update = task.mapped(algorithm, 1)
    after, _ = update(task.replicated(state, 1), task.split(unroll, 1))
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a[0], b), after.params, state.params)
    assert int(after.bad_updates[0]) == 0 and float(after.statistics.count[0]) == T * B
    later, _ = update(after, task.split(unroll, 1))
    moved = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()), later.params, after.params)
    assert max(jax.tree.leaves(moved)) > 0


def test_an_update_is_traced_once(monkeypatch):
    # Tracing an update with gradients through the power flow takes seconds, in every run.
    traced, advantages = [], ppo.PPO._advantages
    monkeypatch.setattr(ppo.PPO, "_advantages", lambda *args: traced.append(1) or advantages(*args))
    nets = task.networks()
    algorithm = ppo.PPO(nets, options_lib.LearnerOptions())
    state = algorithm.init(jax.random.PRNGKey(0))
    unroll = task.unroll(nets, state, jax.random.PRNGKey(1))
    task.mapped(algorithm, 1).lower(task.replicated(state, 1), task.split(unroll, 1))
    assert len(traced) == 2  # for value targets, and in each pass


def test_rewards_beyond_the_limit_count_as_the_limit():
    nets = task.networks()
    state = task.seen(ppo.PPO(nets, options_lib.LearnerOptions()).init(jax.random.PRNGKey(0)))
    unroll = task.unroll(nets, state, jax.random.PRNGKey(1))
    far = unroll.replace(rewards=unroll.rewards.at[0, 0].set(-1e5))
    at_limit = unroll.replace(rewards=jnp.clip(far.rewards, -20.0, 20.0))
    results = []
    for limit, unroll in ((20.0, far), (0.0, at_limit)):
        algorithm = ppo.PPO(nets, options_lib.LearnerOptions(reward_limit=limit))
        after, _ = task.mapped(algorithm, 1)(task.replicated(state, 1), task.split(unroll, 1))
        results.append(after.params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), *results)


def updated_on(devices):
    """Returns what an update keeps and some of its metrics, over so many devices."""
    nets = task.networks()
    # One minibatch, so that the shuffle does not matter.
    algorithm = ppo.PPO(nets, options_lib.LearnerOptions(epochs=3, minibatches=1))
    state = task.seen(algorithm.init(jax.random.PRNGKey(0)))
    unroll = task.unroll(nets, state, jax.random.PRNGKey(1))
    new, metrics = task.mapped(algorithm, devices)(
        task.replicated(state, devices), task.split(unroll, devices)
    )
    for leaf in jax.tree.leaves(new):
        np.testing.assert_array_equal(leaf[0], leaf[-1])  # Devices stay equal.
    kept = jax.tree.leaves((new.params, new.statistics, new.value_statistics))
    return [np.asarray(leaf[0]) for leaf in kept], [
        float(metrics[name][0]) for name in ("loss/policy", "loss/value", "policy/kl")
    ]


FOUR = """
import sys
sys.path[:0] = [{root!r}, {root!r} + "/tests", {root!r} + "/tests/learner"]
import numpy as np, test_ppo
kept, metrics = test_ppo.updated_on(4)
np.savez({file!r}, *kept, metrics)
"""


@pytest.mark.slow
def test_two_and_four_devices_compute_what_one_does(tmp_path):
    file = tmp_path / "four.npz"
    flags = "--xla_force_host_platform_device_count=4"
    done = subprocess.run(
        [sys.executable, "-c", FOUR.format(root=str(ROOT), file=str(file))], check=False,
        env={**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}, capture_output=True,
        text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    *four, metrics = np.load(file).values()
    one = updated_on(1)
    for kept, scalars in (updated_on(2), (four, metrics)):
        for a, b in zip(one[0], kept, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-5)
        np.testing.assert_allclose(one[1], scalars, rtol=1e-2, atol=1e-5)


def test_raw_costs_of_thousands_train_stably():
    """Costs of −5,800 a step, of which a policy has a hand in a tenth, in episodes that go on."""
    nets = task.networks()
    algorithm = ppo.PPO(nets, options_lib.LearnerOptions(learning_rate=3e-3, target_kl=0.02))
    state, update = (
        task.replicated(algorithm.init(jax.random.PRNGKey(0)), 1),
        task.mapped(algorithm, 1),
    )
    rows = []
    for index in range(80):
        unroll = task.unroll(nets, task.one(state), jax.random.PRNGKey(index))
        never = jnp.zeros_like(unroll.terminated)
        raw = unroll.replace(rewards=-5_800.0 + 600.0 * unroll.rewards, terminated=never)
        state, metrics = update(state, task.split(raw, 1))
        rows.append({name: float(value[0]) for name, value in metrics.items()})
    assert np.isfinite([[*row.values()] for row in rows]).all() and not state.bad_updates.any()
    assert task.distance(nets, task.one(state)) < 0.15
    # Values have come to what a step costs, times the ten steps that are looked ahead.
    assert rows[-1]["value/target_mean"] == pytest.approx(-58_000.0, rel=0.05)
    assert max(row["loss/value"] for row in rows[20:]) < 10.0
    assert max(row["policy/kl"] for row in rows) < 0.2


@pytest.mark.parametrize("agents", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_it_learns_a_task_of_one_step(agents):
    nets = task.networks(agents)
    algorithm = ppo.PPO(nets, options_lib.LearnerOptions(learning_rate=3e-3, target_kl=0.02))
    state = task.replicated(algorithm.init(jax.random.PRNGKey(0)), 2)
    update = task.mapped(algorithm, 2)
    first = None
    for index in range(60):
        unroll = task.unroll(nets, task.one(state), jax.random.PRNGKey(index))
        first = float(unroll.rewards.mean()) if first is None else first
        state, metrics = update(state, task.split(unroll, 2))
    assert task.distance(nets, task.one(state)) < 0.1
    assert float(unroll.rewards.mean()) > 0.3 * first
    assert np.isfinite([float(v[0]) for v in metrics.values()]).all()


def test_an_update_that_is_not_finite_is_skipped_counted_and_survived():
    nets = task.networks()
    algorithm = ppo.PPO(nets, options_lib.LearnerOptions(minibatches=1))
    state = task.seen(algorithm.init(jax.random.PRNGKey(0)))
    unroll = task.unroll(nets, state, jax.random.PRNGKey(1))
    update = task.mapped(algorithm, 1)
    # A reward or a probability makes the gradient NaN, an observation all that follows from it; an
    # infinite observation is clipped before networks see it, and spoils its statistics alone.
    for bad, (field, value) in enumerate((
        ("rewards", jnp.nan), ("log_probs", jnp.nan), ("observations", jnp.nan),
        ("observations", jnp.inf), ("observations", 1e30),
    )):  # fmt: skip
        poisoned = unroll.replace(**{field: getattr(unroll, field).at[0, 0, 0].set(value)})
        after = task.one(update(task.replicated(state, 1), task.split(poisoned, 1))[0])
        assert int(after.bad_updates) == bad + 1 == int(after.version), (field, value)
        kept = lambda s: (s.params, s.optimiser, s.statistics, s.value_statistics)
        jax.tree.map(np.testing.assert_array_equal, kept(after), kept(state))
        state = after
    healed = task.one(update(task.replicated(state, 1), task.split(unroll, 1))[0])
    assert int(healed.bad_updates) == bad + 1 == int(healed.version) - 1
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(healed))
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), healed.params, state.params)
    assert max(jax.tree.leaves(moved)) > 0


def test_the_same_seed_gives_the_same_update():
    nets = task.networks()
    algorithm = ppo.PPO(nets, options_lib.LearnerOptions())
    state = task.seen(algorithm.init(jax.random.PRNGKey(0)))
    unroll = task.split(task.unroll(nets, state, jax.random.PRNGKey(1)), 2)
    first, second = (
        task.mapped(algorithm, 2)(task.replicated(state, 2), unroll)[0] for _ in range(2)
    )
    jax.tree.map(np.testing.assert_array_equal, first, second)


def test_popart_changes_no_value():
    nets = task.networks(agents=2)
    params = nets.init(jax.random.PRNGKey(0))
    observations = jax.random.normal(jax.random.PRNGKey(1), (32, OBSERVED))
    statistics = normaliser.initial(OBSERVED)
    old = popart.update(normaliser.initial_value(2), jnp.array([5.0, -3.0]),
                        jnp.array([30.0, 10.0]), 0.9)  # fmt: skip
    new = popart.update(old, jnp.array([100.0, 2.0]), jnp.array([12_000.0, 5.0]), 0.9)
    before = popart.denormalise(old, nets.value(params, statistics, observations))
    moved = popart.preserve(params, nets.value_groups, old, new)
    after = popart.denormalise(new, nets.value(moved, statistics, observations))
    np.testing.assert_allclose(before, after, rtol=1e-4, atol=1e-4)
    assert not np.allclose(new.std, old.std)


def test_value_statistics_correct_their_start():
    statistics = popart.update(
        normaliser.initial_value(1), jnp.array([7.0]), jnp.array([58.0]), 0.99
    )
    assert float(statistics.mean[0]) == pytest.approx(7.0, rel=1e-4)
    assert float(statistics.std[0]) == pytest.approx(3.0, rel=1e-3)


def test_observation_statistics_equal_those_of_all_data():
    rng = np.random.default_rng(0)
    parts = [rng.normal(3.0, 2.0, (n, OBSERVED)) for n in (10, 200, 33)]
    statistics = normaliser.initial(OBSERVED)
    for part in parts:
        statistics = normaliser.merge(
            statistics, float(len(part)), jnp.asarray(part.mean(0)), jnp.asarray(part.var(0))
        )
    everything = np.concatenate(parts)
    np.testing.assert_allclose(statistics.mean, everything.mean(0), rtol=1e-4)
    np.testing.assert_allclose(statistics.variance, everything.var(0), rtol=1e-4)
    assert float(statistics.count) == len(everything)


def test_truncation_is_bootstrapped_with_the_observation_before_the_reset():
    nets = task.networks()
    algorithm = ppo.PPO(nets, options_lib.LearnerOptions(gae_lambda=0.0))
    state = algorithm.init(jax.random.PRNGKey(0))
    unroll = task.unroll(nets, state, jax.random.PRNGKey(1))
    cut = jnp.zeros((T, B), bool).at[3, 5].set(True)
    seen = jax.random.normal(jax.random.PRNGKey(2), (B, OBSERVED))
    unroll = dataclasses.replace(
        unroll, terminated=~cut & False, truncated=cut, truncation_observation=seen,
        bootstrap_observation=2 * seen,
    )  # fmt: skip
    args = (state.params, state.statistics, state.value_statistics)
    advantages, _ = algorithm._advantages(*args, unroll)
    value = lambda o: float(algorithm._values(*args, o)[0])
    here = value(unroll.observations[3, 5])
    expected = float(unroll.rewards[3, 5, 0]) + 0.9 * value(seen[5]) - here
    assert float(advantages[3, 5, 0]) == pytest.approx(expected, abs=1e-5)
    last = float(unroll.rewards[-1, 5, 0]) + 0.9 * value(2 * seen[5])
    last -= value(unroll.observations[-1, 5])
    assert float(advantages[-1, 5, 0]) == pytest.approx(last, abs=1e-5)


def test_a_batch_that_does_not_divide_is_refused_with_what_would():
    options = options_lib.LearnerOptions(devices=2, unrolls_per_update=1)
    with pytest.raises(ValueError, match="try actor.batch=8"):
        options_lib.check_batch(options, 4, 7)
    with pytest.raises(ValueError, match="learner.minibatches=4 does not divide the 9 steps"):
        options_lib.check_batch(options, 3, 6)
    options_lib.check_batch(options, 8, 8)


def test_losses_and_step_sizes_are_weighed_by_agent():
    plain = task.networks(agents=2)
    learning = (
        team_lib.Learning(learning_rate=0.0, policy=3.0, entropy=2.0),
        team_lib.Learning(value=0.5),
    )
    agents = tuple(
        dataclasses.replace(agent, learning=own) for agent, own in zip(plain.team.agents, learning)
    )
    team = dataclasses.replace(plain.team, agents=agents)
    nets = networks_lib.TeamNetworks(team, TeamOptions(policy_layers=(16,), value_layers=(16,)))
    options = options_lib.LearnerOptions(epochs=1, minibatches=1, entropy_cost=0.1)
    algorithm = ppo.PPO(nets, options)
    state = task.seen(algorithm.init(jax.random.PRNGKey(0)))
    unroll = task.unroll(nets, state, jax.random.PRNGKey(1))
    after, metrics = task.mapped(algorithm, 1)(task.replicated(state, 1), task.split(unroll, 1))
    of = lambda agent, name: float(metrics[f"agents/agent {agent}/{name}"][0])
    policy = 0.5 * (3.0 * of(0, "policy_loss") + of(1, "policy_loss"))
    value = 0.5 * (of(0, "value_loss") + 0.5 * of(1, "value_loss"))
    entropy = 2.0 * of(0, "entropy") + of(1, "entropy")
    expected = {
        "loss/policy": policy, "loss/value": value, "policy/entropy": entropy,
        "loss/total": policy + 0.5 * value - 0.1 * entropy,
    }  # fmt: skip
    for name, weighed in expected.items():
        assert float(metrics[name][0]) == pytest.approx(weighed, rel=1e-4, abs=1e-6), name
    moved = jax.tree.map(lambda a, b: float(np.abs(a[0] - b).max()), after.params, state.params)
    assert max(jax.tree.leaves(moved["policy"]["agent 0"])) == 0.0
    assert max(jax.tree.leaves(moved["policy"]["agent 1"])) > 0.0
