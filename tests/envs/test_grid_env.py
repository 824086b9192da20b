"""The decision process: its order, its limits, its endings, and its physics step by step."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from envs import grid_env
from envs.options import EnvOptions
from envs.step import frequency_response, rewards, solve_and_protect, switching
from envs.step.termination import Reason
from envs.time_series import series as series_lib
from evaluation import pandapower_grid


def strong(tree):
    return jax.tree.map(lambda x: jax.lax.convert_element_type(x, x.dtype), tree)


@pytest.fixture(scope="module")
def start(env):
    return jax.jit(env.start)


@pytest.fixture(scope="module")
def step(env):
    """One step of `env` on a time series, compiled once."""
    return jax.jit(env.transition)


@pytest.fixture(scope="module")
def sample(env):
    return jax.jit(env.sample_series)


@pytest.fixture(scope="module")
def series(sample):
    return quiet(sample(jax.random.PRNGKey(3)))


def quiet(series):
    """The same day without outages."""
    return series.replace(
        branch_status=jnp.zeros_like(series.branch_status),
        gen_status=jnp.zeros_like(series.gen_status),
    )


def idle(env):
    return jnp.zeros(env.layout.action_size)


@pytest.fixture(scope="module")
def episode(env, start, step, series):
    """A day of random actions: states of every step, and the actions, stacked."""
    rng = np.random.default_rng(3)
    first = state = start(series)
    states, actions = [], []
    for _ in range(env.horizon):
        action = jnp.asarray(rng.uniform(-1, 1, env.layout.action_size), jnp.float32)
        state = step(state, action, series)
        states.append(state)
        actions.append(np.asarray(action))
    return first, jax.tree.map(lambda *leaves: np.stack(leaves), *states), np.stack(actions)


def test_reset_and_step_work_as_the_docstring_says(env, key):
    state = jax.jit(env.reset)(key)
    assert state.observation.shape == (env.layout.observation_size,)
    state = jax.jit(env.step)(state, idle(env))
    assert int(state.t) == 1 and not state.done
    assert set(state.terms) == set(rewards.TERM_UNITS)


def test_a_state_without_its_time_series_is_refused_with_the_remedy(env, start, series):
    with pytest.raises(ValueError, match="no time series.*begin with .*replace"):
        env.step(start(series), jnp.zeros(env.layout.action_size))


def test_doing_nothing_follows_the_plan(env, start, step, series):
    state = start(series)
    for _ in range(30):
        state = step(state, idle(env), series)
        plan = np.asarray(series.plan_p_mw[state.t])
        # Units share the errors of forecasts; a quarter of the plan is more than they amount to.
        units = env.grid.units
        np.testing.assert_allclose(state.gen_p_mw[units], plan[units], atol=0.25 * plan.sum())


def test_a_day_is_truncated_not_terminated(env, episode):
    _, states, _ = episode
    assert states.truncated.tolist() == [False] * (env.horizon - 1) + [True]
    assert not np.any(states.terminated)


def injections(env, series, states, actions):
    """What is known of bus injections without the power flow, MW and MVAr `[time, n_bus]`."""
    rows = slice(1, env.horizon + 1)
    load = np.ones((env.horizon, env.grid.loads.size))
    load[:, env.site.controllable] += 0.10 * actions[:, env.layout.action["load"]]
    loads_p, loads_q = (
        np.asarray(series.load_p_mw[rows]) * load,
        np.asarray(series.load_q_mvar[rows]),
    )
    p, q = np.zeros((2, env.horizon, env.grid.n_bus))
    np.add.at(p.T, env.grid.loads, -loads_p.T)
    np.add.at(q.T, env.grid.loads, -(loads_q * load).T)
    np.add.at(p.T, env.grid.gen.bus, states.gen_p_mw.T)
    np.add.at(p.T, env.fleet.renewables.bus, np.asarray(series.renewable_mw[rows]).T)
    stored = np.diff(np.vstack([0.5 * env.fleet.storage.energy_mwh, states.energy_mwh]), axis=0)
    given = np.where(
        stored > 0,
        -stored / env.fleet.storage.charge_efficiency,
        -stored * env.fleet.storage.discharge_efficiency,
    )
    np.add.at(p.T, env.fleet.storage.bus, given.T / env.dt_h)
    return p, q


def test_power_balances_at_every_step(env, series, episode):
    _, states, actions = episode
    p, _ = injections(env, series, states, actions)
    np.testing.assert_allclose(p.sum(1), states.losses_mw, atol=0.05)
    assert np.all(states.losses_mw > 0)
    np.testing.assert_allclose(states.terms["losses"], states.losses_mw * env.dt_h, rtol=1e-5)


def test_an_episode_replayed_in_pandapower_agrees(env, case14, series, episode):
    _first, states, actions = episode
    p, q = injections(env, series, states, actions)
    oracle = pandapower_grid.Oracle(case14)
    worst = 0.0
    for t in range(0, env.horizon, 12):
        vm, va = states.vm_pu[t].astype(float), states.va_rad[t].astype(float)
        answer = oracle.solve(p[t] / case14.base_mva, q[t] / case14.base_mva, vm)
        worst = max(worst, np.abs(answer.vm - vm).max(), np.abs(answer.va - va).max())
    # Solved to a mismatch of 1e-4 pu; what stored energy says of a battery's power is rounded too.
    assert worst < 1e-4, worst


def test_units_keep_ramps_and_limits(env, episode):
    first, states, _ = episode
    units = env.grid.units
    power = np.concatenate([first.gen_p_mw[None], states.gen_p_mw])[:, units]
    p_max = env.grid.gen.p_max_mw[units]
    ramp = env.fleet.units.ramp_mw_per_min[units] * env.options.step_minutes
    # What losses change within a step is settled on top: well below 2 % of a unit.
    slack = 0.02 * p_max
    forced = states.terms["surplus"][:, None] / env.dt_h
    assert np.all(np.diff(power, axis=0) <= ramp + slack)
    assert np.all(-np.diff(power, axis=0) <= ramp + slack + forced)
    assert np.all(power <= p_max + slack) and np.all(power >= -slack)
    moved = np.abs(np.diff(power, axis=0)).max(0)
    assert np.any(moved > 0.9 * ramp), "ramps were never tested"


def test_batteries_keep_their_energy(env, episode):
    first, states, actions = episode
    fleet = env.fleet.storage
    energy = np.concatenate([first.energy_mwh[None], states.energy_mwh])
    assert np.all(energy >= 0) and np.all(energy <= fleet.energy_mwh)
    requested = actions[:, env.layout.action["storage"]] * fleet.p_max_mw
    free = (energy[1:] > 1e-3) & (energy[1:] < fleet.energy_mwh - 1e-3)
    drawn = np.where(requested > 0, requested / fleet.discharge_efficiency,
                     requested * fleet.charge_efficiency)  # fmt: skip
    expected = energy[:-1] - env.dt_h * drawn
    assert free.any()
    np.testing.assert_allclose(energy[1:][free], expected[free], atol=1e-3)


def test_set_points_reach_their_limits_by_their_ramp(env, start, step, series):
    condensers = env.grid.condensers
    bus, ramp = env.grid.gen.bus[condensers], env.options.voltage_ramp
    up = idle(env).at[env.layout.action["generator"]].set(1.0)
    state, seen = start(series), []
    for _ in range(40):
        seen.append(np.asarray(state.vm_pu[bus]))
        state = step(state, up, series)
    moved = np.diff(seen, axis=0)
    assert np.abs(moved).max() < ramp + 1e-5 and np.any(moved > 0.99 * ramp)
    np.testing.assert_allclose(seen[-1], env.grid.bus.vm_max_pu[bus], atol=1e-5)


def with_loads(series, factor):
    """The same day with all loads scaled after row 0, as foreseen."""
    scale = jnp.ones((series.load_p_mw.shape[0], 1)).at[1:].set(factor)
    return series.replace(
        load_p_mw=series.load_p_mw * scale,
        load_q_mvar=series.load_q_mvar * scale,
        load_forecast_mw=series.load_forecast_mw * factor,
    )


def test_load_that_falls_faster_than_ramps_is_followed_at_a_price(env, start, step, series):
    series = with_loads(series.replace(renewable_mw=0.0 * series.renewable_mw), 0.3)
    before = start(series)
    after = step(before, idle(env), series)
    ramp = env.fleet.units.ramp_mw_per_min * env.options.step_minutes
    beyond = np.asarray(before.gen_p_mw - after.gen_p_mw) - ramp
    surplus_mw = float(after.terms["surplus"]) / env.dt_h
    slack = 0.02 * env.grid.gen.p_max_mw.max()
    assert surplus_mw > 1 and 0 < beyond[env.grid.units].max() <= surplus_mw + slack
    cost = -1000 * float(after.reward)
    others = dict(after.terms, surplus=jnp.float32(0.0))
    cheaper = -1000 * float(rewards.economic(others, env.options))
    assert cost - cheaper == pytest.approx(500 * surplus_mw * env.dt_h, rel=0.02)


def test_reactive_power_outside_limits_is_reported(env, start, step, series):
    after = step(start(series), idle(env), series)
    q = np.asarray(after.observation[env.layout.observation["gen_q"]], float)
    gen = env.grid.gen
    beyond = np.maximum(q - gen.q_max_mvar, 0) + np.maximum(gen.q_min_mvar - q, 0)
    assert beyond.sum() > 1.0
    actual = float(after.terms["reactive_violation"])
    assert actual == pytest.approx(beyond.sum() / 12, rel=1e-4)


def test_every_action_has_an_effect_in_both_directions(env, start, step, series):
    state = start(series)
    for _ in range(100):  # Into the day, where units are away from their limits.
        state = step(state, idle(env), series)
    still = step(state, idle(env), series)
    for index, name in enumerate(env.layout.action_names):
        for direction in (-0.5, 0.5):
            moved = step(state, idle(env).at[index].set(direction), series)
            change = np.abs(moved.observation - still.observation).max()
            assert change > 1e-3, f"{name} moved by {direction} changes nothing"


def test_every_observation_varies_over_a_day(env, episode):
    _, states, _ = episode
    spread = np.ptp(states.observation, axis=0)
    constant = [n for n, s in zip(env.layout.observation_names, spread) if s < 1e-5]
    assert not constant


def test_condensers_follow_their_set_points_and_draw_what_they_lose(env, start, step, series):
    up = idle(env).at[2:5].set(jnp.array([1.0, -1.0, 0.5]))
    after = start(series)
    for _ in range(16):  # as their ramps take
        after = step(after, up, series)
    buses = env.grid.gen.bus[2:5]
    level = float(series.day_ahead_load_mw[after.t]) / env.grid.bus.load_p_mw.sum()
    usual = 1.0 - 0.02 * (1 - level)
    expected = [1.06, 0.94, usual + 0.5 * (1.06 - usual)]
    np.testing.assert_allclose(after.vm_pu[buses], expected, atol=1e-5)
    q = after.observation[env.layout.observation["gen_q"]][2:5]
    later = step(after, up, series)
    np.testing.assert_allclose(later.gen_p_mw[2:5], -0.015 * np.abs(q), rtol=1e-4)


def test_load_control_moves_the_load_and_is_paid_for(env, start, step, series):
    state = start(series)
    action = idle(env).at[env.layout.action["load"].start].set(-1.0)
    after, still = step(state, action, series), step(state, idle(env), series)
    demand = float(after.observation[env.layout.observation["load_p"]][0])
    less = float((still.gen_p_mw - after.gen_p_mw).sum())
    assert 0.1 * demand < less < 0.13 * demand, "generation falls by the load and its losses"
    paid = 60.0 * 0.1 * demand * env.dt_h
    assert float(after.terms["load_control_cost"]) == pytest.approx(paid, rel=1e-4)


def test_costs_and_reward_by_hand(env, start, step, series):
    after = step(start(series), idle(env), series)
    p = np.asarray(after.gen_p_mw)
    cost = (7.920951 * p[0] + 23.269494 * p[1]) / 12
    assert float(after.terms["generation_cost"]) == pytest.approx(cost, rel=1e-5)
    beyond = 10 * float(after.terms["reactive_violation"])
    spilt = 20 * float(after.terms["curtailment"])
    assert float(after.reward) == pytest.approx(-(cost + beyond + spilt) / 1000, rel=1e-5)


def test_batch_equals_single(env, start, step, series):
    rng = np.random.default_rng(5)
    actions = jnp.asarray(rng.uniform(-1, 1, (4, env.layout.action_size)), jnp.float32)
    state = start(series)
    together = jax.jit(jax.vmap(env.transition, in_axes=(None, 0, None)))(state, actions, series)
    for index in range(4):
        alone = step(state, actions[index], series)
        np.testing.assert_allclose(
            together.observation[index], alone.observation, rtol=1e-4, atol=5e-4
        )


def test_a_seed_gives_the_same_episode(env, start, step, sample):
    def run():
        series = sample(jax.random.PRNGKey(11))
        state = start(series)
        for _ in range(5):
            state = step(state, idle(env) + 0.3, series)
        return state

    jax.tree.map(np.testing.assert_array_equal, run(), run())


def test_a_pooled_series_reads_like_a_series(sample):
    days = [sample(jax.random.PRNGKey(seed)) for seed in range(3)]
    pool = jax.tree.map(lambda *leaves: jnp.stack(leaves), *days)
    pooled = series_lib.PooledTimeSeries(pool, jnp.int32(2))
    jax.tree.map(np.testing.assert_array_equal, days[2].at(17), pooled.at(17))


# Outages, protection, islands.


def out_of_service(series, branch, rows, status=series_lib.FAULT):
    return series.replace(branch_status=series.branch_status.at[rows, branch].set(status))


def test_a_fault_takes_a_branch_out_and_gives_it_back(env, start, step, series):
    series = out_of_service(series, 4, slice(3, 6))
    state, seen = start(series), []
    for _ in range(7):
        state = step(state, idle(env), series)
        rho = state.observation[env.layout.observation["branch_rho"]]
        seen.append((bool(state.branch.closed[4]), float(rho[4]) > 0))
    assert seen == [(True, True)] * 2 + [(False, False)] * 3 + [(True, True)] * 2


def test_what_a_bridge_cuts_off_is_dead_and_the_rest_goes_on(env, case14, start, step, series):
    """Branch 7-8 of case14 is the only one at bus 8."""
    bridge = int(np.flatnonzero(case14.branch.to_bus == 7)[0])
    series = out_of_service(series, bridge, slice(1, 3))
    after = step(start(series), idle(env), series)
    assert after.vm_pu[7] == 0 and np.all(np.delete(after.vm_pu, 7) > 0.9)
    assert not after.terminated and int(after.metrics["de_energised_buses"]) == 1


def test_an_island_with_load_is_energy_not_served(env, case14, start, step, series):
    """Buses 12, 13 and 14 hang on four branches."""
    inside = np.isin(np.arange(14), [11, 12, 13])
    ties = np.flatnonzero(inside[case14.branch.from_bus] != inside[case14.branch.to_bus])
    series = out_of_service(series, ties, 1)
    after = step(start(series), idle(env), series)
    lost = np.isin(case14.loads, [11, 12, 13])
    demand = np.asarray(series.load_p_mw[1])
    assert np.all(after.vm_pu[inside] == 0) and not after.terminated
    actual = float(after.terms["energy_not_served"])
    assert actual == pytest.approx(demand[lost].sum() / 12, rel=1e-3)
    produced = float(after.gen_p_mw.sum() + series.renewable_mw[1].sum())
    dead_plant = float(
        series.renewable_mw[1][np.isin(env.fleet.renewables.bus, [11, 12, 13])].sum()
    )
    served = demand[~lost].sum() + float(after.losses_mw)
    assert produced - dead_plant == pytest.approx(served, abs=0.1)


def test_a_lost_unit_is_replaced_and_dips_frequency(env, start, step, series):
    """The smaller of case14's two units."""
    series = series.replace(gen_status=series.gen_status.at[5:20, 1].set(series_lib.FAULT))
    state = start(series)
    for _ in range(4):
        state = step(state, idle(env), series)
    power = float(state.gen_p_mw[1])
    after = step(state, idle(env), series)
    assert power > 5 and float(after.gen_p_mw[1]) == 0
    assert float(after.metrics["nadir_hz"]) < float(state.metrics["nadir_hz"]) - 0.05
    assert float(after.metrics["rocof_hz_per_s"]) < 0
    for _ in range(3):
        after = step(after, idle(env), series)
    assert abs(float(after.frequency.deviation_hz)) < 0.05, "frequency returns"


@pytest.fixture(scope="module")
def tight(case14):
    """The environment with every branch limit at a third, angles within 2°, and its step."""
    branch = dataclasses.replace(
        case14.branch,
        rate_mva=case14.branch.rate_mva / 3.5,
        angle_min_rad=np.full(20, -np.deg2rad(2.0)),
        angle_max_rad=np.full(20, np.deg2rad(2.0)),
    )
    grid = dataclasses.replace(case14, branch=branch)
    named = grid_env.check(EnvOptions())
    env = grid_env.GridEnv(named._replace(grid=grid, site=named.site._replace(grid=grid)),
                           EnvOptions())  # fmt: skip
    return env, jax.jit(env.start), jax.jit(env.transition)


def test_overloaded_branches_trip_after_a_count_or_at_once_and_come_back(tight, series):
    env, start, step = tight
    state = start(series, 100)
    history = [state]
    for _ in range(16):
        state = step(state, idle(env), series)
        history.append(state)
        if state.terminated:
            break
    rho = np.stack([s.observation[env.layout.observation["branch_rho"]] for s in history])
    tripped = np.stack([s.trip_round for s in history])
    assert tripped.any(), "limits this low must trip something"
    for t, branch in zip(*np.nonzero(tripped == 1)):
        if t >= 4:
            count = int(history[t - 1].branch.overloaded[branch])
            assert count >= 3 or rho[t - 1, branch] > 0
        assert not history[t].branch.closed[branch]
        assert int(history[t].branch.cooldown[branch]) == switching.RECLOSE_STEPS
    for before, after in itertools.pairwise(history):
        if after.terminated:
            continue
        waited = (before.branch.why == switching.TRIPPED) & (before.branch.cooldown == 1)
        again = np.asarray(after.trip_round) > 0
        assert np.all(np.asarray(after.branch.closed)[np.asarray(waited) & ~again])


def test_angle_differences_beyond_limits_are_counted_and_priced_by_option(tight, series):
    env, start, step = tight
    series = out_of_service(series, 4, slice(102, 104))
    state, branch = start(series, 100), env.grid.branch
    for out in (False, True):  # what is open has no angle to keep
        state = step(state, idle(env), series)
        closed, va = np.asarray(state.branch.closed), np.asarray(state.va_rad, float)
        assert closed[4] != out and not state.terminated
        across = np.rad2deg(va[branch.from_bus] - va[branch.to_bus])[closed]
        beyond = np.deg2rad(np.maximum(np.abs(across) - 2.0, 0.0).sum())
        assert beyond > 0.01
        actual = float(state.terms["angle_violation"])
        assert actual == pytest.approx(beyond / 12, rel=1e-3)
        free, priced = (
            float(rewards.operating_cost(state.terms, EnvOptions(angle_price=price)))
            for price in (0.0, 1e6)
        )
        assert priced - free == pytest.approx(1e6 * actual, rel=1e-3)
        assert free == pytest.approx(-1000 * float(state.reward), rel=1e-5)


def test_lanes_in_different_rounds_of_a_cascade_do_not_mix(tight, series):
    named = tight[0]
    options = EnvOptions(protection=dataclasses.replace(EnvOptions().protection, hard_limit=1.5))
    env = grid_env.GridEnv(
        grid_env.Specification(named.grid, named.fleet, named.site, named.layout), options
    )
    start, step = jax.jit(env.start), jax.jit(env.transition)
    lanes = 40  # several are settled at a time, and not all of them at once
    rng = np.random.default_rng(2)
    rows = rng.integers(0, 250, lanes)
    states = jax.vmap(start, in_axes=(None, 0))(series, jnp.asarray(rows))
    closed = np.ones((lanes, env.grid.n_branch), bool)
    for lane in range(0, lanes, 3):
        closed[lane, rng.choice(env.grid.n_branch, 1 + lane // 3 % 3, replace=False)] = False
    # Branches that the controller opened stay open.
    why = jnp.where(closed, states.branch.why, switching.OPENED).astype(jnp.int8)
    branch = states.branch.replace(why=why)
    states = states.replace(branch=branch)
    idle_all = jnp.zeros((lanes, env.layout.action_size))
    together = jax.jit(jax.vmap(env.transition, in_axes=(0, 0, None)))(states, idle_all, series)
    assert len(np.unique(together.metrics["cascade_rounds"])) >= 3
    for lane in range(lanes):
        alone = step(jax.tree.map(lambda leaf, i=lane: leaf[i], states), idle(env), series)
        np.testing.assert_array_equal(together.trip_round[lane], alone.trip_round)
        for name in ("cascade_rounds", "de_energised_buses"):
            assert together.metrics[name][lane] == alone.metrics[name], name
        assert together.reason[lane] == alone.reason
        np.testing.assert_allclose(together.vm_pu[lane], alone.vm_pu, atol=2e-4)


@pytest.mark.parametrize("condenser_out", [False, True])
def test_a_bus_that_is_dead_stays_so_in_peace_and_comes_back(
    env, start, step, series, condenser_out
):
    bus = int(np.flatnonzero(env.grid.bus.id == 8)[0])
    branch = int(np.flatnonzero(env.grid.branch.to_bus == bus)[0])
    (gen,) = np.flatnonzero(env.grid.gen.bus == bus)
    off = slice(1, 4)
    series = series.replace(
        branch_status=series.branch_status.at[off, branch].set(series_lib.FAULT)
    )
    if condenser_out:
        series = series.replace(gen_status=series.gen_status.at[1:, gen].set(series_lib.FAULT))
    state, history = start(series), []
    for _ in range(5):
        state = step(state, idle(env), series)
        history.append(state)
    assert [float(s.vm_pu[bus]) > 0 for s in history] == [False, False, False, True, True]
    assert [int(s.metrics["de_energised_buses"]) for s in history] == [1, 1, 1, 0, 0]
    for state in history:
        assert not state.terminated and not state.metrics["fell_back"]
        assert abs(float(state.metrics["nadir_hz"]) - 60.0) < 0.05


def test_an_island_that_dies_disturbs_frequency_once(env, start, step, series):
    grid = env.grid
    dead = int(np.flatnonzero(grid.bus.id == 3)[0])
    cut = np.flatnonzero((grid.branch.from_bus == dead) | (grid.branch.to_bus == dead))
    series = series.replace(branch_status=series.branch_status.at[1:, cut].set(series_lib.FAULT))
    state, peaks = start(series), []
    for _ in range(3):
        state = step(state, idle(env), series)
        peaks.append(float(state.metrics["seconds_off_nominal"]))
        assert float(state.vm_pu[dead]) == 0 and int(state.reason) in (0, int(Reason.ISLANDING))
    assert peaks[0] > 0.5 and max(peaks[1:]) < 0.1 * peaks[0], peaks


def test_a_cascade_that_goes_on_after_the_last_round_ends_the_episode(series, monkeypatch):
    monkeypatch.setattr(solve_and_protect, "MAX_ROUNDS", 1)
    named = grid_env.check(EnvOptions())
    branch = named.grid.branch
    grid = dataclasses.replace(
        named.grid, branch=dataclasses.replace(branch, rate_mva=branch.rate_mva / 3)
    )
    early = dataclasses.replace(EnvOptions().protection, hard_limit=1.2)
    env = grid_env.GridEnv(
        named._replace(grid=grid, site=named.site._replace(grid=grid)),
        EnvOptions(protection=early),
    )
    state = jax.jit(env.start)(series, 100)
    state = jax.jit(env.transition)(state, idle(env), series)
    assert state.terminated and int(state.reason) == Reason.CASCADE
    assert int(state.metrics["cascade_rounds"]) == 1 and (state.trip_round == 1).any()
    assert np.isfinite(state.observation).all() and np.isfinite(state.reward)


# Endings.


def test_more_load_than_units_can_cover_is_lost_and_ends_the_episode(env, start, step, series):
    series = with_loads(series, 2.5)
    after = step(start(series), idle(env), series)
    assert after.terminated and int(after.reason) == Reason.LOAD_LOST
    # Four hours of all load, at 10,000 $/MWh.
    blackout = 4.0 * float(series.load_p_mw[1].sum())
    assert float(after.terms["energy_not_served"]) == pytest.approx(blackout, rel=1e-5)
    assert float(after.reward) < -10 * blackout * 0.99


def test_voltage_collapse_ends_the_episode_with_finite_numbers(env, start, step, series):
    series = series.replace(load_q_mvar=series.load_q_mvar.at[1:].multiply(40.0))
    after = step(start(series), idle(env), series)
    assert after.terminated and int(after.reason) == Reason.DIVERGED
    finite = [np.all(np.isfinite(x)) for x in (after.observation, after.reward, after.gen_p_mw)]
    assert all(finite) and float(after.terms["energy_not_served"]) > 0


def test_load_that_comes_unforeseen_drives_frequency_out_of_range(env, start, step, series):
    foreseen = series.load_forecast_mw
    series = with_loads(series, 3.0).replace(load_forecast_mw=foreseen)
    after = step(start(series), idle(env), series)
    assert after.terminated and int(after.reason) == Reason.FREQUENCY
    assert np.isfinite(after.observation).all() and np.isfinite(after.reward)


# Rewards, layouts, options.


def test_savings_are_what_operating_cost_less_than_the_plan(env, start, step, series):
    after = step(start(series), idle(env) + 0.5, series)
    saved = float(rewards.savings(after.terms, env.options)) * 1000
    spent = float(rewards.operating_cost(after.terms, env.options))
    assert saved == pytest.approx(float(after.terms["planned_cost"]) - spent, abs=0.05)
    assert abs(spent) > 1.0


def _steps(n):
    """Reward terms of steps `[n]` of all kinds, and of the same with one thing better."""
    rng = np.random.default_rng(0)
    wild = lambda: jnp.asarray(10.0 ** rng.uniform(-3, 6, n) * rng.integers(0, 2, n), jnp.float32)
    terms = {name: wild() for name in rewards.TERM_UNITS}
    broken = jnp.asarray(rng.integers(0, 2, n), jnp.float32)
    limits = ("overload", "voltage_violation", "reactive_violation", "frequency_excursion")
    terms |= {name: broken * terms[name] for name in limits}
    load = jnp.full(n, 20.0)
    unserved = 0.3 * jnp.asarray(rng.random(n), jnp.float32) * load
    planned = jnp.full(n, 100.0)
    return terms | {
        "planned_cost": planned, "load": load, "energy_not_served": unserved,
        "steps_in_violation": broken,
    }  # fmt: skip


_CLEAN = {"overload", "voltage_violation", "reactive_violation", "frequency_excursion",
          "angle_violation", "steps_in_violation"}  # fmt: skip


def test_in_the_layered_reward_a_safer_step_beats_any_cheaper_or_more_secure_one():
    options, n = EnvOptions(reward="layered"), 2000
    layered = lambda terms: np.asarray(rewards.layered(terms, options), float)
    some = _steps(n)
    nothing = {name: jnp.zeros(n) for name in _CLEAN}
    # Limits kept, whatever it costs and however insecure, beat limits broken for nothing.
    dear = some | nothing | {"generation_cost": jnp.full(n, 1e9), "insecurity": jnp.full(n, 1e3)}
    free = {name: jnp.zeros(n) for name in some} | {
        "planned_cost": some["planned_cost"], "load": some["load"],
        "overload": jnp.full(n, 1e-6), "steps_in_violation": jnp.ones(n),
    }  # fmt: skip
    assert layered(dear).min() > layered(free).max()
    # A third of a violation of 0.2 to 10 % of the plan, at any cost.
    price = jnp.asarray(np.geomspace(0.2, 10.0, n), jnp.float32)  # $, of a plan of 100 $
    more = free | {"overload": price / options.overload_price}
    less = dear | {"overload": more["overload"] / 3.0, "steps_in_violation": jnp.ones(n)}
    assert (layered(less) > layered(more)).all()
    # A step that goes on beats the end of an episode.
    end = free | {"energy_not_served": 50.0 * some["load"]}
    awful = dear | {"overload": 0.005 * price, "steps_in_violation": jnp.ones(n)}
    assert layered(awful).min() > layered(end).max()


def test_in_the_layered_reward_a_level_of_cost_beats_any_security():
    options, n = EnvOptions(reward="layered"), 2000
    layered = lambda terms: np.asarray(rewards.layered(terms, options), float)
    some = _steps(n) | {name: jnp.zeros(n) for name in _CLEAN}
    costs = ("load_control_cost", "curtailment", "storage_throughput", "switching", "surplus")
    some |= {name: jnp.zeros(n) for name in (*costs, "energy_not_served")}
    spent = jnp.asarray(np.linspace(81.0, 119.0, n), jnp.float32)
    cheap = some | {"generation_cost": spent, "insecurity": jnp.full(n, 1e3)}
    dear = some | {"generation_cost": spent + 0.5, "insecurity": jnp.zeros(n)}
    dear["reserve_shortfall"] = jnp.zeros(n)
    assert (layered(cheap) > layered(dear)).all()
    # At one cost security decides.
    for term in ("insecurity", "reserve_shortfall"):
        assert (layered(dear | {term: jnp.full(n, 0.5)}) < layered(dear)).all()


def test_the_layered_reward_is_between_0_and_1_and_has_a_slope():
    options = EnvOptions(reward="layered")
    values = np.asarray(rewards.layered(_steps(2000), options))
    assert values.min() >= 0.0 and values.max() < 1.0 and np.isfinite(values).all()
    terms = dict.fromkeys(rewards.TERM_UNITS, jnp.float32(0.0))
    usual = terms | {"planned_cost": 100.0, "load": 10.0, "generation_cost": jnp.float32(99.0)}
    slope = jax.grad(lambda terms: rewards.layered(terms, options))
    assert slope(usual)["generation_cost"] < 0 and slope(usual)["reserve_shortfall"] < 0
    broken = usual | {"overload": jnp.float32(0.001), "steps_in_violation": jnp.float32(1.0)}
    # In the same unit, $: a violation weighs more than what it costs to do without it.
    violation = slope(broken)["overload"] / options.overload_price
    assert violation < 10.0 * slope(broken)["generation_cost"] < 0


def test_the_layered_reward_is_told_how_secure_a_step_is(env):
    options = EnvOptions(reward="layered", horizon_steps=12)
    assert grid_env.make(options).assesses and not env.assesses


def test_a_step_that_breaks_a_limit_has_its_price(env, start, step, series):
    after = step(start(series), idle(env), series)
    assert float(after.terms["reactive_violation"]) > 1e-3 * env.grid.base_mva * env.dt_h
    assert not after.terminated and float(after.terms["steps_in_violation"]) == 1.0
    ended = with_loads(series, 2.5)
    assert float(step(start(ended), idle(env), ended).terms["steps_in_violation"]) == 1.0
    free, priced = EnvOptions(), EnvOptions(violation_price=250.0)
    difference = rewards.economic(after.terms, free) - rewards.economic(after.terms, priced)
    assert float(difference) == pytest.approx(0.25, rel=1e-3)
    whole = {**after.terms, "steps_in_violation": jnp.zeros(())}
    assert float(rewards.economic(whole, free)) == float(rewards.economic(whole, priced))


def test_reserve_is_short_by_what_others_cannot_replace_in_ten_minutes(env, start, step, series):
    after = step(start(series), idle(env), series)
    gen, units = env.grid.gen, env.fleet.units
    p = np.where(gen.is_unit, np.asarray(after.gen_p_mw, float), 0.0)
    spare = np.minimum(gen.capacity_mw - p, 10.0 * units.ramp_mw_per_min).clip(0.0)
    spare = np.where(gen.capacity_mw > 0, spare, 0.0)
    lost = [p[k] - np.delete(spare, k).sum() for k in np.flatnonzero(gen.is_unit)]
    actual = float(after.terms["reserve_shortfall"]) / env.dt_h
    assert actual == pytest.approx(max(*lost, 0.0), abs=1e-3)


@pytest.mark.parametrize("name", rewards.REWARDS)
def test_every_reward_prefers_less_of_what_costs(name):
    options = EnvOptions(reward=name)
    usual = dict.fromkeys(rewards.TERM_UNITS, jnp.float32(1.0)) | {
        "planned_cost": 100.0,
        "load": 10.0,
    }
    dearer = usual | {"energy_not_served": 2.0}
    assert float(rewards.REWARDS[name](dearer, options)) < float(
        rewards.REWARDS[name](usual, options)
    )


@pytest.mark.parametrize(
    "change, message",
    [
        ({"schedule": "meritorder"}, "did you mean merit_order"),
        ({"reward": "economical"}, "did you mean economic"),
        ({"layout": "oper"}, "must be one of operator, full, setpoints, voltages"),
        ({"layout": "case118"}, "controls the 91 largest loads, and case14 has"),
        ({"case": "case15"}, "no case named 'case15'"),
        ({"fleet": "case15"}, "no fleet named 'case15'"),
    ],
)
def test_names_that_do_not_exist_are_refused(change, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        grid_env.make(dataclasses.replace(EnvOptions(), **change))


@pytest.mark.parametrize(
    "change", [{"horizon_steps": 0}, {"horizon_steps": 289}, {"tolerance_pu": 0.0},
               {"voltage_ramp": -0.1}, {"lost_load_price": -1.0}, {"maintenance_per_day": 3.0}],
)  # fmt: skip
def test_options_out_of_range_are_refused_by_name(change):
    (name,) = change
    with pytest.raises(ValueError, match=f"env.{name}"):
        EnvOptions(**change)


def test_a_forecast_that_stays_wrong_surprises_once(env, series):
    # 10 MW more than anyone foresaw from row 5 on: the step to row 5 is surprised, no other is.
    share = 10.0 / series.load_p_mw[0].sum()
    more = jnp.where(jnp.arange(env.horizon + 1)[:, None] >= 5, 1.0 + share, 1.0)
    wrong = series.replace(load_p_mw=series.load_p_mw * more)
    surprise = lambda day, t: float(frequency_response.unforeseen_mw(day, jnp.int32(t)))
    for t in range(9):
        extra = surprise(wrong, t) - surprise(series, t)
        assert extra == pytest.approx(10.0 if t == 4 else 0.0, abs=0.5), t


def test_a_forecast_that_is_corrected_surprises_nobody_and_a_ramp_only_beyond_its_slope(
    env, series
):
    surprise = lambda day, t: float(frequency_response.unforeseen_mw(day, jnp.int32(t)))
    late = jnp.arange(env.horizon + 1)[:, None] >= 5
    corrected = series.replace(
        load_forecast_mw=series.load_forecast_mw + jnp.where(late, 40.0, 0.0)
    )
    for t in range(9):
        assert surprise(corrected, t) == pytest.approx(surprise(series, t), abs=1e-3), t
    # Load rises by 6 MW a step; the forecast says 4.
    rows, leads = np.arange(env.horizon + 1)[:, None], np.array(series_lib.LEAD_STEPS)[None]
    still = lambda leaf: jnp.broadcast_to(leaf[:1], leaf.shape) if leaf.ndim else leaf
    flat = jax.tree.map(still, series)
    share = flat.load_p_mw[:1] / flat.load_p_mw[0].sum()
    ramp = flat.replace(
        load_p_mw=flat.load_p_mw + 6.0 * rows * share,
        renewable_mw=0.0 * flat.renewable_mw,
        load_forecast_mw=jnp.asarray(200.0 + 4.0 * (rows + leads), jnp.float32),
        renewable_forecast_mw=jnp.zeros_like(flat.renewable_forecast_mw),
    )
    for t in range(4):
        assert surprise(ramp, t) == pytest.approx(2.0, abs=1e-2)
    assert surprise(ramp, -1) == 0.0
