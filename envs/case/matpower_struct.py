"""Reads MATPOWER's struct from memory, a dict as PYPOWER has it, or from a .mat file.

Other programs write such files, without costs or with limits that are none, so what a .m file has
to state may be missing here: it is assumed, and noted.
"""

import pathlib
from collections.abc import Mapping

import numpy as np

from envs.case import conversion, mat_file, matpower_tables, pandapower_file, validate
from envs.case.conversion import Conversion, Notes

_POWERS = 1e6  # MW or MVAr, from here on no limit
_MARGIN = 1.2  # a unit without Pmax can give this much of what it gives, at least
_COST = (2.0, 0.0, 0.0, 2.0, conversion.COST_PER_MWH, 0.0)  # a row of gencost: c1, c0
# Columns of dcline (MATPOWER manual, table B-5).
_DC_FROM, _DC_TO, _DC_ON, _DC_PF, _DC_VF, _DC_VT, _DC_QF, _DC_QT, _DC_LOSS = (
    0, 1, 2, 3, 7, 8, slice(11, 13), slice(13, 15), slice(15, 17),
)  # fmt: skip


def read(path: str | pathlib.Path) -> Conversion:
    """Returns the grid in the .mat file at `path`, of MATLAB's versions 4 to 7, and what changed.

    Raises:
      FileNotFoundError: there is no such file.
      validate.CaseError: it holds no usable case.
    """
    path = pathlib.Path(path)
    pandapower_file.check_size(path)
    try:
        struct = mat_file.read(path)
    except mat_file.MatError as error:
        raise validate.CaseError(f"{path}: {error}") from error
    return convert(struct, path.stem, str(path))


def convert(data: Mapping, name: str, origin: str) -> Conversion:
    """Returns the grid of MATPOWER's struct or PYPOWER's dict, and what was changed.

    `data` has baseMVA and the tables bus, branch and gen, and may have gencost and dcline. Bus
    numbers from 0, as pandapower writes them, become numbers from 1.

    Raises:
      validate.CaseError: the tables are no usable case; `origin` begins the message.
    """
    if not _is_case(data):
        raise validate.CaseError(f"{origin}: it needs baseMVA and the tables bus, branch and gen")
    version = data.get("version", "2")
    if str(version) not in ("2", "2.0"):
        raise validate.CaseError(f"{origin}: version is {version!r}, only '2' is read")
    try:
        base_mva = float(np.asarray(data["baseMVA"]).reshape(()))
    except (TypeError, ValueError) as error:
        raise validate.CaseError(
            f"{origin}: baseMVA is {str(data['baseMVA'])[:40]}, not a number"
        ) from error
    arrays = {table: _matrix(origin, table, data.get(table)) for table in ("bus", "branch", "gen")}
    notes = Notes()
    offset = 0
    if arrays["bus"][:, 0].min() == 0:
        offset = 1
        notes.append(conversion.Note("bus", "numbers from 0 became numbers from 1"))
        for table, columns in (("bus", [0]), ("branch", [0, 1]), ("gen", [0])):
            arrays[table][:, columns] += offset
    arrays["gencost"] = _costs(origin, data, len(arrays["gen"]), notes)
    _replace_dc_lines(origin, data, arrays, offset, notes)
    tables = {
        table: matpower_tables.table(origin, table, rows.tolist()) for table, rows in arrays.items()
    }
    _complete(tables, notes)
    grid = matpower_tables.grid(origin, name, base_mva, tables, notes)
    return Conversion(grid, tuple(notes))


def _is_case(value: object) -> bool:
    return isinstance(value, Mapping) and set(mat_file.NEEDED) <= set(value)


def _matrix(origin: str, name: str, value: object) -> np.ndarray:
    """Returns a table as a float array `[row, column]`, of the columns that MATPOWER names."""
    from matpowercaseframes import constants

    try:
        array = np.array(value)
        if np.iscomplexobj(array):
            array = array.real
        array = np.atleast_2d(array.astype(float))
    except (TypeError, ValueError) as error:
        raise validate.CaseError(f"{origin}: table {name} is no matrix of numbers") from error
    if not array.size:
        raise validate.CaseError(f"{origin}: table {name} is empty; a grid needs a row of it")
    fewest = len(matpower_tables.COLUMNS.get(name, ()))
    if array.ndim != 2 or array.shape[1] < fewest:
        raise validate.CaseError(
            f"{origin}: table {name} has the shape {array.shape}; it needs a row for each element "
            f"and at least {fewest} columns"
        )
    known = constants.COLUMNS[name] if name != "gencost" else range(array.shape[1])
    return array[:, : len(known)]  # results of a power flow follow


def _costs(origin: str, data: Mapping, n_gen: int, notes: Notes) -> np.ndarray:
    """Returns the table gencost, or one of costs that are assumed."""
    given = data.get("gencost")
    if given is not None and np.size(given):
        return _matrix(origin, "gencost", given)
    cost = f"{{n}} without a cost: {conversion.COST_PER_MWH:g} $/MWh assumed"
    notes.add("gen", range(1, n_gen + 1), cost)
    return np.tile(_COST, (n_gen, 1))


def _replace_dc_lines(
    origin: str, data: Mapping, arrays: dict, offset: float, notes: Notes
) -> None:
    """Puts loads and condensers in the place of DC lines, as MATPOWER does with pairs of units."""
    given = data.get("dcline")
    if given is None or not np.size(given):
        return
    lines = _matrix(origin, "dcline", given)
    if lines.shape[1] < _DC_LOSS.stop:
        raise validate.CaseError(
            f"{origin}: table dcline has {lines.shape[1]} columns, it needs {_DC_LOSS.stop}"
        )
    on = lines[:, _DC_ON] > 0
    notes.add(
        "dcline", np.flatnonzero(on) + 1,
        "{n} became a load at one end, a negative one at the other, and condensers that hold their "
        "voltages",
    )  # fmt: skip
    bus, width, free = arrays["bus"], arrays["gen"].shape[1], arrays["gencost"].shape[1]
    for line in lines[on]:
        fixed, share = line[_DC_LOSS]
        sent = line[_DC_PF]
        ends = (
            (_DC_FROM, sent, _DC_VF, _DC_QF),
            (_DC_TO, fixed + (share - 1) * sent, _DC_VT, _DC_QT),
        )
        for end, drawn, voltage, limits in ends:
            number = line[end] + offset
            here = bus[:, 0] == number
            bus[here, 2] += drawn
            bus[here & (bus[:, 1] == 1), 1] = 2
            row = np.zeros(width)
            q_min, q_max = line[limits]
            row[:10] = number, 0, 0, q_max, q_min, line[voltage], 100, 1, 0, 0
            arrays["gen"] = np.vstack([arrays["gen"], row])
            cost = np.zeros(free)
            cost[:4] = 2, 0, 0, 1
            arrays["gencost"] = np.vstack([arrays["gencost"], cost])


def _complete(tables: dict, notes: Notes) -> None:
    """Assumes limits that are none, in place."""
    bus, branch, gen = tables["bus"], tables["branch"], tables["gen"]
    bus["VMIN"], bus["VMAX"], assumed = conversion.vm_limits(bus["VMIN"], bus["VMAX"])
    notes.add("bus", bus["BUS_I"][assumed].astype(int), conversion.VM_LIMITS_NOTE)
    branch["RATE_A"] = conversion.ratings(branch["RATE_A"])
    on = branch["BR_STATUS"] > 0
    notes.add(
        "branch", np.flatnonzero(on & np.isinf(branch["RATE_A"])) + 1,
        "{n} without a limit of loading",
    )  # fmt: skip
    for name, limit in (("QMIN", -np.inf), ("QMAX", np.inf)):
        gen[name] = np.where(np.abs(gen[name]) >= _POWERS, limit, gen[name])
    out = {
        table: np.flatnonzero(~(tables[table][status] > 0)) + 1
        for table, status in (("branch", "BR_STATUS"), ("gen", "GEN_STATUS"))
    }
    _release(bus, gen, notes)
    total = np.abs(bus["PD"]).sum()
    usual = np.maximum(total, _MARGIN * np.abs(gen["PG"]))
    low, high = gen["PMIN"] <= -_POWERS, gen["PMAX"] >= _POWERS
    gen["PMIN"], gen["PMAX"] = (
        np.where(low, -usual, gen["PMIN"]),
        np.where(high, usual, gen["PMAX"]),
    )
    notes.add(
        "gen", np.flatnonzero((low | high) & (gen["GEN_STATUS"] > 0)) + 1,
        "{n} without limits of power: the sum of all loads assumed",
    )  # fmt: skip
    for table in out:
        notes.add(table, out[table], "{n} out of service were left out")


def _release(bus: dict, gen: dict, notes: Notes) -> None:
    """Makes negative loads of generators where none holds the voltage: at PQ buses, in place.

    Such a generator has no set-point. Where another of the bus has one, it takes that.
    """
    place = {number: row for row, number in enumerate(bus["BUS_I"])}
    at = np.array([place.get(number, -1) for number in gen["GEN_BUS"]])
    on = (gen["GEN_STATUS"] > 0) & (at >= 0)
    holds = on & (gen["VG"] > 0)
    free = on & (bus["BUS_TYPE"][at] == 1) & ~np.isin(at, at[holds])
    np.add.at(bus["PD"], at[free], -gen["PG"][free])
    np.add.at(bus["QD"], at[free], -gen["QG"][free])
    gen["GEN_STATUS"] = np.where(free, 0.0, gen["GEN_STATUS"])
    notes.add(
        "gen", np.flatnonzero(free) + 1,
        "{n} at buses whose voltage nothing holds became negative loads",
    )  # fmt: skip
    lacking = np.flatnonzero(on & ~free & (gen["VG"] <= 0))
    notes.add("gen", lacking + 1, "{n} without a set-point of voltage: that of its bus assumed")
    for row in lacking:
        others = gen["VG"][holds & (at == at[row])]
        gen["VG"][row] = others[0] if others.size else bus["VM"][at[row]]
