"""Where a column of Grid2Op's chronics belongs on a grid, by its name.

`load_<sub>_<n>` and `gen_<sub>_<n>` are at the bus whose number is `<sub>` + `bus_offset`;
`<from>_<to>_<n>` is a branch between two such buses. A grid that was cut out of a larger one has
loads `interco_<sub>_<sub>` where lines left it, at that end of the two that it has.
"""

import pathlib
import re

import numpy as np

from envs.case.fleet import SOLAR, WIND, Fleet
from envs.case.grid import Grid
from envs.time_series import chronics_files as files


def bus(grid: Grid, path: pathlib.Path, name: str, word: str, bus_offset: int) -> int:
    """Returns the index of the bus that a column's name gives."""
    match = re.fullmatch(rf"{word}_(\d+)_\d+", name)
    if not match and word == "load" and (cut := re.fullmatch(r"interco_(\d+)_(\d+)", name)):
        ends = np.flatnonzero(np.isin(grid.bus.id, [int(end) + bus_offset for end in cut.groups()]))
        if len(ends) == 1:
            return int(ends[0])
    if not match:
        raise files.ChronicsError(
            f"{path}: column {name!r} names no bus; it should read {word}_<substation>_<number>"
        )
    number = int(match[1]) + bus_offset
    places = np.flatnonzero(grid.bus.id == number)
    if not places.size:
        raise files.ChronicsError(
            f"{path}: column {name!r} is at bus {number} (bus_offset={bus_offset}), which "
            f"{grid.name} does not have; give the grid that was recorded, or another bus_offset"
        )
    return int(places[0])


def loads(table: files.Table, grid: Grid, bus_offset: int) -> np.ndarray:
    """Returns `[column, n_load]`, one where a column is at a load's bus."""
    buses = np.array([bus(grid, table.path, name, "load", bus_offset) for name in table.names])
    weights = (buses[:, None] == grid.loads).astype(float)
    astray = np.flatnonzero(weights.sum(1) == 0)
    if astray.size:
        raise files.ChronicsError(
            f"{table.path}: column {table.names[astray[0]]!r} is at bus "
            f"{grid.bus.id[buses[astray[0]]]}, which has no load in {grid.name}; give the grid "
            "that was recorded, or another bus_offset"
        )
    lacking = np.flatnonzero(weights.sum(0) == 0)
    if lacking.size:
        raise files.ChronicsError(
            f"{table.path}: no column for the load at bus {grid.bus.id[grid.loads[lacking[0]]]} of "
            f"{grid.name}; give the grid that was recorded, or add the column"
        )
    return weights


def plants(
    folder: pathlib.Path, prod: files.Table, grid: Grid, fleet: Fleet, bus_offset: int
) -> np.ndarray:
    """Returns `[column, n_renewable]`: rated power over Pmax where a column is the plant's.

    Plants of one kind at one bus take its columns in turn.
    """
    known = files.plants(folder)
    weights = np.zeros((len(prod.names), fleet.n_renewable))
    taken = set()
    sites = fleet.renewables
    for plant, (at, kind, p_max) in enumerate(zip(sites.bus, sites.kind, sites.p_max_mw)):
        for column, name in enumerate(prod.names):
            of_kind, rated = known.get(name, ("", 0.0))
            here = of_kind == kind and column not in taken
            if here and bus(grid, prod.path, name, "gen", bus_offset) == at:
                taken.add(column)
                weights[column, plant] = p_max / rated
                break
        else:
            raise files.ChronicsError(
                f"{prod.path}: no {kind} column left for plant {plant} of fleet {fleet.name} at "
                f"bus {grid.bus.id[at]}; env.fleet=auto takes the recorded plants, and plain none"
            )
    return weights


def units(folder: pathlib.Path, prod: files.Table, grid: Grid, bus_offset: int) -> np.ndarray:
    """Returns `[column, n_gen]`, one where a column of prod_p is what a unit produces.

    Columns that prods_charac.csv calls wind or solar are a fleet's. Units at a bus take the others
    there in turn.
    """
    known = files.plants(folder)
    weights = np.zeros((len(prod.names), grid.n_gen))
    free = list(grid.units)
    for column, name in enumerate(prod.names):
        if known.get(name, ("", 0.0))[0] in (WIND, SOLAR):
            continue
        at = bus(grid, prod.path, name, "gen", bus_offset)
        here = [unit for unit in free if grid.gen.bus[unit] == at]
        if not here:
            raise files.ChronicsError(
                f"{prod.path}: column {name!r} is at bus {grid.bus.id[at]}, where {grid.name} has "
                "no unit left for it; env.schedule=recorded needs the grid that was recorded, as "
                "`python -m envs.case.convert` makes it of grid.json"
            )
        free.remove(here[0])
        weights[column, here[0]] = 1.0
    if free:
        raise files.ChronicsError(
            f"{prod.path}: no column for the unit at bus {grid.bus.id[grid.gen.bus[free[0]]]} of "
            f"{grid.name}; env.schedule=recorded needs the grid that was recorded, as "
            "`python -m envs.case.convert` makes it of grid.json"
        )
    return weights


def branches(table: files.Table, grid: Grid, bus_offset: int) -> list[tuple[int, int]]:
    """Returns (column, branch) for every line; parallel branches take columns in turn."""
    ends = np.stack([grid.branch.from_bus, grid.branch.to_bus], axis=1)
    ids = grid.bus.id[ends]
    pairs = [tuple(sorted(pair)) for pair in ids.tolist()]
    free: dict[tuple[int, int], list[int]] = {}
    for branch, pair in enumerate(pairs):
        free.setdefault(pair, []).append(branch)
    matches = []
    for column, name in enumerate(table.names):
        match = re.fullmatch(r"(\d+)_(\d+)_\d+", name)
        pair = tuple(sorted(int(end) + bus_offset for end in match.groups())) if match else ()
        if not free.get(pair):
            raise files.ChronicsError(
                f"{table.path}: column {name!r} names no branch of {grid.name} (or one too many "
                "between its buses); it should read <from>_<to>_<number> with "
                f"bus_offset={bus_offset}"
            )
        matches.append((column, free[pair].pop(0)))
    return matches


def order(table: files.Table, like: files.Table) -> list[int]:
    """Returns, for each column of `table`, its place in `like`."""
    if sorted(table.names) != sorted(like.names):
        odd = sorted(set(table.names) ^ set(like.names))[0]
        raise files.ChronicsError(
            f"{table.path}: column {odd!r} is not in both it and {like.path.name}; the two need "
            "the same columns"
        )
    return [like.names.index(name) for name in table.names]
