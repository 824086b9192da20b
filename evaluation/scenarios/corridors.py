"""Tie corridors: the branches between two neighbouring areas."""

import numpy as np

from envs.case import connectivity, fleet as fleet_lib, grid as grid_lib
from envs.powerflow import matrices


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
