"""Look-ahead model predictive control: DC optimal power flow over the next hour."""

from __future__ import annotations

import numpy as np

from agents import controllers
from agents.baselines import dc_controller
from envs import grid_env
from envs.case import grid as grid_lib
from envs.schedule import day_ahead
from envs.time_series import series as series_lib

STEPS = (1,) * 12  # the length of each period
_ROUNDS = 1  # the next decision goes on where these end


def mpc(env: grid_env.GridEnv, count: int = 0) -> controllers.Controller:
    """Returns the controller that plans an hour, twelve steps, and does the first of them.

    A DC optimal power flow over all twelve, with ramps from each to the next, batteries, and what
    maintenance is announced; faults come unforeseen. Forecasts between the leads that there are
    are interpolated. Energy left in batteries at the end is worth the day's mean marginal cost.
    Voltages stay as scheduled; branches are checked as in `dcopf`, once.

    Args:
      env: the environment.
      count: processes to solve in; 0 for one a core.
    """
    setting = dc_controller.setting(env, STEPS, stores=True, rounds=_ROUNDS)

    def value(days: series_lib.TimeSeries) -> np.ndarray:
        load, plants = days.day_ahead_load_mw, days.day_ahead_renewable_mw
        demand = day_ahead.demand(env.grid, load, plants)
        return marginal_cost(env.grid.gen, np.asarray(demand)).mean(1)

    return dc_controller.make(env, "mpc", "look-ahead MPC", setting, value, count)


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
