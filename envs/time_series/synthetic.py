"""Seeded synthetic days: load, wind, sun, outages, and what was foreseen of them.

`docs/time_series.md` gives the formulas. What happens is a part that the day before knows
(`noise.Slow`) plus a surprise (`noise.Surprise`) plus, for loads, white noise. A forecast is the
expectation of what will happen, given the known part and the surprise so far: it is unbiased, and
its error grows with its lead.
"""

import chex
import jax
import numpy as np

from envs.case.fleet import Fleet
from envs.case.grid import Grid
from envs.schedule import day_ahead
from envs.time_series import load, outages, renewables, splits
from envs.time_series.options import TimeSeriesOptions
from envs.time_series.series import LEAD_STEPS, TimeSeries


def sample(
    key: chex.PRNGKey,
    grid: Grid,
    fleet: Fleet,
    options: TimeSeriesOptions,
    split: str,
    progress: chex.Numeric = 1.0,
) -> TimeSeries:
    """Returns a random day of `split` as a time series of `horizon_steps + 1` rows, from midnight.

    Pure; `vmap` over keys within `jit` is how it is meant to be called. Of a curriculum of outages
    `progress`, 0 to 1, is behind.

    Raises:
      ValueError: for a split that does not exist.
    """
    key = jax.random.fold_in(key, splits.index(split))
    k_day, k_load, k_weather, k_outage = jax.random.split(key, 4)
    day = splits.draw(k_day, split)
    times = hours(options)
    p, q, load_ahead, load_day_ahead = load.sample(k_load, grid, fleet.area[grid.loads], times, day)
    available, ahead, renewable_day_ahead = renewables.sample(k_weather, fleet, times, day)
    n_rows = options.horizon_steps + 1
    branch_status, gen_status = outages.sample(k_outage, grid, options, n_rows, progress)
    return TimeSeries(
        load_p_mw=p,
        load_q_mvar=q,
        renewable_mw=available,
        branch_status=branch_status,
        gen_status=gen_status,
        load_forecast_mw=load_ahead,
        renewable_forecast_mw=ahead,
        day_ahead_load_mw=load_day_ahead,
        day_ahead_renewable_mw=renewable_day_ahead,
        plan_p_mw=day_ahead.unit_plan(grid, options.schedule, load_day_ahead, renewable_day_ahead),
        day=day,
    )


def hours(options: TimeSeriesOptions) -> np.ndarray:
    """Returns the hour of every row, and of the rows after them that forecasts look ahead to."""
    n_times = options.horizon_steps + 1 + max(LEAD_STEPS)
    return np.arange(n_times) * (options.step_minutes / 60.0)
