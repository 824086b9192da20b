"""Converts a pandapower network into a grid, by pandapower's own conversion to PYPOWER's tables.

The tables are those of its power flow (`net._ppc` after `runpp`). Its branches have columns that a
grid has not: what transformers lose in iron, and charging that differs between the ends, become
shunts at the ends (`makeYbus` of pandapower: y_ff = (y_s + (g + jb) / 2) / tap²).
"""

import copy

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph

from envs.case import (
    conversion,
    grid as grid_lib,
    main_island,
    pandapower_check,
    pandapower_elements as elements,
    pandapower_units as units,
    validate,
    vector_groups,
)
from envs.case.conversion import Conversion, Notes

# Columns of PYPOWER's tables, and of pandapower's beside them (pandapower/pypower/idx_brch.py).
_TYPE, _PD, _QD, _GS, _BS, _KV = 1, 2, 3, 4, 5, 9
_R, _X, _B, _TAP, _SHIFT, _STATUS, _R_ASYM, _X_ASYM, _G, _G_ASYM, _B_ASYM = (
    2, 3, 4, 8, 9, 10, 21, 22, 23, 24, 25,
)  # fmt: skip
_NONE = 4  # type of a bus that is out of service or cut off
_HIGHEST_INDEX = 10_000_000  # pandapower makes arrays as long as the highest index of a bus
_DEFAULT_BASE_MVA = 1.0  # pandapower's where nobody chose one


def convert(net, name: str, origin: str, fleet_mw: float | None = None) -> Conversion:
    """Returns the grid of the network `net`, which is left as it is, and what was changed.

    `fleet_mw` is what plants and batteries can give that were taken out of it for a fleet.

    Bus numbers are pandapower's indices plus 1; buses that pandapower adds (stars of transformers
    of three windings, ends of open lines) follow. What is out of service is left out.

    Raises:
      validate.CaseError: it has elements that no grid can have, or is no sound network.
    """
    try:
        return _convert(copy.deepcopy(net), name, origin, fleet_mw)
    except validate.CaseError:
        raise
    except Exception as error:  # of any kind, from within pandapower or from columns it lacks
        raise validate.CaseError(f"{origin}: pandapower cannot use it: {error!r}"[:300]) from error


def _convert(net, name: str, origin: str, fleet_mw: float | None) -> Conversion:
    index = net.bus.index.to_numpy()
    if not index.size or index.min() < 0 or index.max() > _HIGHEST_INDEX:
        raise validate.CaseError(
            f"{origin}: buses need indices from 0 to {_HIGHEST_INDEX:,} and there must be one; "
            "pandapower.create_continuous_bus_index renumbers them"
        )
    notes = Notes()
    pandapower_check.check(net, origin)
    elements.refuse(net, origin)
    elements.describe(net, notes)
    elements.replace_dc_lines(net, notes)
    elements.replace_impedance_loads(net, notes)
    net.sn_mva = _base_mva(net)
    solved = _solve(net, origin)
    if not solved:
        notes.append(
            conversion.Note(
                "power flow", "pandapower finds none for what the file says; it is read"
            )
        )
    bus, branch = net._ppc["bus"].real, net._ppc["branch"].real
    kept = bus[:, _TYPE] != _NONE
    closed = (branch[:, _STATUS] > 0) & kept[branch[:, 0].astype(int)]
    closed &= kept[branch[:, 1].astype(int)]
    elements.describe_branches(net, closed, notes)
    if (branch[closed][:, [_R_ASYM, _X_ASYM]] != 0).any():
        raise validate.CaseError(
            f"{origin}: an impedance has rft_pu, xft_pu other than rtf_pu, xtf_pu, which no branch "
            "of a grid can have; give it the same in both directions"
        )
    place = np.where(kept, np.cumsum(kept) - 1, -1)  # row of PYPOWER's table to row of the grid
    of_index = np.full(index.max() + 1, -1)
    of_index[index] = place[net._pd2ppc_lookups["bus"][index]]
    branches = _branches(net, branch, closed, place, bus)
    buses = _buses(net, bus[kept], of_index, notes)
    _move_shunts(branch[closed], branches, buses, net.sn_mva, notes)
    generators = units.generators(net, place, buses, solved, notes, fleet_mw)
    grid = grid_lib.Grid(
        name, float(net.sn_mva), buses, branches, generators, source=origin, rated=grid_lib.CURRENT
    )
    grid = validate.check(main_island.reduce(grid, notes), origin)
    return Conversion(vector_groups.without(grid, notes), tuple(notes))


def _base_mva(net) -> float:
    """Returns the network's base, or where nobody chose one, a power of ten near its load.

    Solvers work per unit: a feeder of kilowatts on a base of 100 MVA would lose digits.
    """
    base, load = float(net.sn_mva), float((net.load.p_mw * net.load.scaling).abs().sum())
    if base != _DEFAULT_BASE_MVA or not load > 0:
        return base
    return float(10.0 ** np.clip(np.floor(np.log10(load)), -1, 2))


def _solve(net, origin: str) -> bool:
    """Runs pandapower's power flow, which leaves its tables in `net`; returns if it converged."""
    import pandapower

    try:
        pandapower.runpp(net, numba=False)
    except pandapower.LoadflowNotConverged:
        return False
    except UserWarning as error:  # how pandapower says what it lacks, such as a slack
        raise validate.CaseError(f"{origin}: pandapower: {error}"[:300]) from error
    return True


def _buses(net, bus: np.ndarray, of_index: np.ndarray, notes: Notes) -> grid_lib.Buses:
    numbers = np.zeros(len(bus), int)
    for index in net.bus.index[::-1]:  # of buses that a switch makes one, the first counts
        if of_index[index] >= 0:
            numbers[of_index[index]] = index + 1
    added = np.flatnonzero(numbers == 0)
    numbers[added] = net.bus.index.max() + 2 + np.arange(added.size)
    low, high, assumed = conversion.vm_limits(*_vm_limits(net, of_index, len(bus)))
    assumed[added] = False  # no file could have stated them
    notes.add("bus", numbers[assumed] - 1, conversion.VM_LIMITS_NOTE)
    return grid_lib.Buses(
        id=numbers,
        type=bus[:, _TYPE].astype(int),
        load_p_mw=bus[:, _PD].copy(),
        load_q_mvar=bus[:, _QD].copy(),
        shunt_p_mw=bus[:, _GS].copy(),
        shunt_q_mvar=bus[:, _BS].copy(),
        area=_areas(net, of_index, len(bus)),
        base_kv=bus[:, _KV],
        vm_min_pu=low,
        vm_max_pu=high,
    )


def _vm_limits(net, of_index: np.ndarray, n_bus: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the narrowest limits of what became each bus `[n_bus]` pu, no number for none."""
    limits = np.full((2, n_bus), np.nan)
    for row, (name, narrower) in enumerate((("min_vm_pu", np.fmax), ("max_vm_pu", np.fmin))):
        if name in net.bus:
            of_bus = of_index[net.bus.index] >= 0
            at, values = of_index[net.bus.index[of_bus]], net.bus[name].to_numpy(float)[of_bus]
            narrower.at(limits[row], at, values)
    return limits[0], limits[1]


def _areas(net, of_index: np.ndarray, n_bus: int) -> np.ndarray:
    """Returns the number of each bus's zone `[n_bus]`, from 1 in order of their names."""
    areas = np.ones(n_bus, int)
    zones = net.bus.zone.dropna().astype(str)
    names = sorted(set(zones))
    for index, zone in zones.items():
        if of_index[index] >= 0:
            areas[of_index[index]] = 1 + names.index(zone)
    return areas


def _branches(net, branch, closed, place, bus) -> grid_lib.Branches:
    rate = elements.ratings(net, len(branch), bus[branch[:, 0].astype(int), _KV])
    branch = branch[closed]
    return grid_lib.Branches(
        from_bus=place[branch[:, 0].astype(int)].astype(np.int32),
        to_bus=place[branch[:, 1].astype(int)].astype(np.int32),
        r_pu=branch[:, _R],
        x_pu=branch[:, _X],
        b_pu=branch[:, _B],
        tap=np.where(branch[:, _TAP] == 0, 1.0, branch[:, _TAP]),
        shift_rad=np.deg2rad(np.mod(branch[:, _SHIFT] + 180.0, 360.0) - 180.0),
        rate_mva=conversion.ratings(rate[closed]),
        angle_min_rad=np.full(len(branch), -np.inf),
        angle_max_rad=np.full(len(branch), np.inf),
    )


def _move_shunts(branch, branches, buses, base_mva: float, notes: Notes) -> None:
    """Adds to the shunts of `buses` what a row of `branch` has and a branch of a grid has not."""
    at_from = 0.5 * branch[:, _G] / branches.tap**2
    at_to = 0.5 * (branch[:, _G] + branch[:, _G_ASYM] + 1j * branch[:, _B_ASYM])
    moved = (at_from != 0) | (at_to != 0)
    np.add.at(buses.shunt_p_mw, branches.from_bus, at_from * base_mva)
    np.add.at(buses.shunt_p_mw, branches.to_bus, at_to.real * base_mva)
    np.add.at(buses.shunt_q_mvar, branches.to_bus, at_to.imag * base_mva)
    if moved.any():
        total = (at_from + at_to.real).sum() * base_mva
        notes.append(
            conversion.Note(
                "trafo, line",
                f"conductance of {moved.sum()} branches ({total:.3g} MW, iron losses) became "
                "shunts of their buses, which stay when the branch trips",
            )
        )


def bus_numbers(net) -> dict[int, int]:
    """Returns, by the index of each bus in service, its number in the grid that `net` becomes.

    Buses that closed switches without impedance join have one number, that of the first.
    """
    index = net.bus.index[net.bus.in_service.astype(bool)].to_numpy()
    row = {bus: place for place, bus in enumerate(index)}
    switch = net.switch[(net.switch.et == "b") & net.switch.closed.astype(bool)]
    joins = [
        (row[one], row[other])
        for one, other, ohm in zip(switch.bus, switch.element, switch.z_ohm.fillna(0.0))
        if ohm == 0.0 and one in row and other in row
    ]
    ends = np.array(joins, int).reshape(-1, 2).T
    graph = sparse.coo_matrix((np.ones(ends.shape[1]), tuple(ends)), (len(index), len(index)))
    group = csgraph.connected_components(graph, directed=False)[1]
    first = {part: index[group == part].min() for part in set(group.tolist())}
    return {int(bus): int(first[part]) + 1 for bus, part in zip(index, group)}
