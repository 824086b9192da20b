"""Whether a grid is in one piece, by merging the groups that branches join."""

import numpy as np


def is_whole(grid, out):
    """Returns whether the grid is in one piece without the branches `out`."""
    group = np.arange(grid.n_bus)
    for branch, (a, b) in enumerate(zip(grid.branch.from_bus, grid.branch.to_bus)):
        if branch not in out:
            group[group == group[a]] = group[b]
    return (group == group[0]).all()
