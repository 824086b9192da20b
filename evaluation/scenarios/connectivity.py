"""Which buses hang together, and how many branches lie between them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from scipy.sparse import csgraph

from envs.case import connectivity
from envs.case import grid as grid_lib


def is_whole(grid: grid_lib.Grid, out: Iterable[int]) -> bool:
    """Returns whether the grid is in one piece without the branches `out`."""
    closed = np.ones(grid.n_branch, bool)
    closed[list(out)] = False
    return not connectivity.islands(grid, closed).any()


def distances(grid: grid_lib.Grid) -> np.ndarray:
    """Returns the least number of branches between two buses, int16 `[n_bus, n_bus]`."""
    graph = connectivity.links(grid, np.ones(grid.n_branch, bool))
    return csgraph.shortest_path(graph, directed=False, unweighted=True).astype(np.int16)
