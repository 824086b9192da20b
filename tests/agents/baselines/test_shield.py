"""The shield: what is safe passes, what is not does not, and what it looks ahead at is foreseen."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agents import controllers
from agents.baselines import look_ahead, registry, shield
from envs import grid_env
from envs.options import EnvOptions
from evaluation import episodes, metrics
from evaluation.scenarios import suite

DAYS = 4


@pytest.fixture(scope="module")
def env():
    return grid_env.make(EnvOptions(case="case30", layout="full", horizon_steps=24))


@pytest.fixture(scope="module")
def days(env):
    return suite.draw(env, "peak", "hard", "test", DAYS, 0)


@pytest.fixture(scope="module")
def played(env, days):
    """The metrics of `random` as it is and with a shield, and how it was judged."""
    player = episodes.Player(env)
    bare = registry.make("random", env)
    both = {}
    for controller in (bare, shield.shielded(env, bare)):
        outcomes = player.play(controller, days).outcomes
        both[controller.name] = metrics.compute(outcomes, env), outcomes
    return both


def test_what_a_wild_controller_breaks_a_shield_keeps(played):
    (bare, _), (kept, outcomes) = played["random"], played["random+shield"]
    assert bare["survival"].mean() < 60 < 99 < kept["survival"].mean()
    assert kept["overload"].sum() < 0.1 * bare["overload"].sum()
    assert 0 < kept["held_back"].mean() < 100 and not bare["held_back"].any()
    assert outcomes.held_back.any()


def _looked_at(env, state, days, action):
    """Returns the loadings that the action leads to without protection, as it is foreseen."""
    off = dataclasses.replace(env.options.protection, enabled=False)
    calm = grid_env.make(dataclasses.replace(env.options, protection=off))
    rows = jax.vmap(look_ahead.foresee)(state, days)
    step = jax.jit(jax.vmap(lambda s, a, r: calm.detailed(s, a, r)))
    after, detail = step(state, action, rows)
    return np.asarray(detail.rho).max(1), np.asarray(after.terminated)


def test_safe_actions_pass_and_unsafe_ones_give_way_to_safe_ones(env, days, key):
    state = jax.jit(jax.vmap(env.start))(days)
    wild = 2.0 * jax.random.bernoulli(key, 0.5, (DAYS, env.layout.action_size)) - 1.0
    proposal = wild.at[:2].set(0.0)  # two follow the plan
    proposing = controllers.Controller(
        "wild", "wild", "nothing", controllers.stateless, lambda s, d, m: (proposal, m)
    )
    guarded = shield.shielded(env, proposing)
    assert guarded.name == "wild+shield"
    act = jax.jit(guarded.act)
    action, memory = act(state, days, guarded.start(days, 0))
    rho, ended = _looked_at(env, state, days, proposal)
    unsafe = (rho > 1.0001) | ended
    assert unsafe.tolist() == [False, False, True, True]
    np.testing.assert_array_equal(memory.last.share > 0, unsafe)
    np.testing.assert_array_equal(action[:2], proposal[:2])
    after, ended_after = _looked_at(env, state, days, action)
    assert (after <= 1.0001).all() and not ended_after.any()
    # It keeps as much of the proposal as is safe.
    for grid in (2, 3):
        more = [share for share in shield._SHARES if share > float(action[grid, 0] / wild[grid, 0])]
        for share in more:
            tried, lost = _looked_at(env, state, days, proposal.at[grid].multiply(share))
            assert tried[grid] > 1.0001 or lost[grid], share


def test_it_foresees_totals_and_announced_outages_and_nothing_else(env, days):
    state = jax.jit(jax.vmap(env.start))(days)
    ahead = jax.vmap(lambda s, d: d.at(s.t + 1))(state, days)
    now = jax.vmap(lambda s, d: d.at(s.t))(state, days)
    rows = jax.vmap(look_ahead.foresee)(state, days)
    row = rows.at(jnp.int32(7))
    np.testing.assert_allclose(row.load_p_mw.sum(1), now.load_forecast_mw[:, 0], rtol=1e-5)
    share = lambda x: x / x.sum(1, keepdims=True)
    np.testing.assert_allclose(share(row.load_p_mw), share(now.load_p_mw), rtol=1e-4)
    np.testing.assert_array_equal(row.plan_p_mw, ahead.plan_p_mw)
    assert not np.array_equal(row.load_p_mw, ahead.load_p_mw)
    faults = days.replace(
        branch_status=days.branch_status.at[:, 1:, 0].set(2).at[:, 1:, 1].set(1),
        gen_status=days.gen_status.at[:, :1, 0].set(2),
    )
    row = jax.vmap(look_ahead.foresee)(state, faults).row
    assert (np.asarray(row.branch_status[:, :2]) == [0, 1]).all()  # a fault to come, maintenance
    assert (np.asarray(row.gen_status[:, 0]) == 2).all()  # a fault that there is
