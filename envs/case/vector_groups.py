"""Takes out of a grid the phase shifts of transformers' vector groups that no flow depends on.

A Dyn5 transformer turns voltages by 150°. Where such shifts cancel around every loop they only say
against what angles are measured; a power flow that starts with equal angles would not converge.
"""

import dataclasses

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph

from envs.case.conversion import Notes
from envs.case.grid import Grid

_HOUR = np.pi / 6  # of a vector group
_TURN = 12


def without(grid: Grid, notes: Notes) -> Grid:
    """Returns `grid` with angles measured against those that vector groups give each bus.

    With φ for the multiples of 30° that sum up from the reference bus along a spanning tree, a
    branch keeps its shift less φ_from − φ_to: nothing on the tree but what is no multiple of 30°,
    and elsewhere what does not cancel around a loop. Flows and magnitudes are the same; the angle
    of a bus is less by φ.
    """
    branch = grid.branch
    hours = np.round(branch.shift_rad / _HOUR).astype(int)
    if not (hours % _TURN).any():
        return grid
    of_bus = _hours_of_buses(grid, hours)
    left = branch.shift_rad - _HOUR * (of_bus[branch.from_bus] - of_bus[branch.to_bus])
    left = np.mod(left + np.pi, 2 * np.pi) - np.pi
    left[np.abs(left) < 1e-12] = 0.0
    turned = (of_bus % _TURN != 0).sum()
    notes.add(
        "branch row", np.flatnonzero(np.abs(left - branch.shift_rad) > 1e-9) + 1,
        f"{{n}} without the shift of their vector group: angles at {turned} buses are "
        "measured against a turn of their own",
    )  # fmt: skip
    return dataclasses.replace(grid, branch=dataclasses.replace(branch, shift_rad=left))


def _hours_of_buses(grid: Grid, hours: np.ndarray) -> np.ndarray:
    """Returns φ `[n_bus]` in multiples of 30°, zero at the reference bus."""
    n, branch = grid.n_bus, grid.branch
    # Shifts of no hours first, so that the tree avoids what could be a loop of phase shifters.
    weight = 1.0 + (hours % _TURN != 0)
    graph = sparse.coo_matrix((weight, (branch.from_bus, branch.to_bus)), (n, n))
    tree = csgraph.minimum_spanning_tree(_least(graph))
    order, parent = csgraph.breadth_first_order(tree, grid.reference_bus, directed=False)
    along: dict[tuple[int, int], int] = {}
    for index in np.lexsort((weight,))[::-1]:  # of parallel branches that of least weight counts
        ends = int(branch.from_bus[index]), int(branch.to_bus[index])
        along[ends] = hours[index]
        along[ends[::-1]] = -hours[index]
    of_bus = np.zeros(n, int)
    for bus in order[1:]:
        of_bus[bus] = of_bus[parent[bus]] + along[int(bus), int(parent[bus])]
    return of_bus


def _least(graph: sparse.coo_matrix) -> sparse.csr_matrix:
    """Returns the graph with the least weight of parallel branches, either way."""
    low, high = np.minimum(graph.row, graph.col), np.maximum(graph.row, graph.col)
    first = np.lexsort((graph.data, high, low))
    low, high, data = low[first], high[first], graph.data[first]
    new = np.append(True, (np.diff(low) != 0) | (np.diff(high) != 0))
    return sparse.csr_matrix((data[new], (low[new], high[new])), graph.shape)
