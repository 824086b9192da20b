"""SimBench's CSV files, as tables with named columns."""

import csv
import dataclasses
import datetime
import pathlib
from collections.abc import Iterable

import numpy as np

from envs.case.grid import Grid
from envs.time_series.chronics_files import ChronicsError

LOAD_PROFILE, PLANT_PROFILE, LOADS, PLANTS, NODES = (
    "LoadProfile.csv", "RESProfile.csv", "Load.csv", "RES.csv", "Node.csv",
)  # fmt: skip
_SUMMER_TIME = 60  # minutes
_TIME = "%d.%m.%Y %H:%M"
_MOST_MB = 500.0  # of one file; SimBench's largest has 50


@dataclasses.dataclass(frozen=True)
class Profiles:
    """Profiles over time, rows as far apart as the first two.

    Where local times are put forward or back for summer, rows go on in the time of the first row.
    """

    path: pathlib.Path
    start: datetime.datetime
    minutes: int  # between rows
    values: dict[str, np.ndarray]  # by column, `[time]`
    n_time: int

    def steps(self, step_minutes: int) -> np.ndarray:
        """Returns the times of steps, in minutes from the start; the last row lasts as any."""
        return np.arange(0, self.n_time * self.minutes, step_minutes)

    def at(self, column: str, minutes: np.ndarray) -> np.ndarray:
        """Returns a profile at `minutes` from the start, linear between rows."""
        return np.interp(minutes, self.minutes * np.arange(self.n_time), self.values[column])

    def expect_rows_of(self, other: "Profiles") -> None:
        """Raises ChronicsError where times differ from those of `other`."""
        mine, theirs = ((each.start, each.minutes, each.n_time) for each in (self, other))
        if mine != theirs:
            raise ChronicsError(
                f"{self.path}: {mine[2]} rows every {mine[1]} minutes from {mine[0]:{_TIME}}, but "
                f"{other.path.name} has {theirs[2]} every {theirs[1]} from {theirs[0]:{_TIME}}; "
                "they need the same times"
            )


def profiles(path: pathlib.Path, columns: Iterable[str]) -> Profiles:
    """Returns the columns of a file of profiles.

    Raises:
      ChronicsError: it is missing, has not these columns, or no finite numbers at even times.
    """
    import pandas  # 0.2 s, which only such days need

    _check(path)
    columns = sorted(columns)
    with path.open(encoding="utf-8", errors="replace") as file:
        names = [name.strip() for name in file.readline().strip().split(";")]
    lacking = [name for name in ("time", *columns) if name not in names]
    if lacking:
        commas = len(names) == 1 and "," in names[0]
        raise ChronicsError(
            f"{path}: no column {lacking[0]!r}, which a profile asks for"
            + ("; separate columns by ';'" if commas else "")
        )
    try:
        frame = pandas.read_csv(
            path, sep=";", usecols=["time", *columns], skipinitialspace=True,
            dtype={"time": str, **dict.fromkeys(columns, float)},
        ).rename(columns=str.strip)  # fmt: skip
        form = _TIME if "." in frame["time"].iloc[0] else "ISO8601"
        times = pandas.to_datetime(frame["time"], format=form).to_numpy("datetime64[m]")
    except (ValueError, KeyError, IndexError, UnicodeError) as error:
        raise ChronicsError(
            f"{path}: not a table of times like 01.01.2016 00:15 or 2016-01-01 00:15 and numbers, "
            f"separated by ';' ({' '.join(str(error).split())[:60]})"
        ) from error
    if len(times) < 2:
        raise ChronicsError(f"{path}: {len(times)} rows, it needs at least two")
    gaps = np.diff(times).astype(int)
    # Rows are evenly apart where the clock is put forward or back, as SimBench's is.
    uneven = np.flatnonzero(~np.isin(gaps - gaps[0], (0, _SUMMER_TIME, -_SUMMER_TIME)))
    if not uneven.size and gaps[0] < 1:
        uneven = np.array([0])
    if uneven.size:
        raise ChronicsError(
            f"{path}: row {uneven[0] + 2} below the names is {gaps[uneven[0]]} minutes after the "
            f"one before it, the second {gaps[0]}; rows must be evenly apart and in order"
        )
    values = {name: frame[name].to_numpy() for name in columns}
    for name, column in values.items():
        if not np.isfinite(column).all():
            row = int(np.flatnonzero(~np.isfinite(column))[0])
            raise ChronicsError(
                f"{path}: column {name}, row {row + 1} below the names is {column[row]}; every "
                "value must be a finite number"
            )
    return Profiles(path, times[0].astype(datetime.datetime), int(gaps[0]), values, len(times))


def table(path: pathlib.Path, columns: tuple[str, ...]) -> list[dict[str, str]] | None:
    """Returns the rows of a table with at least `columns`, None where there is no such file.

    Raises:
      ChronicsError: it has not these columns, or is no text.
    """
    if not path.is_file():
        return None
    _check(path)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, delimiter=";")
            rows, names = list(reader), reader.fieldnames or ()
    except (csv.Error, ValueError) as error:
        raise ChronicsError(f"{path}: not a table separated by ';' ({error})") from error
    lacking = [name for name in columns if name not in names]
    if lacking:
        raise ChronicsError(f"{path}: no column {lacking[0]!r}; it needs {';'.join(columns)}")
    for number, row in enumerate(rows, 1):
        if any(row[name] is None for name in columns):
            raise ChronicsError(f"{path}: row {number} below the names is too short")
    return rows


def power(path: pathlib.Path, number: int, row: dict[str, str], name: str) -> float:
    """Returns a nominal power, MW or MVAr; raises ChronicsError where it is no finite number."""
    try:
        value = float(row[name])
    except ValueError:
        value = np.nan
    if not np.isfinite(value):
        raise ChronicsError(
            f"{path}: row {number} below the names: {name} is {row[name][:40]!r}, it must be a "
            "finite number"
        )
    return value


def bus(path: pathlib.Path, number: int, node: str, grid: Grid) -> int:
    """Returns the index of the bus that `node` is: its number, or its name in `Node.csv`.

    The rows of `Node.csv` count as bus numbers from 1, as those of a pandapower network do.

    Raises:
      ChronicsError: the grid has no such bus.
    """
    wanted, how = node.strip(), ""
    if not wanted.isdecimal():
        nodes = [row["id"] for row in table(path.parent / NODES, ("id",)) or ()]
        if wanted not in nodes:
            raise ChronicsError(
                f"{path}: row {number} below the names: node {node[:40]!r} is neither the number "
                f"of a bus nor a name in {NODES} beside it"
            )
        wanted, how = str(nodes.index(wanted) + 1), f", row {nodes.index(wanted) + 1} of {NODES},"
    places = np.flatnonzero(grid.bus.id == int(wanted[:12]))
    if not places.size:
        raise ChronicsError(
            f"{path}: row {number} below the names: node {node[:40]!r}{how} is no bus of "
            f"{grid.name}; give the grid that the tables are of, or bus numbers in the column node"
        )
    return int(places[0])


def _check(path: pathlib.Path) -> None:
    """Raises ChronicsError where there is no file, or one too large to read."""
    if not path.is_file():
        raise ChronicsError(f"{path}: missing; a folder of profiles needs it")
    if path.stat().st_size / 1e6 > _MOST_MB:
        raise ChronicsError(
            f"{path}: larger than {_MOST_MB:,.0f} MB; leave out the profiles that nothing follows"
        )
