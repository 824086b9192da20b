"""Admittances of a grid: the branch two-ports and the bus matrix (MATPOWER manual, section 3)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from envs.case import grid as grid_lib


class BranchAdmittance(NamedTuple):
    """Two-port of each branch, complex `[n_branch]` in pu: I_from = yff V_from + yft V_to, …"""

    yff: np.ndarray
    yft: np.ndarray
    ytf: np.ndarray
    ytt: np.ndarray


def series(branch: grid_lib.Branches) -> np.ndarray:
    """Returns the series admittances, complex `[n_branch]` pu."""
    return 1.0 / (branch.r_pu + 1j * branch.x_pu)


def reactance(branch: grid_lib.Branches) -> np.ndarray:
    """Returns what linear methods take for reactances `[n_branch]` pu.

    That is the impedance where a branch is all resistance, as they divide by it.
    """
    return np.where(np.abs(branch.x_pu) > 1e-6, branch.x_pu, np.hypot(branch.r_pu, branch.x_pu))


def branch_admittance(grid: grid_lib.Grid) -> BranchAdmittance:
    """Returns the pi-model two-ports, ideal transformer at the from end (equation 3.2)."""
    branch = grid.branch
    through = series(branch)
    tap = branch.tap * np.exp(1j * branch.shift_rad)
    ytt = through + 0.5j * branch.b_pu
    return BranchAdmittance(
        yff=ytt / (tap * np.conj(tap)),
        yft=-through / np.conj(tap),
        ytf=-through / tap,
        ytt=ytt,
    )


def apparent_power(grid: grid_lib.Grid, y: BranchAdmittance, voltage: np.ndarray) -> np.ndarray:
    """Returns the apparent power at the fuller end of each branch `[n_branch]` MVA, all closed.

    Args:
      grid: the grid.
      y: its two-ports.
      voltage: complex `[n_bus]` pu.
    """
    v_from, v_to = voltage[grid.branch.from_bus], voltage[grid.branch.to_bus]
    into = np.abs(v_from * np.conj(y.yff * v_from + y.yft * v_to))
    back = np.abs(v_to * np.conj(y.ytf * v_from + y.ytt * v_to))
    return grid.base_mva * np.maximum(into, back)


def bus_admittance(grid: grid_lib.Grid) -> np.ndarray:
    """Returns the bus admittance matrix, complex `[n_bus, n_bus]` in pu (equation 3.11)."""
    y, branch = branch_admittance(grid), grid.branch
    matrix = np.zeros((grid.n_bus, grid.n_bus), complex)
    f, t = branch.from_bus, branch.to_bus
    for rows, columns, values in ((f, f, y.yff), (f, t, y.yft), (t, f, y.ytf), (t, t, y.ytt)):
        np.add.at(matrix, (rows, columns), values)
    shunt = (grid.bus.shunt_p_mw + 1j * grid.bus.shunt_q_mvar) / grid.base_mva
    return matrix + np.diag(shunt)
