"""Seeded synthetic days of load.

A day's load is a smooth expectation, which is what the forecast knows, times correlated noise,
which is what it does not. The expectation has a double-peaked daily shape, quieter weekends and
a winter peak, the features that the load profiles of distribution and transmission studies share
(IEEE Reliability Test System, IEEE Trans. PAS-98, 1979, tables 1 to 3). The noise has a part
common to the grid and a part of each load, both first-order autoregressive.

Days of the year are dealt to the train, validation and test splits, so that no day is in two.
"""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp
import numpy as np

from envs import grid as grid_lib
from envs import options as options_lib
from envs import schedule
from envs import tape as tape_lib

DAYS_PER_YEAR = 364  # 52 whole weeks, so that day % 7 is the day of the week
SPLITS = ("train", "validation", "test")

SEASON_SWING = 0.10  # half the difference between the winter and the summer level
WEEKEND_LEVEL = 0.90
COMMON_STD, COMMON_HOURS = 0.015, 2.0  # noise shared by all loads: size, correlation time
OWN_STD, OWN_HOURS = 0.02, 0.75  # noise of each load
REACTIVE_STD, REACTIVE_HOURS = 0.01, 0.75  # noise of each load's power factor
LEVEL_ERROR_STD = 0.02  # error of the forecast's level over a whole day


def split_days(split: str) -> np.ndarray:
    """Returns the days of the year that belong to `split`: of ten days, eight, one and one.

    Raises:
      ValueError: for a split that does not exist.
    """
    if split not in SPLITS:
        raise ValueError(f"split {split!r}: must be one of {', '.join(SPLITS)}")
    days = np.arange(DAYS_PER_YEAR)
    place = {"train": days % 10 < 8, "validation": days % 10 == 8, "test": days % 10 == 9}
    return days[place[split]]


def sample(
    key: chex.PRNGKey, grid: grid_lib.Grid, options: options_lib.EnvOptions, split: str
) -> tape_lib.Tape:
    """Returns a random day of `split` as a tape of `horizon_steps + 1` rows."""
    k_day, k_noise = jax.random.split(jax.random.fold_in(key, SPLITS.index(split)))
    days = jnp.asarray(split_days(split), jnp.int32)
    day = days[jax.random.bits(k_day) % days.size]
    n_rows = options.horizon_steps + 1
    dt_h = options.step_minutes / 60.0

    # One draw feeds all noise: what the grid shares, each load's own, each load's power factor.
    loads = grid.loads
    counts = (1, loads.size, loads.size)
    shocks = jax.random.normal(k_noise, (n_rows, sum(counts) + 1))
    hours = np.repeat((COMMON_HOURS, OWN_HOURS, REACTIVE_HOURS), counts)
    noise = _autoregressive(shocks[:, :-1], np.exp(-dt_h / hours))
    common, own, factor = jnp.split(noise, np.cumsum(counts)[:-1], axis=1)
    level_error = LEVEL_ERROR_STD * shocks[0, -1]

    expected = _expected_level(jnp.arange(n_rows) * dt_h, day)[:, None]  # [rows, 1]
    deviation = COMMON_STD * common + OWN_STD * own + level_error
    level = expected * jnp.maximum(1.0 + deviation, 0.1)
    reactive = 1.0 + REACTIVE_STD * factor
    p_nominal = jnp.asarray(grid.bus.load_p_mw[loads], jnp.float32)
    q_nominal = jnp.asarray(grid.bus.load_q_mvar[loads], jnp.float32)
    forecast = expected[:, 0] * p_nominal.sum()
    plan = schedule.SCHEDULES[options.schedule](grid, forecast * (1.0 + options.planned_losses))
    return tape_lib.Tape(level * p_nominal, level * reactive * q_nominal, forecast, plan, day)


def _expected_level(hour: chex.Array, day: chex.Array) -> chex.Array:
    """Returns the expected load as a share of nominal `[rows]`; a winter weekday peaks near 1."""
    bump = lambda centre, width: jnp.exp(-0.5 * ((hour - centre) / width) ** 2)
    night, morning, evening = bump(28.0, 3.0) + bump(4.0, 3.0), bump(9.0, 2.0), bump(19.0, 2.5)
    weekend = (day % 7) >= 5
    shape = 0.74 - 0.12 * night + jnp.where(weekend, 0.06, 0.12) * morning + 0.16 * evening
    season = 1.0 + SEASON_SWING * jnp.cos(2 * jnp.pi * (day - 15) / DAYS_PER_YEAR)
    return shape * season * jnp.where(weekend, WEEKEND_LEVEL, 1.0)


def _autoregressive(shocks: chex.Array, memory: np.ndarray) -> chex.Array:
    """Returns stationary AR(1) noise of unit variance along the first axis, shaped like `shocks`.

    `memory` `[columns]` is the correlation of neighbouring rows in each column.
    """
    gain = np.sqrt(1.0 - memory**2)

    def advance(previous, shock):
        value = memory * previous + gain * shock
        return value, value

    _, later = jax.lax.scan(advance, shocks[0], shocks[1:])
    return jnp.concatenate([shocks[:1], later])
