"""Gradients through windows of days: of the right states, with the right slope, and they learn."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from actors import unroll as unroll_lib
from agents import bundle as bundle_lib, distributions, networks as networks_lib
from agents.options import TeamOptions
from envs import grid_env
from envs.options import EnvOptions
from envs.time_series import series as series_lib
from learner import analytic, options as options_lib, ppo
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
    env, _, _, days, unrolls = parts
    ended = False
    for before, unroll in unrolls:
        windows = unroll.windows
        np.testing.assert_array_equal(windows.states.observation, unroll.observations[::WINDOW])
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


def test_values_count_as_given(parts):
    env, networks, bundle, _, unrolls = parts
    gradient = analytic.AnalyticGradient(env, networks, OPTIONS)
    slopes, _ = jax.jit(jax.grad(gradient.loss, has_aux=True))(
        bundle.params, bundle.statistics, bundle.value_statistics, unrolls[0][1].windows,
        jnp.arange(8),
    )  # fmt: skip
    assert not any(np.asarray(leaf).any() for leaf in jax.tree.leaves(slopes["value"]))
    assert any(np.asarray(leaf).any() for leaf in jax.tree.leaves(slopes["policy"]))


def test_an_update_earns_more_and_only_usable_windows_count(parts):
    env, networks, _, _, unrolls = parts
    gradient = analytic.AnalyticGradient(env, networks, OPTIONS)
    algorithm = ppo.PPO(networks, OPTIONS, gradient, updates=30)
    update = jax.pmap(algorithm.update, axis_name=ppo.AXIS, devices=jax.local_devices()[:1])
    state = jax.tree.map(lambda x: x[None], algorithm.init(jax.random.PRNGKey(0)))
    unroll = unrolls[0][1].replace(summary={}, origin=None)
    share = jax.tree.map(lambda x: x[None], unroll)
    losses = []
    for _ in range(30):
        state, metrics = update(state, share)
        losses.append(float(metrics["analytic/loss"][0]))
    assert losses[-1] < losses[1] - 0.01 and int(state.bad_updates[0]) == 0
    one = jax.tree.map(lambda x: x[0], state)
    none = unroll.windows.replace(usable=jnp.zeros_like(unroll.windows.usable))
    loss, _ = jax.jit(gradient.loss)(
        one.params, one.statistics, one.value_statistics, none, jnp.arange(8)
    )
    assert float(loss) == 0.0


def test_limits_that_are_near_are_priced_in_each_step(parts):
    _, networks, bundle, _, unrolls = parts
    env = grid_env.make(dataclasses.replace(CALM, insecurity_price=40.0))
    options = dataclasses.replace(OPTIONS, loading_margin=0.2, reactive_margin=3.0)
    windows, chosen = unrolls[0][1].windows, 2
    gradient = analytic.AnalyticGradient(env, networks, options)
    statistics = (bundle.statistics, bundle.value_statistics)
    loss = jax.jit(gradient.loss)
    _, metrics = loss(bundle.params, *statistics, windows, jnp.array([chosen]))

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


@pytest.mark.parametrize(
    "change, message",
    [
        ({"objective": "analitic"}, "did you mean analytic?"),
        ({"window": 0}, "learner.window=0: with learner.objective=analytic it must be at least 1"),
        ({"objective": "ppo"}, "learner.window=4: with learner.objective=ppo it must be 0"),
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
