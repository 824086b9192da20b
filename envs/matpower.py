"""Reads MATPOWER case files, format version 2 (MATPOWER manual, appendix B)."""

from __future__ import annotations

import pathlib

import numpy as np

from envs import grid as grid_lib
from envs import validate

_COLUMNS = {
    "bus": ("BUS_I", "BUS_TYPE", "PD", "QD", "GS", "BS", "BUS_AREA", "BASE_KV", "VMAX", "VMIN"),
    "branch": ("F_BUS", "T_BUS", "BR_R", "BR_X", "BR_B", "RATE_A", "TAP", "SHIFT", "BR_STATUS"),
    "gen": ("GEN_BUS", "PG", "QMAX", "QMIN", "VG", "GEN_STATUS", "PMAX", "PMIN"),
    "gencost": ("MODEL", "NCOST"),
}
_POLYNOMIAL = 2  # gencost MODEL
_ISOLATED = 4  # BUS_TYPE


def read(path: str | pathlib.Path) -> grid_lib.Grid:
    """Returns the grid in the MATPOWER file at `path`, keeping what is in service.

    Raises:
      FileNotFoundError: there is no such file.
      validate.CaseError: the file is not a usable MATPOWER case.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such case file")
    tables = _tables(path)
    base_mva = tables.pop("base_mva")
    bus, branch, gen, cost = (tables[name] for name in ("bus", "branch", "gen", "gencost"))

    bus = {name: column[bus["BUS_TYPE"] != _ISOLATED] for name, column in bus.items()}
    ids = bus["BUS_I"].astype(int)
    validate.check_bus_numbers(ids, str(path))
    position = {number: index for index, number in enumerate(ids)}

    def index_of(table: str, column: str, numbers: np.ndarray) -> np.ndarray:
        unknown = [row for row, number in enumerate(numbers) if int(number) not in position]
        if unknown:
            raise validate.CaseError(
                f"{path}: table {table}, row {unknown[0] + 1}: {column} is "
                f"{numbers[unknown[0]]:g}, which is no bus in service"
            )
        return np.array([position[int(number)] for number in numbers], np.int32)

    on = branch["BR_STATUS"] > 0
    from_bus = index_of("branch", "fbus", np.where(on, branch["F_BUS"], ids[0]))
    to_bus = index_of("branch", "tbus", np.where(on, branch["T_BUS"], ids[0]))
    rate = branch["RATE_A"]
    branches = grid_lib.Branches(
        from_bus=from_bus[on],
        to_bus=to_bus[on],
        r_pu=branch["BR_R"][on],
        x_pu=branch["BR_X"][on],
        b_pu=branch["BR_B"][on],
        tap=np.where(branch["TAP"] == 0, 1.0, branch["TAP"])[on],
        shift_rad=np.deg2rad(branch["SHIFT"][on]),
        rate_mva=np.where(rate == 0, np.inf, rate)[on],
    )
    running = gen["GEN_STATUS"] > 0
    c2, c1, c0 = _polynomial(path, cost, len(running))
    generators = grid_lib.Generators(
        bus=index_of("gen", "bus", np.where(running, gen["GEN_BUS"], ids[0]))[running],
        p_mw=gen["PG"][running],
        vm_setpoint_pu=gen["VG"][running],
        p_min_mw=gen["PMIN"][running],
        p_max_mw=gen["PMAX"][running],
        q_min_mvar=gen["QMIN"][running],
        q_max_mvar=gen["QMAX"][running],
        cost_c2=c2[running],
        cost_c1=c1[running],
        cost_c0=c0[running],
    )
    buses = grid_lib.Buses(
        id=ids,
        type=bus["BUS_TYPE"].astype(int),
        load_p_mw=bus["PD"],
        load_q_mvar=bus["QD"],
        shunt_p_mw=bus["GS"],
        shunt_q_mvar=bus["BS"],
        area=bus["BUS_AREA"].astype(int),
        base_kv=bus["BASE_KV"],
        vm_min_pu=bus["VMIN"],
        vm_max_pu=bus["VMAX"],
    )
    grid = grid_lib.Grid(path.stem, base_mva, buses, branches, generators, source=str(path))
    return validate.check(grid, str(path))


def _tables(path: pathlib.Path) -> dict:
    """Returns `{table: {column: array}}` of the tables a grid needs, and `base_mva`."""
    import matpowercaseframes  # pandas takes half a second; only files by path need it

    try:
        frames = matpowercaseframes.CaseFrames(str(path))
    except Exception as error:  # The parser raises whatever its regular expressions meet.
        raise validate.CaseError(
            f"{path}: not a MATPOWER case file (version 2 of the format): {error}"
        ) from error
    tables = {}
    try:
        tables["base_mva"] = float(frames.baseMVA)
        for name, columns in _COLUMNS.items():
            frame = getattr(frames, name)
            missing = [column for column in columns if column not in frame]
            if missing:
                raise validate.CaseError(f"{path}: table {name} lacks the column {missing[0]}")
            tables[name] = {column: frame[column].to_numpy(float) for column in frame}
    except AttributeError as error:
        raise validate.CaseError(f"{path}: no table mpc.{error.name}") from error
    except (TypeError, ValueError) as error:
        if isinstance(error, validate.CaseError):
            raise
        raise validate.CaseError(f"{path}: a value is not a number: {error}") from error
    for table, column in (
        ("bus", "BUS_I"),
        ("branch", "F_BUS"),
        ("branch", "T_BUS"),
        ("gen", "GEN_BUS"),
    ):
        bad = np.flatnonzero(~np.isfinite(tables[table][column]))
        if bad.size:
            raise validate.CaseError(
                f"{path}: table {table}, row {bad[0] + 1}: {column} is no number"
            )
    return tables


def _polynomial(path: pathlib.Path, cost: dict, n_gen: int) -> tuple[np.ndarray, ...]:
    """Returns (c2 $/MW²h, c1 $/MWh, c0 $/h), each `[n_gen]`, of polynomial costs."""
    if len(cost["MODEL"]) < n_gen:
        raise validate.CaseError(
            f"{path}: table gencost has {len(cost['MODEL'])} rows for {n_gen} generators"
        )
    for row in range(n_gen):
        if cost["MODEL"][row] != _POLYNOMIAL or not 1 <= cost["NCOST"][row] <= 3:
            raise validate.CaseError(
                f"{path}: table gencost, row {row + 1}: only polynomial costs (model 2) up to "
                f"the second degree are read, this is model {cost['MODEL'][row]:g} with "
                f"{cost['NCOST'][row]:g} coefficients"
            )
    # Coefficients are left-aligned, highest degree first; align them by degree.
    names = [name for name in cost if name not in ("MODEL", "STARTUP", "SHUTDOWN", "NCOST")]
    raw = np.stack([cost[name][:n_gen] for name in names], axis=1)
    aligned = np.zeros((n_gen, 3))
    for row, count in enumerate(cost["NCOST"][:n_gen].astype(int)):
        aligned[row, 3 - count :] = raw[row, :count]
    return aligned[:, 0], aligned[:, 1], aligned[:, 2]
