"""AC optimal power flow as a controller, step by step, and as a bound on what a day must cost."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from agents import controllers
from agents.baselines import acopf_model, acopf_problem, forecast, outlook, workers
from envs import grid_env
from envs.case import connectivity, fleet as fleet_lib, grid as grid_lib
from envs.step import actions as actions_lib, layout as layout_lib, reactive_power, switching
from envs.step.options import StepOptions
from envs.time_series import series as series_lib

# Left free for what else the step does: the change of losses, and what loads draw by then.
_RATE_SHARE, _VOLTAGE_MARGIN_PU = 0.995, 5e-4
_FORESEEN_SHARE = 0.99  # for what forecasts miss, too


class _Site(NamedTuple):
    """What a worker needs of an environment."""

    grid: grid_lib.Grid
    prices: StepOptions
    controls: acopf_problem.Controls
    movable: np.ndarray  # indices into the loads, of those that may be moved
    curtailed: bool  # whether plants may be; otherwise they feed in what there is
    plant_bus: np.ndarray
    fixed_setpoint: np.ndarray  # bool `[n_bus]`, a generator's bus whose set-point nobody moves
    load_share: float
    rate_share: float  # of branches' limits that is made use of
    margin_pu: float  # within buses' voltage limits


class Situation(NamedTuple):
    """What the next step is decided for, of each grid; MW, MVAr and pu."""

    load_p_mw: np.ndarray  # `[n_load]`
    load_q_mvar: np.ndarray  # `[n_load]`
    available_mw: np.ndarray  # `[n_plant]`
    condenser_mw: np.ndarray  # `[n_gen]` what condensers draw, negative
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
    every limit, it breaks them as cheaply as the environment's prices say. It solves in `count`
    processes; 0 for one a core.
    """
    known = jax.jit(jax.vmap(lambda state, series: series.at(state.t + 1)))
    return _controller(env, count, "acopf", "AC-OPF", controllers.NEXT_ROW, known, _RATE_SHARE)


def acopf_forecast(env: grid_env.GridEnv, count: int = 0) -> controllers.Controller:
    """Returns what `acopf` is to who has to foresee the next step, as operators and policies have.

    Loads and plants have the share of the forecast total that they have now; what is out now is
    out, and announced maintenance is known. It asks for shares of what will be there, as DC-OPF.
    """
    present = jax.jit(jax.vmap(_announced))
    plants = env.fleet.renewables
    foreseen = lambda state, series: _foreseen(present(state, series), plants)
    return _controller(
        env, count, "acopf_forecast", "AC-OPF fcst.", controllers.FORECASTS, foreseen,
        _FORESEEN_SHARE,
    )  # fmt: skip


def _controller(
    env: grid_env.GridEnv,
    count: int,
    name: str,
    title: str,
    knows: str,
    rows: Callable[[grid_env.State, series_lib.TimeSeries], series_lib.TimeSeries],
    rate_share: float,
) -> controllers.Controller:
    """Returns the controller that takes `rows` of states and time series for the next step."""
    site = _site(env, rate_share, _VOLTAGE_MARGIN_PU)
    pool = workers.Workers(_step_solver, site, count=count)
    situations = jax.jit(jax.vmap(lambda state, row: _next(env, state, row)))

    @jax.jit
    @jax.vmap
    def translate(state, series, targets):
        ahead = series.at(state.t + 1)
        return env.action_for(state, series, targets._replace(
            load_mw=targets.load_mw * ahead.load_p_mw,
            renewable_mw=targets.renewable_mw * ahead.renewable_mw,
        ))  # fmt: skip

    def act(state, series, memory):
        going = np.flatnonzero(~np.asarray(state.terminated))
        ahead = jax.tree.map(np.asarray, situations(state, rows(state, series)))
        problems = [(jax.tree.map(lambda x, i=i: x[i], ahead), memory[i]) for i in going]
        solutions = dict(zip(going, pool.map(problems)))
        memory = [solutions[i].warm if i in solutions else None for i in range(len(memory))]
        solved = {i: solution for i, solution in solutions.items() if solution.solved}
        action = np.array(translate(state, series, _targets(site, ahead, solved)))
        action[[i for i in range(len(action)) if i not in solved]] = 0.0  # as planned
        return action, memory

    return controllers.Controller(
        name, title, knows, lambda series, seed: [None] * len(series.day), act, traceable=False,
        close=pool.close,
    )  # fmt: skip


class Bound(NamedTuple):
    """What AC optimal power flow, free in time, says of days `[B]`; infinite where it fails."""

    cost: np.ndarray  # `[B, rows]` $, every price included
    operating: np.ndarray  # `[B, rows]` $ of generation and of moving loads alone, at that optimum
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
    controller move; nobody has to foresee anything, condensers draw their share of what they
    produce at once, and limits are broken where that is cheaper than to keep them. What load no
    unit can reach is lost to everybody, and paid for. Batteries rest, so that what a controller
    earns with them can, in principle, pass it; and an optimum is a local one, as Ipopt finds it.

    `series` has leaves `[B, rows, …]`; `progress` is called with the number of days just done; it
    solves in `count` processes, 0 for one a core.
    """
    site = _site(env, 1.0, 0.0, every_control=True)
    pool = workers.Workers(_day_solver, site, count=count)
    free = jax.jit(jax.vmap(jax.vmap(lambda row: _anywhere(env, row))))
    days = len(series.day)
    rows = jax.tree.map(lambda leaf: leaf[:, 1:] if leaf.ndim > 1 else leaf, series)
    rows = rows.replace(day=jnp.repeat(series.day[:, None], rows.load_p_mw.shape[1], 1))
    situations = jax.tree.map(np.asarray, free(rows))
    bounds = []
    try:
        for begin in range(0, days, pool.count):
            chosen = range(begin, min(begin + pool.count, days))
            problems = [jax.tree.map(lambda x, d=d: x[d], situations) for d in chosen]
            bounds += pool.map(problems)
            progress(len(chosen))
    finally:
        pool.close()
    cost, operating, optimal, seconds = (np.array(column) for column in zip(*bounds))
    return Bound(env.dt_h * cost, env.dt_h * operating, optimal, seconds)


def _site(
    env: grid_env.GridEnv, rate_share: float, margin_pu: float, *, every_control: bool = False
) -> _Site:
    grid, options, action = env.grid, env.options, env.layout.action
    movable, plants = env.site.controllable, env.fleet.renewables.bus
    # What a step's condensers draw follows from the step before, and is given to a controller.
    moved, condensers = grid.gen.bus, np.zeros(0, int)
    if every_control:
        condensers = np.flatnonzero(env.fleet.units.kind == "condenser")
        movable = np.flatnonzero(grid.bus.load_p_mw[grid.loads] > 0)
    else:
        movable = movable if "load" in action else np.zeros(0, int)
        moved = moved[layout_lib.voltage_controls(env.layout, grid)]
    curtailed = every_control or "curtailment" in action
    pv = np.isin(np.arange(grid.n_bus), grid.gen.bus)
    prices = options
    if not every_control:
        # What is overloaded for long trips, which a step by itself does not see.
        prices = dataclasses.replace(options, overload_price=options.lost_load_price)
    return _Site(
        grid, prices,
        acopf_problem.Controls(
            grid.loads[movable], plants if curtailed else np.zeros(0, int), condensers,
            reactive_power.CONDENSER_LOSS,
        ),
        movable, curtailed, plants, pv & ~np.isin(np.arange(grid.n_bus), moved),
        options.load_control_share, rate_share, margin_pu,
    )  # fmt: skip


def _next(env: grid_env.GridEnv, state: grid_env.State, now: series_lib.TimeSeries) -> Situation:
    """Returns the situation of one grid in its next step, of which `now` is the row."""
    limits = env.limits
    idle = actions_lib.read(env.layout, env.site, jnp.zeros(env.layout.action_size))
    feasible = actions_lib.project(limits, idle, now, state)
    branch = switching.advance(
        state.branch, now.branch_status, recloses=env.options.protection.recloses
    )
    off = state.vm_pu <= 0  # de-energised
    connected = 1.0 - state.frequency.shed_share
    return Situation(
        now.load_p_mw * connected, now.load_q_mvar * connected, now.renewable_mw,
        jnp.where(now.gen_in_service, state.condenser_mw, 0.0), now.gen_in_service,
        feasible.gen_low_mw, feasible.gen_high_mw, feasible.vm_setpoint_pu,
        jnp.where(off, limits.vm_min_pu, state.vm_pu - limits.voltage_ramp),
        jnp.where(off, limits.vm_max_pu, state.vm_pu + limits.voltage_ramp),
        branch.closed, connected,
    )  # fmt: skip


def _announced(state: grid_env.State, series: series_lib.TimeSeries) -> series_lib.TimeSeries:
    """Returns the row of one grid that there is now, with the next one's maintenance."""
    now, later = series.at(state.t), series.at(state.t + 1).branch_status
    return now.replace(branch_status=outlook.foreseen(now.branch_status, later))


def _foreseen(now: series_lib.TimeSeries, plants: fleet_lib.Renewables) -> series_lib.TimeSeries:
    """Returns the rows `[B, …]` after `now` as they are foreseen."""
    now = jax.tree.map(np.asarray, now)
    load, renewable = np.array(now.load_p_mw), np.array(now.renewable_mw)
    for i in range(len(load)):
        load[i] = forecast.scaled(load[i], float(now.load_forecast_mw[i, 0]))
        total = float(now.renewable_forecast_mw[i, 0])
        renewable[i] = forecast.weather(renewable[i], total, plants.p_max_mw)
    # Power factors stay.
    change = np.divide(load, now.load_p_mw, out=np.ones_like(load), where=now.load_p_mw != 0)
    return now.replace(load_p_mw=load, load_q_mvar=change * now.load_q_mvar, renewable_mw=renewable)


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


def _targets(site: _Site, ahead: Situation, solutions: dict[int, acopf_problem.Solution]):
    """Returns the targets of the solutions `[B, …]`; rows without one are left as they come.

    Those of loads and plants are shares of what the next step has: it need not be as foreseen.
    """
    shape = ahead.load_p_mw.shape[:1]
    unit = np.zeros((*shape, site.grid.n_gen))
    voltage = np.array(ahead.setpoint_pu)
    load, renewable = np.ones_like(ahead.load_p_mw), np.ones_like(ahead.available_mw)
    for i, solution in solutions.items():
        unit[i], voltage[i] = solution.p_mw, solution.vm_pu
        # Of loads as they are connected: relays hold off the same share of their target.
        load[i, site.movable] += _share(solution.moved_mw, ahead.load_p_mw[i, site.movable])
        if site.curtailed:
            renewable[i] -= _share(solution.spilled_mw, ahead.available_mw[i])
    return actions_lib.Targets(unit, voltage, load, renewable)


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole != 0)


def _step_solver(site: _Site):
    """Returns what a worker does for a step: (situation, warm start) → solution."""
    model = acopf_model.Model(site.grid, site.prices, site.controls)

    def solve(problem):
        situation, warm = problem
        return model.solve(_problem(site, situation), warm)

    return solve


def _day_solver(site: _Site):
    """Returns what a worker does for a day: situations `[rows]` → $/h `[rows]`, share, seconds."""
    model = acopf_model.Model(site.grid, site.prices, site.controls)

    def solve(situations):
        costs, operating, optimal, seconds, warm = [], [], [], [], None
        for index in range(len(situations.closed)):
            row = Situation(*(leaf[index] for leaf in situations))
            problem = _problem(site, row)
            solution = model.cheapest(problem, warm)
            warm = solution.warm
            # What is cut off from every unit nobody can serve.
            off = problem.energised[site.grid.loads] == 0.0
            cut_off = max(float(row.load_p_mw[off].sum()), 0.0)
            costs.append(solution.cost_per_h + site.prices.lost_load_price * cut_off)
            operating.append(solution.operating_per_h)
            optimal.append(solution.optimal and cut_off == 0.0)
            seconds.append(solution.seconds)
        return costs, operating, np.mean(optimal), np.mean(seconds)

    return solve


def _problem(site: _Site, row: Situation) -> acopf_problem.Problem:
    """Returns the optimal power flow of a situation."""
    grid = site.grid
    gen, bus, n = grid.gen, grid.bus, grid.n_bus
    on = np.asarray(row.gen_on, bool)
    load_p, load_q = (np.bincount(grid.loads, x, n) for x in (row.load_p_mw, row.load_q_mvar))
    energised = connectivity.energised(grid, row.closed, on, load_p)
    fixed = np.bincount(gen.bus, row.condenser_mw, n)
    if not site.curtailed:
        fixed += np.bincount(site.plant_bus, row.available_mw, n)
    pv = np.isin(np.arange(n), gen.bus[on])
    low, high = bus.vm_min_pu + site.margin_pu, bus.vm_max_pu - site.margin_pu
    moved = pv & ~site.fixed_setpoint
    low = np.where(moved, np.clip(row.vm_low_pu, bus.vm_min_pu, bus.vm_max_pu), low)
    high = np.where(moved, np.clip(row.vm_high_pu, bus.vm_min_pu, bus.vm_max_pu), high)
    stays = pv & site.fixed_setpoint
    low, high = np.where(stays, row.setpoint_pu, low), np.where(stays, row.setpoint_pu, high)
    ends = energised[grid.branch.from_bus] & energised[grid.branch.to_bus]
    available = (
        row.available_mw * energised[site.controls.plant_bus] if site.curtailed else np.zeros(0)
    )
    return acopf_problem.Problem(
        load_p_mw=load_p * energised, load_q_mvar=load_q * energised, fixed_mw=fixed * energised,
        p_low_mw=np.minimum(row.p_low_mw, row.p_high_mw) * on, p_high_mw=row.p_high_mw * on,
        q_low_mvar=np.where(on, gen.q_min_mvar, 0.0),
        q_high_mvar=np.where(on, gen.q_max_mvar, 0.0),
        vm_low_pu=low, vm_high_pu=high, pv=pv,
        closed=np.asarray(row.closed, float) * ends, energised=energised.astype(float),
        movable_p_mw=row.load_p_mw[site.movable], movable_q_mvar=row.load_q_mvar[site.movable],
        movable_share=site.load_share, available_mw=available, rate_share=site.rate_share,
    )  # fmt: skip
