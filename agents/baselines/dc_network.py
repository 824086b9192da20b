"""DC power flow of one grid with whatever is open, in double precision, for host solvers."""

from __future__ import annotations

import numpy as np
import scipy.sparse
import scipy.sparse.linalg

from envs.case import connectivity
from envs.case import grid as grid_lib
from envs.powerflow import admittance

_KEPT = 64  # topologies; beyond that all are made anew


class DcNetwork:
    """Makes and keeps topologies of one grid."""

    def __init__(self, grid: grid_lib.Grid):
        self._grid = grid
        self._known: dict[bytes, Topology] = {}

    def at(self, closed: np.ndarray, gen_on: np.ndarray, load_mw: np.ndarray) -> Topology:
        """Returns the topology with branches `closed` and generators `gen_on` in service, bool.

        The loads `load_mw` `[n_bus]` decide which island lives.
        """
        energised = connectivity.energised(self._grid, closed, gen_on, load_mw)
        key = np.packbits(np.concatenate([closed, energised])).tobytes()
        if key not in self._known:
            if len(self._known) >= _KEPT:
                self._known.clear()
            self._known[key] = Topology(self._grid, closed, energised)
        return self._known[key]


class Topology:
    """The island that lives, and how power spreads in it (MATPOWER manual, section 3.7).

    With b = 1 / (x · tap), flows are diag(b) (A θ − shift), and Aᵀ diag(b) A θ is what is injected
    and what phase shifters drive. One bus of the island keeps angle zero and takes what is missing.
    """

    def __init__(self, grid: grid_lib.Grid, closed: np.ndarray, energised: np.ndarray):
        branch = grid.branch
        self._ends = branch.from_bus, branch.to_bus
        self.energised = energised  # bool `[n_bus]`
        f, t = self._ends
        self.closed = closed & self.energised[f] & self.energised[t]  # bool `[n_branch]`
        stiffness = 1.0 / (admittance.reactance(branch) * branch.tap)
        self._weight = np.where(self.closed, stiffness, 0.0)
        places = np.arange(grid.n_branch)
        n = grid.n_bus
        incidence = scipy.sparse.coo_matrix(
            (np.repeat([1.0, -1.0], grid.n_branch), (np.tile(places, 2), np.concatenate([f, t]))),
            shape=(grid.n_branch, n),
        ).tocsr()
        matrix = incidence.T @ scipy.sparse.diags(self._weight) @ incidence
        # Dead buses, and one that is energised, are tied to an angle of zero.
        tied = ~self.energised
        tied[np.argmax(self.energised)] = True
        ties = scipy.sparse.diags(tied * max(1.0, np.abs(stiffness).max()))
        self._factors = scipy.sparse.linalg.splu((matrix + ties).tocsc())
        driven = -self._weight * branch.shift_rad * grid.base_mva
        self._driven = driven + self._spread(-(incidence.T @ driven))
        self._rows: dict[int, np.ndarray] = {}

    def flows(self, injection_mw: np.ndarray) -> np.ndarray:
        """Returns the flows `[n_branch]` MW that `injection_mw` `[n_bus]` leads to."""
        return self._driven + self._spread(injection_mw)

    def factors(self, branch: int) -> np.ndarray:
        """Returns the flow of `branch` per injection at each bus `[n_bus]`."""
        if branch not in self._rows:
            end = np.zeros(self.energised.size)
            end[self._ends[0][branch]] += self._weight[branch]
            end[self._ends[1][branch]] -= self._weight[branch]
            self._rows[branch] = self._factors.solve(end) * self.energised
        return self._rows[branch]

    def _spread(self, injection):
        angle = self._factors.solve(np.where(self.energised, injection, 0.0))
        return self._weight * (angle[self._ends[0]] - angle[self._ends[1]])
