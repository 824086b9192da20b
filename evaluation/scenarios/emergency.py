"""Emergencies: the largest infeed is lost, or a tie corridor, the branches between two areas.

On a grid with microgrids what supplies them from beyond is lost.
"""

import chex
import jax
import jax.numpy as jnp
import numpy as np

from envs.case import connectivity, fleet as fleet_lib, grid as grid_lib
from envs.powerflow import matrices
from envs.time_series import outages, series as series_lib
from evaluation.scenarios import chance, days

FIRST_H, LAST_H = 1.0, 21.0


def series(key: chex.PRNGKey, setting: days.Setting) -> series_lib.TimeSeries:
    """Returns a day on which the largest infeed that the rest can replace is lost.

    Where no unit can be replaced, that is the branch of the highest rating that leaves the grid
    whole. Hard, a tie corridor is lost: all branches between two areas but those that keep the grid
    in one piece.

    On a grid with microgrids the branches at the bus of the largest unit are out, which divides the
    grid: easy, in maintenance, which is announced an hour ahead; hard, by a fault.
    """
    grid = setting.grid
    k_day, k_chance = jax.random.split(key)
    which, when, repaired = jax.random.uniform(k_chance, (3,))
    day = days.ordinary(k_day, setting)
    start = chance.row(when, setting, FIRST_H, LAST_H)
    length = chance.repair(repaired, setting)
    if setting.fleet.couplings.size:
        what = series_lib.FAULT if setting.hard else series_lib.MAINTENANCE
        lost = jnp.asarray(supply(grid))
        status = days.faulted(day.branch_status, lost, start, length, what)
        return day.replace(branch_status=status)
    units = grid.gen.is_unit & outages.may_trip(grid)
    if not setting.hard and units.any():
        largest = jnp.argmax(jnp.where(units, day.plan_p_mw[start], -jnp.inf))
        lost = jnp.arange(grid.n_gen) == largest
        return day.replace(gen_status=days.faulted(day.gen_status, lost, start, length))
    if setting.hard:
        choice = jnp.asarray(corridors(grid, setting.fleet))
        lost = choice[chance.whole(which, 0, len(choice) - 1)]
    else:
        lost = jnp.asarray(_strongest_branch(grid))
    return day.replace(branch_status=days.faulted(day.branch_status, lost, start, length))


def supply(grid: grid_lib.Grid) -> np.ndarray:
    """Returns the branches at the bus of the largest unit, bool `[n_branch]`."""
    bus = grid.gen.bus[grid.gen.capacity_mw.argmax()]
    return (grid.branch.from_bus == bus) | (grid.branch.to_bus == bus)


def _strongest_branch(grid: grid_lib.Grid) -> np.ndarray:
    """Returns the branch of the highest rating that leaves the grid whole, bool `[n_branch]`."""
    may = connectivity.classes(grid) > 0
    if not may.any():
        raise ValueError(
            f"case {grid.name}: scenario emergency needs a unit that the others can replace or a "
            "branch that leaves the grid whole, and there is none; use a meshed case"
        )
    return np.arange(grid.n_branch) == np.argmax(np.where(may, grid.branch.rate_mva, -np.inf))


def corridors(grid: grid_lib.Grid, fleet: fleet_lib.Fleet) -> np.ndarray:
    """Returns what is lost with each tie corridor, bool `[n_corridor, n_branch]`.

    All branches between two areas but those that the grid needs to stay whole: one after the
    other is taken out, the lowest rating first, unless that divides what is left.

    Raises:
      ValueError: no branch between areas can go.
    """
    area = areas(grid, fleet)
    ends = np.sort(np.stack([area[grid.branch.from_bus], area[grid.branch.to_bus]]), axis=0)
    lost = []
    for pair in np.unique(ends[:, ends[0] != ends[1]], axis=1).T:
        tie = np.flatnonzero((ends == pair[:, None]).all(0))
        out = []
        for branch in tie[np.argsort(grid.branch.rate_mva[tie], kind="stable")]:
            if connectivity.is_whole(grid, [*out, branch]):
                out.append(branch)
        if out:
            lost.append(np.isin(np.arange(grid.n_branch), out))
    if not lost:
        raise ValueError(
            f"case {grid.name}: no branch between areas can go without dividing the grid, which "
            "scenario emergency (hard) needs; use a meshed case"
        )
    return np.stack(lost)


def areas(grid: grid_lib.Grid, fleet: fleet_lib.Fleet) -> np.ndarray:
    """Returns the area of each bus `[n_bus]`: the fleet's, or two halves where that is all one.

    Halves are the signs of the second eigenvector of the Laplacian of susceptances (Fiedler, 1973).
    """
    if np.ptp(fleet.area):
        return fleet.area
    weight = 1.0 / np.abs(matrices.reactance(grid.branch))
    laplacian = connectivity.laplacian(grid.n_bus, grid.branch.from_bus, grid.branch.to_bus, weight)
    return np.where(np.linalg.eigh(laplacian)[1][:, 1].round(9) >= 0, 1, 2)
