"""What pypowsybl's MATPOWER export makes generators of and is none, and what it leaves out.

Converters of HVDC lines become fixed loads: what they carry was decided elsewhere.
"""

import numpy as np

from envs.case.conversion import Notes
from envs.case.powsybl_shunts import boundary_lines, bus_rows

_BUS, _PG, _QG, _PMAX, _PMIN = 0, 1, 2, 8, 9  # columns of gen
_PD, _QD = 2, 3  # columns of bus


def fix(network, struct: dict, notes: Notes) -> None:
    """Makes converters loads, and notes elements that a grid has otherwise, in place."""
    rows = bus_rows(network, struct)
    bus, gen = np.atleast_2d(struct["bus"]), np.atleast_2d(struct["gen"])
    gone = np.zeros(len(gen), bool)
    lines = network.get_hvdc_lines()
    limit = {}
    for line in lines.itertuples():
        limit[line.converter_station1_id] = limit[line.converter_station2_id] = line.max_p
    stations = network.get_vsc_converter_stations()
    for station in stations.itertuples():
        if station.bus_id not in rows or station.Index not in limit:
            continue
        row, size = rows[station.bus_id], limit[station.Index]
        likely = (gen[:, _BUS] == bus[row, 0]) & (gen[:, _PMAX] == size) & (gen[:, _PMIN] == -size)
        for each in np.flatnonzero(likely & ~gone)[:1]:
            bus[row, _PD] -= gen[each, _PG]
            gen[each, [_PG, _PMAX, _PMIN]] = 0.0
            if not station.voltage_regulator_on:
                bus[row, _QD] -= gen[each, _QG]
                gone[each] = True
    struct["bus"], struct["gen"] = bus, gen[~gone]
    notes.add(
        "hvdc line", lines.index,
        "{n} became fixed loads at the ends that the grid has, with condensers where they hold "
        "voltages",
    )  # fmt: skip
    buses = network.get_buses()
    notes.add(
        "bus", buses.index[buses.connected_component != 0],
        "{n} not connected to the main component were left out",
    )  # fmt: skip
    trafos = network.get_3_windings_transformers()
    notes.add(
        "three-winding transformer", trafos.index,
        f"{{n}} became {3 * len(trafos)} branches with {len(trafos)} star buses",
    )  # fmt: skip
    switches = network.get_switches()
    notes.add("switch", switches.index[~switches.open], "{n} closed make the buses that they join")
    notes.add("switch", switches.index[switches.open], "{n} open were left out")
    for element, table, text in (
        ("static var compensator", network.get_static_var_compensators(), "condensers"),
        ("battery", network.get_batteries(), "generators or loads of their set-point"),
        (
            "line that leaves the grid",
            boundary_lines(network),
            "branches that end in a load",
        ),
    ):
        notes.add(element, table.index, f"{{n}} became {text}")
    generators = network.get_generators(all_attributes=True)
    away = generators[
        generators.voltage_regulator_on & (generators.regulated_bus_id != generators.bus_id)
    ]
    notes.add("generator", away.index, "{n} that hold the voltage of another bus hold their own's")
