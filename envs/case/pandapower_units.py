"""Generators of a pandapower network: what produces and holds voltage, its limits and costs."""

from typing import NamedTuple

import numpy as np

from envs.case import grid as grid_lib, pandapower_plants
from envs.case.conversion import COST_PER_MWH, Note, Notes

_NO_LIMIT = 1e6  # MW or MVAr, from here on: pandapower and its converters write 1e9 for it
_MARGIN = 1.2  # an external grid without limits can give this much of what it gives, at least


class _Unit(NamedTuple):
    """One generator to be."""

    element: str  # gen, ext_grid or sgen
    index: int
    bus: int  # row of the grid
    p_mw: float
    vm_pu: float
    p_min_mw: float  # no number where the file has none
    p_max_mw: float
    q_min_mvar: float
    q_max_mvar: float
    sn_mva: float
    fixed: bool  # not controllable


def generators(
    net,
    place_of_row: np.ndarray,
    buses: grid_lib.Buses,
    solved: bool,
    notes: Notes,
    fleet_mw: float | None = None,
) -> grid_lib.Generators:
    """Returns units: external grids, generators, extended wards, static generators with a cost.

    A static generator becomes a unit where it is controllable or has a cost, and where another
    generator holds the voltage of its bus; its power is then taken out of the load of `buses`. The
    others stay negative loads. `place_of_row` is the row in the grid of each row of PYPOWER's table
    of buses, −1 for none; `solved` says that `net` holds a power flow; `fleet_mw` is what plants
    and batteries of a fleet can give, None where there is none.
    """
    place = place_of_row[net._pd2ppc_lookups["bus"]]  # by pandapower's index of a bus
    costs = _costs(net, notes)
    units = [_unit("ext_grid", row, net, place, solved) for row in net.ext_grid.itertuples()]
    units += [_unit("gen", row, net, place, solved) for row in net.gen.itertuples()]
    units = [unit for unit in units if unit] + _extended_wards(net, place_of_row)
    held = {unit.bus for unit in units}
    left, plants, idle = [], [], []
    for row in net.sgen.itertuples():
        unit = _unit("sgen", row, net, place, solved)
        wanted = ("sgen", row.Index) in costs or getattr(row, "controllable", None) is True
        if unit and unit.bus in held and not unit.fixed and wanted:
            units.append(unit)
            buses.load_p_mw[unit.bus] += unit.p_mw
            buses.load_q_mvar[unit.bus] += float(row.q_mvar) * float(row.scaling)
        elif unit and (unit.p_mw or row.q_mvar):
            known = pandapower_plants.is_plant(row, held=unit.bus in held)
            if known and fleet_mw is None:
                plants.append(row.Index)
                continue
            left.append(row.Index)
            if wanted and unit.bus not in held:
                idle.append(row.Index)
    notes.add("sgen", left, "{n} became negative loads")
    notes.add(
        "sgen", plants,
        f"{{n}} became negative loads; {pandapower_plants.REMEDY} wind and solar plants of them",
    )  # fmt: skip
    notes.add(
        "sgen", [unit.index for unit in units if unit.element == "sgen"],
        "{n} became generators, as another holds the voltage of their bus",
    )  # fmt: skip
    used = {(unit.element, unit.index) for unit in units}
    for element in sorted({element for element, _ in costs if (element, _) not in used}):
        unused = [index for name, index in costs if name == element and (name, index) not in used]
        notes.add(f"cost of {element}", unused, "{n} were left out, as it is no generator here")
    notes.add(
        "sgen", idle,
        "{n} that may be controlled or have a cost are not dispatched, for nothing holds the "
        "voltage of their bus: make each a gen, which holds it",
    )  # fmt: skip
    if fleet_mw is None and all(unit.element == "ext_grid" for unit in units):
        notes.add(
            "ext_grid", [unit.index for unit in units],
            "{n} with the inertia of a machine of that size; "
            f"{pandapower_plants.REMEDY} exchanges of them that hold frequency",
        )  # fmt: skip
    limits = _limits(units, buses, notes, fleet_mw)
    return _table(units, limits, _cost_columns(units, costs, notes))


def _unit(element: str, row, net, place: np.ndarray, solved: bool) -> _Unit | None:
    """Returns one generator, None where it or its bus is out of service."""
    if not row.in_service or place[row.bus] < 0:
        return None
    number = lambda name: float(getattr(row, name, np.nan))
    scaling = 1.0 if element == "ext_grid" else number("scaling")
    p_mw = 0.0 if element == "ext_grid" else number("p_mw") * scaling
    if solved and (element == "ext_grid" or (element == "gen" and bool(row.slack))):
        p_mw = float(net[f"res_{element}"].p_mw.at[row.Index])
    controllable = getattr(row, "controllable", True)
    fixed = element != "ext_grid" and controllable is not None and not controllable
    return _Unit(
        element, row.Index, int(place[row.bus]), p_mw, number("vm_pu"), number("min_p_mw"),
        number("max_p_mw"), number("min_q_mvar"), number("max_q_mvar"), number("sn_mva"),
        bool(fixed) and not bool(getattr(row, "slack", False)),
    )  # fmt: skip


def _extended_wards(net, place_of_row: np.ndarray) -> list[_Unit]:
    """Returns a condenser for each extended ward, at the bus behind its impedance."""
    lookups = net._pd2ppc_lookups
    none, units = np.nan, []
    for row, at in zip(net.xward.itertuples(), lookups["aux"].get("xward", ())):
        bus = place_of_row[lookups["bus"][at]]
        if row.in_service and bus >= 0:
            vm_pu = float(row.vm_pu)
            unit = ("xward", row.Index, int(bus), 0.0, vm_pu, 0.0, 0.0, none, none, 0.0, False)
            units.append(_Unit(*unit))
    return units


def _limits(
    units: list[_Unit], buses: grid_lib.Buses, notes: Notes, fleet_mw: float | None
) -> np.ndarray:
    """Returns Pmin, Pmax MW and Qmin, Qmax MVAr, `[4, n_gen]`."""
    total = max(float(np.clip(buses.load_p_mw, 0.0, None).sum()), 0.0) + (fleet_mw or 0.0)
    of_all = "all loads, plants and batteries" if fleet_mw else "all loads"
    assumed: dict[tuple, list] = {}
    limits = []
    for unit in units:
        none = lambda value: not abs(value) < _NO_LIMIT
        low, high = unit.p_min_mw, unit.p_max_mw
        if unit.fixed:
            low = high = unit.p_mw
            note = "are not controllable: fixed at what the file says"
            assumed.setdefault((unit.element, note), []).append(unit.index)
        elif none(low) or none(high):
            if unit.element == "ext_grid":
                size = max(total, _MARGIN * abs(unit.p_mw))
                usual = -size, size
                note = f"without limits of power: the sum of {of_all} assumed"
            else:
                rated = unit.sn_mva if unit.sn_mva > 0 else 0.0
                usual = (min(unit.p_mw, 0.0), max(unit.p_mw, rated, 0.0))
                note = "without limits of power: assumed are zero and rated power, or the set-point"
            low, high = usual[0] if none(low) else low, usual[1] if none(high) else high
            assumed.setdefault((unit.element, note), []).append(unit.index)
        q_low = -np.inf if none(unit.q_min_mvar) else unit.q_min_mvar
        q_high = np.inf if none(unit.q_max_mvar) else unit.q_max_mvar
        limits.append((low, high, q_low, q_high))
    for (element, note), rows in assumed.items():
        notes.add(element, rows, f"{{n}} {note}")
    return np.array(limits, float).reshape(-1, 4).T


def _costs(net, notes: Notes) -> dict[tuple[str, int], tuple[float, float, float]]:
    """Returns (c2, c1, c0) by (element, index) of polynomial and piecewise linear costs."""
    costs, reactive, mended = {}, [], []
    for row in net.poly_cost.itertuples():
        key = str(row.et), int(row.element)
        costs[key] = (row.cp2_eur_per_mw2, row.cp1_eur_per_mw, row.cp0_eur)
        if row.cq1_eur_per_mvar or row.cq2_eur_per_mvar2:
            reactive.append(row.Index)
    for row in net.pwl_cost.itertuples():
        if row.power_type != "p":
            reactive.append(row.Index)
            continue
        points = np.array(row.points, float).reshape(-1, 3)
        width = points[:, 1] - points[:, 0]
        mean = (points[:, 2] * width).sum() / width.sum()
        costs[str(row.et), int(row.element)] = (0.0, mean, 0.0)
        if len(points) > 1:
            mended.append(row.Index)
    notes.add("poly_cost", reactive, "{n} costs of reactive power were left out")
    notes.add("pwl_cost", mended, "{n} piecewise linear costs became their mean slope")
    return costs


def _cost_columns(units: list[_Unit], costs: dict, notes: Notes) -> np.ndarray:
    """Returns c2, c1, c0 `[3, n_gen]`."""
    default = (0.0, COST_PER_MWH, 0.0)
    lacking = [unit for unit in units if (unit.element, unit.index) not in costs]
    for element in ("ext_grid", "gen", "sgen"):
        rows = [unit.index for unit in lacking if unit.element == element]
        notes.add(element, rows, f"{{n}} without a cost: {COST_PER_MWH:g} $/MWh assumed")
    chosen = [costs.get((unit.element, unit.index), default) for unit in units]
    if costs and units:
        notes.append(Note("poly_cost", "costs in € are taken as they are for $"))
    return np.array(chosen, float).reshape(-1, 3).T


def _table(units: list[_Unit], limits: np.ndarray, costs: np.ndarray) -> grid_lib.Generators:
    setpoint: dict[int, float] = {}
    for unit in units:
        if unit.element != "sgen":
            setpoint.setdefault(unit.bus, unit.vm_pu)
    return grid_lib.Generators(
        np.array([unit.bus for unit in units], np.int32),
        np.array([unit.p_mw for unit in units], float),
        np.array([setpoint[unit.bus] for unit in units], float),
        *limits,
        *costs,
    )
