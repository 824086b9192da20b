"""One operating point per grid, solved once in double precision, that the fast methods start from.

They work with deviations from it: differences across a branch then keep their digits in single
precision, and the matrices they multiply by are those of this point.
"""

from typing import NamedTuple

import numpy as np

from envs.case.grid import Grid
from envs.powerflow import ac_flow, matrices

_TOLERANCE_PU = 1e-9
_MAX_ITERATIONS = 20


class BasePoint(NamedTuple):
    """A solved operating point, in the case's order of buses."""

    vm_pu: np.ndarray  # `[n_bus]`
    va_rad: np.ndarray  # `[n_bus]`, zero at the reference bus
    participation: np.ndarray  # `[n_bus]` share of the slack
    converged: bool


def nominal_injections(grid: Grid, level: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Returns (p, q) `[n_bus]` pu: `level` times the file's loads, shared by units by Pmax."""
    demand = level * grid.bus.load_p_mw
    p = participation(grid) * demand.sum() - demand
    return p / grid.base_mva, -level * grid.bus.load_q_mvar / grid.base_mva


def file_injections(grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Returns (p, q) `[n_bus]` pu: what the file's units produce less its loads."""
    p = np.bincount(grid.gen.bus, grid.gen.p_mw, grid.n_bus) - grid.bus.load_p_mw
    return p / grid.base_mva, -grid.bus.load_q_mvar / grid.base_mva


def voltage_setpoints(grid: Grid) -> np.ndarray:
    """Returns the file's voltage set-points `[n_bus]` pu; 1 at PQ buses.

    A bus takes its set-point from its first generator.
    """
    setpoint = np.ones(grid.n_bus)
    setpoint[grid.gen.bus[::-1]] = grid.gen.vm_setpoint_pu[::-1]
    return setpoint


def participation(grid: Grid) -> np.ndarray:
    """Returns each bus's share of the slack `[n_bus]`, by Pmax."""
    return grid.capacity_mw / grid.capacity_mw.sum()


def solve(
    grid: Grid, p_pu: np.ndarray, q_pu: np.ndarray, share: np.ndarray | None = None
) -> BasePoint:
    """Returns the operating point of net injections `[n_bus]`, by Newton's method, sparse.

    Buses with a generator hold the file's set-point; `share` of the slack is by default in
    proportion to Pmax. Where Newton does not converge, the point is flat and marked as such.
    """
    share = participation(grid) if share is None else share
    flat, none = voltage_setpoints(grid), np.zeros(grid.n_bus)
    flow = ac_flow.AcFlow(
        grid, tolerance_pu=_TOLERANCE_PU, max_iterations=_MAX_ITERATIONS, reuse=0.0
    )
    everything = np.ones(grid.n_branch, bool), np.ones(grid.n_bus, bool)
    voltages = flow.solve(
        ac_flow.Request(p_pu, q_pu, flat, none, share, _has_generator(grid), *everything)
    )
    if voltages is None:
        return BasePoint(flat, none, share, False)
    return BasePoint(*voltages, share, True)


def jacobian(grid: Grid, point: BasePoint) -> np.ndarray:
    """Returns `matrices.jacobian` at `point`, of all buses in order and then of PQ buses, dense."""
    return matrices.jacobian(
        matrices.bus_admittance(grid), point.vm_pu, point.va_rad, point.participation,
        buses=np.arange(grid.n_bus), pq=np.flatnonzero(~_has_generator(grid)),
        reference=grid.reference_bus,
    ).toarray()  # fmt: skip


def _has_generator(grid: Grid) -> np.ndarray:
    """Returns whether a bus has a generator, bool `[n_bus]`."""
    return np.isin(np.arange(grid.n_bus), grid.gen.bus)
