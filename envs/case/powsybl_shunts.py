"""Admittances to ground that pypowsybl's MATPOWER export has no column for, as shunts of buses.

A branch of MATPOWER has one charging, alike at both ends, and no conductance. A line of powsybl has
g1 + jb1 and g2 + jb2; a transformer g + jb between the ideal transformer, at side 1, and the
series impedance (powsybl's documentation, grid model: line, two-winding transformer). The
export keeps the mean of a line's two susceptances, and of a transformer half at each end.
"""

from collections.abc import Mapping

import numpy as np

from envs.case.conversion import Note, Notes

_GS, _BS = 4, 5  # columns of bus
_LEAST = 1e-9  # MVA at nominal voltage: rounding


def add(network, struct: dict, notes: Notes) -> None:
    """Adds to the shunts in `struct` what the export of `network` left out of it, in place."""
    rows = bus_rows(network, struct)
    bus = np.atleast_2d(struct["bus"])
    levels = network.get_voltage_levels().nominal_v
    lines = network.get_lines()
    trafos = network.get_2_windings_transformers(all_attributes=True)
    total, moved = 0.0, 0
    for line in lines[lines.connected1 & lines.connected2].itertuples():
        one, other = levels[line.voltage_level1_id], levels[line.voltage_level2_id]
        through = 1.0 / complex(line.r, line.x)
        # Per unit, a line between two nominal voltages has more to ground than it has in siemens.
        at_ends = (
            complex(line.g1, line.b1) * one**2 + through * one * (one - other),
            complex(line.g2, line.b2) * other**2 + through * other * (other - one),
        )
        half = 0.5j * (at_ends[0].imag + at_ends[1].imag)
        for at, power in zip((line.bus1_id, line.bus2_id), at_ends):
            shunt = power - half
            if abs(shunt) > _LEAST and at in rows:
                bus[rows[at], [_GS, _BS]] += shunt.real, shunt.imag
                total, moved = total + shunt.real, moved + 1
    for trafo in trafos[trafos.connected1 & trafos.connected2].itertuples():
        shunt = complex(trafo.g_at_current_tap, trafo.b_at_current_tap)
        half = 0.5j * shunt.imag
        one, other = levels[trafo.voltage_level1_id], levels[trafo.voltage_level2_id]
        for at, power in (
            (trafo.bus1_id, (shunt - half) * (one * trafo.rho) ** 2),
            (trafo.bus2_id, -half * other**2),
        ):
            if shunt and at in rows:
                bus[rows[at], [_GS, _BS]] += power.real, power.imag
                total, moved = total + power.real, moved + 1
    names = [str(name) for name in np.atleast_1d(struct["bus_name"])]
    for line in boundary_lines(network).itertuples():
        power = complex(line.g, line.b) * levels[line.voltage_level_id] ** 2
        ends = [names.index(name) for name in (line.name, line.Index) if name in names][:1]
        if power and ends and line.bus_id in rows:
            bus[rows[line.bus_id], [_GS, _BS]] += power.real, 0.5 * power.imag
            bus[ends[0], _BS] -= 0.5 * power.imag
            total, moved = total + power.real, moved + 1
    struct["bus"] = bus
    if moved:
        notes.append(
            Note(
                "line, transformer",
                f"admittances to ground at {moved} ends ({total:.3g} MW) became shunts of their "
                "buses, which stay when the branch trips",
            )
        )
    left = network.get_3_windings_transformers(all_attributes=True)
    lossy = [row.Index for row in left.itertuples() if row.g1 or row.g2 or row.g3]
    notes.add("three-winding transformer", lossy, "conductance of {n} was left out")


def bus_rows(network, struct: Mapping) -> dict[str, int]:
    """Returns the row in `struct` of each bus of pypowsybl's, by its name.

    The export lists them in pypowsybl's order, and the ends of lines that leave the grid and stars
    of transformers after them.

    Raises:
      ValueError: the order is another.
    """
    buses = network.get_buses()
    names = [str(name) for name in np.atleast_1d(struct["bus_name"])]
    main = buses[buses.connected_component == 0] if len(buses) else buses
    known = [name or index for index, name in zip(main.index, main.name)]
    rows, at = {}, 0
    for index, name in zip(main.index, known):
        if at < len(names) and names[at] in (name, index):
            rows[index] = at
            at += 1
    if not rows:
        raise ValueError("buses of the export are not those of the network")
    return rows


def boundary_lines(network):
    """Returns the table of lines that end outside, in service, which no other line continues."""
    read = getattr(network, "get_boundary_lines", None) or network.get_dangling_lines
    table = read()
    return table[~table.paired & table.connected]
