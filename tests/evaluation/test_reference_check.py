"""The reference check: pandapower agrees on recorded episodes, and a tampered record is seen."""

import builtins

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agents import controllers
from envs import grid_env
from envs.case import case_file, fleet_file
from envs.options import EnvOptions
from envs.powerflow import base_point, network, solve
from evaluation import episodes, pandapower_grid, reference_check, report_arrays
from evaluation.scenarios import suite


@pytest.fixture(scope="module")
def env():
    return grid_env.make(EnvOptions(layout="full", horizon_steps=24))


@pytest.fixture(scope="module")
def recorded(env):
    """Episodes of a controller that moves everything, while elements fail."""
    days = suite.draw(env, "failure", "hard", "test", 3, seed=0)
    # Everything cut down to a day of two hours: what fails does so in its first.
    restless = controllers.Controller(
        "restless", "restless", "nothing", controllers.stateless,
        controllers.per_grid(
            lambda state, series: 0.4 * jnp.sin(state.t + jnp.arange(env.layout.action_size))
        ),
    )  # fmt: skip
    played = episodes.Player(env, record=True).play(restless, days)
    return report_arrays.extract(played, days, env, 0)


@pytest.fixture(scope="module")
def reference(env):
    return pandapower_grid.Oracle(env.grid)


def test_pandapower_agrees_on_every_step(env, reference, recorded):
    assert not recorded["available"].all() or not recorded["pv"].all(-1).all()
    difference = reference_check.check_episode(reference, recorded, env.grid, env.dt_h)
    assert difference.steps >= 20 and difference.unsolved == 0
    assert difference.vm_pu < 1e-4 and difference.va_rad < 5e-4
    assert difference.flow_share < 1e-3 and difference.cost_share < 1e-3


@pytest.mark.parametrize(
    "name, change, field",
    [("vm_pu", 0.01, "vm_pu"), ("rho", 0.1, "flow_share"), ("bus_p_mw", 1.0, "cost_usd")],
)
def test_a_wrong_record_is_seen(env, reference, recorded, name, change, field):
    wrong = {**recorded, name: recorded[name].copy()}
    wrong[name][5] += change
    right = reference_check.check_episode(reference, recorded, env.grid, env.dt_h)
    difference = reference_check.check_episode(reference, wrong, env.grid, env.dt_h)
    assert getattr(difference, field) > 10 * getattr(right, field)


def test_an_absent_simulator_is_told_how_to_be_had(env, monkeypatch):
    real = builtins.__import__

    def absent(name, *args, **kwargs):
        if "pandapower" in name or (args and "pandapower_grid" in str(args[2])):
            raise ImportError("No module named 'pandapower'")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(reference_check.SimulatorMissing, match="pip install pandapower"):
        reference_check._pandapower(env.grid)


def test_cut_off_buses_are_left_out(env, reference, recorded):
    # Bus 8 hangs on one branch: with it out, pandapower and we solve the rest.
    grid = env.grid
    bridge = int(np.flatnonzero((grid.branch.from_bus == 6) & (grid.branch.to_bus == 7))[0])
    assert not np.isnan(recorded["vm_pu"]).any()
    closed = recorded["closed"].copy()
    closed[:, bridge] = False
    energised = recorded["energised"].copy()
    energised[:, 7] = False
    changed = {**recorded, "closed": closed, "energised": energised}
    difference = reference_check.check_episode(reference, changed, grid, env.dt_h)
    # The record itself had the bus energised, so that voltages differ, but all of it is solved.
    steps = int(recorded["counted"].sum())
    assert (difference.steps, difference.unsolved) == (steps, 0)
    # A bus that is energised in ours and that pandapower cuts off is no agreement.
    difference = reference_check.check_episode(
        reference, {**recorded, "closed": closed}, grid, env.dt_h
    )
    assert (difference.steps, difference.unsolved) == (0, steps)


@pytest.mark.parametrize("case", ["case14", "case118"])
def test_who_balances_does_not_matter_where_nothing_is_left_over(case, request):
    grid = request.getfixturevalue(case)
    reference = pandapower_grid.Oracle(grid)
    p, q = base_point.nominal_injections(grid)
    first = reference.solve(p, q)
    settled = p.copy()
    settled[grid.reference_bus] += first.slack_mw / grid.base_mva
    for bus in np.unique(grid.gen.bus[grid.units]):
        other = reference.solve(settled, q, slack=int(bus))
        np.testing.assert_allclose(other.vm, first.vm, atol=1e-7)
        np.testing.assert_allclose(other.flows, first.flows, atol=1e-3)
        assert abs(other.slack_mw) < 1e-3


@pytest.mark.parametrize("wrong_mw", [0.0, 0.1])
def test_each_live_island_is_checked_with_a_slack_of_its_own(wrong_mw):
    grid = case_file.load("ieee13_mg")
    couplings = fleet_file.load("ieee13_mg", grid).couplings
    net = network.build(grid)
    p, q = base_point.nominal_injections(grid)
    closed = np.isin(np.arange(grid.n_branch), couplings, invert=True)
    request = solve.base_request(net, p, q, closed=jnp.asarray(closed, jnp.float32))
    solution = jax.jit(solve.solver(net, every_island=True))(request)
    injected = np.asarray(solution.p_pu) * grid.base_mva
    # Of a microgrid's unit, when the other simulator has to make up for what is recorded wrongly.
    injected = injected + wrong_mw * (np.arange(grid.n_bus) == grid.gen.bus[1])
    row = {
        "bus_p_mw": injected, "bus_q_mvar": q * grid.base_mva,
        "setpoint_pu": base_point.voltage_setpoints(grid),
        "pv": np.isin(np.arange(grid.n_bus), grid.gen.bus), "closed": closed,
        "energised": solution.energised, "vm_pu": solution.vm_pu, "va_rad": solution.va_rad,
        "rho": solution.rho, "gen_p_mw": np.ones(grid.n_gen),
    }  # fmt: skip
    arrays = {name: np.asarray(value)[None] for name, value in row.items()}
    arrays.update(counted=np.array([True]), reason=np.array([0]))
    oracle = pandapower_grid.Oracle(grid)
    difference = reference_check.check_episode(oracle, arrays, grid, 1.0)
    assert (difference.steps, difference.unsolved) == (1, 0)
    assert difference.vm_pu < 1e-5 and difference.va_rad < 1e-4
    # What it makes up for costs at the margin of that unit: 42 + 2 · 20 · 1 $/MWh.
    assert difference.cost_usd == pytest.approx(82.0 * wrong_mw, abs=0.05)
