"""Extreme weather: a storm crosses the grid, and branches near it fault as it passes."""

import chex
import jax
import jax.numpy as jnp
import numpy as np

from envs.case import connectivity, fleet as fleet_lib, grid as grid_lib
from envs.time_series import renewables, series as series_lib, synthetic
from evaluation.scenarios import chance, days

CROSSING_H = (3.0, 6.0)
LEAST_CROSSING = 0.5  # of the distance from where it starts to the bus that is farthest from there
REACH = 1  # branches both of whose buses are that near to the storm, counted in branches
EASY_FAULTS, HARD_FAULTS = 2.0, 5.0  # in the mean, on a grid of _BRANCHES
_BRANCHES = 186  # those of case118
_MOST_FAULTS = 1 / 8  # of all branches, in the mean
_MOST_LIKELY = 0.5  # that a branch near the storm faults
STRENGTH = 1.5  # standard deviations by which wind rises and sun falls meanwhile
_RISE_H = 1.0


def series(key: chex.PRNGKey, setting: days.Setting) -> series_lib.TimeSeries:
    """Returns a day on which a storm moves from one bus to another along a shortest path.

    A branch near the storm's path faults with one probability for all, while the storm is there.
    Parts of the grid may be cut off. Wind is strong and sun weak meanwhile, which no forecast knows
    before it comes.
    """
    grid, fleet = setting.grid, setting.fleet
    k_day, k_weather, k_path, k_fault = jax.random.split(key, 4)
    day = days.ordinary(k_day, setting)
    begin, end, when, how_long = jax.random.uniform(k_path, (4,))
    start, length = _when(when, how_long, setting)
    near = _near(begin, end, setting, start, length)

    exposed = near.any(0)
    likely = expected_faults(grid, setting.hard) / jnp.maximum(exposed.sum(), 1)
    whether, at, repaired = jax.random.uniform(k_fault, (3, grid.n_branch))
    fails = exposed & (whether < jnp.minimum(likely, _MOST_LIKELY))
    # Each in one of the rows in which the storm is near it.
    passed = near.cumsum(0)
    row = jnp.argmax(passed > jnp.floor(at * passed[-1]), axis=0)
    repair = chance.repair(repaired, setting)
    day = day.replace(branch_status=days.faulted(day.branch_status, fails, row, repair))
    if not fleet.n_renewable:
        return day

    times = synthetic.hours(setting.options)
    available, ahead, before = renewables.sample(
        k_weather, fleet, times, day.day, shift=_shift(setting, start, length)
    )
    day = day.replace(
        renewable_mw=available, renewable_forecast_mw=ahead, day_ahead_renewable_mw=before
    )
    return days.planned_again(day, setting)


def expected_faults(grid: grid_lib.Grid, hard: bool) -> float:
    """Returns how many branches a storm takes in the mean.

    A storm's path grows as the square root of a grid does; small grids lose one, where that is not
    more than an eighth of them.
    """
    most = (HARD_FAULTS if hard else EASY_FAULTS) * np.sqrt(grid.n_branch / _BRANCHES)
    return float(min(max(most, 1.0), _MOST_FAULTS * grid.n_branch))


def _when(when, how_long, setting: days.Setting) -> tuple[chex.Array, chex.Array]:
    """Returns the row in which a storm begins, and how many rows it takes, within the day."""
    least, most = (max(1, round(h / setting.dt_h)) for h in CROSSING_H)
    length = jnp.minimum(chance.whole(how_long, least, most), setting.n_rows - 1)
    return chance.whole(when, 1, setting.n_rows - length), length


def _near(begin, end, setting, start, length) -> chex.Array:
    """Returns the branches that the storm is near to at each row, bool `[rows, n_branch]`."""
    grid = setting.grid
    static = connectivity.distances(grid).astype(np.int16)
    distance = jnp.asarray(static)
    begin = chance.whole(begin, 0, grid.n_bus - 1)
    away = distance[begin]
    end = chance.one_of(end, away >= LEAST_CROSSING * away.max())

    # Back from the end, each bus next to the one before it and nearer to the beginning.
    def back(bus, _):
        closer = jnp.argmin(jnp.where(distance[bus] == 1, away, away.max() + 1))
        return jnp.where(bus == begin, bus, closer), bus

    _, path = jax.lax.scan(back, end, None, length=int(static.max()) + 1)
    row = jnp.arange(setting.n_rows)
    passed = jnp.clip((row - start) / length, 0.0, 1.0)
    bus = path[jnp.round((1.0 - passed) * away[end]).astype(jnp.int32)]
    reached = distance[bus] <= REACH
    active = (row >= start) & (row < start + length)
    both = reached[:, grid.branch.from_bus] & reached[:, grid.branch.to_bus]
    return active[:, None] & both


def _shift(setting, start, length) -> chex.Array:
    """Returns what the storm adds to the weather of each plant, `[rows, n_renewable]`."""
    hours = setting.dt_h * (jnp.arange(setting.n_rows) - start)
    level = jnp.clip(jnp.minimum(hours, setting.dt_h * length - hours) / _RISE_H, 0.0, 1.0)
    sign = np.where(setting.fleet.renewables.kind == fleet_lib.WIND, 1.0, -1.0)
    return STRENGTH * level[:, None] * jnp.asarray(sign, jnp.float32)
