"""Makes the fleet of a pandapower network: plants of its `sgen`, batteries of its `storage`.

`pandapower_plants` says which are wind and solar plants. External grids are exchanges of infinite
inertia: nothing that happens here moves their frequency.
"""

import copy
from typing import NamedTuple

import numpy as np

from envs.case import fleet as fleet_lib, pandapower_net, pandapower_plants as plants_lib, validate
from envs.case.conversion import Conversion, Notes
from envs.case.grid import Grid

_EFFICIENCY = 0.92  # each way, where the network has none: as that of fleets that ship
_HOURS = 4.0  # at rated power, where the network does not say what a battery holds; likewise
_EXCHANGE_RAMP = 1.0  # of its largest power a minute: none that an import would feel
_NO_LIMIT = 1e6  # MW or MWh, from here on: pandapower writes 1e9 for it


class Plants(NamedTuple):
    """Rows of `sgen` that are wind or solar plants, each field of one length."""

    index: list[int]
    bus: list[int]  # number in the grid
    kind: list[str]
    p_max_mw: list[float]


class Batteries(NamedTuple):
    """Rows of `storage`, each field of one length."""

    index: list[int]
    bus: list[int]  # number in the grid
    p_max_mw: list[float]
    energy_mwh: list[float]
    charge_efficiency: list[float]
    discharge_efficiency: list[float]


def convert(net, name: str, origin: str) -> tuple[Conversion, dict]:
    """Returns the grid of `net` without its plants and batteries, and a fleet file's content.

    `net` is left as it is. Active power alone is taken out and put into the fleet: plants and
    batteries are at unity power factor.

    Raises:
      validate.CaseError: as `pandapower_net.convert`.
    """
    net, notes = copy.deepcopy(net), Notes()
    try:
        number = pandapower_net.bus_numbers(net)
        held = {
            number[row.bus] for table in (net.ext_grid, net.gen)
            for row in plants_lib.rows(table) if row.bus in number
        }  # fmt: skip
        plants, batteries = _plants(net, number, held, notes), _batteries(net, number, notes)
        for element, table in (("sgen", plants), ("storage", batteries)):
            notes.add(
                element, [i for i in table.index if net[element].q_mvar.at[i]],
                "reactive power of {n} was left out: in a fleet they are at unity power factor",
            )  # fmt: skip
            net[element].drop(table.index, inplace=True)
    except (AttributeError, KeyError, TypeError, ValueError) as error:  # columns that it lacks
        raise validate.CaseError(f"{origin}: pandapower cannot use it: {error!r}"[:300]) from error
    fleet_mw = sum(plants.p_max_mw) + sum(batteries.p_max_mw)
    converted = pandapower_net.convert(net, name, origin, fleet_mw=fleet_mw)
    grid = converted.grid
    plants, batteries = _on(grid, "sgen", plants, notes), _on(grid, "storage", batteries, notes)
    content = {
        "name": name,
        "source": origin,
        "units": _units(net, number, grid, notes),
        "renewables": _table(plants),
        "storage": _table(batteries),
        "prosumers": {"bus": [], "renewable": [], "storage": []},
    }
    return Conversion(grid, (*converted.notes, *notes)), content


def _plants(net, number: dict[int, int], held: set[int], notes: Notes) -> Plants:
    found, guessed, others = [], [], []
    for row in plants_lib.rows(net.sgen):
        if row.bus not in number:
            continue
        at, kind = number[row.bus], plants_lib.kind(row)
        output = row.p_mw * row.scaling
        stated = [plants_lib.number(row, name) for name in ("max_p_mw", "sn_mva")]
        rated = next((value for value in stated if 0 < value < _NO_LIMIT), row.p_mw)
        if not plants_lib.is_plant(row, held=at in held):
            if kind == plants_lib.OTHER:
                others.append(row.Index)
        elif max(rated, output) > 0:
            if kind is None:
                guessed.append(row.Index)
            found.append((row.Index, at, kind or fleet_lib.SOLAR, float(max(rated, output))))
    notes.add("sgen", [each[0] for each in found], "{n} became wind and solar plants of the fleet")
    notes.add(
        "sgen", guessed, "{n} whose type and name do not tell wind from sun are taken for solar"
    )
    notes.add("sgen", others, "{n} are neither wind nor sun, which alone a fleet has as plants")
    return Plants(*(list(column) for column in zip(*found))) if found else Plants([], [], [], [])


def _batteries(net, number: dict[int, int], notes: Notes) -> Batteries:
    found: list[tuple] = []
    lacks: dict[str, list[int]] = {"energy": [], "efficiency": [], "charge": [], "power": []}
    for row in plants_lib.rows(net.storage):
        if row.bus not in number:
            continue
        limits = [abs(plants_lib.number(row, name)) for name in ("min_p_mw", "max_p_mw")]
        known = [value for value in limits if 0 < value < _NO_LIMIT]
        rated, operating = plants_lib.number(row, "sn_mva"), abs(row.p_mw * row.scaling)
        p_max = min(known) if known else rated if rated > 0 else operating
        if not p_max > 0:
            lacks["power"].append(row.Index)
            continue
        energy = plants_lib.number(row, "max_e_mwh") - plants_lib.number(row, "min_e_mwh", 0.0)
        if not 0 < energy < _NO_LIMIT:
            lacks["energy"].append(row.Index)
            energy = _HOURS * p_max
        ways = _efficiencies(row)
        if ways is None:
            lacks["efficiency"].append(row.Index)
            ways = _EFFICIENCY, _EFFICIENCY
        if np.isfinite(plants_lib.number(row, "soc_percent")):
            lacks["charge"].append(row.Index)
        found.append((row.Index, number[row.bus], float(p_max), float(energy), *ways))
    notes.add("storage", [each[0] for each in found], "{n} became batteries of the fleet")
    for reason, text in (
        ("power", "{n} without a power were left out"),
        ("energy", f"{{n}} without max_e_mwh: {_HOURS:g} hours at rated power assumed"),
        ("efficiency", f"{{n}} without an efficiency: {_EFFICIENCY:g} each way assumed"),
        ("charge", "soc_percent of {n} was left out: days begin with batteries half full"),
    ):
        notes.add("storage", lacks[reason], text)
    if not found:
        return Batteries([], [], [], [], [], [])
    return Batteries(*(list(column) for column in zip(*found)))


def _efficiencies(row) -> tuple[float, float] | None:
    """Returns those of charging and discharging; `efficiency_percent` is there and back."""
    ways = [plants_lib.number(row, f"{way}_efficiency") for way in ("charge", "discharge")]
    both = plants_lib.number(row, "efficiency_percent") / 100.0
    if not all(0 < way <= 1 for way in ways):
        ways = [float(np.sqrt(both))] * 2 if 0 < both <= 1 else []
    return (ways[0], ways[1]) if ways else None


def _on(grid: Grid, element: str, table, notes: Notes):
    """Returns the rows of plants or batteries whose bus is in `grid`."""
    kept = [bus in set(grid.bus.id.tolist()) for bus in table.bus]
    notes.add(
        element, [i for i, keep in zip(table.index, kept) if not keep],
        "{n} not connected to the island with the reference bus were left out",
    )  # fmt: skip
    return type(table)(*([x for x, keep in zip(column, kept) if keep] for column in table))


def _units(net, number: dict[int, int], grid: Grid, notes: Notes) -> dict[str, list]:
    """Returns the table of units; external grids come first in a grid, in the network's order."""
    ids = set(grid.bus.id.tolist())
    outer = [row for row in plants_lib.rows(net.ext_grid) if number.get(row.bus) in ids]
    kinds = fleet_lib.plain(grid).units.kind.astype(object)
    first = np.arange(grid.n_gen) < len(outer)
    exchanges = first & grid.gen.is_unit
    kinds[exchanges] = "exchange"
    units = fleet_lib.typical_units(grid, kinds)
    size = np.maximum(np.abs(grid.gen.p_min_mw), np.abs(grid.gen.p_max_mw))
    ramp = np.where(exchanges, _EXCHANGE_RAMP * size, units.ramp_mw_per_min)
    inertia = [None if x else float(h) for x, h in zip(exchanges, units.inertia_s)]
    notes.add(
        "ext_grid", [row.Index for row, x in zip(outer, exchanges) if x],
        "{n} became an exchange that holds frequency, and has no ramp to speak of; where it is a "
        "power plant, give its unit another kind, ramp and inertia in the fleet",
    )  # fmt: skip
    return {
        "bus": grid.bus.id[grid.gen.bus].tolist(),
        "kind": kinds.tolist(),
        "ramp_mw_per_min": [round(float(each), 6) for each in ramp],
        "inertia_s": inertia,
    }


def _table(assets) -> dict[str, list]:
    return {name: values for name, values in assets._asdict().items() if name != "index"}
