"""AC optimal power flow as a controller, step by step, and as a bound on what a day must cost."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from agents import controllers
from agents.baselines import acopf_model, workers
from envs import grid_env
from envs.case import connectivity
from envs.case import grid as grid_lib
from envs.step import actions as actions_lib
from envs.step import layout as layout_lib
from envs.step import switching
from envs.time_series import series as series_lib

# Left free for what the step does besides: the change of losses, and what loads draw by then.
_RATE_SHARE, _VOLTAGE_MARGIN_PU = 0.995, 5e-4


class _Site(NamedTuple):
    """What a worker needs of an environment."""

    grid: grid_lib.Grid
    prices: acopf_model.Prices
    controls: acopf_model.Controls
    movable: np.ndarray  # indices into the loads, of those that may be moved
    curtailed: bool  # whether plants may be; otherwise they feed in what there is
    plant_bus: np.ndarray
    voltage_held: np.ndarray  # bool `[n_bus]`, a generator holds it and nobody moves its set-point
    load_share: float


class Situation(NamedTuple):
    """What the next step is decided for, of each grid; MW, MVAr and pu."""

    load_p_mw: np.ndarray  # `[n_load]`
    load_q_mvar: np.ndarray  # `[n_load]`
    available_mw: np.ndarray  # `[n_plant]`
    given_mw: np.ndarray  # `[n_gen]` what condensers draw, negative
    gen_on: np.ndarray  # bool `[n_gen]`
    p_low_mw: np.ndarray  # `[n_gen]`
    p_high_mw: np.ndarray  # `[n_gen]`
    setpoint_pu: np.ndarray  # `[n_bus]` as scheduled, for where nobody moves it
    vm_low_pu: np.ndarray  # `[n_bus]` where a generator's control can move it
    vm_high_pu: np.ndarray  # `[n_bus]`
    closed: np.ndarray  # bool `[n_branch]`
    connected: np.ndarray  # share of load that frequency relays have not shed


def acopf(env: grid_env.GridEnv, count: int = 0) -> controllers.Controller:
    """Returns the controller that solves an AC optimal power flow for each next step.

    It knows the loads, the weather and the outages of that step, and what ramps allow from where
    the grid is; what comes later it does not look at, and batteries rest. Where no point keeps
    every limit, it breaks them as cheaply as the environment's prices say.

    Args:
      env: the environment.
      count: processes to solve in; 0 for one a core.
    """
    site = _site(env)
    pool = workers.Workers(_step_solver, site, count=count)
    situation = jax.jit(jax.vmap(lambda state, series: _next(env, state, series)))
    translate = jax.jit(jax.vmap(env.action_for))

    def act(state, series, memory):
        going = np.flatnonzero(~np.asarray(state.terminated))
        ahead = jax.tree.map(np.asarray, situation(state, series))
        problems = [(jax.tree.map(lambda x, i=i: x[i], ahead), memory[i]) for i in going]
        found = dict(zip(going, pool.map(problems)))
        memory = [found[i].warm if i in found else None for i in range(len(memory))]
        found = {i: solution for i, solution in found.items() if solution.found}
        action = np.array(translate(state, series, _targets(site, ahead, found)))
        action[[i for i in range(len(action)) if i not in found]] = 0.0  # as planned
        return action, memory

    return controllers.Controller(
        "acopf", "AC-OPF", controllers.NEXT_ROW,
        lambda series, seed: [None] * len(series.day), act, traceable=False, close=pool.close,
    )  # fmt: skip


class Bound(NamedTuple):
    """What AC optimal power flow, free in time, says of days `[B]`; infinite where it fails."""

    cost: np.ndarray  # `[B, rows]` $, every price included
    operating: np.ndarray  # `[B, rows]` $ of generation and of moving loads alone, at that point
    optimal_share: np.ndarray  # of rows in which every limit can be kept
    seconds: np.ndarray  # that a row took in the mean


def bound(
    env: grid_env.GridEnv,
    series: series_lib.TimeSeries,
    progress: Callable[[int], None] = lambda days: None,
    count: int = 0,
) -> Bound:
    """Returns the least that each day can cost: every row optimised by itself, without ramps.

    Units, voltages, loads and plants go where they are best in no time, whatever the layout lets a
    controller move; nobody has to foresee anything, and limits are broken where that is cheaper
    than to keep them. What load no unit can reach is lost to everybody, and paid for. Batteries
    rest, so that what a controller earns with them can, in principle, pass it; and an optimum is a
    local one, as Ipopt finds it.

    Args:
      env: the environment.
      series: leaves `[B, rows, …]`.
      progress: told how many more days are done.
      count: processes to solve in; 0 for one a core.
    """
    site = _site(env, every_control=True)
    pool = workers.Workers(_day_solver, site, count=count)
    free = jax.jit(jax.vmap(jax.vmap(lambda row: _anywhere(env, row))))
    days = len(series.day)
    rows = jax.tree.map(lambda leaf: leaf[:, 1:] if leaf.ndim > 1 else leaf, series)
    rows = rows.replace(day=jnp.repeat(series.day[:, None], rows.load_p_mw.shape[1], 1))
    situations = jax.tree.map(np.asarray, free(rows))
    found = []
    try:
        for begin in range(0, days, pool.count):
            chosen = range(begin, min(begin + pool.count, days))
            problems = [jax.tree.map(lambda x, d=d: x[d], situations) for d in chosen]
            found += pool.map(problems)
            progress(len(chosen))
    finally:
        pool.close()
    cost, operating, optimal, seconds = (np.array(column) for column in zip(*found))
    return Bound(env.dt_h * cost, env.dt_h * operating, optimal, seconds)


def _site(env: grid_env.GridEnv, *, every_control: bool = False) -> _Site:
    grid, options, action = env.grid, env.options, env.layout.action
    movable, plants = env.site.controllable, env.fleet.renewables.bus
    moved = grid.gen.bus
    if every_control:
        movable = np.flatnonzero(grid.bus.load_p_mw[grid.loads] > 0)
    else:
        movable = movable if "load" in action else np.zeros(0, int)
        moved = moved[layout_lib.voltage_controls(env.layout, grid)]
    curtailed = every_control or "curtailment" in action
    held = np.isin(np.arange(grid.n_bus), grid.gen.bus)
    return _Site(
        grid,
        acopf_model.Prices(
            options.load_control_price, options.curtailment_price, options.lost_load_price,
            options.surplus_price,
            # What is overloaded for long trips, which a step by itself does not see.
            options.overload_price if every_control else options.lost_load_price,
            options.voltage_price, options.reactive_price,
            # Limits of angles are kept where nothing is charged for them, too.
            options.angle_price or acopf_model.Prices.angle,
        ),
        acopf_model.Controls(
            grid.loads[movable], plants if curtailed else np.zeros(0, int)
        ),
        movable, curtailed, plants, held & ~np.isin(np.arange(grid.n_bus), moved),
        options.load_control_share,
    )  # fmt: skip


def _next(env: grid_env.GridEnv, state: grid_env.State, series: series_lib.TimeSeries) -> Situation:
    """Returns the situation of one grid in its next step."""
    now, limits = series.at(state.t + 1), env.limits
    gen_on = now.gen_status == series_lib.IN_SERVICE
    idle = actions_lib.read(env.layout, env.site, jnp.zeros(env.layout.action_size))
    asked = actions_lib.project(
        limits, idle, now, state.gen_p_mw, gen_on, state.vm_pu, state.energy_mwh
    )
    branch = switching.advance(
        state.branch, now.branch_status, recloses=env.options.protection.recloses
    )
    dead = state.vm_pu <= 0
    connected = 1.0 - state.frequency.shed_share
    return Situation(
        now.load_p_mw * connected, now.load_q_mvar * connected, now.renewable_mw,
        jnp.where(gen_on, state.condenser_mw, 0.0), gen_on, asked.gen_low_mw, asked.gen_high_mw,
        asked.vm_setpoint_pu,
        jnp.where(dead, limits.vm_min_pu, state.vm_pu - limits.voltage_ramp),
        jnp.where(dead, limits.vm_max_pu, state.vm_pu + limits.voltage_ramp),
        branch.closed, connected,
    )  # fmt: skip


def _anywhere(env: grid_env.GridEnv, now: series_lib.TimeSeries) -> Situation:
    """Returns the situation of a row of a time series, where nothing before it matters."""
    limits = env.limits
    gen_on = now.gen_status == series_lib.IN_SERVICE
    on = gen_on.astype(jnp.float32)
    none = jnp.zeros(env.grid.n_gen)
    return Situation(
        now.load_p_mw, now.load_q_mvar, now.renewable_mw, none, gen_on, limits.p_min_mw * on,
        limits.p_max_mw * on, limits.setpoint_pu, limits.vm_min_pu, limits.vm_max_pu,
        now.branch_status == series_lib.IN_SERVICE, jnp.ones(()),
    )  # fmt: skip


def _targets(site: _Site, ahead: Situation, found: dict[int, acopf_model.Solution]):
    """Returns what the solutions ask for, `[B, …]`; rows without one are left as they come."""
    shape = ahead.load_p_mw.shape[:1]
    unit = np.zeros((*shape, site.grid.n_gen))
    # Loads are asked for as they would be whole: relays hold off the same share of what is asked.
    connected = np.asarray(ahead.connected)[:, None]
    voltage, load = np.array(ahead.setpoint_pu), np.array(ahead.load_p_mw / connected)
    renewable = np.array(ahead.available_mw)
    for i, solution in found.items():
        unit[i], voltage[i] = solution.p_mw, solution.vm_pu
        load[i, site.movable] += solution.moved_mw / connected[i]
        if site.curtailed:
            renewable[i] -= solution.spilled_mw
    return actions_lib.Targets(unit, voltage, load, renewable)


def _step_solver(site: _Site):
    """Returns what a worker does for a step: (situation, warm start) → solution."""
    model = acopf_model.Model(site.grid, site.prices, site.controls)

    def solve(problem):
        situation, warm = problem
        point = _point(site, situation, _RATE_SHARE, _VOLTAGE_MARGIN_PU)
        return model.solve(point, warm)

    return solve


def _day_solver(site: _Site):
    """Returns what a worker does for a day: situations `[rows]` → $/h `[rows]`, share, seconds."""
    model = acopf_model.Model(site.grid, site.prices, site.controls)

    def solve(situations):
        costs, operating, optimal, seconds, warm = [], [], [], [], None
        for index in range(len(situations.closed)):
            row = Situation(*(leaf[index] for leaf in situations))
            point = _point(site, row, 1.0, 0.0)
            found = model.cheapest(point, warm)
            warm = found.warm
            # What is cut off from every unit nobody can serve.
            dead = point.energised[site.grid.loads] == 0.0
            cut_off = max(float(row.load_p_mw[dead].sum()), 0.0)
            costs.append(found.cost_per_h + site.prices.lost_load * cut_off)
            operating.append(found.operating_per_h)
            optimal.append(found.optimal and cut_off == 0.0)
            seconds.append(found.seconds)
        return costs, operating, np.mean(optimal), np.mean(seconds)

    return solve


def _point(site: _Site, row: Situation, rate_share: float, margin: float) -> acopf_model.Point:
    """Returns a situation as an operating point to optimise."""
    grid = site.grid
    gen, bus, n = grid.gen, grid.bus, grid.n_bus
    on = np.asarray(row.gen_on, bool)
    load_p, load_q = (np.bincount(grid.loads, x, n) for x in (row.load_p_mw, row.load_q_mvar))
    energised = connectivity.energised(grid, row.closed, on, load_p)
    given = np.bincount(gen.bus, row.given_mw, n)
    if not site.curtailed:
        given += np.bincount(site.plant_bus, row.available_mw, n)
    pv = np.isin(np.arange(n), gen.bus[on])
    low, high = bus.vm_min_pu + margin, bus.vm_max_pu - margin
    moved = pv & ~site.voltage_held
    low = np.where(moved, np.clip(row.vm_low_pu, bus.vm_min_pu, bus.vm_max_pu), low)
    high = np.where(moved, np.clip(row.vm_high_pu, bus.vm_min_pu, bus.vm_max_pu), high)
    fixed = pv & site.voltage_held
    low, high = np.where(fixed, row.setpoint_pu, low), np.where(fixed, row.setpoint_pu, high)
    movable = row.load_p_mw[site.movable], row.load_q_mvar[site.movable]
    return acopf_model.Point(
        load_p * energised, load_q * energised, given * energised,
        np.minimum(row.p_low_mw, row.p_high_mw) * on, row.p_high_mw * on,
        np.where(on, gen.q_min_mvar, 0.0), np.where(on, gen.q_max_mvar, 0.0), low, high, pv,
        np.asarray(row.closed, float)
        * (energised[grid.branch.from_bus] & energised[grid.branch.to_bus]),
        energised.astype(float), *movable, site.load_share,
        row.available_mw * energised[site.controls.plant_bus] if site.curtailed else np.zeros(0),
        rate_share,
    )  # fmt: skip
