"""Generators that can only draw: read, planned, dispatched, balanced and paid as what they are."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agents.baselines import acopf_model, acopf_problem, dc_controller, dc_program
from envs import grid_env
from envs.case import case_file, fleet_file, matpower, pglib
from envs.options import EnvOptions
from envs.powerflow import dc_network
from envs.schedule import day_ahead, schedule, secured
from envs.step import actions as actions_lib
from envs.step.options import StepOptions
from envs.time_series import series as series_lib
from evaluation import element_names

LOAD = 2  # the generator of case14 that is turned into a dispatchable load, at bus 3
LEAST, DRAWN, BENEFIT = -40.0, -25.0, 15.0  # MW, MW and $/MWh, between the costs of both units
CASE240 = pglib.folder() / "pglib_opf_case240_pserc.m"


def _file(folder, benefit=BENEFIT):
    """Writes case14 with a dispatchable load in the place of the condenser at bus 3."""
    text = (pglib.folder() / pglib.FILES["case14"]).read_text()
    limits = "\t3\t 0.0\t 20.0\t 40.0\t 0.0\t 1.0\t 100.0\t 1\t 0\t 0.0;"
    cost = "0.000000\t   0.000000\t   0.000000; % SYNC"
    assert text.count(limits) == 1 and text.count(cost) == 3
    text = text.replace(
        limits, f"\t3\t {DRAWN}\t 20.0\t 40.0\t 0.0\t 1.0\t 100.0\t 1\t 0\t {LEAST};"
    )
    path = folder / "pump.m"
    path.write_text(text.replace(cost, f"0.000000\t   {benefit}\t   0.000000; % PUMP", 1))
    return path


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return _file(tmp_path_factory.mktemp("case"))


@pytest.fixture(scope="module")
def grid(path):
    return matpower.read(path)


@pytest.fixture(scope="module")
def env(path):
    calm = dict(branch_faults_per_day=0.0, gen_faults_per_day=0.0, maintenance_per_day=0.0)
    return grid_env.make(EnvOptions(case=str(path), schedule="proportional", **calm))


@pytest.fixture(scope="module")
def step(env):
    return jax.jit(env.detailed)


@pytest.fixture(scope="module")
def start(env):
    return jax.jit(env.start)


@pytest.fixture(scope="module")
def series(env):
    return jax.jit(env.sample_series)(jax.random.PRNGKey(0))


def test_a_generator_that_can_only_draw_is_a_unit_without_capacity(grid, case14):
    assert grid.gen.is_dispatchable_load.tolist() == [False, False, True, False, False]
    assert grid.units.tolist() == [0, 1, 2] and grid.condensers.tolist() == [3, 4]
    assert grid.gen.capacity_mw.tolist() == case14.gen.capacity_mw.tolist()
    np.testing.assert_array_equal(grid.capacity_mw, case14.capacity_mw)
    assert grid.gen.scheduled_load_mw.tolist() == [0, 0, DRAWN, 0, 0]
    assert grid.gen.cost_c1[LOAD] == BENEFIT
    assert element_names.unit(grid, LOAD) == "dispatchable load at bus 3"


def test_no_shipped_case_has_one():
    for name in case_file.names():
        gen = case_file.load(name).gen
        assert not gen.is_dispatchable_load.any() and not gen.scheduled_load_mw.any()
        assert not gen.p_min_mw[~gen.is_unit].any() and not gen.p_max_mw[~gen.is_unit].any()


def _plan(make, grid, demand):
    return np.asarray(jax.jit(functools.partial(make, grid))(jnp.asarray(demand, jnp.float32)))


def test_a_plan_by_size_keeps_what_the_file_draws_while_units_have_room(grid):
    capacity = grid.gen.capacity_mw.sum()
    lowest = float(grid.gen.p_min_mw.sum())
    demand = np.array([lowest, -30.0, 100.0, 250.0, capacity + DRAWN, capacity - 10.0, capacity])
    drawn = [LEAST, -30.0, DRAWN, DRAWN, DRAWN, -10.0, 0.0]
    plan = _plan(schedule.proportional, grid, demand)
    np.testing.assert_allclose(plan[:, LOAD], drawn, atol=0.01)
    np.testing.assert_allclose(plan.sum(1), demand, atol=0.02)
    np.testing.assert_allclose(plan[:, 0] * 59, plan[:, 1] * 340, atol=20)
    exact = [secured._proportional(grid.gen, total) for total in demand]
    np.testing.assert_allclose(plan, exact, atol=0.02)


def test_the_secured_plan_sums_to_its_demand(grid):
    demand, plan = secured.table(grid)
    np.testing.assert_allclose(plan.sum(1), demand, atol=1e-6)
    np.testing.assert_allclose(plan[(demand > 50) & (demand < 300), LOAD], DRAWN)
    assert (plan >= grid.gen.p_min_mw - 1e-9).all() and (plan <= grid.gen.p_max_mw + 1e-9).all()


def test_a_plan_by_cost_draws_while_the_price_is_below_the_benefit(grid):
    cheap = grid.gen.p_max_mw[0]
    demand = np.array([200.0, cheap - 45.0, cheap - 15.0, cheap + 5.0])
    plan = _plan(schedule.merit_order, grid, demand)
    np.testing.assert_allclose(plan[:, LOAD], [LEAST, LEAST, -15.0, 0.0], atol=0.1)
    np.testing.assert_allclose(plan.sum(1), demand, atol=0.05)
    prices = dc_controller.marginal_cost(grid.gen, demand)
    np.testing.assert_allclose(prices[[0, 2, 3]], [7.920951, BENEFIT, 23.269494], rtol=1e-4)


def test_a_benefit_that_falls_with_what_is_drawn_is_followed_below_every_cost():
    gen = [jnp.asarray(x) for x in ([0.0, -50.0], [100.0, 0.0], [10.0, 8.0], [0.0, 0.1])]
    # All of it is drawn only where a MWh costs at most 8 + 2 · 0.1 · (−50) = −2 $.
    low, high, c1, c2 = gen
    plan = jax.jit(schedule.cheapest)(low, high, c1, c2, jnp.asarray(-50.0))
    np.testing.assert_allclose(plan, [0.0, -50.0], atol=0.01)


def test_the_table_of_plans_reaches_from_all_drawn_to_all_produced(grid):
    demand = jnp.asarray([LEAST, 240.0, 399.0])
    plan = np.asarray(day_ahead.plan(grid, "proportional", demand))
    np.testing.assert_allclose(plan.sum(1), demand, atol=0.05)
    np.testing.assert_allclose(plan[:, LOAD], [LEAST, DRAWN, 0.0], atol=0.5)


@pytest.mark.parametrize("benefit, drawn", [(BENEFIT, LEAST), (5.0, 0.0)])
def test_ac_opf_serves_what_is_worth_more_than_it_costs(tmp_path, case14, benefit, drawn):
    model = acopf_model.Model(matpower.read(_file(tmp_path, benefit)))
    best = model.solve(acopf_problem.nominal(model.grid))
    assert best.optimal and best.p_mw[LOAD] == pytest.approx(drawn, abs=0.01)
    load = case14.bus.load_p_mw.copy()
    load[case14.gen.bus[LOAD]] -= drawn
    firm = acopf_model.Model(case14)
    firm = firm.solve(acopf_problem.nominal(firm.grid)._replace(load_p_mw=load))
    assert best.cost_per_h == pytest.approx(firm.cost_per_h + benefit * drawn, abs=0.1)


@pytest.mark.parametrize("benefit, drawn", [(BENEFIT, LEAST), (5.0, 0.0)])
def test_dc_opf_serves_what_is_worth_more_than_it_costs(tmp_path, benefit, drawn):
    grid = matpower.read(_file(tmp_path, benefit))
    fleet, gen = fleet_file.load("plain", grid), grid.gen
    prices = StepOptions()
    program = dc_program.Program(grid, fleet, prices, (1.0,), 60.0 * fleet.units.ramp_mw_per_min)
    everything = np.ones(grid.n_branch, bool), np.ones(grid.n_gen, bool)
    none = np.zeros
    period = dc_program.Period(
        dc_network.DcNetwork(grid).topology(*everything, grid.bus.load_p_mw), -grid.bus.load_p_mw,
        grid.bus.load_p_mw[grid.loads], none(grid.loads.size), none(0), gen.p_min_mw, gen.p_max_mw,
        none(0), grid.branch.rate_mva,
    )  # fmt: skip
    plan = program.solve([period], none(0))
    assert plan.unit_mw[0, LOAD] == pytest.approx(drawn, abs=1e-6)
    assert plan.unit_mw.sum() == pytest.approx(259.0)


def _missing_mw(env, state, detail):
    """Returns what generators, batteries and plants give beyond all load and losses, MW."""
    given = state.gen_p_mw.sum() + detail.renewable_mw.sum() + detail.feasible.storage_mw.sum()
    return float(given - detail.feasible.load_p_mw.sum() - state.losses_mw)


def test_an_action_moves_what_is_drawn_and_the_grid_stays_balanced(env, start, step, series):
    state = start(series)
    control = env.layout.action["generator"].start + LOAD
    assert env.layout.action_names[control] == "dispatchable load: bus 3"
    assert "unit_p: bus 3" in env.layout.observation_names
    for value, drawn in ((0.0, DRAWN), (-1.0, LEAST), (0.5, 0.5 * DRAWN), (1.0, 0.0)):
        action = jnp.zeros(env.layout.action_size).at[control].set(value)
        state, detail = step(state, action, series)
        assert float(state.gen_p_mw[LOAD]) == pytest.approx(drawn, abs=0.01)
        assert _missing_mw(env, state, detail) == pytest.approx(0.0, abs=0.05)
        assert float(detail.bus_p_mw.sum()) == pytest.approx(float(state.losses_mw), abs=0.05)
        p = np.asarray(state.gen_p_mw)
        paid = env.dt_h * (7.920951 * p[0] + 23.269494 * p[1] + BENEFIT * p[LOAD])
        assert float(state.terms["generation_cost"]) == pytest.approx(paid, rel=1e-5)
        assert float(state.terms["energy_not_served"]) == 0.0


def test_what_a_controller_asks_for_comes_back_from_the_action(env, start, series):
    state = start(series)
    target = jnp.asarray([100.0, 30.0, -33.0, 0.0, 0.0])
    action = env.action_for(state, series, actions_lib.Targets(unit_mw=target))
    read = actions_lib.read(env.layout, env.site, action)
    now = series.at(1).replace(gen_status=jnp.zeros(5, jnp.uint8))  # in service
    feasible = actions_lib.project(env.limits, read, now, state.replace(gen_p_mw=target))
    np.testing.assert_allclose(feasible.gen_target_mw[:3], target[:3], rtol=1e-4)


@pytest.mark.parametrize("more_mw, short", [(60.0, False), (120.0, True)])
def test_a_shortage_interrupts_it_before_firm_load(env, start, step, series, more_mw, short):
    # Units can follow by 40 MW in a step, 10 % of Pmax.
    load = series.load_p_mw.at[1:].add(more_mw / env.grid.loads.size)
    before, idle = start(series), jnp.zeros(env.layout.action_size)
    usual, _ = step(before, idle, series)
    assert float(usual.gen_p_mw[LOAD]) == pytest.approx(DRAWN, abs=0.01)
    state, detail = step(before, idle, series.replace(load_p_mw=load))
    missing = _missing_mw(env, state, detail)
    if short:
        assert float(state.gen_p_mw[LOAD]) == pytest.approx(0.0, abs=0.01) and missing < -10
    else:
        assert DRAWN + 5 < float(state.gen_p_mw[LOAD]) < -1
        assert missing == pytest.approx(0.0, abs=0.05)


def test_losing_it_raises_the_frequency(env, start, step, series):
    lost = series.replace(gen_status=series.gen_status.at[1:, LOAD].set(series_lib.FAULT))
    before, idle = start(series), jnp.zeros(env.layout.action_size)
    (usual, _), (state, _) = step(before, idle, series), step(before, idle, lost)
    assert float(state.gen_p_mw[LOAD]) == 0.0
    rise = float(state.metrics["rocof_hz_per_s"] - usual.metrics["rocof_hz_per_s"])
    inertia = env.fleet.units.inertia_s * env.fleet.units.rating_mva
    assert inertia[LOAD] == 0.0
    # Governors have half a second to hold against it.
    free = -DRAWN * 60.0 / (2 * inertia.sum())
    assert 0.7 * free < rise < free


def test_its_fleet_is_plain_and_a_file_may_call_it_a_pump(grid, tmp_path):
    units = fleet_file.load("plain", grid).units
    assert units.kind.tolist() == ["thermal", "thermal", "dispatchable_load", *["condenser"] * 2]
    assert units.ramp_mw_per_min[LOAD] == pytest.approx(8.0) and np.isinf(units.droop[LOAD])
    content = json.loads((fleet_file.SHIPPED / "case14.json").read_text())
    file, kinds = tmp_path / "pump.json", ["gas", "gas", "hydro", "condenser", "condenser"]

    def read(kinds):
        content["units"]["kind"] = kinds
        file.write_text(json.dumps(content))
        return fleet_file.load(str(file), grid).units

    pump = read(kinds)
    assert pump.inertia_s[LOAD] == 3.0 and pump.rating_mva[LOAD] == pytest.approx(40 / 0.85)
    for row, kind in ((LOAD, "condenser"), (0, "dispatchable_load")):
        wrong = [*kinds[:row], kind, *kinds[row + 1 :]]
        with pytest.raises(ValueError, match=f"row {row + 1}: kind is {kind}, but this generator"):
            read(wrong)


def test_units_share_before_dispatchable_loads_give_way(grid):
    low, high = jnp.asarray(grid.gen.p_min_mw), jnp.asarray(grid.gen.p_max_mw)
    by_size = jax.jit(functools.partial(schedule.by_size, grid.gen))
    for total, drawn in ((200.0, DRAWN), (390.0, -9.0), (420.0, 0.0), (-33.0, -33.0)):
        power = by_size(low, high, jnp.asarray(total))
        assert float(power[LOAD]) == pytest.approx(drawn, abs=0.01)


def test_case240_keeps_its_three_pumps():
    grid = matpower.read(CASE240)
    loads = grid.gen.is_dispatchable_load
    assert grid.gen.p_min_mw[loads].tolist() == [-1006.0, -510.0, -449.0]
    plan = _plan(schedule.proportional, grid, [144_000.0])
    assert plan[0, loads].tolist() == [-503.0, -255.0, -224.5]
    assert plan.sum() == pytest.approx(144_000.0, rel=1e-6)
