"""DC optimal power flow, its AC recourse, and looking ahead: against programs written otherwise."""

import dataclasses

import numpy as np
import pytest
import scipy.optimize
import scipy.sparse

from agents.baselines import dc_controller, dc_dispatch, dc_program, forecast, highs
from envs.case import case_file, fleet_file
from envs.powerflow import ac_flow, base_point, dc_network
from envs.step.options import StepOptions

PRICES = StepOptions(
    load_control_price=60.0, curtailment_price=20.0, storage_price=5.0, lost_load_price=1e4,
    surplus_price=500.0, overload_price=500.0,
)  # fmt: skip
LEADS = (1, 3, 6, 12)
# PGLib-OPF v23.07, BASELINE.md, column DC ($/h).
PGLIB = {"case14": 2051.5, "case30": 7472.8, "case57": 34773, "case118": 93101, "case300": 517850}


def _nominal(grid, fleet):
    """The file's loads, no losses, no wind or sun, nothing to move but units."""
    none = np.zeros
    topology = dc_network.DcNetwork(grid).topology(
        np.ones(grid.n_branch, bool), np.ones(grid.n_gen, bool), grid.bus.load_p_mw
    )
    return dc_program.Period(
        topology, -grid.bus.load_p_mw - grid.bus.shunt_p_mw, grid.bus.load_p_mw[grid.loads],
        none(grid.loads.size), none(fleet.n_renewable), grid.gen.p_min_mw,
        grid.gen.p_max_mw, none(fleet.n_storage), grid.branch.rate_mva,
    )  # fmt: skip


def _program(grid, fleet, hours=(1.0,), prices=PRICES):
    return dc_program.Program(grid, fleet, prices, hours, 60.0 * fleet.units.ramp_mw_per_min)


def _cost(grid, plan):
    """What units cost in an hour, and flows beyond limits, of a plan without anything else."""
    gen, p = grid.gen, plan.unit_mw[0]
    beyond = np.maximum(np.abs(plan.flow_mw[0]) - grid.branch.rate_mva, 0.0).sum()
    cost = (gen.cost_c2 * p**2 + gen.cost_c1 * p + gen.cost_c0 * gen.is_unit).sum()
    return cost + PRICES.overload_price * beyond


@pytest.mark.parametrize("case", PGLIB)
def test_objective_is_that_of_pglib(case):
    grid, branch = case_file.load(case), case_file.load(case).branch
    # PowerModels takes Im(1 / (r + jx)) for 1 / x, and neither taps nor shifts.
    as_there = dataclasses.replace(
        branch, x_pu=(branch.r_pu**2 + branch.x_pu**2) / branch.x_pu,
        tap=np.ones(grid.n_branch), shift_rad=np.zeros(grid.n_branch),
    )  # fmt: skip
    grid = dataclasses.replace(grid, branch=as_there)
    fleet = fleet_file.load(case, grid)
    plan = _program(grid, fleet).solve([_nominal(grid, fleet)], np.zeros(fleet.n_storage))
    assert _cost(grid, plan) == pytest.approx(PGLIB[case], rel=5e-5)


def _by_angles(grid, shed_price):
    """The least cost with angles as unknowns and every limit in it, taps and shifts included."""
    n, m, g = grid.n_bus, grid.n_branch, grid.n_gen
    branch, places = grid.branch, np.arange(grid.n_branch)
    b = grid.base_mva / (branch.x_pu * branch.tap)
    ends = np.concatenate([branch.from_bus, branch.to_bus])
    signs = np.repeat([1.0, -1.0], m)
    a = scipy.sparse.csr_matrix((signs, (np.tile(places, 2), ends)), shape=(m, n))
    at_gen = scipy.sparse.csr_matrix((np.ones(g), (grid.gen.bus, np.arange(g))), shape=(n, g))
    flow = scipy.sparse.diags(b) @ a
    eye = scipy.sparse.eye(m)
    # Unknowns: angles, power of generators, excess in either direction.
    balance = scipy.sparse.hstack([-(a.T @ flow), at_gen, scipy.sparse.csr_matrix((n, 2 * m))])
    limits = scipy.sparse.hstack([flow, scipy.sparse.csr_matrix((m, g)), -eye, eye])
    demand = grid.bus.load_p_mw + grid.bus.shunt_p_mw - a.T @ (b * branch.shift_rad)
    bound = [(None, None)] * n + list(zip(grid.gen.p_min_mw, grid.gen.p_max_mw))
    bound[grid.reference_bus] = (0.0, 0.0)
    solution = scipy.optimize.linprog(
        np.r_[np.zeros(n), grid.gen.cost_c1 * grid.gen.is_unit, np.full(2 * m, shed_price)],
        A_ub=scipy.sparse.vstack([limits, -limits]),
        b_ub=np.r_[branch.rate_mva + b * branch.shift_rad, branch.rate_mva - b * branch.shift_rad],
        A_eq=balance, b_eq=demand, bounds=bound + [(0.0, None)] * (2 * m),
    )  # fmt: skip
    return solution.fun


@pytest.mark.parametrize(("case", "factor"), [("case30", 1.0), ("case118", 1.3), ("case300", 1.0)])
def test_optimum_is_that_of_a_program_in_angles_with_every_limit(case, factor):
    grid = case_file.load(case)
    fleet = fleet_file.load(case, grid)
    bus = dataclasses.replace(grid.bus, load_p_mw=factor * grid.bus.load_p_mw)
    grid = dataclasses.replace(grid, bus=bus)
    plan = _program(grid, fleet).solve([_nominal(grid, fleet)], np.zeros(fleet.n_storage))
    assert plan.watched
    assert _cost(grid, plan) == pytest.approx(_by_angles(grid, PRICES.overload_price), rel=1e-6)


def test_quadratic_costs_are_equal_at_the_margin(case14):
    units = case14.units
    c2 = np.zeros(case14.n_gen)
    c2[units] = 0.02, 0.08
    grid = dataclasses.replace(case14, gen=dataclasses.replace(case14.gen, cost_c2=c2))
    fleet = fleet_file.load("case14", grid)
    plan = _program(grid, fleet).solve([_nominal(grid, fleet)], np.zeros(fleet.n_storage))
    load, (a, b) = grid.bus.load_p_mw.sum(), units
    cost = lambda p: sum(c2[u] * x**2 + grid.gen.cost_c1[u] * x for u, x in ((a, p), (b, load - p)))
    best = scipy.optimize.minimize_scalar(
        cost, bounds=(load - grid.gen.p_max_mw[b], load), method="bounded"
    )
    assert _cost(grid, plan) == pytest.approx(best.fun, rel=1e-3)
    assert plan.unit_mw[0].sum() == pytest.approx(load)


def test_a_program_without_a_solution_is_an_error():
    one = scipy.sparse.csc_matrix(np.ones((1, 1)))
    solve = highs.Highs().solve
    x = solve(np.ones(1), one, np.array([2.0]), np.array([3.0]), np.zeros(1), np.full(1, 9.0))
    np.testing.assert_allclose(x, [2.0])
    with pytest.raises(RuntimeError, match="1 unknowns and 1 rows: HiGHS says"):
        solve(np.ones(1), one, np.array([2.0]), np.array([3.0]), np.zeros(1), np.ones(1))


def _setting(grid, fleet, **changes):
    setting = dc_dispatch.Setting(
        grid, fleet, PRICES, 1 / 12, LEADS, (1,), np.full(grid.loads.size, 0.1),
        curtails=True, stores=False, rate_share=1.0, rounds=0,
    )  # fmt: skip
    return dataclasses.replace(setting, **changes)


def _situation(grid, fleet, load=1.0, **changes):
    """A grid at the file's loads, units sharing them by Pmax; no wind, no sun, 2 % losses."""
    p, q = load * grid.bus.load_p_mw[grid.loads], load * grid.bus.load_q_mvar[grid.loads]
    point = base_point.solve(grid, *base_point.nominal_injections(grid, load))
    p_max = grid.gen.p_max_mw
    situation = dc_dispatch.Situation(
        p, q, np.array(1.0), np.zeros(fleet.n_renewable), np.full(4, p.sum()), np.zeros(4),
        1.02 * p.sum() * p_max / p_max.sum(), np.ones(grid.n_gen, bool), np.zeros(grid.n_gen),
        np.array(0.02 * p.sum()), 0.5 * fleet.storage.energy_mwh,
        np.ones((12, grid.n_branch), bool), point.vm_pu, point.va_rad,
    )  # fmt: skip
    return situation._replace(**changes)


def _memory(grid, value=0.0):
    return dc_dispatch.Memory((), np.zeros(grid.n_branch), value)


def test_power_flow_with_an_outage_is_that_of_the_grid_without_the_branch(case118):
    out = 50
    kept = np.delete(np.arange(case118.n_branch), out)
    columns = {
        field.name: getattr(case118.branch, field.name)[kept]
        for field in dataclasses.fields(case118.branch)
    }
    smaller = dataclasses.replace(case118, branch=type(case118.branch)(**columns))
    p, q = base_point.nominal_injections(case118, 0.8)
    before, after = base_point.solve(case118, p, q), base_point.solve(smaller, p, q)
    closed = np.ones(case118.n_branch, bool)
    flow = ac_flow.AcFlow(case118)
    request = ac_flow.Request(
        p, q, before.vm_pu, before.va_rad, before.participation,
        np.isin(np.arange(118), case118.gen.bus), closed, np.ones(118, bool),
    )  # fmt: skip
    intact = flow.solve(request).phasor
    np.testing.assert_allclose(intact, before.vm_pu * np.exp(1j * before.va_rad), atol=1e-6)
    closed = closed.copy()
    closed[out] = False
    voltages = flow.solve(request._replace(closed=closed))
    turned = np.exp(1j * (voltages.va_rad[0] - after.va_rad[0]))  # one angle is arbitrary
    expected = after.vm_pu * np.exp(1j * after.va_rad) * turned
    np.testing.assert_allclose(voltages.phasor, expected, atol=1e-5)
    assert flow.carried_mva(voltages, closed)[out] == 0.0
    heavy = request._replace(p_pu=6.0 * p, q_pu=6.0 * q)
    assert flow.solve(heavy) is None


def test_recourse_keeps_ac_flows_within_limits_that_dc_flows_pass(case118):
    fleet = fleet_file.load("case118", case118)
    situation = _situation(case118, fleet, load=1.1)
    limit, over = case118.branch.rate_mva, {}
    for rounds in (0, 1, 3):
        dispatcher = dc_dispatch.Dispatcher(_setting(case118, fleet, rounds=rounds))
        # Wherever units can be within an hour.
        period = dispatcher.periods(situation)[0]._replace(
            low_mw=case118.gen.p_min_mw, high_mw=case118.gen.p_max_mw
        )
        plan, memory = dispatcher.plan(situation, [period], _memory(case118))
        assert (np.abs(plan.flow_mw[0]) <= limit + 1e-2).all()
        carried = dispatcher.carried_mva(situation, period, plan)
        over[rounds] = np.maximum(carried - limit, 0.0).sum()
    assert over[0] > 5.0 > over[1] >= over[3]
    assert over[3] < 0.1
    # The next decision begins where this one ended.
    assert (memory.tightened_mva > 0).any()
    again, _ = dispatcher.plan(situation, [period], memory)
    assert np.maximum(dispatcher.carried_mva(situation, period, again) - limit, 0).sum() < 0.5


def test_what_recourse_tightened_is_given_back_when_it_is_not_needed(case118):
    fleet = fleet_file.load("case118", case118)
    dispatcher = dc_dispatch.Dispatcher(_setting(case118, fleet, rounds=3))
    situation = _situation(case118, fleet, load=0.6)
    memory = _memory(case118)._replace(tightened_mva=np.full(case118.n_branch, 1.0))
    _, memory = dispatcher.plan(situation, dispatcher.periods(situation), memory)
    assert not memory.tightened_mva.any()


def test_only_the_island_that_lives_counts(case14):
    fleet = fleet_file.load("case14", case14)
    closed = np.ones((12, case14.n_branch), bool)
    bridge = int(np.flatnonzero((case14.branch.from_bus == 6) & (case14.branch.to_bus == 7))[0])
    closed[:, bridge] = False  # cuts the condenser at bus 8 off
    rest = np.flatnonzero((case14.branch.from_bus == 5) | (case14.branch.to_bus == 5))
    closed[:, rest] = False  # and bus 6 with its load and its condenser
    dispatcher = dc_dispatch.Dispatcher(_setting(case14, fleet, rounds=1))
    situation = _situation(case14, fleet, closed=closed)
    period = dispatcher.periods(situation)[0]
    assert list(np.flatnonzero(~period.topology.energised)) == [5, 7]
    plan, _ = dispatcher.plan(situation, [period], _memory(case14))
    at_six = float(situation.load_p_mw[case14.loads == 5])
    energised = situation.load_p_mw.sum() - at_six
    assert plan.unit_mw.sum() + plan.moved_mw[plan.moved_mw < 0].sum() == pytest.approx(
        1.02 * energised, rel=1e-6
    )
    answer, _ = dispatcher((situation, _memory(case14)))
    assert all(np.isfinite(part).all() for part in answer)


def test_a_grid_without_units_is_answered(case14):
    fleet = fleet_file.load("case14", case14)
    situation = _situation(case14, fleet, gen_on=np.zeros(5, bool))
    answer, _ = dc_dispatch.Dispatcher(_setting(case14, fleet, rounds=1))(
        (situation, _memory(case14))
    )
    assert not answer.unit_mw.any() and (answer.load_factor == 1.0).all()


def test_wind_and_sun_are_spilled_before_units_have_no_room(case14):
    fleet = fleet_file.load("case14", case14)
    rated = fleet.renewables.p_max_mw
    situation = _situation(
        case14, fleet, load=0.2, renewable_mw=rated, renewable_forecast_mw=np.full(4, rated.sum())
    )
    calm = situation._replace(gen_p_mw=np.zeros(5))
    for curtails in (True, False):
        dispatcher = dc_dispatch.Dispatcher(_setting(case14, fleet, curtails=curtails))
        answer, _ = dispatcher((calm, _memory(case14)))
        surplus = rated.sum() - 1.02 * calm.load_p_mw.sum()
        assert surplus > 10.0
        spilled = ((1.0 - answer.renewable_share) * rated).sum()
        assert spilled == pytest.approx(surplus if curtails else 0.0, rel=1e-3)


@pytest.fixture(scope="module")
def ahead(case14):
    """Twelve steps; the cheap unit is slow, and the dear one is needed at a forecast peak."""
    fleet = fleet_file.load("case14", case14)
    ramps = np.array(fleet.units.ramp_mw_per_min)
    ramps[case14.units] = 0.4, 8.0
    units = dataclasses.replace(fleet.units, ramp_mw_per_min=ramps)
    return case14, dataclasses.replace(fleet, units=units)


def _look_ahead(ahead, situation, value):
    grid, fleet = ahead
    dispatcher = dc_dispatch.Dispatcher(
        _setting(
            grid, fleet, steps=dc_controller.LOOK_AHEAD, stores=True, movable_share=np.zeros(11)
        )
    )
    periods = dispatcher.periods(situation)
    return periods, dispatcher.plan(situation, periods, _memory(grid, value))[0]


def test_look_ahead_charges_while_power_is_cheap_and_discharges_at_the_foreseen_peak(ahead):
    grid, fleet = ahead
    start = np.zeros(5)
    start[grid.units] = 215.0, 0.0
    load = _situation(grid, fleet).load_p_mw
    situation = _situation(
        grid, fleet, load_p_mw=load * (205.0 / load.sum()), losses_mw=np.array(0.0),
        gen_p_mw=start, load_forecast_mw=np.array([205.0, 205.0, 220.0, 265.0]),
    )  # fmt: skip
    periods, plan = _look_ahead(ahead, situation, value=10.0)
    store = fleet.storage
    assert plan.storage_mw[0].sum() < -1.0 and plan.storage_mw[-1].sum() > 5.0
    # Energy follows from power, and stays where it can be.
    change = np.where(
        plan.storage_mw > 0, plan.storage_mw / store.discharge_efficiency,
        plan.storage_mw * store.charge_efficiency,
    )  # fmt: skip
    energy = situation.energy_mwh - np.cumsum(change, 0) / 12
    np.testing.assert_allclose(plan.energy_mwh, energy, atol=1e-6)
    assert (energy >= -1e-6).all() and (energy <= store.energy_mwh + 1e-6).all()
    assert (np.abs(plan.storage_mw) <= store.p_max_mw + 1e-6).all()
    # Units keep their ramps, from where they are and from step to step.
    moved = np.diff(np.concatenate([start[None], plan.unit_mw]), axis=0)
    assert (np.abs(moved) <= 5 * fleet.units.ramp_mw_per_min + 1e-6).all()
    produced = plan.unit_mw.sum(1) + plan.storage_mw.sum(1)
    np.testing.assert_allclose(produced, [-p.fixed_mw.sum() for p in periods], rtol=1e-6)
    assert -periods[3].fixed_mw.sum() == pytest.approx(210.0)  # between the leads, interpolated
    # At one price all hour, and energy worth as much, there is nothing to gain.
    start[grid.units] = 205.0, 0.0
    level = situation._replace(gen_p_mw=start, load_forecast_mw=np.full(4, 205.0))
    assert np.abs(_look_ahead(ahead, level, value=8.0)[1].storage_mw).max() < 1e-6


def test_stored_energy_ends_at_its_bounds_and_not_beyond(ahead):
    grid, fleet = ahead
    full = fleet.storage.energy_mwh
    for energy, value in ((0.98 * full, 100.0), (0.02 * full, 0.0)):
        _, plan = _look_ahead(ahead, _situation(grid, fleet, 0.8, energy_mwh=energy), value)
        np.testing.assert_allclose(plan.energy_mwh[-1], full if value else 0.0 * full, atol=1e-6)
        assert (plan.energy_mwh >= -1e-9).all() and (plan.energy_mwh <= full + 1e-9).all()


def test_announced_maintenance_is_planned_for(ahead):
    grid, fleet = ahead
    closed = np.ones((12, grid.n_branch), bool)
    closed[5:, 2] = False
    _, plan = _look_ahead(ahead, _situation(grid, fleet, 0.8, closed=closed), 0.0)
    assert (plan.flow_mw[:5, 2] != 0).all() and (plan.flow_mw[5:, 2] == 0).all()


def test_plants_keep_their_share_of_the_forecast_up_to_their_rating(case14):
    fleet = fleet_file.load("case14", case14)
    rated = fleet.renewables.p_max_mw
    now = 0.5 * rated
    now[0] = 0.9 * rated[0]
    total = 1.2 * now.sum()
    situation = _situation(case14, fleet, renewable_mw=now, renewable_forecast_mw=np.full(4, total))
    dispatcher = dc_dispatch.Dispatcher(_setting(case14, fleet))
    available = dispatcher.periods(situation)[0].spillable_mw
    assert available.sum() == pytest.approx(total) and (available <= rated + 1e-9).all()
    assert available[0] == pytest.approx(rated[0])
    dark = situation._replace(renewable_mw=np.zeros(rated.size))
    available = dispatcher.periods(dark)[0].spillable_mw
    np.testing.assert_allclose(available, rated * total / rated.sum())


def test_plants_beyond_their_rating_are_believed(case14):
    # Time series with a large share of wind and sun have plants several times as large as the
    # fleet's.
    fleet = fleet_file.load("case14", case14)
    rated = fleet.renewables.p_max_mw
    dispatcher = dc_dispatch.Dispatcher(_setting(case14, fleet))

    def available(now, total):
        forecast = np.full(4, total)
        situation = _situation(case14, fleet, renewable_mw=now, renewable_forecast_mw=forecast)
        return dispatcher.periods(situation)[0].spillable_mw

    for now, total in (
        (3.0 * rated, 2.5 * rated.sum()),
        (0.5 * rated, 1.3 * rated.sum()),
        (np.where(np.arange(rated.size) == 0, 2.0, 0.1) * rated, 0.4 * rated.sum()),
    ):
        np.testing.assert_allclose(available(now, total), now * (total / now.sum()))
    np.testing.assert_allclose(available(0.0 * rated, 1.5 * rated.sum()), 1.5 * rated)


def test_no_plant_is_ever_below_zero(case14):
    fleet = fleet_file.load("case14", case14)
    rated, rng = fleet.renewables.p_max_mw, np.random.default_rng(0)
    for _ in range(500):  # rounding decides the sign of what is left over
        now = rated * rng.uniform(0.0, 1.0, rated.size) * rng.integers(0, 2, rated.size)
        available = forecast.weather(now, now.sum() * rng.uniform(0.0, 1.0), rated)
        assert (available >= 0.0).all()


def test_marginal_cost_is_that_of_the_unit_that_serves_the_next_mw(case14, case118):
    cheap, dear = sorted(case14.gen.cost_c1[case14.units])
    price = dc_controller.marginal_cost(case14.gen, np.array([100.0, 339.0, 341.0, 398.0, 500.0]))
    np.testing.assert_allclose(price, [cheap, cheap, dear, dear, dear])
    c2 = np.where(case14.gen.is_unit, 0.05, 0.0)
    both = dc_controller.marginal_cost(
        dataclasses.replace(case14.gen, cost_c2=c2), np.array([250.0])
    )
    # 250 MW at one marginal cost: c1 + 2 c2 p of each unit.
    expected = (250.0 * 2 * 0.05 + cheap + dear) / 2
    assert both[0] == pytest.approx(expected, rel=1e-6)
    order = np.argsort(case118.gen.cost_c1[case118.units])
    units = case118.units[order]
    capacity = np.cumsum(case118.gen.p_max_mw[units])
    third = dc_controller.marginal_cost(case118.gen, np.array([capacity[2] - 1.0]))
    assert third[0] == pytest.approx(case118.gen.cost_c1[units[2]])
