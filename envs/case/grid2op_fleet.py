"""Writes the fleet of a Grid2Op environment: prods_charac.csv and storage_units_charac.csv.

Both lie beside its grid.json. Kinds of generators, ramps, wind and solar plants and batteries are
theirs; inertia and droop, which Grid2Op has none of, are typical of the kinds. A generator of wind
or sun holds its voltage as an inverter does: it has no inertia and draws nothing for it.
"""

import csv
import json
import pathlib
import re

import numpy as np

from envs.case import fleet as fleet_lib, validate
from envs.case.grid import Grid

_WEATHER = (fleet_lib.WIND, fleet_lib.SOLAR)
_RAMP_MINUTES = 5.0  # ramps are per step, and steps of all environments that ship take that long
_BOTH_WAYS = ("charging_efficiency", "discharging_efficiency")


def write(path: pathlib.Path, grid: Grid, generators: list[dict[str, str]], source: str) -> str:
    """Returns the fleet of the environment whose grid.json is at `path`, as JSON.

    `generators` are the rows of prods_charac.csv in the order of `grid`'s.

    Raises:
      validate.CaseError: a row lacks a number, or is of a kind that is not known.
    """
    file = path.parent / "prods_charac.csv"
    kinds = [_kind(row, grid.gen.is_unit[index], file) for index, row in enumerate(generators)]
    ids = grid.bus.id
    plants = [(row, bus) for row, bus in zip(generators, grid.gen.bus) if row["type"] in _WEATHER]
    content = {
        "name": grid.name,
        "source": source,
        "units": {
            "bus": ids[grid.gen.bus].tolist(),
            "kind": kinds,
            "ramp_mw_per_min": [_ramp(row, file) / _RAMP_MINUTES for row in generators],
        },
        "renewables": {
            "bus": [int(ids[bus]) for _, bus in plants],
            "kind": [row["type"] for row, _ in plants],
            "p_max_mw": [_number(row, "Pmax", file) for row, _ in plants],
        },
        "storage": _storage(path.parent / "storage_units_charac.csv", grid),
        "prosumers": {"bus": [], "renewable": [], "storage": []},
    }
    return json.dumps(content, indent=2) + "\n"


def _kind(row: dict, is_unit: bool, file: pathlib.Path) -> str:
    kind = row.get("type", "")
    if kind in _WEATHER:
        return "inverter"
    if kind not in fleet_lib.KINDS:
        raise validate.CaseError(
            f"{file}: {row.get('name')}: type is {kind!r}, it must be wind, solar or one of "
            f"{', '.join(fleet_lib.KINDS)}"
        )
    return kind if is_unit else "condenser"


def _ramp(row: dict, file: pathlib.Path) -> float:
    """Returns the smaller of the ramps up and down, MW per step; none stands for no ramp."""
    ramps = [_number(row, name, file, 0.0) for name in ("max_ramp_up", "max_ramp_down")]
    return min(ramps)


def _storage(file: pathlib.Path, grid: Grid) -> dict[str, list]:
    """Returns the table of batteries; Grid2Op names them `storage_<substation>_<n>`."""
    rows = []
    if file.is_file():
        with file.open(newline="") as open_file:
            rows = list(csv.DictReader(open_file))
    table: dict[str, list] = {
        name: []
        for name in (
            "bus", "p_max_mw", "energy_mwh", "charge_efficiency", "discharge_efficiency",
        )
    }  # fmt: skip
    for row in rows:
        named = re.fullmatch(r"storage_(\d+)_\d+", row.get("name", ""))
        if not named or int(named[1]) + 1 not in grid.bus.id:
            raise validate.CaseError(
                f"{file}: {row.get('name')!r} names no substation of {grid.name}; it should read "
                "storage_<substation>_<number>"
            )
        table["bus"].append(int(named[1]) + 1)
        power = [_number(row, name, file) for name in ("max_p_prod", "max_p_absorb")]
        table["p_max_mw"].append(min(power))
        table["energy_mwh"].append(_number(row, "Emax", file))
        for name, column in zip(("charge_efficiency", "discharge_efficiency"), _BOTH_WAYS):
            table[name].append(_number(row, column, file, 1.0))
    return table


def _number(row: dict, name: str, file: pathlib.Path, usual: float | None = None) -> float:
    text = (row.get(name) or "").strip()
    if not text and usual is not None:
        return usual
    try:
        number = float(text)
    except ValueError as error:
        raise validate.CaseError(f"{file}: {row.get('name')}: {name} is {text!r}") from error
    return 0.0 if np.isnan(number) else number
