"""The secured plan: within thermal limits, as near to the proportional one as can be."""

import dataclasses

import jax
import jax.experimental
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from envs import grid_env
from envs.case import case_file
from envs.contingency import distribution_factors
from envs.options import EnvOptions
from envs.powerflow import base_point, network, solve
from envs.schedule import schedule, secured


@pytest.fixture(scope="module")
def case300():
    return case_file.load("case300")


def _flows_mw(grid, plan, demand):
    """Returns DC flows by the angles of a power flow, not by distribution factors."""
    load = grid.bus.load_p_mw * demand / grid.bus.load_p_mw.sum()
    p = (np.bincount(grid.gen.bus, plan, grid.n_bus) - load) / grid.base_mva
    with jax.experimental.enable_x64():
        net = network.build(grid, p_pu=p, q_pu=np.zeros_like(p), dtype=np.float64)
        solution = solve.solver(net, method="dc")(solve.base_request(net, p, np.zeros_like(p)))
        assert solution.converged and abs(float(solution.slack_pu)) < 0.02  # of shunts
        return np.asarray(solution.p_from_pu) * grid.base_mva


@pytest.mark.parametrize("share", [0.5, 0.65, 0.8])
def test_flows_are_within_their_share_of_the_limits(case300, share):
    demand = share * case300.bus.load_p_mw.sum()
    plan, even = (
        np.asarray(schedule.SCHEDULES[name](case300, np.array([demand]))[0], float)
        for name in ("secured", "proportional")
    )
    assert abs(plan.sum() - demand) < 1e-6 * demand
    low, high = case300.gen.p_min_mw, case300.gen.p_max_mw
    assert np.all(plan >= low - 1e-3) and np.all(plan <= high + 1e-3)
    loading = np.abs(_flows_mw(case300, plan, demand)) / case300.branch.rate_mva
    before = np.abs(_flows_mw(case300, even, demand)) / case300.branch.rate_mva
    assert before.max() > 0.71, "nothing to do"
    assert loading.max() < 0.702


def test_no_plan_within_limits_is_nearer(case300):
    demands, plans = secured.table(case300)
    k = len(demands) // 2
    even = np.asarray(schedule.proportional(case300, demands[k : k + 1])[0], float)
    # All branches at once, where `table` adds those that are overlooked.
    ptdf = distribution_factors.power_transfer(case300)
    n = case300.n_gen
    response, load = ptdf[:, case300.gen.bus], case300.bus.load_p_mw
    fixed = ptdf @ (load * demands[k] / load.sum())
    fixed += response @ even - fixed - _flows_mw(case300, even, demands[k])
    limit = 0.7 * case300.branch.rate_mva
    best = scipy.optimize.linprog(
        np.concatenate([np.zeros(n), np.ones(n)]),
        A_ub=np.block([
            [response, np.zeros_like(response)], [-response, np.zeros_like(response)],
            [np.eye(n), -np.eye(n)], [-np.eye(n), -np.eye(n)],
        ]),
        b_ub=np.concatenate([limit + fixed, limit - fixed, even, -even]),
        A_eq=np.concatenate([np.ones(n), np.zeros(n)])[None], b_eq=[demands[k]],
        bounds=[*zip(case300.gen.p_min_mw, case300.gen.p_max_mw), *[(0, None)] * n],
    )  # fmt: skip
    moved = np.abs(plans[k] - even).sum()
    assert best.status == 0 and best.fun > 100
    assert moved == pytest.approx(best.fun, rel=3e-3)  # `even` is single precision


def test_where_limits_leave_room_the_plan_is_proportional(case14):
    demands, plans = secured.table(case14)
    even = schedule.proportional(case14, demands)
    np.testing.assert_allclose(plans, even, atol=1e-3 * demands.max())


def test_limits_that_cannot_be_kept_are_passed_by_little(case14):
    tight = dataclasses.replace(case14.branch, rate_mva=0.2 * case14.branch.rate_mva)
    grid = dataclasses.replace(case14, branch=tight)
    demands, plans = secured.table(grid)
    np.testing.assert_allclose(plans.sum(1), demands, rtol=1e-9)
    excess = lambda plan, demand: np.maximum(
        np.abs(_flows_mw(grid, plan, demand)) - 0.7 * grid.branch.rate_mva, 0.0
    ).sum()
    even = np.asarray(schedule.proportional(grid, demands), float)
    k = np.abs(demands - 0.8 * grid.bus.load_p_mw.sum()).argmin()
    assert 0 < excess(plans[k], demands[k]) < excess(even[k], demands[k])


def test_units_that_take_power_from_the_grid_are_planned(case14):
    gen = dataclasses.replace(case14.gen, p_min_mw=np.where(case14.gen.is_unit, -50.0, 0.0))
    grid = dataclasses.replace(case14, gen=gen)
    demands, plans = secured.table(grid)
    np.testing.assert_allclose(plans.sum(1), demands, atol=1e-6)


@pytest.mark.slow
def test_days_of_a_large_grid_are_survived():
    env = grid_env.make(EnvOptions(case="case300", branch_faults_per_day=0, gen_faults_per_day=0,
                                   maintenance_per_day=0))  # fmt: skip
    start = jax.jit(lambda key, row: env.start(env.sample_series(key), row).replace(series=None))
    keys = jax.random.split(jax.random.PRNGKey(0), 8)
    days = jax.jit(jax.vmap(env.sample_series))(keys)
    states = jax.jit(jax.vmap(start))(keys, jnp.arange(8) * 30)
    idle = jnp.zeros((8, env.layout.action_size))
    step = jax.jit(jax.vmap(env.transition))
    for _ in range(6):
        states = step(states, idle, days)
        assert not states.terminated.any()
    assert float(states.metrics["rho_max"].max()) < 1.0


def test_a_grid_whose_flows_are_open_is_refused_with_the_remedy(case14):
    # A negative reactance that cancels the one beside it.
    branch = case14.branch
    last = int(np.flatnonzero(case14.bus.id[branch.to_bus] == 8)[0])
    again = {
        field.name: np.append(getattr(branch, field.name), getattr(branch, field.name)[last])
        for field in dataclasses.fields(branch)
    }
    again["x_pu"][-1] *= -1
    grid = dataclasses.replace(case14, branch=type(branch)(**again))
    with pytest.raises(ValueError, match="case14: no plan .* set env.schedule to proportional"):
        secured.table(grid)


def test_a_grid_that_exports_is_planned(case14):
    load = np.where(case14.bus.id == 3, -300.0, case14.bus.load_p_mw)
    gen = dataclasses.replace(case14.gen, p_min_mw=np.where(case14.gen.is_unit, -100.0, 0.0))
    bus = dataclasses.replace(case14.bus, load_p_mw=load)
    demands, plans = secured.table(dataclasses.replace(case14, bus=bus, gen=gen))
    assert load.sum() < 0 and demands[0] < load.sum() < demands[-1]
    np.testing.assert_allclose(plans.sum(1), demands, atol=1e-6)


def test_a_plan_without_solution_leaves_the_base_of_loads_shared_by_pmax(monkeypatch, case14):
    plan = np.zeros((1, case14.n_gen))
    plan[0, case14.units[-1]] = 1e5  # MW
    monkeypatch.setitem(schedule.SCHEDULES, "proportional", lambda grid, demand: plan)
    options = EnvOptions(case="case14", schedule="proportional")
    named = grid_env.check(options)
    base = grid_env._network(named.grid, named.fleet, options).base
    p, q = base_point.nominal_injections(case14, grid_env._BASE_LEVEL)
    expected = base_point.solve(case14, p, q)
    assert base.converged
    np.testing.assert_allclose(base.va_rad, expected.va_rad, atol=1e-9)
    monkeypatch.undo()
    planned = grid_env._network(named.grid, named.fleet, options).base
    assert abs(planned.va_rad - expected.va_rad).max() > 1e-3
