"""AC optimal power flow: PGLib's objectives, limits kept, a controller and a bound."""

import dataclasses

import jax
import numpy as np
import pytest

from agents import controllers
from agents.baselines import acopf, acopf_model, acopf_problem, loadability
from envs import grid_env
from envs.case import case_file, matpower, pglib
from envs.options import EnvOptions
from envs.powerflow import base_point, matrices
from envs.step import actions as actions_lib, reactive_power
from envs.step.options import StepOptions
from envs.time_series import series as series_lib
from evaluation import episodes, metrics

CASES = ("case14", "case30", "case57", "case118", "case300")


@pytest.mark.parametrize("case", CASES)
def test_objectives_are_those_of_pglib(case):
    model = acopf_model.Model(case_file.load(case))
    solution = model.solve(acopf_problem.nominal(model.grid))
    assert solution.optimal
    published = pglib.baselines()[f"{case}_ieee"].objective
    assert solution.cost_per_h == pytest.approx(published, rel=1e-4)


@pytest.mark.parametrize("case", ["case14_ieee__sad", "case118_ieee__sad"])
def test_objectives_with_small_angle_differences_are_those_of_pglib(case):
    grid = matpower.read(pglib.path(case))
    model = acopf_model.Model(grid)
    solution = model.solve(acopf_problem.nominal(model.grid))
    assert solution.optimal
    assert solution.cost_per_h == pytest.approx(pglib.baselines()[case].objective, rel=1e-4)
    across = solution.va_rad[grid.branch.from_bus] - solution.va_rad[grid.branch.to_bus]
    assert (across <= grid.branch.angle_max_rad + 1e-6).all()
    assert (across >= grid.branch.angle_min_rad - 1e-6).all()


@pytest.fixture(scope="module")
def sad14():
    return matpower.read(pglib.path("case14_ieee__sad"))


def test_angle_limits_that_nothing_watched_are_kept_in_the_end(sad14):
    model = acopf_model.Model(sad14)
    kept = model.solve(acopf_problem.nominal(model.grid))
    hasty = acopf_model.Model(sad14)
    hasty._near, hasty._near_angle = model._near, np.zeros(0, int)
    solution = hasty.solve(acopf_problem.nominal(hasty.grid))
    assert solution.optimal and solution.iterations > kept.iterations
    assert solution.cost_per_h == pytest.approx(kept.cost_per_h, rel=1e-5)


def test_an_open_branch_limits_no_angle(case14):
    # Line 2–3 alone may carry no angle; open, it does not matter.
    high = case14.branch.angle_max_rad.copy()
    high[2] = 1e-3
    branch = dataclasses.replace(case14.branch, angle_max_rad=high)
    model = acopf_model.Model(dataclasses.replace(case14, branch=branch))
    free, closed = acopf_model.Model(case14), np.ones(case14.n_branch)
    assert (
        model.solve(acopf_problem.nominal(model.grid)).cost_per_h
        > free.solve(acopf_problem.nominal(free.grid)).cost_per_h + 1
    )
    closed[2] = 0.0
    costs = [
        m.solve(acopf_problem.nominal(m.grid)._replace(closed=closed)).cost_per_h
        for m in (model, free)
    ]
    assert costs[0] == pytest.approx(costs[1], rel=1e-5)


def test_breaking_an_angle_limit_is_bought_where_it_is_cheaper_than_to_keep_it(sad14):
    for price in (100.0, 1e7):
        model = acopf_model.Model(sad14, StepOptions(angle_price=price))
        kept, least = (
            model.solve(acopf_problem.nominal(model.grid)),
            model.cheapest(acopf_problem.nominal(model.grid)),
        )
        across = least.va_rad[sad14.branch.from_bus] - least.va_rad[sad14.branch.to_bus]
        beyond = np.maximum(np.abs(across) - sad14.branch.angle_max_rad, 0.0).sum()
        assert kept.optimal and least.optimal
        if price == 100.0:
            assert beyond > 0.01 and least.cost_per_h < 0.8 * kept.cost_per_h
            fuel = least.cost_per_h - price * beyond
            assert fuel == pytest.approx(least.operating_per_h, rel=1e-4)
        else:
            assert beyond < 1e-6 and least.cost_per_h == pytest.approx(kept.cost_per_h)


def test_the_bound_keeps_angle_limits_unless_they_are_sold(monkeypatch):
    monkeypatch.setattr(reactive_power, "CONDENSER_LOSS", 0.0)  # PGLib has none
    options = EnvOptions(
        case=str(pglib.path("case14_ieee__sad")), horizon_steps=1, load_control_price=1e4
    )
    costs = {}
    for price in (0.0, 100.0):
        env = grid_env.make(dataclasses.replace(options, angle_price=price))
        if not costs:
            days = jax.tree.map(np.asarray, episodes.held_out(env, "test", 1, seed=0))
            shape, loads = days.load_p_mw.shape, env.grid.loads
            days = days.replace(
                load_p_mw=np.broadcast_to(env.grid.bus.load_p_mw[loads], shape),
                load_q_mvar=np.broadcast_to(env.grid.bus.load_q_mvar[loads], shape),
                branch_status=np.zeros_like(days.branch_status),
                gen_status=np.zeros_like(days.gen_status),
            )
        bound = acopf.bound(env, days, count=1)
        assert (bound.optimal_share == 1).all()
        costs[price] = bound.cost.sum() / env.dt_h
    published = pglib.baselines()
    assert costs[0.0] == pytest.approx(published["case14_ieee__sad"].objective, rel=1e-4)
    assert costs[100.0] == pytest.approx(published["case14_ieee"].objective, rel=0.02)


@pytest.fixture(scope="module")
def model(case118):
    return acopf_model.Model(case118)


def test_an_optimum_keeps_every_limit_and_balances_every_bus(case118, model):
    solution, gen, bus = model.solve(acopf_problem.nominal(model.grid)), case118.gen, case118.bus
    assert solution.rho.max() <= 1 + 1e-6
    assert (solution.p_mw <= gen.p_max_mw + 1e-4).all()
    assert (solution.q_mvar <= gen.q_max_mvar + 1e-4).all()
    assert (solution.q_mvar >= gen.q_min_mvar - 1e-4).all()
    assert (solution.vm_pu >= bus.vm_min_pu - 1e-6).all()
    assert (solution.vm_pu <= bus.vm_max_pu + 1e-6).all()
    # Another solver comes, with its set-points, to the same voltages: the balance holds.
    at = lambda x: np.bincount(gen.bus, x, case118.n_bus)
    fixed = dataclasses.replace(
        case118, gen=dataclasses.replace(gen, vm_setpoint_pu=solution.vm_pu[gen.bus])
    )
    p = (at(solution.p_mw) - bus.load_p_mw) / case118.base_mva
    solved = base_point.solve(fixed, p, -bus.load_q_mvar / case118.base_mva)
    assert solved.converged
    np.testing.assert_allclose(solved.vm_pu, solution.vm_pu, atol=1e-5)


def test_a_warm_start_comes_to_the_same_optimum(model):
    nominal = acopf_problem.nominal(model.grid)
    near = nominal._replace(load_p_mw=0.97 * nominal.load_p_mw)
    cold = model.solve(near)
    warm = model.solve(near, model.solve(nominal).warm)
    assert warm.cost_per_h == pytest.approx(cold.cost_per_h, rel=1e-5)
    assert warm.iterations < cold.iterations


def test_limits_left_out_at_first_are_kept_in_the_end(case118):
    # A limit just below what a branch carries that nothing watched: the first program passes it.
    model = acopf_model.Model(case118)
    free = model.solve(acopf_problem.nominal(model.grid))
    unwatched = np.setdiff1d(np.arange(case118.n_branch), model._near)
    quiet = int(unwatched[free.rho[unwatched].argmax()])
    rate = case118.branch.rate_mva.copy()
    rate[quiet] *= 0.95 * free.rho[quiet]
    tight = dataclasses.replace(case118, branch=dataclasses.replace(case118.branch, rate_mva=rate))
    squeezed = acopf_model.Model(tight)
    squeezed._near = model._near  # as if it had not been seen
    solution = squeezed.solve(acopf_problem.nominal(squeezed.grid))
    assert solution.optimal and solution.rho[quiet] <= 1 + 1e-5
    assert solution.cost_per_h > free.cost_per_h


def test_an_outage_and_an_island_are_solved(case14):
    model = acopf_model.Model(case14)
    nominal = acopf_problem.nominal(model.grid)
    bridge = int(np.flatnonzero((case14.branch.from_bus == 6) & (case14.branch.to_bus == 7))[0])
    closed, energised = np.ones(case14.n_branch), np.ones(case14.n_bus)
    closed[bridge], energised[7] = 0.0, 0.0
    solution = model.solve(nominal._replace(closed=closed, energised=energised))
    assert solution.optimal and solution.rho[bridge] == 0
    out = np.ones(case14.n_branch)
    out[2] = 0.0
    meshed = model.solve(nominal._replace(closed=out))
    assert meshed.optimal and meshed.rho[2] == 0
    assert meshed.cost_per_h > model.solve(nominal).cost_per_h


@pytest.mark.parametrize(("rating", "angle"), [(0.0, 360.0), (40.0, 360.0), (0.0, 30.0)])
def test_the_only_generator_of_two_buses_carries_them(rating, angle):
    # No unit, load or plant may be moved but that one, and no other has a limit.
    grid = case_file.read({
        "version": "2", "baseMVA": 10.0,
        "bus": np.array([
            [1, 3, 0, 0, 0, 0, 1, 1, 0, 20, 1, 1.05, 0.95],
            [2, 1, 30, 10, 0, 0, 1, 1, 0, 20, 1, 1.05, 0.95],
        ]),
        "gen": np.array([[1, 0, 0, 100, -100, 1, 10, 1, 100, 0]]),
        "branch": np.array([[1, 2, 0, 0.01, 0, rating, 0, 0, 0, 0, 1, -angle, angle]]),
        "gencost": np.array([[2, 0, 0, 3, 0, 40, 0]]),
    }).grid  # fmt: skip
    model = acopf_model.Model(grid)
    problem = acopf_problem.nominal(grid)
    assert model.solve(problem).cost_per_h == pytest.approx(40.0 * 30.0)
    # Beyond what the unit can give, load is lost for its price.
    short = model.solve(problem._replace(p_high_mw=np.array([20.0])))
    lost = StepOptions().lost_load_price * 10.0
    assert not short.optimal and short.cost_per_h == pytest.approx(40.0 * 20.0 + lost, rel=1e-4)
    assert model.cheapest(problem, short.warm).cost_per_h == pytest.approx(40.0 * 30.0)
    if not rating and angle > 90:
        p_mw, q_mvar = problem.load_p_mw[grid.loads], problem.load_q_mvar[grid.loads]
        growth = loadability.factor(grid, p_mw, q_mvar, np.zeros(2))
        assert growth == pytest.approx(100.0 / 30.0, rel=1e-3)


def test_where_no_point_keeps_every_limit_prices_decide(case14):
    model = acopf_model.Model(case14)
    nominal = acopf_problem.nominal(model.grid)
    solution = model.solve(nominal._replace(load_p_mw=3 * nominal.load_p_mw))
    assert solution.solved and not solution.optimal
    # At least what is beyond all units' power is not served, at the value of lost load.
    lack = 3 * nominal.load_p_mw.sum() - case14.gen.p_max_mw.sum()
    assert solution.cost_per_h > 10_000 * lack


def test_breaking_a_limit_is_bought_where_it_is_cheaper_than_to_keep_it(case118):
    nominal = acopf_problem.nominal(case118)
    rated = case118.branch.rate_mva
    loads = nominal._replace(load_p_mw=1.2 * nominal.load_p_mw)
    for price in (1.0, 1e4):
        model = acopf_model.Model(case118, StepOptions(overload_price=price))
        kept, least = model.solve(loads), model.cheapest(loads)
        elastic, _ = model._first(loads, (("elastic", None),))
        assert kept.optimal and least.optimal
        cheaper = min(kept.cost_per_h, elastic.result.cost)
        assert least.cost_per_h == pytest.approx(cheaper, rel=1e-4)
        assert (least.rho[np.isfinite(rated)].max() > 1.001) == (price == 1.0)
        # What is next begins from the point that keeps limits.
        again = model.cheapest(loads, least.warm)
        assert again.cost_per_h == pytest.approx(least.cost_per_h, rel=1e-4)
    assert kept.cost_per_h == pytest.approx(least.cost_per_h)


def test_loadability_ends_where_angle_limits_do(case14, sad14):
    p, q = (x[case14.loads] for x in (case14.bus.load_p_mw, case14.bus.load_q_mvar))
    free, most = (loadability.factor(g, p, q, np.zeros(14)) for g in (case14, sad14))
    assert most < 0.9 * free
    model = acopf_model.Model(sad14)
    nominal = acopf_problem.nominal(model.grid)
    at = lambda k: model.solve(
        nominal._replace(load_p_mw=k * nominal.load_p_mw, load_q_mvar=k * nominal.load_q_mvar)
    )
    assert at(most - 1e-3).optimal and not at(most + 1e-2).optimal


def test_limits_are_kept_again_once_they_can_be(case14):
    model = acopf_model.Model(case14)
    nominal = acopf_problem.nominal(model.grid)
    broken = model.solve(nominal._replace(load_p_mw=3 * nominal.load_p_mw))
    assert not broken.optimal
    again = model.solve(nominal, broken.warm)
    assert again.optimal
    assert again.cost_per_h == pytest.approx(model.solve(nominal).cost_per_h, rel=1e-5)


def test_units_that_cannot_go_low_enough_are_forced_for_a_price(case14):
    model = acopf_model.Model(case14)
    nominal = acopf_problem.nominal(model.grid)
    least = np.where(case14.gen.is_unit, 0.4 * nominal.p_high_mw, 0.0)
    solution = model.solve(
        nominal._replace(load_p_mw=0.3 * nominal.load_p_mw, p_low_mw=least, p_high_mw=least)
    )
    surplus = least.sum() - 0.3 * nominal.load_p_mw.sum()
    assert solution.solved and not solution.optimal
    assert solution.p_mw.sum() == pytest.approx(0.3 * nominal.load_p_mw.sum(), rel=0.05)
    assert solution.cost_per_h > 0.95 * model.prices.surplus_price * surplus


def test_condensers_draw_what_reactive_power_costs_them(case118):
    gen, bus, problem = case118.gen, case118.bus, acopf_problem.nominal(case118)
    loss = np.where(gen.is_unit, 0.0, 0.05)
    controls = acopf_problem.Controls(condensers=case118.condensers, condenser_loss=0.05)
    drawn = acopf_model.Model(case118, controls=controls).solve(problem)
    without = acopf_model.Model(case118).solve(problem)
    draw = loss * np.abs(drawn.q_mvar)
    assert drawn.optimal and without.cost_per_h < drawn.cost_per_h
    # It is less than what they would draw at the optimum that knows nothing of it.
    assert 1.0 < draw.sum() < 0.99 * (loss * np.abs(without.q_mvar)).sum()
    at = lambda x: np.bincount(gen.bus, x, case118.n_bus)
    fixed = dataclasses.replace(
        case118, gen=dataclasses.replace(gen, vm_setpoint_pu=drawn.vm_pu[gen.bus])
    )
    beyond = {}
    for name, produced in (("drawn", drawn.p_mw - draw), ("not", drawn.p_mw)):
        p = (at(produced) - bus.load_p_mw) / case118.base_mva
        solved = base_point.solve(fixed, p, -bus.load_q_mvar / case118.base_mva)
        assert solved.converged
        beyond[name] = np.abs(solved.va_rad - drawn.va_rad).max()
    assert beyond["drawn"] < 1e-4 < 1e-3 < beyond["not"]


def test_condensers_draw_no_more_where_power_is_in_surplus(case118):
    problem, wind = acopf_problem.nominal(case118), np.array([9, 24, 64, 99])
    problem = problem._replace(
        load_p_mw=0.4 * problem.load_p_mw, load_q_mvar=0.4 * problem.load_q_mvar,
        available_mw=np.full(4, 700.0),
    )  # fmt: skip
    controls = acopf_problem.Controls(
        plant_bus=wind, condensers=case118.condensers, condenser_loss=0.05
    )
    solution = acopf_model.Model(case118, controls=controls).solve(problem)
    assert solution.optimal and solution.spilled_mw.sum() > 100.0
    voltage = solution.vm_pu * np.exp(1j * solution.va_rad)
    leaves = (voltage * np.conj(matrices.bus_admittance(case118) @ voltage)).real.sum()
    fed_in = solution.p_mw.sum() + (problem.available_mw - solution.spilled_mw).sum()
    draw = fed_in - problem.load_p_mw.sum() - case118.base_mva * leaves
    assert draw == pytest.approx(0.05 * np.abs(solution.q_mvar[case118.condensers]).sum(), abs=0.02)


def test_cheap_load_control_is_used_and_dear_is_not(case14):
    grid = case14
    moved = {}
    for price in (0.5, 500.0):
        model = acopf_model.Model(
            grid, StepOptions(load_control_price=price), acopf_problem.Controls(load_bus=grid.loads)
        )
        point = acopf_problem.nominal(model.grid)._replace(
            movable_p_mw=grid.bus.load_p_mw[grid.loads],
            movable_q_mvar=grid.bus.load_q_mvar[grid.loads], movable_share=0.1,
        )  # fmt: skip
        moved[price] = model.solve(point).moved_mw
    np.testing.assert_allclose(moved[0.5].sum(), -0.1 * grid.bus.load_p_mw.sum(), rtol=1e-3)
    np.testing.assert_allclose(moved[500.0], 0.0, atol=1e-3)


def test_loadability_is_where_optimal_power_flow_ends(case14):
    p, q = (x[case14.loads] for x in (case14.bus.load_p_mw, case14.bus.load_q_mvar))
    most = loadability.factor(case14, p, q, np.zeros(case14.n_bus))
    model = acopf_model.Model(case14)
    nominal = acopf_problem.nominal(model.grid)
    at = lambda k: model.solve(
        nominal._replace(load_p_mw=k * nominal.load_p_mw, load_q_mvar=k * nominal.load_q_mvar)
    )
    assert at(most - 1e-3).optimal and not at(most + 1e-2).optimal
    # Twice the load has half as far to go.
    half = loadability.factor(case14, 2 * p, 2 * q, np.zeros(case14.n_bus))
    assert half == pytest.approx(most / 2, rel=1e-5)
    with pytest.raises(RuntimeError, match="no factor on the loads"):
        flood = np.where(np.arange(case14.n_bus) == 13, 1e4, 0.0)
        loadability.factor(case14, p, q, flood)


@pytest.fixture(scope="module")
def full():
    return grid_env.make(EnvOptions(
        layout="full", horizon_steps=12, maintenance_per_day=0.0, branch_faults_per_day=0.0,
        gen_faults_per_day=0.0,
    ))  # fmt: skip


@pytest.fixture(scope="module")
def days(full):
    return episodes.held_out(full, "test", 2, seed=0)


def test_the_controller_is_cheap_feasible_and_close_to_its_bound(full, days):
    player = episodes.Player(full)
    optimal = acopf.acopf(full, count=1)
    costs = {}
    for controller in (controllers.do_nothing(full), optimal):
        outcomes = player.play(controller, days).outcomes
        assert set(metrics.endings(outcomes)) == {"NONE"}
        costs[controller.name] = metrics.compute(outcomes, full)
    bound = acopf.bound(full, days, count=1)
    assert (bound.optimal_share == 1).all()
    assert (bound.cost.sum(1) <= 1.0001 * costs["acopf"]["total_cost"]).all()
    assert (costs["acopf"]["total_cost"] < costs["do_nothing"]["total_cost"]).all()
    assert costs["acopf"]["overload"].max() == 0


def test_the_bound_is_the_sum_of_single_optima(full, days):
    bound = acopf.bound(full, days, count=1)
    # Without its controls of loads and plants, a row is PGLib's problem with other loads.
    model = acopf_model.Model(
        full.grid, full.options,
        acopf_problem.Controls(
            full.grid.loads[full.site.controllable], full.fleet.renewables.bus,
            full.grid.condensers, condenser_loss=0.015,
        ),
    )  # fmt: skip
    total = 0.0
    for row in range(1, full.horizon + 1):
        now = jax.tree.map(lambda x, r=row: np.asarray(x[0, r]) if x.ndim > 1 else x[0], days)
        n, loads = full.grid.n_bus, full.grid.loads
        total += model.cheapest(
            acopf_problem.nominal(model.grid)._replace(
                load_p_mw=np.bincount(loads, now.load_p_mw, n),
                load_q_mvar=np.bincount(loads, now.load_q_mvar, n),
                movable_p_mw=now.load_p_mw[full.site.controllable],
                movable_q_mvar=now.load_q_mvar[full.site.controllable],
                movable_share=0.1, available_mw=now.renewable_mw,
            )
        ).cost_per_h  # fmt: skip
    assert bound.cost[0].sum() == pytest.approx(full.dt_h * total, rel=1e-4)


def test_every_row_of_118_buses_has_a_bound():
    options = EnvOptions(case="case118", layout="full", horizon_steps=36)
    env = grid_env.make(options)
    bound = acopf.bound(env, episodes.held_out(env, "test", 2, seed=0), count=1)
    assert (bound.optimal_share == 1).all() and np.isfinite(bound.cost).all()
    assert bound.operating.sum() == pytest.approx(bound.cost.sum(), rel=1e-3)


def test_load_that_no_unit_reaches_is_lost_in_the_bound_too(full, days):
    first = jax.tree.map(lambda leaf: np.asarray(leaf)[:1], days)
    tie = [b for b, ends in enumerate(zip(full.grid.branch.from_bus, full.grid.branch.to_bus))
           if 13 in ends]  # fmt: skip
    status = first.branch_status.copy()
    status[:, 5:, tie] = series_lib.FAULT
    whole, cut = (
        acopf.bound(full, days, count=1) for days in (first, first.replace(branch_status=status))
    )
    load = int(np.flatnonzero(full.grid.loads == 13)[0])
    lost = full.dt_h * full.options.lost_load_price * first.load_p_mw[0, 5:, load]
    np.testing.assert_allclose(cut.cost[0, :4], whole.cost[0, :4], rtol=1e-4)
    assert (cut.cost[0, 4:] > 0.99 * lost).all() and (
        cut.cost[0, 4:] < whole.cost[0, 4:] + lost
    ).all()
    assert cut.optimal_share[0] == pytest.approx(4 / 12)


def test_no_load_is_cut_besides_relays_hold_off(full, days):
    # With nothing to gain, loads stay as they come, however much of them is connected.
    series = jax.tree.map(lambda leaf: jax.numpy.asarray(leaf)[:1], days)
    state = jax.jit(jax.vmap(full.start))(series)
    shed = state.frequency.replace(shed_share=jax.numpy.full(1, 0.05))
    controller = acopf.acopf(full, count=1)
    for frequency in (state.frequency, shed):
        action, _ = controller.act(state.replace(frequency=frequency), series, [None])
        assert np.abs(action[0][full.layout.action["load"]]).max() < 1e-3


def test_who_foresees_decides_by_the_forecast_and_not_by_what_comes(full, days):
    series = jax.tree.map(jax.numpy.asarray, days)
    state = jax.jit(jax.vmap(full.start))(series)
    row = int(state.t[0]) + 1
    surprise = series.replace(
        load_p_mw=series.load_p_mw.at[:, row].multiply(1.02),
        renewable_mw=series.renewable_mw.at[:, row].multiply(0.5),
        branch_status=series.branch_status.at[:, row, 0].set(series_lib.FAULT),
    )
    foreseen = series.load_forecast_mw.at[:, row - 1, 0].multiply(1.02)
    growth = series.replace(load_forecast_mw=foreseen)
    status = series.branch_status.at[:, row, 0].set(series_lib.MAINTENANCE)
    maintained = series.replace(branch_status=status)
    knowing, foreseeing = acopf.acopf(full, count=1), acopf.acopf_forecast(full, count=1)
    assert foreseeing.knows == controllers.FORECASTS

    def decided(controller, series):
        action, _ = controller.act(state, series, [None] * len(series.day))
        return action

    def dispatched(action, series, state):
        requested = actions_lib.read(full.layout, full.site, action)
        now = series.at(state.t + 1)
        return actions_lib.project(full.limits, requested, now, state).gen_target_mw.sum()

    at_once = decided(foreseeing, series)
    np.testing.assert_allclose(decided(foreseeing, surprise), at_once, atol=1e-5)
    assert (np.abs(decided(knowing, surprise) - decided(knowing, series)).max(1) > 0.01).all()
    assert (np.abs(decided(foreseeing, maintained) - at_once).max(1) > 0.001).all()  # announced
    more = jax.vmap(dispatched)(decided(foreseeing, growth), series, state)
    usual = jax.vmap(dispatched)(at_once, series, state)
    expected = 0.02 / 1.02 * np.asarray(foreseen)[:, row - 1, 0]
    np.testing.assert_allclose(more - usual, expected, rtol=0.15)  # and what more is lost
