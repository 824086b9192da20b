"""Limits of branches as powsybl has them, in place of those of its MATPOWER export.

The export takes the larger of the limits at both ends, and of a limit of current I at a nominal
voltage V the power I V; three phases carry √3 I V (seen in pypowsybl 1.16.1).
"""

from collections.abc import Mapping

import numpy as np

from envs.case.powsybl_shunts import bus_rows

_FROM, _TO, _RATE = 0, 1, 5  # columns of branch
_SQRT3 = np.sqrt(3.0)
_PERMANENT = -1  # acceptable duration
_SIDES = {"ONE": 0, "TWO": 1, "THREE": 2}
_SAME = 1e-6  # relative difference of two limits that are one


def replace(network, struct: dict) -> None:
    """Replaces RATE_A in `struct`, in place: the lower permanent limit of both ends, MVA."""
    rows, limits = bus_rows(network, struct), _limits(network)
    branch, numbers = np.atleast_2d(struct["branch"]), np.atleast_2d(struct["bus"])[:, 0]
    levels = network.get_voltage_levels().nominal_v
    free = {}  # rows of each pair of buses, in the order of the export
    for index, (one, other) in enumerate(branch[:, [_FROM, _TO]]):
        free.setdefault((one, other), []).append(index)
    left = set(range(len(branch)))
    for table in (network.get_lines(), network.get_2_windings_transformers()):
        for element in table.itertuples():
            ends = element.bus1_id, element.bus2_id
            if not set(ends) <= set(rows):
                continue
            pair = tuple(numbers[rows[end]] for end in ends)
            if not free.get(pair):
                continue  # open at one end
            index = free[pair].pop(0)
            left.discard(index)
            nominal = levels[element.voltage_level1_id], levels[element.voltage_level2_id]
            found = [
                value * _SQRT3 * nominal[side] / 1000.0 if is_current else value
                for side, is_current, value in limits.get(element.Index, ())
            ]
            branch[index, _RATE] = min(found, default=0.0)
    currents = [value for each in limits.values() for _, is_current, value in each if is_current]
    exported = np.multiply.outer(np.array(currents), levels.to_numpy()).ravel() / 1000.0
    for index in left:  # legs of transformers of three windings, and lines that leave the grid
        rate = branch[index, _RATE]
        if rate > 0 and (np.abs(exported - rate) <= _SAME * rate).any():
            branch[index, _RATE] = _SQRT3 * rate
    struct["branch"] = branch


def _limits(network) -> Mapping[str, list[tuple[int, bool, float]]]:
    """Returns permanent limits of each element: (side, whether of current, A or MVA)."""
    table = network.get_operational_limits(all_attributes=True).reset_index()
    limits = {}
    for row in table.itertuples():
        known = row.type in ("CURRENT", "APPARENT_POWER") and row.acceptable_duration == _PERMANENT
        if known and row.selected and row.side in _SIDES:
            found = (_SIDES[row.side], row.type == "CURRENT", float(row.value))
            limits.setdefault(row.element_id, []).append(found)
    return limits
