"""Branches of one area that follow each other from bus to bus: what one fault may spread along."""

import numpy as np

from envs.case import connectivity, grid as grid_lib

_MOST = 1024  # chains of each length that are looked at: large grids have more than need be


def chains(grid: grid_lib.Grid, area: np.ndarray, length: int) -> np.ndarray:
    """Returns chains of branches inside areas, int32 `[n_chain, length]`.

    Each branch shares a bus with the one before it, and a chain is not its reverse. Chains that
    leave the grid whole are preferred: others are returned only where there is none. Of many, a
    fixed choice.

    Args:
      grid: the grid.
      area: `[n_bus]`.
      length: branches in a chain, two or more.

    Raises:
      ValueError: no area has that many branches in a row.
    """
    rng = np.random.default_rng(0)
    start, end = grid.branch.from_bus, grid.branch.to_bus
    inside = np.flatnonzero(area[start] == area[end])
    at_bus = [[] for _ in range(grid.n_bus)]
    for branch in inside.tolist():
        at_bus[start[branch]].append(branch)
        at_bus[end[branch]].append(branch)

    candidates = [(branch,) for branch in inside.tolist()]
    for _ in range(length - 1):
        beside = lambda branch: {*at_bus[start[branch]], *at_bus[end[branch]]}
        longer = [(*chain, b) for chain in candidates for b in sorted(beside(chain[-1]) - {*chain})]
        candidates = [longer[i] for i in np.sort(rng.permutation(len(longer))[:_MOST])]
    if not candidates:
        raise ValueError(
            f"case {grid.name}: no area has {length} branches that share buses in a row, which "
            "scenario cascade needs; use a fleet with larger areas"
        )
    whole = [chain for chain in candidates if connectivity.is_whole(grid, chain)]
    return np.array(whole or candidates, np.int32)
