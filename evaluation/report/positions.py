"""Where the buses of a grid are drawn: the same place in every diagram."""

import networkx
import numpy as np
import scipy.linalg
import scipy.sparse.linalg

from envs.case import connectivity, grid as grid_lib

_LARGE = 300  # buses above which springs would take longer than the rest of a report


def bus_positions(grid: grid_lib.Grid) -> np.ndarray:
    """Returns the position of each bus `[n_bus, 2]`, within −1 to 1, the wider way first.

    Classical scaling of the distances in branches (Torgerson, 1952), then, up to 300 buses, springs
    as long as those distances (Kamada and Kawai, Information Processing Letters 31, 1989).
    """
    n_bus = grid.n_bus
    if n_bus < 3:
        return np.stack([np.linspace(-1.0, 1.0, n_bus), np.zeros(n_bus)], 1)
    apart = connectivity.distances(grid)
    # A grid in parts: parts are as far from one another as the widest is wide.
    apart = np.where(np.isfinite(apart), apart, apart[np.isfinite(apart)].max() + 1.0)
    places = _scaled(apart)
    # Twins, as far from everything as one another, would lie on one spot.
    turn = 2.4 * np.arange(n_bus)
    places += 0.02 * np.abs(places).max() * np.stack([np.cos(turn), np.sin(turn)], 1)
    if n_bus <= _LARGE:
        graph = networkx.Graph(zip(grid.branch.from_bus.tolist(), grid.branch.to_bus.tolist()))
        graph.add_nodes_from(range(n_bus))
        distances = {i: dict(enumerate(row)) for i, row in enumerate(apart)}
        placed = networkx.kamada_kawai_layout(graph, dist=distances, pos=dict(enumerate(places)))
        places = np.stack([placed[bus] for bus in range(n_bus)])
    return _turned(places)


def _scaled(apart: np.ndarray) -> np.ndarray:
    """Returns points whose distances are about `apart` `[n, n]`."""
    squared = apart**2
    middle = squared.mean(0)
    inner = -0.5 * (squared - middle - middle[:, None] + squared.mean())
    if (n_bus := len(inner)) <= _LARGE:
        values, vectors = scipy.linalg.eigh(inner, subset_by_index=(n_bus - 2, n_bus - 1))
    else:  # From a vector with a part along both; ones have none.
        values, vectors = scipy.sparse.linalg.eigsh(inner, 2, v0=np.cos(np.arange(n_bus)))
    return vectors * np.sqrt(np.maximum(values, 1e-9))


def _turned(points: np.ndarray) -> np.ndarray:
    """Returns points turned so that they are widest along the first axis, and scaled to fit."""
    points = points - points.mean(0)
    _, _, axes = np.linalg.svd(points, full_matrices=False)
    # The signs that a decomposition leaves open: the entry of each axis that is largest is up.
    axes *= np.sign(axes[np.arange(2), np.abs(axes).argmax(1)])[:, None]
    points = points @ axes.T
    low, high = points.min(0), points.max(0)
    return 2.0 * (points - low) / np.maximum(high - low, 1e-9) - 1.0
