"""Days of profiles, as SimBench has them: CSV tables of a year by quarters of an hour.

A folder holds what loads follow, `LoadProfile.csv`, and what wind and sun give, `RESProfile.csv`,
both with a column `time`; and who follows which, `Load.csv` and `RES.csv`, with the columns `node`,
`profile` and the nominal power. SimBench's own tables have these names (C. Spalthoff et al.,
SimBench: Open source time series of power load, storage and generation for the simulation of
electrical distribution grids, ETG 2019; www.simbench.de).

    days = profiles.read("days", grid, fleet, options)

Between rows values are interpolated. A load draws pLoad · `<profile>_pload` and qLoad ·
`<profile>_qload`; a plant may give pRES · `<profile>`. Plants of other kinds than wind and sun
lower the load of their bus.
"""

import hashlib
import pathlib
from typing import NamedTuple

import numpy as np

from envs.case.fleet import SOLAR, WIND, Fleet, Renewables
from envs.case.grid import Grid
from envs.time_series import chronics, profiles_files as files
from envs.time_series.chronics_files import ChronicsError
from envs.time_series.options import RECORDED, TimeSeriesOptions
from envs.time_series.series import IN_SERVICE, TimeSeries

# How types and profiles of SimBench begin, in lower case. Of the aggregates of low and medium
# voltage grids most is sun.
_KINDS = ((WIND, ("wind", "wp")), (SOLAR, ("pv", "solar", "lv_", "mv_")))


class _Row(NamedTuple):
    """A load or a plant."""

    bus: int  # index into the bus table
    profile: str
    p_mw: float
    q_mvar: float
    kind: str  # wind, solar, or none


def is_folder(folder: str | pathlib.Path) -> bool:
    """Returns whether `folder` holds profiles."""
    return (pathlib.Path(folder) / files.LOAD_PROFILE).is_file()


def read(
    folder: str | pathlib.Path,
    grid: Grid,
    fleet: Fleet,
    options: TimeSeriesOptions,
    *,
    scale: float = 1.0,
) -> TimeSeries:
    """Returns the whole days of profiles, every leaf `[n_series, …]`, without the plan.

    Args:
      folder: the folder of tables.
      grid: every load of `Load.csv` must be at a load of the grid, and every load of the grid have
        one, but where a plant is that it nets.
      fleet: every wind or solar plant must have a row of `RES.csv` of its kind at its bus; it is
        scaled by rated power. `renewables` makes such a table.
      options: step and horizon.
      scale: multiplies all load.

    Raises:
      ChronicsError: a table is missing, or does not fit itself or the grid; or the plan is to be
        what units were recorded to do.
    """
    if options.schedule == RECORDED:
        raise ChronicsError(
            f"env.schedule={RECORDED}: profiles in {folder} do not tell what units produced; give "
            "a plan by rule, such as proportional"
        )
    folder = pathlib.Path(folder)
    loads, plants = _loads(folder, grid), _plants(folder, grid)
    load_table = files.profiles(
        folder / files.LOAD_PROFILE,
        {f"{row.profile}_{letter}load" for row in loads for letter in "pq"},
    )
    step = options.step_minutes
    rows = load_table.steps(step)
    place = {int(bus): index for index, bus in enumerate(grid.loads)}
    p, q = (np.zeros((len(rows), grid.loads.size)) for _ in range(2))
    for row in loads:
        at = _load_at(folder, grid, place, row)
        p[:, at] += scale * row.p_mw * load_table.at(f"{row.profile}_pload", rows)
        q[:, at] += scale * row.q_mvar * load_table.at(f"{row.profile}_qload", rows)
    renewable = np.zeros((len(rows), fleet.n_renewable))
    if plants:
        plant_table = files.profiles(folder / files.PLANT_PROFILE, {row.profile for row in plants})
        plant_table.expect_rows_of(load_table)
        for row in plants:
            if not row.kind:
                at = _load_at(folder, grid, place, row)
                p[:, at] -= row.p_mw * plant_table.at(row.profile, rows)
        for index, (row, share) in enumerate(_of_fleet(folder, grid, fleet, plants)):
            given = share * row.p_mw * plant_table.at(row.profile, rows)
            renewable[:, index] = np.clip(given, 0.0, fleet.renewables.p_max_mw[index])
    elif fleet.n_renewable:
        raise ChronicsError(
            f"{folder / files.PLANTS}: missing, and fleet {fleet.name} has wind or solar plants; "
            "env.fleet=auto takes those of the folder, and plain none"
        )
    recording = chronics.Recording(
        load_p_mw=p,
        load_q_mvar=q,
        renewable_mw=renewable,
        branch_status=np.full((len(rows), grid.n_branch), IN_SERVICE, np.uint8),
        load_leads_mw=np.zeros((len(rows), 0)),
        renewable_leads_mw=np.zeros((len(rows), 0)),
        unit_mw=None,
    )
    days = chronics.whole_days(
        recording, folder.resolve().name, load_table.start, step, 1, grid, fleet, options
    )
    return chronics.stacked(folder, days, grid, options, scale)


def renewables(folder: str | pathlib.Path, grid: Grid) -> Renewables:
    """Returns the wind and solar plants of `RES.csv`, for a fleet; raises as `read`."""
    plants = [row for row in _plants(pathlib.Path(folder), grid) if row.kind and row.p_mw > 0]
    return Renewables(
        bus=np.array([row.bus for row in plants], np.int32),
        kind=np.array([row.kind for row in plants], "<U5"),
        p_max_mw=np.array([row.p_mw for row in plants], float),
    )


def digest(folder: pathlib.Path) -> str:
    """Returns a name for all that the tables in `folder` say."""
    content = hashlib.sha256()
    for path in sorted(folder.glob("*.csv")):
        content.update(f"{path.name}\0{path.stat().st_size}\0".encode())
        content.update(path.read_bytes())
    return content.hexdigest()[:16]


def _loads(folder: pathlib.Path, grid: Grid) -> list[_Row]:
    rows = files.table(folder / files.LOADS, ("node", "profile", "pLoad", "qLoad"))
    if rows is None:
        raise ChronicsError(
            f"{folder / files.LOADS}: missing; it says which profile each load follows, in columns "
            "node;profile;pLoad;qLoad"
        )
    path = folder / files.LOADS
    loads = []
    for number, row in enumerate(rows, 1):
        at = files.bus(path, number, row["node"], grid)
        p_mw, q_mvar = (files.power(path, number, row, name) for name in ("pLoad", "qLoad"))
        loads.append(_Row(at, row["profile"], p_mw, q_mvar, ""))
    covered = {row.bus for row in (*loads, *_plants(folder, grid))}
    lacking = [bus for bus in grid.loads if bus not in covered]
    if lacking:
        raise ChronicsError(
            f"{path}: no row for the load at bus {grid.bus.id[lacking[0]]} of {grid.name}; add it, "
            "or give the grid that the table is of"
        )
    return loads


def _plants(folder: pathlib.Path, grid: Grid) -> list[_Row]:
    path = folder / files.PLANTS
    plants = []
    for number, row in enumerate(files.table(path, ("node", "profile", "pRES")) or [], 1):
        at = files.bus(path, number, row["node"], grid)
        kind = _kind(row.get("type") or "", row["profile"])
        plants.append(_Row(at, row["profile"], files.power(path, number, row, "pRES"), 0.0, kind))
    return plants


def _kind(type_: str, profile: str) -> str:
    """Returns wind or solar, or nothing for what is neither."""
    for word in (type_.lower(), profile.lower()):
        for kind, beginnings in _KINDS:
            if word.startswith(beginnings):
                return kind
        if word.startswith(("bm", "biomass", "hydro")):
            return ""
    return ""


def _load_at(folder: pathlib.Path, grid: Grid, place: dict[int, int], row: _Row) -> int:
    if row.bus not in place:
        raise ChronicsError(
            f"{folder}: profile {row.profile} is of bus {grid.bus.id[row.bus]}, which has no load "
            f"in {grid.name}; take the row out, or give the grid that the tables are of"
        )
    return place[row.bus]


def _of_fleet(folder, grid: Grid, fleet: Fleet, plants: list[_Row]) -> list[tuple[_Row, float]]:
    """Returns the row of each plant of the fleet, and rated power over that of the row."""
    free, matches = [row for row in plants if row.kind and row.p_mw > 0], []
    sites = fleet.renewables
    for plant, (bus, kind, p_max) in enumerate(zip(sites.bus, sites.kind, sites.p_max_mw)):
        row = next((row for row in free if (row.bus, row.kind) == (bus, kind)), None)
        if row is None:
            raise ChronicsError(
                f"{folder / files.PLANTS}: no {kind} row left for plant {plant} of fleet "
                f"{fleet.name} at bus {grid.bus.id[bus]}; env.fleet=auto takes the plants of the "
                "folder, and plain none"
            )
        free.remove(row)
        matches.append((row, p_max / row.p_mw))
    return matches
