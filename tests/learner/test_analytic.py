"""Gradients through windows of days: of the right states, with the right slope, and they learn."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import one_step_task as task

from actors import unroll as unroll_lib
from agents import bundle as bundle_lib, distributions, networks as networks_lib, normaliser
from agents.options import TeamOptions
from envs import grid_env
from envs.options import EnvOptions
from envs.time_series import series as series_lib
from learner import analytic, losses, options as options_lib, popart, ppo
from replay import schema

LENGTH, BATCH, WINDOW = 8, 4, 4
CALM = EnvOptions(
    reward="savings", maintenance_per_day=0.0, branch_faults_per_day=0.0, gen_faults_per_day=0.0,
    horizon_steps=20,
)  # fmt: skip
OPTIONS = options_lib.LearnerOptions(
    objective="analytic", window=WINDOW, minibatches=2, epochs=1, target_kl=0.0, devices=1,
    learning_rate=1e-3,
)  # fmt: skip


@pytest.fixture(scope="module")
def parts():
    env = grid_env.make(CALM)
    team = TeamOptions(policy_layers=(16,), value_layers=(16,), initial_std=0.02)
    networks = networks_lib.make(env.layout, team)
    unroller = unroll_lib.Unroller(env, networks, LENGTH, BATCH, WINDOW)
    bundle = bundle_lib.initial(networks, jax.random.PRNGKey(1))
    carry, days = unroller.init(jax.random.PRNGKey(0))
    step = jax.jit(unroller.unroll)
    origin = schema.Origin(*[jnp.int32(0)] * 4)
    unrolls = []
    for _ in range(3):
        before = carry
        carry, unroll = step(bundle, carry, days, origin)
        unrolls.append((before, unroll))
    return env, networks, bundle, days, unrolls


def test_windows_begin_in_the_states_that_were_met(parts):
    env, networks, _, days, unrolls = parts
    gradient, ended = analytic.AnalyticGradient(env, networks, OPTIONS), False
    for before, unroll in unrolls:
        windows = unroll.windows
        assert windows.states.observation is None  # The unroll has it.
        whole = gradient.windows(unroll).states
        np.testing.assert_array_equal(whole.observation, unroll.observations[::WINDOW])
        for grid in range(BATCH):
            pooled = series_lib.PooledTimeSeries(days.series, before.day[grid])
            part = series_lib.WindowedTimeSeries(
                windows.series, jnp.int32(grid), windows.first_row[0, grid]
            )
            for row in range(int(before.states.t[grid]), env.horizon):
                if row - int(before.states.t[grid]) < windows.series.load_p_mw.shape[0]:
                    jax.tree.map(
                        np.testing.assert_array_equal, pooled.at(row), part.at(jnp.int32(row))
                    )
        changed = np.cumsum(unroll.truncated | unroll.terminated, 0) > 0
        begun = np.concatenate([np.zeros((1, BATCH), bool), changed[:-1]])[::WINDOW]
        np.testing.assert_array_equal(windows.usable, ~begun)
        ended |= begun.any()
    assert ended, "no window begins after the end of a day"


def _loss_and_slopes(parts, options):
    env, networks, bundle, _, unrolls = parts
    gradient = analytic.AnalyticGradient(env, networks, options)
    (loss, _), slopes = jax.jit(jax.value_and_grad(gradient.loss, has_aux=True))(
        bundle.params, losses.Fixed(bundle.statistics, bundle.value_statistics, 0.0),
        gradient.windows(unrolls[0][1]), jnp.arange(8),
    )  # fmt: skip
    return float(loss), slopes


@pytest.fixture(scope="module")
def unlimited(parts):
    return _loss_and_slopes(parts, OPTIONS)


def test_values_count_as_given(unlimited):
    _, slopes = unlimited
    assert not any(np.asarray(leaf).any() for leaf in jax.tree.leaves(slopes["value"]))
    assert any(np.asarray(leaf).any() for leaf in jax.tree.leaves(slopes["policy"]))


@pytest.mark.slow
def test_a_limit_on_rewards_takes_nothing_off_the_derivative_of_a_grid_that_stands(
    parts, unlimited
):
    loss, slopes = _loss_and_slopes(parts, dataclasses.replace(OPTIONS, reward_limit=1e-4))
    expected_loss, expected = unlimited
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
        slopes["policy"], expected["policy"],
    )  # fmt: skip
    assert abs(loss - expected_loss) > 1e-3
    within = lambda x, ended: analytic._within(x, 2.0, jnp.asarray(ended))
    for value, ended, limited, slope in (
        (1.5, False, 1.5, 1.0), (-7.0, False, -2.0, 1.0), (-7.0, True, -2.0, 0.0),
    ):  # fmt: skip
        assert jax.value_and_grad(within)(value, ended) == (limited, slope)


@pytest.mark.slow
def test_an_update_earns_more_and_only_usable_windows_count(parts):
    env, networks, _, _, unrolls = parts
    gradient = analytic.AnalyticGradient(env, networks, OPTIONS)
    algorithm = ppo.PPO(networks, OPTIONS, gradient, updates=30)
    update = task.mapped(algorithm, 1)
    state = jax.tree.map(lambda x: x[None], algorithm.init(jax.random.PRNGKey(0)))
    unroll = unrolls[0][1].replace(summary={}, origin=None)
    share = jax.tree.map(lambda x: x[None], unroll)
    paid = []
    for _ in range(30):
        state, metrics = update(state, share)
        paid.append(float(metrics["analytic/loss"][0]))
    assert paid[-1] < paid[1] - 0.01 and int(state.bad_updates[0]) == 0
    one = jax.tree.map(lambda x: x[0], state)
    none = gradient.windows(unroll)
    none = none.replace(usable=jnp.zeros_like(none.usable))
    fixed = losses.Fixed(one.statistics, one.value_statistics, 0.0)
    loss, _ = jax.jit(gradient.loss)(one.params, fixed, none, jnp.arange(8))
    assert float(loss) == 0.0


@pytest.mark.slow
def test_limits_that_are_near_are_priced_in_each_step(parts):
    _, networks, bundle, _, unrolls = parts
    env = grid_env.make(dataclasses.replace(CALM, insecurity_price=40.0))
    options = dataclasses.replace(OPTIONS, loading_margin=0.2, reactive_margin=3.0)
    gradient = analytic.AnalyticGradient(env, networks, options)
    windows, chosen = gradient.windows(unrolls[0][1]), 2
    fixed = losses.Fixed(bundle.statistics, bundle.value_statistics, 0.0)
    _, metrics = jax.jit(gradient.loss)(bundle.params, fixed, windows, jnp.array([chosen]))

    state = jax.tree.map(lambda leaf: leaf[0, chosen], windows.states)
    series = series_lib.WindowedTimeSeries(
        windows.series, jnp.int32(chosen), windows.first_row[0, chosen]
    )
    step, priced = jax.jit(env.detailed), np.zeros(3)
    gen, branch = env.grid.gen, env.grid.branch
    for row in range(WINDOW):
        mean = networks.policy(bundle.params, bundle.statistics, state.observation).mean
        state, detail = step(state, distributions.squash(mean), series)
        q = np.asarray(detail.gen_q_mvar)
        margin = np.minimum(3.0, (gen.q_max_mvar - gen.q_min_mvar) / 2)
        above, below = q - gen.q_max_mvar + margin, gen.q_min_mvar + margin - q
        near = np.maximum(above, 0) + np.maximum(below, 0)
        rate = np.where(np.isfinite(branch.rate_mva), branch.rate_mva, 0)
        priced += networks.team.discounts[0] ** row * np.array([
            4.0 * env.options.overload_price * (rate * np.maximum(detail.rho - 0.2, 0)).sum(),
            env.options.reactive_price * near.sum(),
            env.options.insecurity_price * np.maximum(detail.after_outage_rho - 0.2, 0).sum() / 0.1,
        ])  # fmt: skip
    assert (priced > 0).all()
    expected = 1e-3 * env.dt_h * priced.sum()
    assert float(metrics["analytic/margin"]) == pytest.approx(expected, rel=1e-4)


@pytest.mark.slow
def test_a_window_that_does_not_bootstrap_earns_the_discounted_rewards_of_its_steps(parts):
    env, networks, bundle, _, unrolls = parts
    options = dataclasses.replace(OPTIONS, loading_margin=1000.0)
    windows, chosen, losses_by_choice = None, 2, []
    for bootstrap in (False, True):
        gradient = analytic.AnalyticGradient(
            env, networks, dataclasses.replace(options, bootstrap=bootstrap)
        )
        windows = gradient.windows(unrolls[0][1])
        fixed = losses.Fixed(bundle.statistics, bundle.value_statistics, 0.0)
        loss, _ = jax.jit(gradient.loss)(bundle.params, fixed, windows, jnp.array([chosen]))
        losses_by_choice.append(float(loss))
    state = jax.tree.map(lambda leaf: leaf[0, chosen], windows.states)
    series = series_lib.WindowedTimeSeries(
        windows.series, jnp.int32(chosen), windows.first_row[0, chosen]
    )
    step, earned, (discount,) = jax.jit(env.transition), 0.0, networks.team.discounts
    for row in range(WINDOW):
        mean = networks.policy(bundle.params, bundle.statistics, state.observation).mean
        state = step(state, distributions.squash(mean), series)
        earned += discount**row * float(state.reward)
    value = networks.value(bundle.params, bundle.statistics, state.observation)
    after = discount**WINDOW * float(popart.denormalise(bundle.value_statistics, value)[0])
    assert losses_by_choice[0] == pytest.approx(-earned / WINDOW, rel=1e-4)
    assert losses_by_choice[1] == pytest.approx(-(earned + after) / WINDOW, rel=1e-4)


class _Distance:
    """Stands in for gradients through the environment: windows are observations to act on."""

    def __init__(self, networks):
        self._networks = networks

    def windows(self, unroll):
        return unroll.windows

    def loss(self, params, *given):
        *_, windows, chosen = given
        seen = windows.states.reshape(-1, task.OBSERVED)[chosen]
        policy = self._networks.policy(params, normaliser.initial(task.OBSERVED), seen)
        loss = ((distributions.squash(policy.mean) - 0.5) ** 2).mean()
        return loss, {"analytic/loss": loss}


@pytest.mark.parametrize("horizon, bootstrap", [(1.0, True), (10.0, True), (10.0, False)])
def test_values_are_learned_where_something_comes_after_a_window(horizon, bootstrap):
    networks = task.networks(horizon=horizon)
    options = dataclasses.replace(OPTIONS, bootstrap=bootstrap)
    algorithm = ppo.PPO(networks, options, _Distance(networks), updates=30)
    looks_beyond = horizon > 1 and bootstrap
    update = task.mapped(algorithm, 1)
    start = task.seen(algorithm.init(jax.random.PRNGKey(0)))
    unroll = task.unroll(networks, start, jax.random.PRNGKey(1))
    states = unroll.observations[::WINDOW]
    windows = schema.Windows(states, jnp.ones(states.shape[:2], bool), None, None)
    share = task.split(unroll.replace(windows=windows), 1)
    state, metrics = update(task.replicated(start, 1), share)
    changed = lambda part: any(
        np.any(np.asarray(a[0]) != b)
        for a, b in zip(jax.tree.leaves(state.params[part]), jax.tree.leaves(start.params[part]))
    )
    assert changed("policy") and changed("value") == looks_beyond
    assert (float(state.value_statistics.weight[0]) > 0) == looks_beyond
    assert any("value" in name for name in metrics) == looks_beyond
    # What windows have not seen must not get into the statistics of observations either.
    poisoned = share.replace(observations=share.observations.at[0, 1, 0, 0].set(jnp.nan))
    after, _ = update(state, poisoned)
    assert int(after.bad_updates[0]) == 1
    jax.tree.map(np.testing.assert_array_equal, after.statistics, state.statistics)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"objective": "analitic"}, "did you mean analytic?"),
        ({"window": 0}, "learner.window=0: with learner.objective=analytic it must be at least 1"),
        ({"objective": "ppo"}, "learner.window=4: with learner.objective=ppo it must be 0"),
        ({"objective": "ppo", "window": 0, "bootstrap": False}, "learner.bootstrap=false: "),
        ({"target_kl": 0.01, "final_learning_rate": 0.1}, "set learner.target_kl=0"),
    ],
)
def test_objectives_that_cannot_be_are_refused(change, message):
    with pytest.raises(ValueError) as refused:
        dataclasses.replace(OPTIONS, **change)
    assert message in str(refused.value)


def test_windows_have_to_divide_unrolls():
    with pytest.raises(ValueError, match="learner.window=4: does not divide"):
        options_lib.check_batch(OPTIONS, 6, 4)
