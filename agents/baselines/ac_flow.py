"""AC power flow of one grid with whatever is open, sparse and in double precision, on the host.

Newton's method as in `envs.powerflow.newton`, with the factors of an earlier Jacobian as long as
they bring the mismatch down: from one decision to the next a grid hardly moves.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.sparse
import scipy.sparse.linalg

from envs.case import grid as grid_lib
from envs.powerflow import admittance

_TOLERANCE_PU = 1e-6
_MAX_ITERATIONS = 30
_ENOUGH = 0.3  # what of the mismatch a step may leave for its factors to be used again
_KEPT = 64  # topologies; beyond that all are made anew


class Request(NamedTuple):
    """One power flow, pu."""

    p_pu: np.ndarray  # `[n_bus]` net injection
    q_pu: np.ndarray  # `[n_bus]`, used where the voltage is free
    vm_pu: np.ndarray  # `[n_bus]` set-points where held, where to start elsewhere
    va_rad: np.ndarray  # `[n_bus]` where to start
    share: np.ndarray  # `[n_bus]` of the slack, sums to one
    pv: np.ndarray  # bool `[n_bus]`
    closed: np.ndarray  # bool `[n_branch]`, none with a dead end
    energised: np.ndarray  # bool `[n_bus]`


class _System:
    """The equations of one topology."""

    def __init__(self, grid: grid_lib.Grid, y: admittance.BranchAdmittance, request: Request):
        n, f, t = grid.n_bus, grid.branch.from_bus, grid.branch.to_bus
        on = request.closed.astype(float)
        shunt = (grid.bus.shunt_p_mw + 1j * grid.bus.shunt_q_mvar) / grid.base_mva
        every = np.arange(n)
        values = np.concatenate([on * y.yff, on * y.yft, on * y.ytf, on * y.ytt, shunt])
        rows, columns = np.concatenate([f, f, t, t, every]), np.concatenate([f, t, f, t, every])
        self.y_bus = scipy.sparse.csr_matrix((values, (rows, columns)), shape=(n, n))
        self.energised = np.flatnonzero(request.energised)
        self.turning = self.energised[1:]  # the first keeps its angle
        self.free = np.flatnonzero(request.energised & ~request.pv)
        self.factors = None

    def factorise(self, voltage: np.ndarray, share: np.ndarray) -> None:
        """Factorises the Jacobian at `voltage` (MATPOWER Technical Note 2, equations 27, 29)."""
        diagonal = scipy.sparse.diags
        current = self.y_bus @ voltage
        unit = voltage / np.abs(np.where(voltage == 0, 1.0, voltage))
        by_angle = (
            1j * diagonal(voltage) @ (diagonal(current) - self.y_bus @ diagonal(voltage)).conj()
        )
        by_vm = diagonal(voltage) @ (self.y_bus @ diagonal(unit)).conj()
        by_vm = (by_vm + diagonal(current.conj() * unit)).tocsc()[:, self.free].tocsr()
        by_angle = by_angle.tocsc()[:, self.turning].tocsr()
        slack = scipy.sparse.csr_matrix(-share[self.energised][:, None])
        matrix = scipy.sparse.bmat(
            [
                [by_angle.real[self.energised], slack, by_vm.real[self.energised]],
                [by_angle.imag[self.free], None, by_vm.imag[self.free]],
            ],
            format="csc",
        )
        self.factors = scipy.sparse.linalg.splu(matrix)


class AcFlow:
    """Solves power flows of one grid."""

    def __init__(self, grid: grid_lib.Grid):
        self._grid = grid
        self._y = admittance.branch_admittance(grid)
        self._known: dict[bytes, _System] = {}

    def solve(self, request: Request) -> np.ndarray | None:
        """Returns the voltages, complex `[n_bus]` pu and zero where dead; None if none is found."""
        system = self._system(request)
        vm = np.where(request.energised, request.vm_pu, 0.0)
        va, slack, before = request.va_rad.copy(), 0.0, np.inf
        for _ in range(_MAX_ITERATIONS):
            voltage = vm * np.exp(1j * va)
            power = voltage * np.conj(system.y_bus @ voltage)
            residual = np.concatenate([
                (power.real - request.p_pu - slack * request.share)[system.energised],
                (power.imag - request.q_pu)[system.free],
            ])  # fmt: skip
            mismatch = np.abs(residual).max()
            if not np.isfinite(mismatch):
                return None
            if mismatch < _TOLERANCE_PU:
                return voltage
            if system.factors is None or mismatch > _ENOUGH * before:
                try:
                    system.factorise(voltage, request.share)
                except RuntimeError:  # singular
                    return None
            before = mismatch
            step = system.factors.solve(-residual)
            n = system.turning.size
            va[system.turning] += step[:n]
            slack += step[n]
            vm[system.free] += step[n + 1 :]
        return None

    def apparent_mva(self, voltage: np.ndarray, closed: np.ndarray) -> np.ndarray:
        """Returns the apparent power at the fuller end of each branch `[n_branch]` MVA."""
        return np.where(closed, admittance.apparent_power(self._grid, self._y, voltage), 0.0)

    def _system(self, request):
        key = np.packbits(np.concatenate([request.closed, request.energised, request.pv])).tobytes()
        if key not in self._known:
            if len(self._known) >= _KEPT:
                self._known.clear()
            self._known[key] = _System(self._grid, self._y, request)
        return self._known[key]
