"""Emergencies: the largest infeed is lost, or the branches between two areas."""

import chex
import jax
import jax.numpy as jnp
import numpy as np

from envs.case import connectivity, fleet as fleet_lib, grid as grid_lib
from envs.time_series import outages, series as series_lib
from evaluation.scenarios import chance, corridors, days, faults

FIRST_H, LAST_H = 1.0, 21.0


def series(
    key: chex.PRNGKey, grid: grid_lib.Grid, fleet: fleet_lib.Fleet, setting: days.Setting
) -> series_lib.TimeSeries:
    """Returns a day on which the largest infeed that the rest can replace is lost.

    Where no unit can be replaced, that is the branch of the highest rating that leaves the grid
    whole. Hard, a tie corridor is lost: all branches between two areas but those that keep the grid
    in one piece.
    """
    k_day, k_chance = jax.random.split(key)
    which, when, repaired = jax.random.uniform(k_chance, (3,))
    day = days.ordinary(k_day, grid, fleet, setting)
    start = chance.row(when, setting, FIRST_H, LAST_H)
    length = chance.repair(repaired, setting)
    units = grid.gen.is_unit & outages.may_trip(grid)
    if not setting.hard and units.any():
        largest = jnp.argmax(jnp.where(units, day.plan_p_mw[start], -jnp.inf))
        lost = jnp.arange(grid.n_gen) == largest
        return day.replace(gen_status=faults.faulted(day.gen_status, lost, start, length))
    if setting.hard:
        choice = jnp.asarray(corridors.corridors(grid, fleet))
        lost = choice[chance.whole(which, 0, len(choice) - 1)]
    else:
        lost = jnp.asarray(_strongest_branch(grid))
    return day.replace(branch_status=faults.faulted(day.branch_status, lost, start, length))


def _strongest_branch(grid: grid_lib.Grid) -> np.ndarray:
    """Returns the branch of the highest rating that leaves the grid whole, bool `[n_branch]`."""
    may = connectivity.classes(grid) > 0
    if not may.any():
        raise ValueError(
            f"case {grid.name}: scenario emergency needs a unit that the others can replace or a "
            "branch that leaves the grid whole, and there is none; use a meshed case"
        )
    return np.arange(grid.n_branch) == np.argmax(np.where(may, grid.branch.rate_mva, -np.inf))
