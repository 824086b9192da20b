"""Cascade: neighbouring branches trip one after the other while the grid is heavily loaded."""

import chex
import jax
import jax.numpy as jnp

from envs import options as options_lib
from envs.case import fleet as fleet_lib, grid as grid_lib
from envs.time_series import series as series_lib
from evaluation.scenarios import chains, chance, days, faults, loading

EASY_SHARE, HARD_SHARE = 0.80, 0.90  # of the day's loadability
EASY_LENGTH, HARD_LENGTH = 2, 3  # branches that trip
PEAK_HOURS = 4.0  # of highest load, within which they do
SPREAD_MINUTES = 15  # from the first to the last at most


def check(options: options_lib.EnvOptions) -> None:
    """Raises ValueError where nothing trips of itself."""
    if not options.protection.enabled:
        raise ValueError(
            "scenario cascade: env.protection.enabled is false, so that nothing can spread; set "
            "env.protection.enabled to true"
        )


def series(
    key: chex.PRNGKey, grid: grid_lib.Grid, fleet: fleet_lib.Fleet, setting: days.Setting
) -> series_lib.TimeSeries:
    """Returns a day of high load on which a chain of branches of one area trips about the peak."""
    k_day, k_chain, k_branches = jax.random.split(key, 3)
    share = HARD_SHARE if setting.hard else EASY_SHARE
    day = loading.loaded(days.ordinary(k_day, grid, fleet, setting), grid, fleet, setting, share)
    length = HARD_LENGTH if setting.hard else EASY_LENGTH
    choice = jnp.asarray(chains.chains(grid, fleet.area, length))
    which, when = jax.random.uniform(k_chain, (2,))
    late, repaired = jax.random.uniform(k_branches, (2, length))
    chain = choice[chance.whole(which, 0, len(choice) - 1)]

    # The first in the hours of highest load, the others in order of the chain.
    spread = SPREAD_MINUTES // setting.options.step_minutes
    late = jnp.sort(chance.whole(late, 0, spread))
    start = chance.one_of(when, _about_the_peak(day, setting, spread)) + late - late[0]
    start = jnp.minimum(start, setting.n_rows - 1)
    repair = chance.repair(repaired, setting)
    status = day.branch_status
    for place in range(length):
        which = jnp.arange(grid.n_branch) == chain[place]
        status = faults.faulted(status, which, start[place], repair[place])
    return day.replace(branch_status=status)


def _about_the_peak(day: series_lib.TimeSeries, setting: days.Setting, spread: int) -> chex.Array:
    """Returns in which rows a chain may begin, so that it ends within the day; bool `[rows]`."""
    row = jnp.arange(setting.n_rows)
    fits = (row >= 1) & (row <= max(1, setting.n_rows - 1 - spread))
    load = jnp.where(fits, day.load_p_mw.sum(1), -jnp.inf)
    number = max(1, round(PEAK_HOURS / 24.0 * setting.options.horizon_steps))
    return load >= jax.lax.top_k(load, number)[0][-1]
