"""Controllers that solve a DC optimal power flow for each decision, in processes of their own."""

from collections.abc import Callable

import numpy as np

from agents import controllers
from agents.baselines import dc_dispatch, outlook, workers
from envs import grid_env
from envs.case import grid as grid_lib
from envs.schedule import day_ahead
from envs.time_series import series as series_lib

_RATE_SHARE = 0.98  # of limits; what is left is for what forecasts of the next step miss
LOOK_AHEAD = (1,) * 12  # steps of each period that `mpc` plans


def dcopf(env: grid_env.GridEnv, count: int = 0) -> controllers.Controller:
    """Returns the controller that runs a DC optimal power flow on the forecast of the next step.

    It moves units, wind and sun, and loads, at the environment's prices; batteries rest and
    voltages stay as scheduled. The network is the one that will be there as far as is announced.
    An AC power flow checks every plan, and lowers the limits of branches that would be beyond
    theirs, up to three times. It solves in `count` processes; 0 for one a core.
    """
    setting = _setting(env, (1,), stores=False, rounds=3)
    none = lambda days: np.zeros(len(days.day))
    return _controller(env, "dcopf", "DC-OPF", setting, none, count)


def mpc(env: grid_env.GridEnv, count: int = 0) -> controllers.Controller:
    """Returns the controller that plans an hour, twelve steps, and does the first of them.

    Look-ahead model predictive control: a DC optimal power flow over all twelve, with ramps from
    each to the next, batteries, and what maintenance is announced; faults come unforeseen.
    Forecasts between the leads that there are are interpolated. Energy left in batteries at the end
    is worth the day's mean marginal cost. Voltages stay as scheduled; branches are checked as in
    `dcopf`, once, since the next decision goes on where this one ends. It solves in `count`
    processes; 0 for one a core.
    """
    setting = _setting(env, LOOK_AHEAD, stores=True, rounds=1)

    def value(days: series_lib.TimeSeries) -> np.ndarray:
        load, plants = days.day_ahead_load_mw, days.day_ahead_renewable_mw
        demand = day_ahead.demand(env.grid, load, plants)
        return marginal_cost(env.grid.gen, np.asarray(demand)).mean(1)

    return _controller(env, "mpc", "look-ahead MPC", setting, value, count)


def marginal_cost(gen: grid_lib.Generators, demand_mw: np.ndarray) -> np.ndarray:
    """Returns the price, $/MWh, at which units offer `demand_mw`, any shape, the network aside."""
    units = gen.is_unit
    c1, c2 = gen.cost_c1[units], gen.cost_c2[units]
    low, high = gen.p_min_mw[units], gen.p_max_mw[units]
    # Between these prices the supply is linear, and at each it may jump.
    prices = np.unique(np.concatenate([c1 + 2 * c2 * low, c1 + 2 * c2 * high]))
    at = prices[:, None]
    sloped = np.clip((at - c1) / np.where(c2 > 0, 2 * c2, 1.0), low, high)
    before = np.where(c2 > 0, sloped, np.where(at > c1, high, low)).sum(1)
    after = np.where(c2 > 0, sloped, np.where(at >= c1, high, low)).sum(1)
    supply = np.stack([before, after], 1).ravel()
    return np.interp(demand_mw, supply, np.repeat(prices, 2))


def _setting(
    env: grid_env.GridEnv, steps: tuple[int, ...], *, stores: bool, rounds: int
) -> dc_dispatch.Setting:
    """Returns what a dispatcher over periods of so many `steps` needs of an environment."""
    movable = np.zeros(env.grid.loads.size)
    if "load" in env.layout.action:
        movable[env.site.controllable] = env.options.load_control_share
    return dc_dispatch.Setting(
        env.grid, env.fleet, env.options, env.dt_h, series_lib.LEAD_STEPS, steps, movable,
        curtails="curtailment" in env.layout.action,
        stores=stores and "storage" in env.layout.action,
        rate_share=_RATE_SHARE,
        rounds=rounds,
    )  # fmt: skip


def _controller(
    env: grid_env.GridEnv,
    name: str,
    title: str,
    setting: dc_dispatch.Setting,
    value: Callable[[series_lib.TimeSeries], np.ndarray],
    count: int,
) -> controllers.Controller:
    """Returns the controller that requests the set-points of `dc_dispatch`.

    `value` takes time series `[B, …]`; it returns the value of stored energy in each `[B]` $/MWh.
    """
    pool = workers.Workers(dc_dispatch.Dispatcher, setting, count=count)
    view = outlook.Outlook(env, sum(setting.steps))

    def start(days, seed):
        del seed
        none = np.zeros(env.grid.n_branch)
        return [dc_dispatch.Memory((), none, float(v)) for v in value(days)]

    def act(state, days, memory):
        going = np.flatnonzero(~np.asarray(state.terminated))
        situations = view.look(state, days)
        problems = [(situations[i], memory[i]) for i in going]
        setpoints, memory = [None] * len(memory), list(memory)
        for i, solved in zip(going, pool.map(problems)):
            setpoints[i], memory[i] = solved
        return view.write(state, days, setpoints), memory

    return controllers.Controller(
        name, title, controllers.FORECASTS, start, act, traceable=False, close=pool.close
    )
