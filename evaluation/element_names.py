"""What elements of a grid are called: by the numbers of their buses, as in the case file."""

import numpy as np

from envs.case import grid as grid_lib


def branch(grid: grid_lib.Grid, number: int) -> str:
    """Returns a branch by the numbers of its buses, with its place among parallel ones."""
    ends = np.sort(np.stack([grid.branch.from_bus, grid.branch.to_bus]), 0)
    first, second = grid.branch.from_bus[number], grid.branch.to_bus[number]
    text = f"{grid.bus.id[first]}–{grid.bus.id[second]}"
    return text + _place(np.flatnonzero((ends == ends[:, [number]]).all(0)), number)


def unit(grid: grid_lib.Grid, gen: int) -> str:
    """Returns a generator by its bus, with its place among those there."""
    kinds = np.where(grid.gen.is_unit, "unit", "condenser")
    kinds = np.where(grid.gen.is_dispatchable_load, "dispatchable load", kinds)
    alike = (grid.gen.bus == grid.gen.bus[gen]) & (kinds == kinds[gen])
    text = f"{kinds[gen]} at bus {grid.bus.id[grid.gen.bus[gen]]}"
    return text + _place(np.flatnonzero(alike), gen)


def _place(alike: np.ndarray, one: int) -> str:
    return f" ({alike.tolist().index(one) + 1} of {alike.size})" if alike.size > 1 else ""
