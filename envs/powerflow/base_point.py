"""One operating point per grid, solved once in double precision, that the fast methods start from.

They work with deviations from it: differences across a branch then keep their digits in single
precision, and the matrices they multiply by are those of this point.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.sparse
import scipy.sparse.linalg

from envs.case import grid as grid_lib
from envs.powerflow import admittance

_TOLERANCE_PU = 1e-9
_MAX_ITERATIONS = 20


class BasePoint(NamedTuple):
    """A solved operating point, in the case's order of buses."""

    vm_pu: np.ndarray  # `[n_bus]`
    va_rad: np.ndarray  # `[n_bus]`, zero at the reference bus
    participation: np.ndarray  # `[n_bus]` share of the slack
    converged: bool


def nominal_injections(grid: grid_lib.Grid, level: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Returns (p, q) `[n_bus]` pu: `level` times the file's loads, shared by units by Pmax."""
    demand = level * grid.bus.load_p_mw
    p = participation(grid) * demand.sum() - demand
    return p / grid.base_mva, -level * grid.bus.load_q_mvar / grid.base_mva


def voltage_setpoints(grid: grid_lib.Grid) -> np.ndarray:
    """Returns the file's voltage set-points `[n_bus]` pu; 1 where no generator holds the bus.

    A bus takes its set-point from its first generator.
    """
    setpoint = np.ones(grid.n_bus)
    setpoint[grid.gen.bus[::-1]] = grid.gen.vm_setpoint_pu[::-1]
    return setpoint


def participation(grid: grid_lib.Grid) -> np.ndarray:
    """Returns each bus's share of the slack `[n_bus]`, by Pmax."""
    return grid.capacity_mw / grid.capacity_mw.sum()


def solve(
    grid: grid_lib.Grid, p_pu: np.ndarray, q_pu: np.ndarray, share: np.ndarray | None = None
) -> BasePoint:
    """Solves the power flow of `grid` by Newton's method with sparse factors.

    Args:
      grid: the grid; buses with a generator hold the file's set-point.
      p_pu: net active injection `[n_bus]`.
      q_pu: net reactive injection `[n_bus]`, used where the voltage is free.
      share: of the slack `[n_bus]`, by default in proportion to Pmax.

    Returns:
      The operating point; the flat one, marked as not converged, where Newton finds none.
    """
    y_bus = scipy.sparse.csr_matrix(admittance.bus_admittance(grid))
    n, reference = grid.n_bus, grid.reference_bus
    share = participation(grid) if share is None else share
    free = np.flatnonzero(~np.isin(np.arange(n), grid.gen.bus))
    vm, va, slack = voltage_setpoints(grid), np.zeros(n), 0.0
    flat = vm.copy()
    for _ in range(_MAX_ITERATIONS):
        voltage = vm * np.exp(1j * va)
        current = y_bus @ voltage
        power = voltage * np.conj(current)
        dp, dq = power.real - p_pu - slack * share, (power.imag - q_pu)[free]
        residual = np.concatenate([dp, dq])
        if not np.all(np.isfinite(residual)):
            break
        if np.abs(residual).max() < _TOLERANCE_PU:
            return BasePoint(vm, va, share, True)
        step = scipy.sparse.linalg.spsolve(_jacobian(y_bus, vm, va, free, reference, share),
                                           -residual)  # fmt: skip
        slack += step[reference]
        step[reference] = 0.0
        va += step[:n]
        vm[free] += step[n:]
    return BasePoint(flat, np.zeros(n), share, False)


def jacobian(grid: grid_lib.Grid, point: BasePoint) -> np.ndarray:
    """Returns d(P at all buses, Q at free buses) / d(angles, free magnitudes) at `point`.

    The reference angle's column holds minus the participation, so that its unknown is the slack.
    """
    y_bus = scipy.sparse.csr_matrix(admittance.bus_admittance(grid))
    free = np.flatnonzero(~np.isin(np.arange(grid.n_bus), grid.gen.bus))
    return _jacobian(
        y_bus, point.vm_pu, point.va_rad, free, grid.reference_bus, point.participation
    ).toarray()


def _jacobian(y_bus, vm, va, free, reference, share):
    """Returns the sparse Jacobian (MATPOWER Technical Note 2, equations 27 and 29)."""
    voltage = vm * np.exp(1j * va)
    diagonal = scipy.sparse.diags
    current = y_bus @ voltage
    by_angle = 1j * diagonal(voltage) @ (diagonal(current) - y_bus @ diagonal(voltage)).conj()
    unit = voltage / vm
    by_vm = diagonal(voltage) @ (y_bus @ diagonal(unit)).conj() + diagonal(current.conj() * unit)
    by_angle, by_vm = by_angle.tolil(), by_vm.tocsc()
    by_angle[:, reference] = -share[:, None]
    by_angle = by_angle.tocsr()
    reactive = by_angle.imag.tolil()[free]
    reactive[:, reference] = 0.0
    return scipy.sparse.bmat(
        [[by_angle.real, by_vm.real[:, free]], [reactive, by_vm.imag[free][:, free]]], format="csc"
    )
