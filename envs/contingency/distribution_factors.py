"""What the outage of each branch does to the flows of the others, computed once per grid."""

from typing import NamedTuple

import numpy as np

from envs.case import connectivity
from envs.case.grid import Grid
from envs.powerflow import matrices

_RADIAL = 1e-6  # a branch that carries all but this of a transfer between its ends may be a bridge


class Factors(NamedTuple):
    """Linear factors of a grid, double precision. Rows are branches that are watched.

    `respond` is what screening needs: column k is the change of all flows per unit of the flow that
    branch k carried when it went out, before the division by 1 − h_kk where k is no bridge.
    """

    ptdf: np.ndarray  # `[n_branch, n_bus]` flow per injection that the reference bus takes out
    transfer: np.ndarray  # `[n_branch, n_branch]` H: flow per transfer between a branch's ends
    respond: np.ndarray  # `[n_branch, n_branch]`
    bridge: np.ndarray  # bool `[n_branch]`, outages that cut a part off
    cut_off: np.ndarray  # bool `[n_branch, n_bus]`, the buses that an outage cuts off
    de_energised: np.ndarray  # bool `[n_branch, n_branch]`, branches (rows) that carry nothing then
    rate_pu: np.ndarray  # `[n_branch]`

    @property
    def lodf(self) -> np.ndarray:
        """Line outage distribution factors `[n_branch, n_branch]`, −1 on the diagonal.

        L_lk = H_lk / (1 − H_kk) (Zimmerman's `makeLODF` in MATPOWER; Wood and Wollenberg, Power
        Generation, Operation and Control, appendix 11A). The column of a bridge is what the units
        that remain do about the power it carried.
        """
        lodf = self.respond / self.divisor
        np.fill_diagonal(lodf, -1.0)
        return lodf

    @property
    def divisor(self) -> np.ndarray:
        """1 − H_kk `[n_branch]`, and one for bridges."""
        return np.where(self.bridge, 1.0, 1.0 - np.diag(self.transfer))


def build(grid: Grid) -> Factors:
    """Returns the factors of a grid with all branches in service.

    H = PTDF Aᵀ with A the incidence of branches and buses.

    A bridge has H_kk = 1: nothing can take over its flow. What it cuts off is the side that serves
    less of the file's load, as in `powerflow.islands`; the imbalance p that it leaves at its
    surviving end m is taken by the units of the energised side in proportion to Pmax, and changes
    flows by ±p (PTDF_m − PTDF w).
    """
    m, branch = grid.n_branch, grid.branch
    f, t = branch.from_bus, branch.to_bus
    ptdf = power_transfer(grid)
    transfer = ptdf[:, f] - ptdf[:, t]

    capacity, every = grid.capacity_mw, np.ones(grid.n_gen, bool)
    respond, bridge = transfer.copy(), np.zeros(m, bool)
    cut_off = np.zeros((m, grid.n_bus), bool)
    for k in np.flatnonzero(np.abs(1.0 - np.diag(transfer)) < _RADIAL):
        others = np.arange(m) != k
        side = connectivity.islands(grid, others)
        if side[f[k]] == side[t[k]]:
            continue
        energised = connectivity.energised(grid, others, every, grid.bus.load_p_mw)
        share = np.where(energised, capacity, 0.0)
        end, sign = (f[k], 1.0) if energised[f[k]] else (t[k], -1.0)
        respond[:, k] = 0.0
        if share.sum() > 0:
            respond[:, k] = sign * (ptdf[:, end] - ptdf @ (share / share.sum()))
        bridge[k], cut_off[k] = True, ~energised
    de_energised = (cut_off[:, f] | cut_off[:, t]).T
    np.fill_diagonal(de_energised, True)
    rate = branch.rate_mva / grid.base_mva
    return Factors(ptdf, transfer, respond, bridge, cut_off, de_energised, rate)


def power_transfer(grid: Grid) -> np.ndarray:
    """Returns power transfer distribution factors `[n_branch, n_bus]`, zero at the reference bus.

    PTDF = B_f B⁻¹ with B_f = diag(b) A, B = Aᵀ B_f without the reference bus, and b = 1 / (x · tap)
    (MATPOWER manual, section 3.7 and `makePTDF`).
    """
    incidence = matrices.incidence(grid).toarray()
    weighted = incidence * matrices.susceptance(grid.branch)[:, None]
    others = np.delete(np.arange(grid.n_bus), grid.reference_bus)
    ptdf = np.zeros(incidence.shape)
    ptdf[:, others] = np.linalg.solve(
        (incidence.T @ weighted)[np.ix_(others, others)].T, weighted[:, others].T
    ).T
    return ptdf
