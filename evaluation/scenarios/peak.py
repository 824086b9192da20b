"""Peak load: days on which the grid is loaded up to a share of the most that it can carry."""

import chex
import jax
import jax.numpy as jnp
import numpy as np

from agents.baselines import loadability
from envs.time_series import series as series_lib
from evaluation.scenarios import days

EASY_SHARE, HARD_SHARE = 0.85, 0.95  # of the day's loadability


def series(key: chex.PRNGKey, setting: days.Setting) -> series_lib.TimeSeries:
    """Returns a day that peaks at a share of the largest load for which AC-OPF is feasible."""
    share = HARD_SHARE if setting.hard else EASY_SHARE
    return loaded(days.ordinary(key, setting), setting, share)


def loaded(
    series: series_lib.TimeSeries, setting: days.Setting, share: float
) -> series_lib.TimeSeries:
    """Returns `series` with all loads, and what was foreseen of them, times share · loadability.

    The power factor of each load stays, and so do wind and sun. The plan is made again.
    """
    factor = share * most(series, setting)
    series = series.replace(
        load_p_mw=factor * series.load_p_mw,
        load_q_mvar=factor * series.load_q_mvar,
        load_forecast_mw=factor * series.load_forecast_mw,
        day_ahead_load_mw=factor * series.day_ahead_load_mw,
    )
    return days.planned_again(series, setting)


def most(series: series_lib.TimeSeries, setting: days.Setting) -> chex.Array:
    """Returns the loadability of a day: the largest factor on its loads that the grid can carry.

    That of a row is the largest for which an AC optimal power flow is feasible
    (`loadability.factor`); that of the day is the least of the rows that can bind, which are the
    one of the highest load and the one of the highest load less wind and sun. Ipopt runs on the
    host; under `vmap` it takes one time series after the other.
    """
    load, renewable = series.load_p_mw.sum(1), series.renewable_mw.sum(1)
    rows = jnp.stack([load.argmax(), (load - renewable).argmax()])
    return jax.pure_callback(
        lambda *row: _least(setting, *map(np.asarray, row)),
        jax.ShapeDtypeStruct((), jnp.float32),
        series.load_p_mw[rows], series.load_q_mvar[rows], series.renewable_mw[rows],
        vmap_method="sequential",
    )  # fmt: skip


def _least(setting: days.Setting, load_p_mw, load_q_mvar, renewable_mw) -> np.float32:
    """Returns the least loadability of rows `[2, …]`; the second is often the first again."""
    grid, plants = setting.grid, setting.fleet.renewables
    n_different = 1 + bool((load_p_mw[0] != load_p_mw[1]).any())
    factors = []
    for p, q, renewable in zip(load_p_mw[:n_different], load_q_mvar, renewable_mw):
        injection = np.bincount(plants.bus, renewable, grid.n_bus)
        factors.append(loadability.factor(grid, p, q, injection))
    return np.float32(min(factors))
