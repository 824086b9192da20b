"""DC power flow of one grid in any state, sparse and in double precision, on the host."""

from __future__ import annotations

import functools

import numpy as np
import scipy.sparse
import scipy.sparse.linalg

from envs.case import connectivity
from envs.case.grid import Grid
from envs.powerflow import matrices

_TOPOLOGIES = 64  # that are kept, the last used


class DcNetwork:
    """Makes and keeps topologies of one grid."""

    def __init__(self, grid: Grid):
        """Takes the grid."""
        self._grid = grid
        self._topology = functools.lru_cache(_TOPOLOGIES)(functools.partial(_from_bytes, grid))

    def topology(self, closed: np.ndarray, gen_on: np.ndarray, load_mw: np.ndarray) -> Topology:
        """Returns the topology with branches `closed` and generators `gen_on` in service, bool.

        The loads `load_mw` `[n_bus]` decide which island is energised.
        """
        energised = connectivity.energised(self._grid, closed, gen_on, load_mw)
        return self._topology(np.asarray(closed, bool).tobytes(), energised.tobytes())


class Topology:
    """The energised island, and how power spreads in it (MATPOWER manual, section 3.7).

    With b = 1 / (x · tap), flows are diag(b) (A θ − shift), and Aᵀ diag(b) A θ is what is injected
    and what phase shifters drive. One bus of the island keeps angle zero and takes what is missing.
    """

    def __init__(self, grid: Grid, closed: np.ndarray, energised: np.ndarray):
        """Takes the grid, its branches in service `[n_branch]` and the island `[n_bus]`, bool."""
        branch = grid.branch
        self._ends = f, t = branch.from_bus, branch.to_bus
        self.energised = energised  # bool `[n_bus]`
        self.closed = closed & energised[f] & energised[t]  # bool `[n_branch]`
        susceptance = matrices.susceptance(branch)
        self._weight = np.where(self.closed, susceptance, 0.0)
        incidence = matrices.incidence(grid)
        matrix = incidence.T @ scipy.sparse.diags_array(self._weight) @ incidence
        # De-energised buses, and one that is energised, are tied to an angle of zero.
        tied = ~energised
        tied[np.argmax(energised)] = True
        ties = scipy.sparse.diags_array(tied * max(1.0, np.abs(susceptance).max()))
        self._factors = scipy.sparse.linalg.splu((matrix + ties).tocsc())
        driven = -self._weight * branch.shift_rad * grid.base_mva
        self._driven = driven + self._spread(-(incidence.T @ driven))
        self._rows: dict[int, np.ndarray] = {}

    def flows(self, injection_mw: np.ndarray) -> np.ndarray:
        """Returns the flows `[n_branch]` MW that `injection_mw` `[n_bus]` leads to."""
        return self._driven + self._spread(injection_mw)

    def transfer_factors(self, branch: int) -> np.ndarray:
        """Returns the flow of `branch` per injection at each bus `[n_bus]`."""
        if branch not in self._rows:
            end = np.zeros(self.energised.size)
            end[self._ends[0][branch]] += self._weight[branch]
            end[self._ends[1][branch]] -= self._weight[branch]
            self._rows[branch] = self._factors.solve(end) * self.energised
        return self._rows[branch]

    def _spread(self, injection: np.ndarray) -> np.ndarray:
        angle = self._factors.solve(np.where(self.energised, injection, 0.0))
        return self._weight * (angle[self._ends[0]] - angle[self._ends[1]])


def _from_bytes(grid: Grid, closed: bytes, energised: bytes) -> Topology:
    return Topology(grid, np.frombuffer(closed, bool), np.frombuffer(energised, bool))
