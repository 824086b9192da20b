"""Matrices of a grid on the host, in double precision, and the branch powers that follow.

Admittances and the Jacobian of the AC equations (MATPOWER manual, section 3, and Technical Note 2),
incidence and susceptances of the DC equations (section 3.7). What grows with the square of the
grid is sparse.
"""

from typing import NamedTuple, TypeVar

import numpy as np
import scipy.sparse

from envs.case.grid import APPARENT_POWER, CURRENT_AT_FROM, Branches, Grid

_LEAST_REACTANCE_PU = 1e-6
Array = TypeVar("Array")  # of NumPy, or of JAX, which is not imported: workers start without it


class BranchAdmittance(NamedTuple):
    """Two-port of each branch, complex `[n_branch]` in pu: I_from = yff V_from + yft V_to, …"""

    yff: np.ndarray
    yft: np.ndarray
    ytf: np.ndarray
    ytt: np.ndarray

    def powers(self, v_from: Array, v_to: Array, base_mva: float) -> tuple[Array, Array]:
        """Returns what enters each branch at the from and at the to end, complex `[n_branch]` MVA.

        Of the complex voltages `[n_branch]` pu at both ends, arrays of NumPy or of JAX.
        """
        return (
            base_mva * v_from * (self.yff * v_from + self.yft * v_to).conj(),
            base_mva * v_to * (self.ytf * v_from + self.ytt * v_to).conj(),
        )


def series_admittance(branch: Branches) -> np.ndarray:
    """Returns the series admittances, complex `[n_branch]` pu."""
    return 1.0 / (branch.r_pu + 1j * branch.x_pu)


def reactance(branch: Branches) -> np.ndarray:
    """Returns what linear methods take for reactances `[n_branch]` pu.

    That is the impedance where a branch is all resistance, as they divide by it.
    """
    resistive = np.abs(branch.x_pu) <= _LEAST_REACTANCE_PU
    return np.where(resistive, np.hypot(branch.r_pu, branch.x_pu), branch.x_pu)


def susceptance(branch: Branches) -> np.ndarray:
    """Returns the susceptances of the DC equations, 1 / (x · tap) `[n_branch]` pu (section 3.7)."""
    return 1.0 / (reactance(branch) * branch.tap)


def branch_admittance(grid: Grid) -> BranchAdmittance:
    """Returns the pi-model two-ports, ideal transformer at the from end (equation 3.2)."""
    branch = grid.branch
    through = series_admittance(branch)
    tap = branch.tap * np.exp(1j * branch.shift_rad)
    ytt = through + 0.5j * branch.b_pu
    return BranchAdmittance(
        yff=ytt / (tap * np.conj(tap)), yft=-through / np.conj(tap), ytf=-through / tap, ytt=ytt
    )


def bus_admittance(grid: Grid, closed: np.ndarray | None = None) -> scipy.sparse.csr_array:
    """Returns the bus admittance matrix, complex `[n_bus, n_bus]` in pu (equation 3.11).

    `closed` bool `[n_branch]` are the branches in service, by default all.
    """
    n, f, t = grid.n_bus, grid.branch.from_bus, grid.branch.to_bus
    y = branch_admittance(grid)
    if closed is not None:
        y = BranchAdmittance(*(np.where(closed, part, 0.0) for part in y))
    shunt = (grid.bus.shunt_p_mw + 1j * grid.bus.shunt_q_mvar) / grid.base_mva
    every = np.arange(n)
    rows, columns = np.concatenate([f, f, t, t, every]), np.concatenate([f, t, f, t, every])
    # Added up in this order: a conversion from coordinates leaves the order, and rounding, open.
    places, of_entry = np.unique(rows * n + columns, return_inverse=True)
    total = np.zeros(places.size, complex)
    np.add.at(total, of_entry, np.concatenate([y.yff, y.yft, y.ytf, y.ytt, shunt]))
    return scipy.sparse.csr_array((total, (places // n, places % n)), shape=(n, n))


def jacobian(
    y_bus: scipy.sparse.csr_array,
    vm_pu: np.ndarray,
    va_rad: np.ndarray,
    share: np.ndarray,
    *,
    buses: np.ndarray,
    pq: np.ndarray,
    reference: int,
) -> scipy.sparse.csc_array:
    """Returns d(P at `buses`, Q at `pq`) / d(angles of `buses`, magnitudes of `pq`), pu.

    The column of the angle that is kept as reference holds minus the shares of the slack, so that
    its unknown is the slack (Technical Note 2, equations 27 and 29, for the other columns).

    `buses` are the indices of the buses that are solved (`vm_pu` is zero at others), `pq` those of
    them without a generator that holds the voltage, `reference` the one whose angle is kept.
    """
    diagonal, hstack = scipy.sparse.diags_array, scipy.sparse.hstack
    voltage = vm_pu * np.exp(1j * va_rad)
    current = y_bus @ voltage
    by_angle = 1j * diagonal(voltage) @ (diagonal(current) - y_bus @ diagonal(voltage)).conj()
    unit = voltage / np.where(vm_pu == 0, 1.0, vm_pu)
    by_vm = diagonal(voltage) @ (y_bus @ diagonal(unit)).conj() + diagonal(current.conj() * unit)
    by_angle, by_vm = by_angle.tocsc(), by_vm.tocsc()[:, pq].tocsr()

    def with_slack(columns, of_slack):
        before, after = columns[:, :reference], columns[:, reference + 1 :]
        return hstack([before, of_slack[:, None], after]).tocsc()[:, buses].tocsr()

    active = with_slack(by_angle.real, -share)
    reactive = with_slack(by_angle.imag, np.zeros_like(share))
    return scipy.sparse.block_array(
        [[active[buses], by_vm.real[buses]], [reactive[pq], by_vm.imag[pq]]], format="csc"
    )


def incidence(grid: Grid) -> scipy.sparse.csr_array:
    """Returns A `[n_branch, n_bus]`: 1 where a branch starts, −1 where it ends."""
    m, branch = grid.n_branch, grid.branch
    ends = np.concatenate([branch.from_bus, branch.to_bus])
    values, rows = np.repeat([1.0, -1.0], m), np.tile(np.arange(m), 2)
    return scipy.sparse.coo_array((values, (rows, ends)), shape=(m, grid.n_bus)).tocsr()


def carried_mva(grid: Grid, y: BranchAdmittance, voltage: np.ndarray) -> np.ndarray:
    """Returns `rated_mva` of every branch `[n_branch]`, all closed, at voltages `[n_bus]`, pu."""
    ends = voltage[grid.branch.from_bus], voltage[grid.branch.to_bus]
    at_from, at_to = (np.abs(power) for power in y.powers(*ends, grid.base_mva))
    return rated_mva(grid, at_from, at_to, np.abs(voltage))


def rated_mva(
    grid: Grid, from_mva: np.ndarray, to_mva: np.ndarray, vm_pu: np.ndarray
) -> np.ndarray:
    """Returns what the more loaded end of each branch carries of what `Grid.rated` says, MVA.

    That is apparent power, or current at nominal voltage. `from_mva` and `to_mva` are apparent
    powers of the ends `[n_branch]`; `vm_pu` `[n_bus]` is zero where there is no voltage.
    """
    if grid.rated != APPARENT_POWER:
        vm = np.where(vm_pu > 0, vm_pu, 1.0)
        from_mva, to_mva = from_mva / vm[grid.branch.from_bus], to_mva / vm[grid.branch.to_bus]
    return from_mva if grid.rated == CURRENT_AT_FROM else np.maximum(from_mva, to_mva)
