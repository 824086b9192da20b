"""The controllers to beat, in the environment: that all can play, and what each does."""

import dataclasses
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from agents import controllers
from agents.baselines import dc_controller, expert, outlook, registry, sensitivity, simple
from envs import grid_env
from envs.contingency import distribution_factors
from envs.options import EnvOptions
from envs.step import actions as actions_lib, layouts, switching
from envs.step.options import ProtectionOptions
from envs.time_series.series import FAULT, IN_SERVICE, LEAD_STEPS, MAINTENANCE
from evaluation import episodes

STEPS = 12
NAMES = [
    "do_nothing", "random", "proportional", "merit_order", "reconnect", "expert", "dcopf", "mpc",
    "acopf_forecast", "acopf",
]  # fmt: skip


def _env(layout="full", **options):
    return grid_env.make(EnvOptions(layout=layout, horizon_steps=STEPS, **options))


@pytest.fixture(scope="module")
def full():
    return _env()


@pytest.fixture(scope="module")
def player(full):
    return episodes.Player(full, record=True)


@pytest.fixture(scope="module")
def days(full):
    return episodes.held_out(full, "test", 3, seed=3)


@pytest.fixture(scope="module")
def states(full, days):
    """The first decision of three episodes."""
    return jax.jit(jax.vmap(full.start))(days)


@pytest.fixture(scope="module")
def narrow(full, played):
    """The operator layout on a grid whose branch 0 is overloaded if nothing is done."""
    grid, spec = full.grid, layouts.LAYOUTS["operator"]
    rho, rate = played["do_nothing"].recording.detail.rho[:6, 0, 0], grid.branch.rate_mva.copy()
    rate[0] *= rho.min() / 1.08
    grid = dataclasses.replace(grid, branch=dataclasses.replace(grid.branch, rate_mva=rate))
    site = layouts.site(grid, full.fleet, spec)
    options = dataclasses.replace(full.options, layout="operator")
    named = grid_env.Specification(grid, full.fleet, site, layouts.make(site, spec))
    return grid_env.GridEnv(named, options)


@pytest.fixture(scope="module")
def narrow_player(narrow):
    return episodes.Player(narrow, record=True)


@pytest.fixture(scope="module")
def played(full, player, days):
    """The first episode, by every controller."""
    episodes_by_name = {}
    for name in NAMES:
        controller = registry.make(name, full)
        episodes_by_name[name] = player.play(controller, _first(days))
        controller.close()
    return episodes_by_name


def _first(batch, count=1):
    return jax.tree.map(lambda leaf: leaf[:count], batch)


def _decide(controller, states, days, seed=0):
    action, _ = controller.act(states, days, controller.start(days, seed))
    return np.asarray(action)


def _feasible(env, states, days, action):
    """The feasible action of the first grid's step, generators in service as the state says."""
    state, series = jax.tree.map(lambda leaf: leaf[0], (states, days))
    requested = actions_lib.read(env.layout, env.site, jnp.asarray(action[0]))
    row = series.at(state.t + 1)
    row = row.replace(gen_status=jnp.where(state.gen_on, IN_SERVICE, FAULT))
    return actions_lib.project(env.limits, requested, row, state)


def _foreseen(days):
    return np.asarray(days.load_forecast_mw[0, :, 0] - days.renewable_forecast_mw[0, :, 0])


def test_every_controller_plays_the_full_layout(full, played):
    assert list(registry.BASELINES) == NAMES
    for name, each in played.items():
        action = each.recording.action
        assert action.shape == (STEPS, 1, full.layout.action_size), name
        assert np.isfinite(action).all() and np.abs(action).max() <= 1.0, name
        if name != "random":
            assert not each.outcomes.terminated.any(), name


@pytest.mark.slow
def test_every_controller_plays_the_operator_layout_where_a_branch_is_full(
    narrow, narrow_player, days
):
    for name in NAMES:
        controller = registry.make(name, narrow)
        played_day = narrow_player.play(controller, _first(days))
        controller.close()
        action = played_day.recording.action
        assert action.shape == (STEPS, 1, narrow.layout.action_size), name
        assert np.isfinite(action).all() and np.abs(action).max() <= 1.0, name
        # Those that look at the network keep the branch; chance may.
        keeps = name in ("expert", "dcopf", "mpc", "acopf_forecast", "acopf")
        if name != "random":
            assert (played_day.outcomes.terms["trips"].sum() == 0) == keeps, name


def test_unknown_names_are_refused_with_the_known_ones(full):
    with pytest.raises(ValueError, match="controller 'acdc': must be one of do_nothing, random"):
        registry.make("acdc", full)


def test_random_is_the_same_by_seed_and_episode_whatever_the_batch(full, states, days):
    controller = simple.random(full)
    action = _decide(controller, states, days)
    np.testing.assert_array_equal(action, _decide(controller, states, days))
    np.testing.assert_array_equal(
        action[:2], _decide(controller, _first(states, 2), _first(days, 2))
    )
    later = _decide(controller, states.replace(t=states.t + 1), days)
    for other in (action[[1, 2, 0]], _decide(controller, states, days, seed=1), later):
        assert (np.abs(action - other).max(1) > 0.5).all()
    assert action.min() < -0.9 and action.max() > 0.9 and abs(action.mean()) < 0.15


def test_proportional_units_give_one_share_of_pmax_and_what_is_foreseen(full, played, days):
    target = played["proportional"].recording.detail.feasible.gen_target_mw[:, 0]
    share = target[:, full.grid.units] / full.grid.gen.p_max_mw[full.grid.units]
    np.testing.assert_allclose(share, np.tile(share[:, :1], 2), rtol=1e-4)
    beyond = target.sum(1) / _foreseen(days)[:STEPS]  # losses, and what condensers draw
    assert (beyond > 1.0).all() and (beyond < 1.06).all()


def test_merit_order_costs_less_than_proportional(full, played):
    cost = lambda name: played[name].outcomes.terms["generation_cost"].sum()
    assert cost("merit_order") < 0.85 * cost("proportional")
    # The dear unit goes down as fast as it may, and stays at nothing.
    dear = full.grid.units[full.grid.gen.cost_c1[full.grid.units].argmax()]
    target = played["merit_order"].recording.detail.feasible.gen_target_mw[:, 0, dear]
    assert -np.diff(target).min() == pytest.approx(float(full.limits.ramp_mw[dear]), rel=0.3)
    assert target[-1] == pytest.approx(0.0, abs=1e-3)


@pytest.mark.parametrize("make", [simple.proportional, simple.merit_order])
def test_dispatchers_leave_out_units_that_are_out_of_service(full, states, days, make):
    stays, out = full.grid.units
    lost = states.replace(gen_on=states.gen_on.at[:, out].set(False))
    feasible = _feasible(full, lost, days, _decide(make(full), lost, days))
    demand = _foreseen(days)[0] + float(states.losses_mw[0] - states.condenser_mw[0].sum())
    most = float(states.gen_p_mw[0, stays] + full.limits.ramp_mw[stays])
    assert float(feasible.gen_target_mw[stays]) == pytest.approx(min(demand, most), rel=1e-4)


def test_reconnect_closes_what_was_opened_by_hand(full, player, days):
    branch, reconnect = 5, simple.reconnect(full)
    opening = jnp.zeros(full.layout.action_size)
    opening = opening.at[full.layout.action["switch"].start + branch].set(-1.0)

    def act(state, series, memory):
        closing, _ = reconnect.act(state, series, memory)
        return jnp.where((state.t == 0)[:, None], opening, closing), memory

    played_day = player.play(dataclasses.replace(reconnect, act=act), _first(days))
    opened = played_day.recording.why[:, 0, branch] == switching.OPENED
    # Three steps of cooldown, then it closes and stays so.
    cooldown = switching.COOLDOWN_STEPS
    assert opened[:cooldown].all() and not opened[cooldown:].any()
    assert played_day.outcomes.metrics["refused_switches"].sum() == 0


def test_reconnect_closes_what_tripped_only_where_nothing_else_does(full, states, days):
    protection = ProtectionOptions(recloses=False)
    switches = full.layout.action["switch"]
    branch = states.branch
    for k, cooldown, why in ((3, 0, switching.TRIPPED), (4, 7, switching.TRIPPED)):
        branch = branch.replace(
            why=branch.why.at[:, k].set(why), cooldown=branch.cooldown.at[:, k].set(cooldown)
        )
    tripped = states.replace(branch=branch)
    switched = _decide(simple.reconnect(_env(protection=protection)), tripped, days)[:, switches]
    assert (np.flatnonzero(switched[0]) == [3]).all() and (switched[:, 3] == 1.0).all()
    after = switching.advance(
        jax.tree.map(lambda leaf: leaf[0], branch), days.branch_status[0, 1], recloses=False
    )
    assert not after.closed[3]
    assert switching.switch(after, jnp.asarray(switched[0]), 3).state.closed[3]
    assert not _decide(simple.reconnect(full), tripped, days).any()


def test_reconnect_brings_back_dead_buses_first_and_leaves_the_series_its_own(full, states, days):
    switches, branch = full.layout.action["switch"], full.grid.branch
    out = np.array([2, 9, 13])
    opened = states.branch.replace(why=states.branch.why.at[:, out].set(switching.OPENED))

    def ask(**change):
        state = states.replace(**{"branch": opened, **change})
        return np.flatnonzero(_decide(simple.reconnect(full), state, days)[0, switches])

    for k in out:
        taken = opened.available.at[:, np.setdiff1d(out, k)].set(False)
        assert ask(branch=opened.replace(available=taken)) == [k]
    # One end of the last is de-energised: 13 is the branch from bus 7 to bus 8 of the file.
    off = states.vm_pu.at[:, branch.to_bus[13]].set(0.0)
    assert ask(vm_pu=off) == [13] and ask() != [13]


@pytest.fixture(scope="module")
def operator(narrow):
    return expert.expert(narrow)


@pytest.fixture(scope="module")
def overloaded(narrow, narrow_player, days):
    """Doing nothing where branch 0 is overloaded: the episode, and the state after a step of it."""
    seen = []
    idle = controllers.do_nothing(narrow)
    return narrow_player.play(idle, _first(days), watch=seen.append), seen[1]


def _loaded(env, state, rho):
    """The state with angles pulled together until the most loaded branch is at `rho`."""
    meter = sensitivity.Meter(env.grid)
    loading = lambda scale: float(
        meter(state.vm_pu[0], scale * state.va_rad[0], state.branch.closed[0]).rho.max()
    )
    scale = scipy.optimize.brentq(lambda scale: loading(scale) - rho, 0.2, 1.0, xtol=1e-4)
    return state.replace(va_rad=scale * state.va_rad)


def test_expert_relieves_what_would_trip(narrow, narrow_player, operator, overloaded, days):
    assert overloaded[0].outcomes.terms["trips"].sum() > 0
    played_day = narrow_player.play(operator, _first(days))
    rho = played_day.recording.detail.rho[:, 0, 0]
    assert played_day.outcomes.terms["trips"].sum() == 0
    assert rho[0] > 0.9 and (rho[3:] < 0.97).all()
    # By units in the end: loads only move until units have.
    layout = narrow.layout.action
    assert not played_day.recording.action[-1, 0, layout["load"]].any()
    units = played_day.recording.action[-1, 0, layout["generator"]][narrow.grid.units]
    assert np.abs(units).min() > 0.05


def test_expert_moves_loads_only_where_units_cannot_help(
    narrow, narrow_player, operator, overloaded, days
):
    act, loads = narrow_player.compiled(operator), narrow.layout.action["load"]
    nothing, state = operator.start(_first(days), 0), _loaded(narrow, overloaded[1], 1.01)
    assert not np.asarray(act(state, _first(days), nothing)[0])[0, loads].any()
    # With one unit there is no pair to shift power between.
    alone = state.replace(gen_on=state.gen_on.at[:, narrow.grid.units[1]].set(False))
    assert np.abs(act(alone, _first(days), nothing)[0][0, loads]).max() > 0.2


def test_expert_goes_back_to_the_plan_as_far_as_it_is_safe(
    narrow, narrow_player, operator, overloaded, days
):
    act, units = narrow_player.compiled(operator), narrow.grid.units
    moved = operator.start(_first(days), 0)
    # The unit at the from end of branch 0 gives less, the other more.
    moved = moved._replace(shift=moved.shift.at[0, units].set(jnp.array([-5.0, 5.0])))
    left = {
        rho: act(_loaded(narrow, overloaded[1], rho), _first(days), moved)
        for rho in (0.6, 0.88, 0.92)
    }
    shift = {rho: np.asarray(memory.shift[0, units]) for rho, (_, memory) in left.items()}
    np.testing.assert_array_equal(shift[0.6], [0.0, 0.0])
    assert not np.asarray(left[0.6][0]).any()
    np.testing.assert_array_equal(shift[0.92], [-5.0, 5.0])
    assert 0.1 < shift[0.88][1] < 4.9 and shift[0.88].sum() == pytest.approx(0.0, abs=1e-5)


def test_loadings_read_off_voltages_are_those_of_the_step(full, played):
    seen, meter = played["random"].recording, sensitivity.Meter(full.grid)
    closed = seen.detail.closed[0, 0]
    flows = meter(jnp.asarray(seen.vm_pu[0, 0]), jnp.asarray(seen.va_rad[0, 0]), closed)
    np.testing.assert_allclose(flows.rho, seen.detail.rho[0, 0], atol=2e-4)
    np.testing.assert_allclose(
        flows.room(0.9) ** 2 + flows.q_mvar**2, (0.9 * flows.rate_mva) ** 2, rtol=1e-4
    )


def test_distribution_factors_are_those_of_the_network_with_what_is_open(case118):
    out = 30
    kept = np.delete(np.arange(case118.n_branch), out)
    columns = {
        field.name: getattr(case118.branch, field.name)[kept]
        for field in dataclasses.fields(case118.branch)
    }
    smaller = dataclasses.replace(case118, branch=type(case118.branch)(**columns))
    expected = distribution_factors.power_transfer(smaller)
    closed = jnp.ones(case118.n_branch, bool).at[out].set(False)
    factors = sensitivity.factors(case118, closed, jnp.ones(case118.n_bus, bool))
    injection = np.random.default_rng(0).normal(size=case118.n_bus)
    injection -= injection.mean()
    flows = np.asarray(factors.flows(case118, jnp.asarray(injection, jnp.float32)))
    assert flows[out] == 0.0
    np.testing.assert_allclose(flows[kept], expected @ injection, atol=2e-4)
    row = np.asarray(factors.transfer_factors(case118, 50)) @ injection
    assert row == pytest.approx(flows[50], abs=2e-4)


@pytest.mark.parametrize("seed", range(5))
def test_relief_moves_as_little_as_a_linear_program_does(seed):
    rng = np.random.default_rng(seed)
    n = 12
    factor, up, down = rng.uniform(-0.5, 0.5, n), rng.uniform(0, 20, n), rng.uniform(0, 20, n)
    need = 15.0
    shift = sensitivity.relief(
        *(jnp.asarray(x, jnp.float32) for x in (factor, up, down, need)), 0.0
    )
    best = scipy.optimize.linprog(
        np.ones(2 * n),
        A_eq=np.stack([np.r_[factor, -factor], np.r_[np.ones(n), -np.ones(n)]]), b_eq=[-need, 0.0],
        bounds=np.stack([np.zeros(2 * n), np.r_[up, down]], 1),
    )  # fmt: skip
    assert float(factor @ shift) == pytest.approx(-need, abs=1e-3)
    assert float(shift.sum()) == pytest.approx(0.0, abs=1e-3)
    assert float(jnp.abs(shift).sum()) == pytest.approx(best.fun, rel=1e-3)


def test_relief_stops_where_a_pair_is_not_worth_it():
    factor = jnp.array([0.3, 0.28, -0.1])
    room = jnp.array([10.0, 10.0, 4.0])
    shift = sensitivity.relief(factor, room, room, jnp.float32(50.0), 0.05)
    np.testing.assert_allclose(shift, [-4.0, 0.0, 4.0], atol=1e-3)


def test_optimisers_know_of_maintenance_ahead_and_not_of_faults(full, states, days):
    view = outlook.Outlook(full, STEPS)
    status = days.branch_status.at[:, :, :].set(0)
    status = status.at[:, 5:, 6].set(MAINTENANCE).at[:, 5:, 7].set(FAULT)
    status = status.at[:, :8, 8].set(MAINTENANCE).at[:, :8, 9].set(FAULT)
    closed = view.look(states, days.replace(branch_status=status))[0].closed
    steps = np.arange(1, STEPS + 1)
    np.testing.assert_array_equal(closed[:, 6], steps < 5)  # as announced
    np.testing.assert_array_equal(closed[:, 7], True)  # comes unforeseen
    np.testing.assert_array_equal(closed[:, 8], steps >= 8)  # as announced
    np.testing.assert_array_equal(closed[:, 9], False)  # nobody knows how long


def test_look_ahead_does_not_see_what_is_not_foreseen(full, states, days):
    controller = dc_controller.mpc(full, count=1)
    action = _decide(controller, states, days)
    later = lambda leaf: leaf.at[:, 1:].multiply(1.3)
    other = days.replace(
        load_p_mw=later(days.load_p_mw), renewable_mw=later(days.renewable_mw),
        load_forecast_mw=later(days.load_forecast_mw),
        branch_status=days.branch_status.at[:, 1:, 7].set(FAULT),
    )  # fmt: skip
    np.testing.assert_allclose(_decide(controller, states, other), action, atol=1e-5)
    seen = days.replace(load_forecast_mw=days.load_forecast_mw * 1.05)
    assert np.abs(_decide(controller, states, seen) - action).max() > 0.01


def test_optimisers_are_told_when_what_tripped_closes(full, states, days):
    tripped = states.branch.replace(
        why=states.branch.why.at[:, 4].set(switching.TRIPPED),
        cooldown=states.branch.cooldown.at[:, 4].set(6),
    )
    view = outlook.Outlook(full, STEPS)
    closed = view.look(states.replace(branch=tripped), days)[0].closed[:, 4]
    # `advance` counts the cooldown down and then closes: in the sixth step.
    state, first = jax.tree.map(lambda leaf: leaf[0], tripped), None
    for step in range(1, STEPS + 1):
        state = switching.advance(state, days.branch_status[0, step])
        first = step if first is None and bool(state.closed[4]) else first
    np.testing.assert_array_equal(closed, np.arange(1, STEPS + 1) >= first)


def test_processes_find_what_one_finds_alone(full, states, days):
    alone, several = (dc_controller.dcopf(full, count=count) for count in (1, 2))
    action = _decide(alone, states, days)
    np.testing.assert_array_equal(_decide(several, states, days), action)
    several.close()
    ended = states.replace(terminated=states.terminated.at[1].set(True))
    rest = _decide(alone, ended, days)
    assert not rest[1].any()
    np.testing.assert_array_equal(rest[[0, 2]], action[[0, 2]])


def test_workers_start_without_jax():
    script = "import sys, agents.baselines.dc_dispatch; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_look_ahead_leads_are_within_the_hour():
    assert max(LEAD_STEPS) == sum(dc_controller.LOOK_AHEAD)
