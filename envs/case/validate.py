"""Rejects a grid that no solver could make sense of, naming the file, the table and the row."""

import numpy as np

from envs.case import connectivity
from envs.case.grid import PQ, RATED, REF, Grid

SMALLEST_IMPEDANCE_PU = 1e-6  # a tenth of PGLib's smallest; below it single precision is lost
_BASE_MVA = (1e-2, 1e6)
# What stands in a column for "no limit".
NO_LIMIT = {
    "rate_mva": np.inf, "angle_min_rad": -np.inf, "angle_max_rad": np.inf,
    "q_min_mvar": -np.inf, "q_max_mvar": np.inf,
}  # fmt: skip
# Least and greatest value of each column that still is a power system, well outside everything in
# PGLib-OPF. Squares and products of such values fit single precision.
_RANGES = {
    "bus": {
        "id": (1, 2**31 - 1),
        "type": (PQ, REF),
        "load_p_mw": (-1e6, 1e6),
        "load_q_mvar": (-1e6, 1e6),
        "shunt_p_mw": (-1e6, 1e6),
        "shunt_q_mvar": (-1e6, 1e6),
        "area": (0, 2**31 - 1),
        "base_kv": (0.0, 2000.0),
        "vm_min_pu": (0.01, 2.0),
        "vm_max_pu": (0.01, 2.0),
    },
    "branch": {
        "r_pu": (-1e3, 1e3),
        "x_pu": (-1e3, 1e3),  # series capacitors are negative
        "b_pu": (-1e3, 1e3),
        "tap": (0.1, 10.0),
        "shift_rad": (-2 * np.pi, 2 * np.pi),
        "rate_mva": (1e-6, 1e9),  # a zero in a MATPOWER file has become "no limit"
        "angle_min_rad": (-2 * np.pi, 2 * np.pi),
        "angle_max_rad": (-2 * np.pi, 2 * np.pi),
    },
    "gen": {
        "p_mw": (-1e6, 1e6),
        "vm_setpoint_pu": (0.01, 2.0),
        "p_min_mw": (-1e6, 1e6),
        "p_max_mw": (-1e6, 1e6),
        "q_min_mvar": (-1e6, 1e6),
        "q_max_mvar": (-1e6, 1e6),
        "cost_c2": (0.0, 1e4),  # a negative one is a cost that no dispatch by price can minimise
        "cost_c1": (-1e6, 1e6),
        "cost_c0": (-1e9, 1e9),
    },
}


class CaseError(ValueError):
    """The case data cannot be used; the message names the file, the table, the row and why."""


def check(grid: Grid, origin: str, rows: dict | None = None) -> Grid:
    """Returns `grid` unchanged when it is sound; raises CaseError for the first thing wrong.

    The message names the file `origin` and the row in it, from 1. `rows` says which that is of each
    row of the tables `bus`, `branch` and `gen`; by default the file has the same rows.
    """

    def require(table: str, good: np.ndarray, why: str, values: np.ndarray | None = None):
        bad = np.flatnonzero(~np.asarray(good))
        if bad.size:
            numbers = rows[table][bad] if rows else bad + 1
            listed = ", ".join(str(n) for n in numbers[:5]) + ("…" if bad.size > 5 else "")
            value = "" if values is None else f" (it is {values[bad[0]]:g})"
            raise CaseError(f"{origin}: table {table}, row {listed}: {why}{value}")

    bus, branch, gen = grid.bus, grid.branch, grid.gen
    low, high = _BASE_MVA
    if not low <= grid.base_mva <= high:
        raise CaseError(
            f"{origin}: baseMVA is {grid.base_mva}, it must be between {low:g} and {high:g}"
        )
    if grid.rated not in RATED:
        raise CaseError(f"{origin}: rated is {grid.rated!r}, it may be {', '.join(RATED)}")
    if grid.n_bus == 0 or grid.n_gen == 0 or grid.n_branch == 0:
        raise CaseError(
            f"{origin}: {grid.n_bus} buses, {grid.n_branch} branches and {grid.n_gen} generators "
            "are in service; a grid needs at least one of each"
        )
    for name, table in (("bus", bus), ("branch", branch), ("gen", gen)):
        for column, (low, high) in _RANGES[name].items():
            values = getattr(table, column)
            good = (values >= low) & (values <= high)
            rule = f"{column} must be between {low:g} and {high:g}"
            if column in NO_LIMIT:
                good, rule = good | (values == NO_LIMIT[column]), f"{rule}, or without limit"
            require(name, good, rule, values)

    check_bus_numbers(bus.id, origin, rows["bus"] if rows else None)
    for name, column in (("branch", branch.from_bus), ("branch", branch.to_bus), ("gen", gen.bus)):
        require(name, (column >= 0) & (column < grid.n_bus), "names a bus that is not there")
    references = np.flatnonzero(bus.type == REF)
    if references.size != 1:
        raise CaseError(
            f"{origin}: table bus: {references.size} reference buses (type 3), there must be one"
        )
    require("bus", bus.vm_min_pu <= bus.vm_max_pu, "Vmin is above Vmax")

    require("branch", branch.from_bus != branch.to_bus, "both ends are the same bus")
    impedance = np.hypot(branch.r_pu, branch.x_pu)
    require(
        "branch",
        impedance >= SMALLEST_IMPEDANCE_PU,
        f"impedance is zero or below {SMALLEST_IMPEDANCE_PU:g} pu; merge the two buses",
        impedance,
    )

    require("branch", branch.angle_min_rad <= branch.angle_max_rad, "ANGMIN is above ANGMAX")

    require("gen", gen.p_min_mw <= gen.p_max_mw, "Pmin is above Pmax")
    require("gen", gen.q_min_mvar <= gen.q_max_mvar, "Qmin is above Qmax")
    require(
        "bus",
        (bus.type != REF) | np.isin(np.arange(grid.n_bus), gen.bus),
        "the reference bus has no generator in service",
    )
    if not (gen.p_max_mw > 0).any():
        raise CaseError(f"{origin}: table gen: no generator has Pmax above zero")

    island = connectivity.islands(grid, np.ones(grid.n_branch, bool))
    reached = island == island[references[0]]
    require("bus", reached, "the bus is not connected to the reference bus by branches in service")
    return grid


def check_bus_numbers(numbers: np.ndarray, origin: str, rows: np.ndarray | None = None) -> None:
    """Raises CaseError, as `check`, if one of the bus numbers `[n_bus]` appears twice.

    Branches could not say which they mean.
    """
    _, first = np.unique(numbers, return_index=True)
    repeated = np.setdiff1d(np.arange(len(numbers)), first)
    if repeated.size:
        row = repeated[0]
        raise CaseError(
            f"{origin}: table bus, row {row + 1 if rows is None else rows[row]}: "
            f"bus number {int(numbers[row])} appears twice"
        )
