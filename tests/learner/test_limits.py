"""Limits: multipliers and combined advantages by brute force, and limits that come to be kept."""

import functools
import types

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import one_step_task as task

from actors import unroll as unroll_lib
from agents import distributions, networks as networks_lib
from agents.options import TeamOptions
from envs.options import EnvOptions
from envs.step import rewards
from learner import (
    analytic,
    checkpoint,
    learner as learner_lib,
    limits as limits_lib,
    losses,
    options as options_lib,
    popart,
    ppo,
)
from learner.devices import AXIS
from replay import schema

STEPS_PER_DAY = 288
MOST = 0.6  # overload that a day may have in what follows, MVAh


def _limits(text, **options):
    return limits_lib.Limits(options_lib.LearnerOptions(limits=text, **options), 5.0)


def test_multipliers_equal_brute_force():
    rng = np.random.default_rng(0)
    limits = _limits("overload=0.5,trips=2", multiplier_rate=0.5)
    # On two devices; of the second limit there is far too much at first, and then nothing.
    scale = [np.array([0.5, 2.0]) / STEPS_PER_DAY * (1.0, 30.0 * (n < 4)) for n in range(100)]
    terms = [(rng.exponential(s, (2, 6, 3, 2))).astype(np.float32) for s in scale]
    ascended = jax.jit(jax.vmap(limits.ascended, axis_name=AXIS, in_axes=(None, 0)))
    multipliers = limits.initial()
    log, average = np.zeros(2), []
    for batch in terms:
        multipliers = jax.tree.map(lambda x: x[0], ascended(multipliers, batch))
        average.append(batch.reshape(-1, 2).mean(0) * STEPS_PER_DAY)
        ages = np.arange(len(average))[::-1]
        of_late = (0.9**ages) @ np.array(average) / (0.9**ages).sum()
        excess = np.minimum(of_late / [0.5, 2.0] - 1.0, 1.0)
        log = np.clip(log + 0.5 * excess, np.log(1e-2), np.log(1e4))
        metrics = limits.metrics(multipliers)
        for i, name in enumerate(("overload", "trips")):
            assert float(metrics[f"limits/{name}_multiplier"]) == pytest.approx(
                np.exp(log[i] + excess[i]), rel=1e-3
            )
            assert float(metrics[f"limits/{name}_per_day"]) == pytest.approx(of_late[i], rel=1e-3)
    assert log[1] == np.log(1e-2) and len(metrics) == 4  # It has come all the way down.


def test_combined_advantages_equal_brute_force():
    rng = np.random.default_rng(0)
    agents, prices = 2, np.array([0.3, 4.0, 0.0], np.float32)
    values = rng.normal(size=(5, 4 * agents)).astype(np.float32)  # reward, then each cost in turn
    combined = limits_lib.combined(jnp.asarray(values), jnp.asarray(prices))
    for n in range(5):
        for a in range(agents):
            of_costs = sum(prices[c] * values[n, (1 + c) * agents + a] for c in range(3))
            expected = (values[n, a] - of_costs) / (1.0 + prices.sum())
            assert float(combined[n, a]) == pytest.approx(expected, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("correction", options_lib.CORRECTIONS)
def test_costs_have_advantages_of_their_own_and_the_policy_the_combined(correction):
    options = options_lib.LearnerOptions(
        limits="overload=0.5,trips=2", correction=correction, gae_lambda=0.8
    )
    limits = limits_lib.Limits(options, 5.0)
    nets = _networks(agents=2, costs=2)
    algorithm = ppo.PPO(nets, options, limits=limits)
    state = task.seen(algorithm.init(jax.random.PRNGKey(0)))
    unroll = task.unroll(nets, state, jax.random.PRNGKey(1))
    rng = np.random.default_rng(0)
    never = jnp.zeros((task.T, task.B), bool)
    costs = rng.exponential(size=(task.T, task.B, 2)).astype(np.float32)
    unroll = unroll.replace(terminated=never.at[3].set(True), truncated=never, costs=costs)
    args = state.params, state.statistics, state.value_statistics
    estimates, targets = algorithm._advantages(*args, unroll)
    assert estimates.shape == targets.shape == (task.T, task.B, 6)
    values = np.asarray(algorithm._values(*args, unroll.observations))
    after = np.append(values[1:], algorithm._values(*args, unroll.bootstrap_observation)[None], 0)
    earned = [unroll.rewards[..., 0], unroll.rewards[..., 1], *np.repeat(
        [costs[..., 0] / 0.5, costs[..., 1] / 2.0], 2, axis=0)]  # fmt: skip
    for v, (each, discount) in enumerate(zip(earned, np.tile(nets.team.discounts, 3))):
        later = 0.0
        for t in reversed(range(task.T)):
            going = 0.0 if t == 3 else discount
            later = each[t] + going * (after[t, :, v] + 0.8 * later) - values[t, :, v]
            np.testing.assert_allclose(estimates[t, :, v], later, rtol=1e-3, atol=1e-4)

    # What the policy is improved by: each normalised, then combined.
    prices = np.array([0.5, 3.0])
    flat = lambda x: jnp.asarray(x).reshape(-1, x.shape[-1])
    batch = losses.Batch(
        flat(unroll.observations), flat(unroll.raw_actions), flat(unroll.log_probs),
        flat(estimates), flat(targets), flat(unroll.log_probs),
    )  # fmt: skip
    judge = lambda batch, fixed: losses.Losses(nets, options)(state.params, fixed, batch)
    run = jax.vmap(judge, in_axes=(0, None), axis_name=AXIS)
    one = jax.tree.map(lambda x: x[None], batch)
    _, metrics = run(one, losses.Fixed(*args[1:], 0.0, jnp.asarray(prices)))
    normal = np.asarray(batch.advantages, float)
    normal = (normal - normal.mean(0)) / normal.std(0)
    both = (normal[:, :2] - 0.5 * normal[:, 2:4] - 3.0 * normal[:, 4:]) / 4.5
    weight = np.asarray(batch.log_probs) if correction == "vtrace" else 1.0
    assert float(metrics["loss/policy"][0]) == pytest.approx(-(weight * both).mean(), abs=1e-5)


def test_popart_changes_no_value_of_reward_or_cost():
    nets = _networks(agents=2, costs=2)
    params = nets.init(jax.random.PRNGKey(0))
    state = ppo.PPO(nets, options_lib.LearnerOptions()).init(jax.random.PRNGKey(0))
    old, seen = state.value_statistics, jax.random.normal(jax.random.PRNGKey(1), (32, 3))
    mean, spread = jnp.arange(6.0) * 10.0 - 7.0, jnp.arange(6.0) + 0.5
    new = popart.update(old, mean, mean**2 + spread**2, 0.9)
    value = lambda params, s: popart.denormalise(s, nets.value(params, state.statistics, seen))
    moved = popart.preserve(params, nets.value_groups, old, new)
    np.testing.assert_allclose(value(params, old), value(moved, new), rtol=1e-3, atol=1e-3)
    assert len(set(np.asarray(new.std).tolist())) == 6


# A task in which what is earned and a limit pull in opposite directions.


def _networks(agents=1, costs=1, std=0.5):
    team = task.networks(agents, horizon=1.0 if agents == 1 else 10.0).team
    options = TeamOptions(policy_layers=(16,), value_layers=(16,), initial_std=std)
    return networks_lib.TeamNetworks(team, options, costs)


def _overload(action):
    """Returns what a step adds, in MVAh: 2.9 over a day at the actions that earn most."""
    return 0.01 * jnp.maximum(action, 0.0).sum(-1)


@flax.struct.dataclass
class _State:
    observation: jax.Array
    reward: jax.Array
    done: jax.Array
    terminated: jax.Array
    terms: dict
    metrics: dict
    series: None = None


class _Env:
    """What gradients need of an environment: the task of one step, with overload."""

    dt_h, options = 1 / 12, EnvOptions()
    grid = types.SimpleNamespace(branch=types.SimpleNamespace(rate_mva=np.array([np.inf])))

    def detailed(self, state, action, series):
        del series
        after = state.replace(
            reward=-((action - 0.5) ** 2).sum(), terms={"overload": _overload(action)}
        )
        return after, types.SimpleNamespace(rho=jnp.zeros(1), earned=jnp.zeros(1))


def _windows(observations):
    shape = observations.shape[:2]
    zero = jnp.zeros(shape)
    states = _State(observations, zero, zero.astype(bool), zero.astype(bool), {}, {})
    return schema.Windows(states, jnp.ones(shape, bool), None, jnp.zeros((1, shape[1]), jnp.int32))


def _experience(nets, state, key, windows):
    unroll = task.unroll(nets, state, key)
    costs = _overload(distributions.squash(unroll.raw_actions))[..., None]
    windows = _windows(unroll.observations) if windows else None
    return unroll.replace(costs=costs, windows=windows)


@pytest.mark.parametrize("objective", [pytest.param("ppo", marks=pytest.mark.slow), "analytic"])
def test_a_limit_is_broken_at_first_and_kept_in_the_end(objective):
    by_gradient = objective == "analytic"
    options = options_lib.LearnerOptions(
        objective=objective, window=int(by_gradient), limits=f"overload={MOST}", minibatches=1,
        epochs=4, learning_rate=3e-3, target_kl=0.0 if by_gradient else 0.02,
    )  # fmt: skip
    # Gradients move means alone: what dispersion costs is theirs neither to see nor to save.
    nets = _networks(std=0.05 if by_gradient else 0.5)
    gradient = analytic.AnalyticGradient(_Env(), nets, options) if by_gradient else None
    algorithm = ppo.PPO(nets, options, gradient, 200, limits_lib.Limits(options, 5.0))
    update = task.mapped(algorithm, 1)
    state = task.replicated(algorithm.init(jax.random.PRNGKey(0)), 1)
    experience = jax.jit(functools.partial(_experience, nets, windows=by_gradient))
    days, rows = [], []
    for index in range(200):
        unroll = experience(task.one(state), jax.random.PRNGKey(index))
        days.append(float(unroll.costs.mean()) * STEPS_PER_DAY)
        state, metrics = update(state, task.split(unroll, 1))
        rows.append({name: float(value[0]) for name, value in metrics.items()})
    assert int(state.bad_updates[0]) == 0
    most, last = np.max(days), np.mean(days[-50:])
    assert most > 1.5 * MOST and 0.8 * MOST < last < 1.1 * MOST, (most, last)
    assert rows[-1]["limits/overload_per_day"] == pytest.approx(np.mean(days[-10:]), rel=0.2)
    assert max(row["limits/overload_multiplier"] for row in rows) > 5.0
    poisoned = unroll.replace(costs=unroll.costs.at[0, 0].set(jnp.nan))
    after, _ = update(state, task.split(poisoned, 1))
    assert int(after.bad_updates[0]) == 1
    jax.tree.map(np.testing.assert_array_equal, after.multipliers, state.multipliers)


def test_a_window_pays_for_costs_what_multipliers_say():
    options = options_lib.LearnerOptions(
        objective="analytic", window=1, limits="overload=0.5", minibatches=1, target_kl=0.0
    )
    nets = _networks()
    gradient = analytic.AnalyticGradient(_Env(), nets, options)
    state = ppo.PPO(nets, options, limits=limits_lib.Limits(options, 5.0)).init(
        jax.random.PRNGKey(0)
    )
    windows = _windows(jax.random.normal(jax.random.PRNGKey(1), (1, 64, task.OBSERVED)))
    fixed = losses.Fixed(state.statistics, state.value_statistics, 0.0, jnp.array([3.0]))
    args = windows, jnp.arange(64)
    paid = gradient.loss(state.params, fixed, *args)[0]
    free = gradient.loss(state.params, fixed.replace(prices=jnp.zeros(1)), *args)[0]
    policy = nets.policy(state.params, state.statistics, windows.states.observation[0])
    actions = distributions.squash(policy.mean)
    expected = float(3.0 * _overload(actions).mean() / 0.5)
    assert expected > 1e-4 and float(paid - free) == pytest.approx(expected, rel=1e-3)


def test_unrolls_tell_of_what_is_limited_and_learners_keep_multipliers(tmp_path, env):
    options = options_lib.LearnerOptions(limits="reactive_violation=10,trips=1", devices=1)
    team = TeamOptions(policy_layers=(4,), value_layers=(4,))
    nets = networks_lib.make(env.layout, team, costs=2)
    named = unroll_lib.Unroller(env, nets, 4, 2, limited=tuple(options.limits_per_day))
    spec = named.spec()
    assert spec.costs.shape == (4, 2, 2)
    make = lambda: learner_lib.Learner(env, nets, options, spec, 100, 0)
    service, again = make(), make()
    multipliers = limits_lib.Multipliers(
        jnp.array([[0.5, -1.0]]), jnp.array([0.3]), jnp.array([[7.0, 0.1]])
    )
    service.state = service.state.replace(multipliers=multipliers)
    checkpoints = checkpoint.Checkpoints(tmp_path, "newest")
    service.save(checkpoints, 1.0, wait=True)
    again.restore(checkpoints, nets)
    jax.tree.map(np.testing.assert_array_equal, again.state.multipliers, multipliers)
    other = networks_lib.make(env.layout, team, costs=1)
    with pytest.raises(checkpoint.CheckpointError, match="value/operator/head/bias is of shape"):
        checkpoints.read(other)


@pytest.mark.parametrize(
    "limits, message",
    [
        (
            "voltage_violations=1",
            "learner.limits='voltage_violations': did you mean",
        ),
        ("overload", "learner.limits=overload: give each term once, with a number from 1e-06"),
        ("overload=0", "learner.limits=overload=0: give each term once"),
        ("overload=nan", "learner.limits=overload=nan: give each term once"),
        ("overload=1,overload=2", "learner.limits=overload=2: give each term once"),
        ("overload=1,", "learner.limits='': it must be one of overload"),
    ],
)
def test_what_cannot_be_limited_is_refused(limits, message):
    with pytest.raises(ValueError) as refused:
        options_lib.LearnerOptions(limits=limits)
    assert message in str(refused.value)


def test_counts_have_no_gradient_and_limits_are_reward_terms():
    assert set(options_lib.LIMITED) <= rewards.TERM_UNITS.keys()
    with pytest.raises(ValueError, match="learner.limits=trips: a count has no derivative"):
        options_lib.LearnerOptions(objective="analytic", window=1, limits="overload=1,trips=1")
