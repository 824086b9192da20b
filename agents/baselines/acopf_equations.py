"""The AC power balance of a grid as CasADi expressions (MATPOWER manual, section 3)."""

from typing import NamedTuple

import casadi
import numpy as np

from envs.case import grid as grid_lib
from envs.powerflow import matrices

PASSED_RAD = 1e-5  # beyond a limit of angles from where on it counts as passed
# Of every program: no word from Ipopt, and its success is asked for, not raised.
QUIET = {"print_time": False, "error_on_fail": False, "ipopt.print_level": 0, "ipopt.sb": "yes"}


class Equations(NamedTuple):
    """Powers as functions of voltages, pu."""

    va: casadi.SX  # `[n_bus]`, symbols
    vm: casadi.SX  # `[n_bus]`, symbols
    closed: casadi.SX  # `[n_branch]`, symbols: 1 in service, 0 not
    p_out: casadi.SX  # `[n_bus]` that leaves each bus through branches and shunt
    q_out: casadi.SX  # `[n_bus]`
    # What branches carry of what `Grid.rated` says, squared, as their limits have it.
    from_squared: casadi.SX  # `[n_branch]`
    to_squared: casadi.SX  # `[n_branch]`


def power_equations(grid: grid_lib.Grid) -> Equations:
    """Returns the equations of `grid`."""
    y, n = matrices.branch_admittance(grid), grid.n_bus
    va, vm = casadi.SX.sym("va", n), casadi.SX.sym("vm", n)
    closed = casadi.SX.sym("closed", grid.n_branch)
    f, t = grid.branch.from_bus.tolist(), grid.branch.to_bus.tolist()
    vf, vt, angle = vm[f], vm[t], va[f] - va[t]
    cosine, sine = vf * vt * casadi.cos(angle), vf * vt * casadi.sin(angle)
    real, imag = lambda z: casadi.DM(z.real), lambda z: casadi.DM(z.imag)
    pf = closed * (vf**2 * real(y.yff) + real(y.yft) * cosine + imag(y.yft) * sine)
    qf = closed * (-(vf**2) * imag(y.yff) - imag(y.yft) * cosine + real(y.yft) * sine)
    pt = closed * (vt**2 * real(y.ytt) + real(y.ytf) * cosine - imag(y.ytf) * sine)
    qt = closed * (-(vt**2) * imag(y.ytt) - imag(y.ytf) * cosine - real(y.ytf) * sine)
    leaves, enters = (
        connection_matrix(grid, bus) for bus in (grid.branch.from_bus, grid.branch.to_bus)
    )
    at_from, at_to = pf**2 + qf**2, pt**2 + qt**2
    if grid.rated != grid_lib.APPARENT_POWER:
        at_from, at_to = at_from / vf**2, at_to / vt**2
    if grid.rated == grid_lib.CURRENT_AT_FROM:
        at_to = at_from
    shunt_p, shunt_q = grid.bus.shunt_p_mw / grid.base_mva, grid.bus.shunt_q_mvar / grid.base_mva
    return Equations(
        va, vm, closed,
        leaves @ pf + enters @ pt + vm**2 * casadi.DM(shunt_p),
        leaves @ qf + enters @ qt - vm**2 * casadi.DM(shunt_q),
        at_from, at_to,
    )  # fmt: skip


def rows(column: casadi.SX, chosen: np.ndarray) -> casadi.SX:
    """Returns the rows `chosen` `[n]` of a column, as a column even where there are none.

    CasADi makes a row of no entries of a column of one: the reactive power of the only generator.
    """
    return column[chosen.tolist()] if chosen.size else casadi.SX(0, 1)


def connection_matrix(grid: grid_lib.Grid, bus: np.ndarray) -> casadi.DM:
    """Returns the matrix `[n_bus, n]` that adds up, at each bus, what stands at `bus` `[n]`."""
    places, columns = [int(b) for b in bus], list(range(len(bus)))
    return casadi.DM(casadi.Sparsity.triplet(grid.n_bus, len(columns), places, columns), 1)


def beyond_angle(
    branch: grid_lib.Branches, va_rad: np.ndarray, limits: tuple[np.ndarray, np.ndarray]
) -> np.ndarray:
    """Returns how far θ_from − θ_to is beyond its limits `[n_branch]` rad, negative within."""
    (low, high), angle = limits, va_rad[branch.from_bus] - va_rad[branch.to_bus]
    return np.maximum(low - angle, angle - high)
