"""Rejects a grid that no solver could make sense of, naming the file, the table and the row."""

from __future__ import annotations

import dataclasses

import numpy as np

from envs import grid as grid_lib


class CaseError(ValueError):
    """The case data cannot be used; the message names the file, the table, the row and why."""


def check(grid: grid_lib.Grid, origin: str) -> grid_lib.Grid:
    """Returns `grid` unchanged when it is sound.

    Args:
      grid: the grid to check.
      origin: the file it came from, for the message.

    Raises:
      CaseError: for the first thing found wrong.
    """

    def reject(table: str, rows: np.ndarray, why: str):
        listed = ", ".join(str(int(row) + 1) for row in rows[:5]) + ("…" if len(rows) > 5 else "")
        raise CaseError(f"{origin}: table {table}, row {listed}: {why}")

    def require(table: str, good: np.ndarray, why: str):
        if not np.all(good):
            reject(table, np.flatnonzero(~np.asarray(good)), why)

    bus, branch, gen = grid.bus, grid.branch, grid.gen
    if not np.isfinite(grid.base_mva) or grid.base_mva <= 0:
        raise CaseError(f"{origin}: baseMVA is {grid.base_mva}, it must be a positive number")
    for name, table in (("bus", bus), ("branch", branch), ("gen", gen)):
        lengths = {f.name: len(getattr(table, f.name)) for f in dataclasses.fields(table)}
        if len(set(lengths.values())) > 1:
            raise CaseError(f"{origin}: table {name}: columns differ in length: {lengths}")
    if grid.n_bus == 0 or grid.n_gen == 0 or grid.n_branch == 0:
        raise CaseError(
            f"{origin}: {grid.n_bus} buses, {grid.n_branch} branches and {grid.n_gen} generators "
            "are in service; a grid needs at least one of each"
        )
    unlimited = {"rate_mva", "q_min_mvar", "q_max_mvar"}  # Infinity means "no limit" here.
    for name, table in (("bus", bus), ("branch", branch), ("gen", gen)):
        for field in dataclasses.fields(table):
            column = getattr(table, field.name)
            if field.name in unlimited:
                require(name, ~np.isnan(column), f"{field.name} is not a number")
            else:
                require(name, np.isfinite(column), f"{field.name} is not a finite number")

    check_bus_numbers(bus.id, origin)
    for name, column in (("branch", branch.from_bus), ("branch", branch.to_bus), ("gen", gen.bus)):
        require(name, (column >= 0) & (column < grid.n_bus), "names a bus that is not there")
    references = np.flatnonzero(bus.type == grid_lib.REF)
    if references.size != 1:
        raise CaseError(
            f"{origin}: table bus: {references.size} reference buses (type 3), there must be one"
        )
    require("bus", np.isin(bus.type, (grid_lib.PQ, grid_lib.PV, grid_lib.REF)),
            "type must be 1 (PQ), 2 (PV) or 3 (reference)")  # fmt: skip
    require("bus", bus.vm_min_pu > 0, "Vmin must be above zero")
    require("bus", bus.vm_min_pu <= bus.vm_max_pu, "Vmin is above Vmax")

    require("branch", branch.from_bus != branch.to_bus, "both ends are the same bus")
    require("branch", np.hypot(branch.r_pu, branch.x_pu) > 1e-9, "impedance is zero")
    require("branch", branch.tap > 0, "tap ratio must be positive")
    require("branch", branch.rate_mva > 0, "rateA must be positive (0 in a file means no limit)")

    require("gen", gen.p_min_mw <= gen.p_max_mw, "Pmin is above Pmax")
    require("gen", gen.q_min_mvar <= gen.q_max_mvar, "Qmin is above Qmax")
    require("gen", gen.vm_setpoint_pu > 0, "Vg must be above zero")
    if not np.any(gen.bus == references[0]):
        reject("bus", references, "the reference bus has no generator in service")
    if not grid.units.size:
        raise CaseError(f"{origin}: table gen: no generator has Pmax above zero")

    reached = connected_to(references[0], grid.n_bus, branch.from_bus, branch.to_bus)
    require("bus", reached, "the bus is not connected to the reference bus by branches in service")
    return grid


def check_bus_numbers(numbers: np.ndarray, origin: str) -> None:
    """Raises CaseError if a bus number appears twice: branches could not say which they mean."""
    _, first = np.unique(numbers, return_index=True)
    repeated = np.setdiff1d(np.arange(len(numbers)), first)
    if repeated.size:
        row = repeated[0]
        raise CaseError(
            f"{origin}: table bus, row {row + 1}: bus number {int(numbers[row])} appears twice"
        )


def connected_to(start: int, n_bus: int, from_bus: np.ndarray, to_bus: np.ndarray) -> np.ndarray:
    """Returns which buses a path of branches links to bus `start`, bool `[n_bus]`."""
    reached = np.zeros(n_bus, bool)
    reached[start] = True
    while True:
        grown = reached.copy()
        grown[to_bus[reached[from_bus]]] = True
        grown[from_bus[reached[to_bus]]] = True
        if np.array_equal(grown, reached):
            return reached
        reached = grown
