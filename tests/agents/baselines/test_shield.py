"""The shield: what is safe passes, what is not does not, and what it looks ahead at is foreseen."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agents import bundle, controllers, networks
from agents.baselines import look_ahead, registry, shield
from agents.baselines.look_ahead import Limit
from agents.options import TeamOptions
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
    """Returns the loadings that the action leads to without protection, as it is foreseen.

    Those are of the most loaded branches, with which these are, and whether grids survive.
    """
    off = dataclasses.replace(env.options.protection, enabled=False)
    calm = grid_env.make(dataclasses.replace(env.options, protection=off))
    rows = jax.vmap(look_ahead.foresee)(state, days)
    step = jax.jit(jax.vmap(lambda s, a, r: calm.detailed(s, a, r)))
    after, detail = step(state, action, rows)
    rho = np.asarray(detail.rho)
    return rho.max(1), np.asarray(after.terminated), rho.argmax(1)


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
    rho, ended, worst = _looked_at(env, state, days, proposal)
    unsafe = (rho > 1.0001) | ended
    assert unsafe.tolist() == [False, False, True, True]
    np.testing.assert_array_equal(memory.last.share > 0, unsafe)
    np.testing.assert_array_equal(action[:2], proposal[:2])
    # What it held back is told with the reason: the branch that would have been overloaded.
    broken = memory.last.broken
    assert not np.asarray(memory.last.share)[:2].any()
    assert (np.asarray(broken.limit)[2:] == Limit.OVERLOAD).all() and not ended[2:].any()
    np.testing.assert_array_equal(broken.element[2:], worst[2:])
    np.testing.assert_allclose(broken.size[2:], rho[2:] - 1.0, rtol=1e-4)
    np.testing.assert_allclose(memory.last.taken[2:], 0.0)
    after, ended_after, _ = _looked_at(env, state, days, action)
    assert (after <= 1.0001).all() and not ended_after.any()
    # It keeps as much of the proposal as is safe.
    for grid in (2, 3):
        more = [share for share in shield._SHARES if share > float(action[grid, 0] / wild[grid, 0])]
        for share in more:
            tried, lost, _ = _looked_at(env, state, days, proposal.at[grid].multiply(share))
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


def test_a_learned_team_can_have_a_shield(env, days):
    nets = networks.make(
        env.layout, TeamOptions(kind="hierarchical", policy_layers=(8,), value_layers=(8,))
    )
    learned = controllers.learned(nets, bundle.initial(nets, jax.random.PRNGKey(0)))
    guarded = shield.shielded(env, learned)
    state = jax.jit(jax.vmap(env.start))(days)
    memory = guarded.start(days, 0)
    # What an untrained policy proposes is next to nothing, and passes.
    action, after = jax.jit(guarded.act)(state, days, memory)
    proposal, kept = learned.act(state, days, memory.inner)
    np.testing.assert_allclose(action, proposal, atol=1e-6)
    np.testing.assert_allclose(after.inner.memory, kept.memory, atol=1e-6)
    # It is looked at as it is without a shield.
    shown, bare = guarded.inspect(state, memory), learned.inspect(state, memory.inner)
    np.testing.assert_array_equal(shown.attention, bare.attention)
    assert guarded.team is nets.team
