"""Makes a grid of MATPOWER's tables (MATPOWER manual, appendix B; PYPOWER has the same).

They come from a .m file (`matpower`), a .mat file or a dict in memory (`matpower_struct`).
"""

import re

import numpy as np

from envs.case import conversion, grid as grid_lib, main_island, validate, vector_groups
from envs.case.conversion import Notes

COLUMNS = {
    "bus": ("BUS_I", "BUS_TYPE", "PD", "QD", "GS", "BS", "BUS_AREA", "BASE_KV", "VMAX", "VMIN"),
    "branch": ("F_BUS", "T_BUS", "BR_R", "BR_X", "BR_B", "RATE_A", "TAP", "SHIFT", "BR_STATUS"),
    "gen": ("GEN_BUS", "PG", "QMAX", "QMIN", "VG", "GEN_STATUS", "PMAX", "PMIN"),
    "gencost": ("MODEL", "NCOST"),
}
_OPTIONAL = {"branch": ("ANGMIN", "ANGMAX")}  # files of few columns end before them
_WHOLE = {"BUS_I", "BUS_TYPE", "BUS_AREA", "F_BUS", "T_BUS", "GEN_BUS", "MODEL", "NCOST"}
_UNLIMITED = {"RATE_A", "QMIN", "QMAX", "ANGMIN", "ANGMAX"}  # columns where Inf means "no limit"
_N_COST = 4  # gencost columns ahead of the coefficients
_POLYNOMIAL = 2  # gencost MODEL
_ISOLATED = 4  # BUS_TYPE
_NO_ANGLE = 360.0  # degrees: an angle difference may be anything from here on
_LARGEST_WHOLE = 2**31 - 1  # bus numbers are kept as 32-bit integers


def grid(
    origin: str,
    name: str,
    base_mva: float,
    tables: dict[str, dict[str, np.ndarray]],
    notes: Notes | None = None,
) -> grid_lib.Grid:
    """Returns the grid of tables as `table` returns them, keeping what is in service.

    Where the reference bus has no generator in service, the bus of the largest unit takes its
    place, and a warning says so. With `notes`, more than one island or reference bus is no reason
    to refuse it: see `main_island.reduce`.

    Raises:
      validate.CaseError: the tables are no usable case; `origin` begins the message.
    """
    bus, branch, gen, cost = (tables[name] for name in ("bus", "branch", "gen", "gencost"))
    connected = bus["BUS_TYPE"] != _ISOLATED
    on, running = branch["BR_STATUS"] > 0, gen["GEN_STATUS"] > 0
    bus = {name: column[connected] for name, column in bus.items()}
    ids = bus["BUS_I"].astype(int)
    rows = {
        each: np.flatnonzero(kept) + 1
        for each, kept in (("bus", connected), ("branch", on), ("gen", running))
    }
    validate.check_bus_numbers(ids, origin, rows["bus"])
    position = {number: index for index, number in enumerate(ids)}

    def index_of(table: str, name: str, numbers: np.ndarray) -> np.ndarray:
        unknown = [row for row, number in enumerate(numbers) if int(number) not in position]
        if unknown:
            raise validate.CaseError(
                f"{origin}: table {table}, row {rows[table][unknown[0]]}: {name} is "
                f"{numbers[unknown[0]]:.0f}, which is no bus in service"
            )
        return np.array([position[int(number)] for number in numbers], np.int32)

    rate, (angle_min, angle_max) = branch["RATE_A"], _angle_limits(branch)
    branches = grid_lib.Branches(
        from_bus=index_of("branch", "fbus", branch["F_BUS"][on]),
        to_bus=index_of("branch", "tbus", branch["T_BUS"][on]),
        r_pu=branch["BR_R"][on],
        x_pu=branch["BR_X"][on],
        b_pu=branch["BR_B"][on],
        tap=np.where(branch["TAP"] == 0, 1.0, branch["TAP"])[on],
        shift_rad=np.deg2rad(branch["SHIFT"][on]),
        rate_mva=np.where(rate == 0, np.inf, rate)[on],
        angle_min_rad=angle_min[on],
        angle_max_rad=angle_max[on],
    )
    c2, c1, c0 = _polynomial(origin, cost, len(running))
    generators = grid_lib.Generators(
        bus=index_of("gen", "bus", gen["GEN_BUS"][running]),
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
        type=_bus_types(origin, bus["BUS_TYPE"].astype(int), ids, generators),
        load_p_mw=bus["PD"],
        load_q_mvar=bus["QD"],
        shunt_p_mw=bus["GS"],
        shunt_q_mvar=bus["BS"],
        area=bus["BUS_AREA"].astype(int),
        base_kv=bus["BASE_KV"],
        vm_min_pu=bus["VMIN"],
        vm_max_pu=bus["VMAX"],
    )
    whole = grid_lib.Grid(name, base_mva, buses, branches, generators, source=origin)
    _tell_of_held_buses(whole, notes)
    if notes is None:
        return validate.check(whole, origin, rows)
    island = validate.check(main_island.reduce(whole, notes), origin)
    return vector_groups.without(island, notes)


def table(origin: str, name: str, rows: list | None) -> dict[str, np.ndarray]:
    """Returns the columns of one table, float `[n_row]`; those a grid needs are numbers."""
    from matpowercaseframes import constants

    if not rows:
        raise validate.CaseError(
            f"{origin}: table mpc.{name} is empty, or not a matrix that opens with [ and ends "
            "with ];"
        )
    columns = list(constants.COLUMNS[name])
    if name == "gencost":
        columns = columns[:_N_COST] + [f"C{i}" for i in range(len(rows[0]) - _N_COST)]
    fewest = max(columns.index(column) for column in COLUMNS[name]) + 1
    for row, values in enumerate(rows, 1):
        for index, value in enumerate(values):
            if isinstance(value, str):
                raise validate.CaseError(
                    f"{origin}: table {name}, row {row}, column {index + 1}: {value[:40]!r} is not "
                    "a number (a table ends with ];)"
                )
        if not fewest <= len(values) <= len(columns) or len(values) != len(rows[0]):
            raise validate.CaseError(
                f"{origin}: table {name}, row {row} has {len(values)} columns; every row has as "
                f"many as the first ({len(rows[0])}), at least {fewest} and at most {len(columns)}"
            )
    values = np.array(rows, float)
    table = dict(zip(columns, values.T))
    present = [column for column in _OPTIONAL.get(name, ()) if column in table]
    for column in table if name == "gencost" else (*COLUMNS[name], *present):
        good = np.isfinite(table[column])
        rule = "it must be a finite number"
        if column in _UNLIMITED:
            good, rule = ~np.isnan(table[column]), "it must be a number, or Inf for no limit"
        elif column in _WHOLE:
            with np.errstate(invalid="ignore"):  # Inf and NaN are bad already
                good &= (table[column] % 1 == 0) & (np.abs(table[column]) <= _LARGEST_WHOLE)
            rule = "it must be a whole number below 2^31"
        bad = np.flatnonzero(~good)
        if bad.size:
            raise validate.CaseError(
                f"{origin}: table {name}, row {bad[0] + 1}: {column} is "
                f"{table[column][bad[0]]:g}, {rule}"
            )
    return table


def _bus_types(
    origin: str, types: np.ndarray, ids: np.ndarray, gen: grid_lib.Generators
) -> np.ndarray:
    """Returns the types `[n_bus]` with a reference bus that has a generator in service.

    The largest unit by Pmax, as PowerModels chooses where a file has no reference bus; MATPOWER's
    `bustypes` takes the first PV bus. Only what angles are measured against depends on it.
    """
    references = np.flatnonzero(types == grid_lib.REF)
    # Anything else that is wrong is for validation to say.
    if references.size != 1 or np.isin(references, gen.bus).any() or not gen.capacity_mw.any():
        return types
    largest = gen.bus[gen.capacity_mw.argmax()]
    conversion.warn_once(
        f"{origin}: reference bus {ids[references[0]]} has no generator in service; bus "
        f"{ids[largest]}, which has the largest unit ({gen.capacity_mw.max():g} MW), takes its "
        "place"
    )
    types = types.copy()
    types[references], types[largest] = grid_lib.PQ, grid_lib.REF
    return types


def _tell_of_held_buses(grid: grid_lib.Grid, notes: Notes | None) -> None:
    """Notes, or warns of, PQ buses with generators in service, which hold voltages here."""
    usual = (grid.bus.type == grid_lib.PQ) & np.isin(np.arange(grid.n_bus), grid.gen.bus)
    told = Notes() if notes is None else notes
    told.add(
        "bus number", grid.bus.id[usual],
        "{n} of type PQ have generators in service, which hold their set-points VG",
    )  # fmt: skip
    if notes is None and told:
        conversion.warn_once(f"{grid.source}: {told[0]}")


def _angle_limits(branch: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the least and the greatest θ_from − θ_to of each branch `[n_row]`, rad.

    None below where ANGMIN is −360 or less, none above where ANGMAX is 360 or more, and none either
    way where both are zero (MATPOWER manual, table B-3).
    """
    low, high = (
        branch.get(name, np.full(len(branch["F_BUS"]), default))
        for name, default in (("ANGMIN", -_NO_ANGLE), ("ANGMAX", _NO_ANGLE))
    )
    none = (low == 0) & (high == 0)
    return (
        np.where(none | (low <= -_NO_ANGLE), -np.inf, np.deg2rad(low)),
        np.where(none | (high >= _NO_ANGLE), np.inf, np.deg2rad(high)),
    )


def _polynomial(origin: str, cost: dict, n_gen: int) -> tuple[np.ndarray, ...]:
    """Returns (c2 $/MW²h, c1 $/MWh, c0 $/h), each `[n_gen]`, of polynomial costs."""
    if len(cost["MODEL"]) not in (n_gen, 2 * n_gen):  # twice: costs of reactive power follow
        raise validate.CaseError(
            f"{origin}: table gencost has {len(cost['MODEL'])} rows for {n_gen} generators"
        )
    coefficients = [column for name, column in cost.items() if re.fullmatch(r"C\d+", name)]
    aligned = np.zeros((n_gen, 3))
    for row in range(n_gen):
        model, count = cost["MODEL"][row], int(cost["NCOST"][row])
        if model != _POLYNOMIAL or not 1 <= count <= min(3, len(coefficients)):
            raise validate.CaseError(
                f"{origin}: table gencost, row {row + 1}: only polynomial costs (model 2) up to "
                f"the second degree are read, this is model {model:g} with {count} of "
                f"{len(coefficients)} coefficients"
            )
        # Coefficients are left-aligned, highest degree first; align them by degree.
        aligned[row, 3 - count :] = [column[row] for column in coefficients[:count]]
    return aligned[:, 0], aligned[:, 1], aligned[:, 2]
