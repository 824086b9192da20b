"""Reads the grid of a Grid2Op environment: its grid.json, a pandapower network, and beside it
prods_charac.csv, generators' limits and costs, and config.py, thermal limits.

pandapower turns lines and transformers into branches; what transformers lose in iron, for which
a grid's branches have no column, is left out. Bus numbers are those that Grid2Op's names
of elements count from, plus 1, so that chronics of the environment find their places.
"""

import ast
import csv
import pathlib
import re
from collections.abc import Iterator

import numpy as np

from envs.case import (
    conversion,
    grid as grid_lib,
    grid2op_fleet,
    grid2op_setpoints,
    pandapower_elements,
    pandapower_file,
    validate,
)
from envs.case.conversion import Conversion, Notes

_BASE_MVA = 100.0
_UNITS = "prods_charac.csv"
_WEATHER = ("wind", "solar")  # kinds of generator that a fleet has, not a case
_NO_LIMIT_MVAR = 1e6
_NOMINAL_MW = 1e-3  # of a load that the file has at zero, as it has those where lines were cut


def read(path: pathlib.Path) -> Conversion:
    """Returns the grid of the environment whose grid.json is at `path`, and what was changed.

    Generators hold what chronics beside it record, else what it says; limits of voltage leave room
    for that. Wind and solar generators hold their voltage as in Grid2Op, but have no active power:
    a fleet has those. Limits are of currents at the from bus: those of config.py, else `max_i_ka`.

    Raises:
      FileNotFoundError: there is no such file, or no prods_charac.csv beside it.
      validate.CaseError: pandapower is not installed, or one of them is not what it should be.
    """
    net, tables = _network(path)
    notes = Notes()
    place = net._pd2ppc_lookups["bus"]
    bus, branch = (np.asarray(tables[name]).real for name in ("bus", "branch"))
    numbers = _numbers(net, place, len(bus))
    iron = net.trafo.index[net.trafo.in_service & (net.trafo.pfe_kw > 0)]
    notes.add("trafo", iron, "iron losses of {n} were left out")
    gens = _generators(path, net, place, notes)
    silent = np.setdiff1d(place[net.load.bus], np.flatnonzero((bus[:, 2] != 0) | (bus[:, 3] != 0)))
    bus[silent, 2] = _NOMINAL_MW
    notes.add(
        "bus number", numbers[silent], f"{{n}} with loads of zero: {_NOMINAL_MW:g} MW assumed"
    )
    branches = grid_lib.Branches(
        from_bus=branch[:, 0].astype(np.int32),
        to_bus=branch[:, 1].astype(np.int32),
        r_pu=branch[:, 2],
        x_pu=branch[:, 3],
        b_pu=branch[:, 4],
        tap=np.where(branch[:, 8] == 0, 1.0, branch[:, 8]),
        shift_rad=np.deg2rad(branch[:, 9]),
        rate_mva=_ratings(path, net, branch, bus[:, 9]),
        angle_min_rad=np.full(len(branch), -np.inf),
        angle_max_rad=np.full(len(branch), np.inf),
    )
    low, high, assumed = conversion.vm_limits(bus[:, 12], bus[:, 11])
    notes.add("bus number", numbers[assumed], conversion.VM_LIMITS_NOTE)
    for limit, wider in ((low, np.minimum), (high, np.maximum)):  # around what is held there
        wider.at(limit, gens.bus, gens.vm_setpoint_pu)
    buses = grid_lib.Buses(
        id=numbers,
        type=bus[:, 1].astype(int),
        load_p_mw=bus[:, 2],
        load_q_mvar=bus[:, 3],
        shunt_p_mw=bus[:, 4],
        shunt_q_mvar=bus[:, 5],
        area=np.ones(len(bus), int),
        base_kv=bus[:, 9],
        vm_min_pu=low,
        vm_max_pu=high,
    )
    name = path.resolve().parent.name
    grid = grid_lib.Grid(
        name, _BASE_MVA, buses, branches, gens, source=str(path), rated=grid_lib.CURRENT_AT_FROM
    )
    return Conversion(validate.check(grid, str(path)), tuple(notes))


def is_environment(path: pathlib.Path) -> bool:
    """Returns whether `path` lies in the folder of a Grid2Op environment."""
    return (path.parent / _UNITS).is_file()


def fleet(path: pathlib.Path, grid: grid_lib.Grid, source: str) -> str:
    """Returns the fleet of the environment, as JSON; `grid` is what `read` returned.

    Raises what `read` and `grid2op_fleet.write` raise.
    """
    rows = [about for *_, about in generators(path, _network(path)[0])]
    return grid2op_fleet.write(path, grid, rows, source)


def _network(path: pathlib.Path):
    """Returns pandapower's network, and MATPOWER's tables of it."""
    pandapower = pandapower_file.required(str(path))
    from pandapower.converter.pypower import to_ppc

    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        with pandapower_file.Quiet():
            net = pandapower.from_json(str(path))
            net.sn_mva = _BASE_MVA
            tables = to_ppc(net, init="flat", calculate_voltage_angles=True)
    except Exception as error:  # of any kind, from within
        raise validate.CaseError(
            f"{path}: not a pandapower network, as Grid2Op keeps its grids: {error!r}"[:300]
        ) from error
    return net, tables


def _numbers(net, place: np.ndarray, n_bus: int) -> np.ndarray:
    """Returns bus numbers: one more than that of Grid2Op's substation."""
    numbers = np.zeros(n_bus, int)
    for index, name in zip(net.bus.index, net.bus.name):
        named = re.fullmatch(r"sub_(\d+)", str(name))
        if place[index] >= 0:
            numbers[place[index]] = 1 + (int(named[1]) if named else index)
    return numbers


def generators(path: pathlib.Path, net) -> Iterator[tuple[int, object, dict[str, str]]]:
    """Yields (bus in `net`, its row there, its row of prods_charac.csv) of each generator.

    Those are what produces and what holds the voltage of the reference bus, in Grid2Op's order.

    Raises:
      FileNotFoundError: there is no prods_charac.csv beside `path`.
      validate.CaseError: it has no row for one of them.
    """
    prods = path.parent / _UNITS
    if not prods.is_file():
        raise FileNotFoundError(
            f"{path}: no prods_charac.csv beside it, which says what generators can do and cost"
        )
    with prods.open(newline="") as file:
        known = {row["name"]: row for row in csv.DictReader(file)}
    at = [(row.bus, row.name_, row) for row in _rows(net.gen)]
    at += [(row.bus, row.name_, row) for row in _rows(net.ext_grid)]
    for count, (bus, name, row) in enumerate(at):
        about = known.get(str(name)) or _by_bus(known, int(bus), count)
        if about is None:
            raise validate.CaseError(
                f"{prods}: no row for the generator {name!r} at bus {bus} of {path.name}"
            )
        yield int(bus), row, about


def _generators(path: pathlib.Path, net, place: np.ndarray, notes: Notes) -> grid_lib.Generators:
    columns, weather, held_kv = [], [], grid2op_setpoints.read(path.parent)
    for bus, row, about in generators(path, net):
        try:
            p_max, p_min = float(about["Pmax"]), float(about.get("Pmin") or 0.0)
            cost = float(about.get("marginal_cost") or 0.0)
        except (KeyError, ValueError) as error:
            prods = path.parent / "prods_charac.csv"
            raise validate.CaseError(f"{prods}: {about.get('name')}: {error!r}") from error
        if about.get("type") in _WEATHER:
            p_max = p_min = 0.0
            weather.append(about.get("name"))
        q = [_finite(row, f"{end}_q_mvar", sign) for end, sign in (("min", -1.0), ("max", 1.0))]
        held = held_kv.get(about.get("name"))
        vm_pu = row.vm_pu if held is None else held / net.bus.vn_kv[bus]
        columns.append((place[bus], vm_pu, p_min, p_max, *q, cost))
    text = "{n} of wind and sun hold their voltage and have no active power: a fleet has that"
    notes.add("gen", weather, text)
    bus, vm_pu, p_min, p_max, q_min, q_max, cost = np.array(columns, float).T
    return grid_lib.Generators(
        bus=bus.astype(np.int32), p_mw=0.5 * (p_min + p_max), vm_setpoint_pu=vm_pu,
        p_min_mw=p_min, p_max_mw=p_max, q_min_mvar=q_min, q_max_mvar=q_max,
        cost_c2=np.zeros(len(bus)), cost_c1=cost, cost_c0=np.zeros(len(bus)),
    )  # fmt: skip


def _rows(table):
    return [row for row in table.rename(columns={"name": "name_"}).itertuples() if row.in_service]


def _by_bus(known: dict, bus: int, count: int) -> dict | None:
    """Returns the row of a generator without a name: that of its bus, Grid2Op's `gen_<bus>_<n>`."""
    here = [row for name, row in known.items() if name.startswith(f"gen_{bus}_")]
    exact = [row for row in here if row["name"] == f"gen_{bus}_{count}"]
    return (exact or here or [None])[0]


def _finite(row, name: str, sign: float) -> float:
    value = float(getattr(row, name, np.nan))
    return value if abs(value) < _NO_LIMIT_MVAR else sign * np.inf


def _ratings(path: pathlib.Path, net, branch: np.ndarray, base_kv: np.ndarray) -> np.ndarray:
    """Returns MVA at nominal voltage of the from bus, infinite where there is no limit."""
    amperes = _thermal_limits(path.parent / "config.py")
    if amperes is None:
        kv = base_kv[branch[:, 0].astype(int)]
        rate = pandapower_elements.ratings(net, len(branch), kv)
    elif len(amperes) != len(branch):
        raise validate.CaseError(
            f"{path.parent / 'config.py'}: thermal_limits has {len(amperes)} values, and the grid "
            f"{len(branch)} lines and transformers"
        )
    else:
        rate = np.sqrt(3.0) * base_kv[branch[:, 0].astype(int)] * np.asarray(amperes) / 1000.0
    return conversion.ratings(rate)


def _thermal_limits(path: pathlib.Path) -> list[float] | None:
    """Returns `thermal_limits` of Grid2Op's config.py, A, which is read and not run.

    Raises:
      validate.CaseError: it computes them.
    """
    if not path.is_file():
        return None
    program = ast.parse(path.read_text())
    named = {
        target.id: node.value
        for node in program.body if isinstance(node, ast.Assign)
        for target in node.targets if isinstance(target, ast.Name)
    }  # fmt: skip
    for node in ast.walk(program):
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values):
                if isinstance(key, ast.Constant) and key.value == "thermal_limits":
                    while isinstance(value, ast.Name) and value.id in named:
                        value = named.pop(value.id)
                    return _literal(path, value)
    return None


def _literal(path: pathlib.Path, value: ast.expr) -> list[float] | None:
    try:
        limits = ast.literal_eval(value)
    except ValueError as error:
        raise validate.CaseError(
            f"{path}: thermal_limits, line {value.lineno}: computed; write them as numbers, A, "
            "which Grid2Op's env.get_thermal_limit() returns"
        ) from error
    return list(limits.values()) if isinstance(limits, dict) else limits
