"""Which buses branches connect, and which branches divide the grid."""

from collections.abc import Iterable

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph

from envs.case.grid import Grid

BRIDGE = 0  # class of a branch whose loss alone divides the grid
_LABEL_SEED = 0


def links(grid: Grid, closed: np.ndarray) -> sparse.csr_matrix:
    """Returns the graph `[n_bus, n_bus]` of the branches in service, `closed` bool `[n_branch]`."""
    ends = grid.branch.from_bus[closed], grid.branch.to_bus[closed]
    return sparse.csr_matrix((np.ones(ends[0].size), ends), (grid.n_bus, grid.n_bus))


def islands(grid: Grid, closed: np.ndarray) -> np.ndarray:
    """Returns the number of the island of each bus `[n_bus]`, from 0; `closed` as in `links`."""
    return csgraph.connected_components(links(grid, closed), directed=False)[1]


def laplacian(
    n_bus: int,
    from_bus: np.ndarray,
    to_bus: np.ndarray,
    weight: np.ndarray,
    inverse_tap: np.ndarray | float = 1.0,
) -> np.ndarray:
    """Returns Σ w a aᵀ `[n_bus, n_bus]` over branches `[n_branch]` with a = e_from / tap − e_to."""
    matrix = np.zeros((n_bus, n_bus))
    np.add.at(matrix, (from_bus, from_bus), weight * inverse_tap**2)
    np.add.at(matrix, (to_bus, to_bus), weight)
    np.add.at(matrix, (from_bus, to_bus), -weight * inverse_tap)
    np.add.at(matrix, (to_bus, from_bus), -weight * inverse_tap)
    return matrix


def is_whole(grid: Grid, out: Iterable[int]) -> bool:
    """Returns whether the grid is in one piece without the branches `out`."""
    closed = np.ones(grid.n_branch, bool)
    closed[list(out)] = False
    return not islands(grid, closed).any()


def distances(grid: Grid) -> np.ndarray:
    """Returns the least number of branches between buses `[n_bus, n_bus]`, infinite for none."""
    graph = links(grid, np.ones(grid.n_branch, bool))
    return csgraph.shortest_path(graph, directed=False, unweighted=True)


def energised(
    grid: Grid, closed: np.ndarray, gen_on: np.ndarray, load_mw: np.ndarray
) -> np.ndarray:
    """Returns the buses of the energised island, that which serves most load, bool `[n_bus]`.

    As in `powerflow.islands`: load as far as the Pmax of units in service goes, and of equals the
    one with most Pmax; no bus is energised where no unit is in service. `closed` and `gen_on` are
    bool `[n_branch]` and `[n_gen]`, in service; `load_mw` `[n_bus]` what loads draw.
    """
    island = islands(grid, closed)
    capacity = np.bincount(island[grid.gen.bus], grid.gen.capacity_mw * gen_on, island.max() + 1)
    served = np.clip(np.bincount(island, load_mw), 0.0, capacity)
    main = np.where(served == served.max(), capacity, -1.0).argmax()
    return (island == main) & (capacity.max() > 0)


def classes(grid: Grid) -> np.ndarray:
    """Returns a class `[n_branch]` for each branch: 0 for a bridge, whose loss divides the grid.

    Of the others, two in one class divide the grid when both are out, and two of different classes
    do not. By random labels of the cycle space (Pritchard and Thurimella, ACM Trans.
    Algorithms 7, 2011): branches outside a spanning tree get random words, a branch of the tree
    the exclusive or of those whose cycles pass through it; equal words are a cut.
    """
    ends = np.stack([grid.branch.from_bus, grid.branch.to_bus], axis=1)
    at_bus: list[list[int]] = [[] for _ in range(grid.n_bus)]
    for branch, (a, b) in enumerate(ends):
        at_bus[a].append(branch)
        at_bus[b].append(branch)
    parent = np.full(grid.n_bus, -1)  # the branch through which the tree reached the bus
    visited = np.zeros(grid.n_bus, bool)
    order = []
    for root in range(grid.n_bus):
        stack = [] if visited[root] else [root]
        visited[root] = True
        while stack:
            bus = stack.pop()
            order.append(bus)
            for branch in at_bus[bus]:
                other = ends[branch].sum() - bus
                if not visited[other]:
                    visited[other], parent[other] = True, branch
                    stack.append(other)
    labels = np.random.default_rng(_LABEL_SEED).integers(1, 2**63, grid.n_branch, dtype=np.int64)
    labels[parent[parent >= 0]] = 0
    through = np.zeros(grid.n_bus, np.int64)  # of cycles that leave what hangs below the bus
    for branch, (a, b) in enumerate(ends):
        through[a] ^= labels[branch]
        through[b] ^= labels[branch]
    for bus in order[::-1]:
        if parent[bus] >= 0:
            labels[parent[bus]] = through[bus]
            through[ends[parent[bus]].sum() - bus] ^= through[bus]
    _, numbers = np.unique(np.append(labels, 0), return_inverse=True)
    return (numbers - numbers[-1])[:-1].astype(np.int32)  # the label 0 of bridges becomes class 0
