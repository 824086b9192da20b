"""AC power flow of one grid in any state, sparse and in double precision, on the host.

Newton's method as in `envs.powerflow.newton`, with the factors of an earlier Jacobian as long as
they bring the mismatch down: from one decision to the next a grid hardly moves.
"""

import functools
from typing import NamedTuple

import numpy as np
import scipy.sparse.linalg

from envs.case.grid import Grid
from envs.powerflow import matrices

_TOPOLOGIES = 64  # that are kept, the last used


class Request(NamedTuple):
    """One power flow, pu."""

    p_pu: np.ndarray  # `[n_bus]` net injection
    q_pu: np.ndarray  # `[n_bus]`, used at PQ buses
    vm_pu: np.ndarray  # `[n_bus]` set-points of PV buses, where to start elsewhere
    va_rad: np.ndarray  # `[n_bus]` where to start
    share: np.ndarray  # `[n_bus]` of the slack, sums to one
    pv: np.ndarray  # bool `[n_bus]`
    closed: np.ndarray  # bool `[n_branch]`, none with a de-energised end
    energised: np.ndarray  # bool `[n_bus]`


class Voltages(NamedTuple):
    """A solution, zero magnitude where de-energised."""

    vm_pu: np.ndarray  # `[n_bus]`
    va_rad: np.ndarray  # `[n_bus]`

    @property
    def phasor(self) -> np.ndarray:
        """Complex voltages `[n_bus]` pu."""
        return self.vm_pu * np.exp(1j * self.va_rad)


class _Topology:
    """The equations of one topology, and the last factors of their Jacobian."""

    def __init__(self, grid: Grid, closed: bytes, energised: bytes, pv: bytes):
        energised, pv = np.frombuffer(energised, bool), np.frombuffer(pv, bool)
        self.y_bus = matrices.bus_admittance(grid, np.frombuffer(closed, bool))
        self.buses = np.flatnonzero(energised)
        self.pq = np.flatnonzero(energised & ~pv)
        kept = grid.reference_bus if energised[grid.reference_bus] else self.buses[0]
        self.reference = int(kept)
        self.factors: scipy.sparse.linalg.SuperLU | None = None

    def residual(self, request: Request, at: Voltages, slack: float) -> np.ndarray:
        """Returns the mismatches, of P at energised and of Q at PQ buses, pu."""
        voltage = at.phasor
        power = voltage * np.conj(self.y_bus @ voltage)
        return np.concatenate([
            (power.real - request.p_pu - slack * request.share)[self.buses],
            (power.imag - request.q_pu)[self.pq],
        ])  # fmt: skip

    def factorise(self, at: Voltages, share: np.ndarray) -> None:
        """Factorises the Jacobian at `at`."""
        self.factors = scipy.sparse.linalg.splu(matrices.jacobian(
            self.y_bus, *at, share, buses=self.buses, pq=self.pq, reference=self.reference
        ))  # fmt: skip


class AcFlow:
    """Solves power flows of one grid."""

    def __init__(
        self, grid: Grid, tolerance_pu: float = 1e-6, max_iterations: int = 30, reuse: float = 0.3
    ):
        """Takes the grid, the largest mismatch of a solution, and the steps before giving up.

        Factors are used again where a step left no more than the share `reuse` of the mismatch.
        """
        self._grid, self._y = grid, matrices.branch_admittance(grid)
        self._tolerance_pu, self._max_iterations, self._reuse = tolerance_pu, max_iterations, reuse
        self._topology = functools.lru_cache(_TOPOLOGIES)(functools.partial(_Topology, grid))

    def solve(self, request: Request) -> Voltages | None:
        """Returns the voltages; None where Newton's method does not converge."""
        topology = self._topology(*(
            np.asarray(x, bool).tobytes() for x in (request.closed, request.energised, request.pv)
        ))  # fmt: skip
        at = Voltages(np.where(request.energised, request.vm_pu, 0.0), request.va_rad.copy())
        slack, before, n = 0.0, np.inf, self._grid.n_bus
        unknowns = np.concatenate([topology.buses, n + topology.pq])
        for _ in range(self._max_iterations):
            residual = topology.residual(request, at, slack)
            mismatch = np.abs(residual).max()
            if not np.isfinite(mismatch):
                return None
            if mismatch < self._tolerance_pu:
                return at
            if topology.factors is None or mismatch > self._reuse * before:
                try:
                    topology.factorise(at, request.share)
                except RuntimeError:  # singular
                    return None
            before = mismatch
            step = np.zeros(2 * n)
            step[unknowns] = topology.factors.solve(-residual)
            slack += step[topology.reference]
            step[topology.reference] = 0.0
            at = Voltages(at.vm_pu + step[n:], at.va_rad + step[:n])
        return None

    def carried_mva(self, voltages: Voltages, closed: np.ndarray) -> np.ndarray:
        """Returns `matrices.carried_mva` of each branch `[n_branch]`, zero of open ones."""
        return np.where(closed, matrices.carried_mva(self._grid, self._y, voltages.phasor), 0.0)
