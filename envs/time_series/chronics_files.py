"""Grid2Op's files of time series, as tables with named columns; nothing about grids."""

import bz2
import csv
import dataclasses
import datetime
import hashlib
import pathlib

import numpy as np


class ChronicsError(ValueError):
    """A file of a chronics folder cannot be used. Says which, where and what to do."""


@dataclasses.dataclass(frozen=True)
class Table:
    """One file: a column for each load, generator or line, a row for each time."""

    path: pathlib.Path
    names: tuple[str, ...]
    values: np.ndarray  # `[time, column]`

    def expect_rows(self, n_rows: int, like: pathlib.Path) -> None:
        """Raises ChronicsError unless the table has `n_rows` rows, as file `like` has."""
        if len(self.values) != n_rows:
            raise ChronicsError(
                f"{self.path}: {len(self.values)} rows, but {like.name} beside it has {n_rows}; "
                "cut the longer file, or fetch the folder again"
            )


def folders(folder: pathlib.Path) -> list[pathlib.Path]:
    """Returns the folders with a load_p file: `folder` itself, or those directly in it.

    Raises:
      FileNotFoundError: there are none.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder of chronics")
    scenarios = [
        f for f in (folder, *sorted(folder.iterdir())) if f.is_dir() and _path(f, "load_p")
    ]
    if not scenarios:
        raise FileNotFoundError(
            f"{folder}: neither it nor a folder in it has load_p.csv or load_p.csv.bz2; "
            "give a scenario's folder, or the chronics folder of a Grid2Op environment"
        )
    return scenarios


def table(folder: pathlib.Path, stem: str) -> Table | None:
    """Returns the file `stem`.csv or `stem`.csv.bz2 of `folder`, None where there is neither.

    Raises:
      ChronicsError: the file is no table of finite numbers separated by semicolons.
    """
    path = _path(folder, stem)
    if path is None:
        return None
    data = path.read_bytes()
    try:
        text = (bz2.decompress(data) if path.suffix == ".bz2" else data).decode()
    except (OSError, ValueError) as error:
        raise ChronicsError(f"{path}: cannot be read ({error}); fetch it again") from error
    lines = text.splitlines()
    names = _names(lines[0]) if lines else ()
    if len(lines) < 2:
        raise ChronicsError(f"{path}: no rows; it needs a line of names and a line for each time")
    try:
        values = np.loadtxt(lines[1:], delimiter=";", ndmin=2, comments=None)
    except ValueError as error:
        # Its message counts rows from 0 or 1 as the mistake may be; say what they are relative to.
        raise ChronicsError(
            f"{path}: not a table of numbers separated by ';' ({error}; rows counted below the "
            "line of names); mend that row or fetch the file again"
        ) from error
    if values.shape[1] != len(names):
        raise ChronicsError(
            f"{path}: {len(names)} names in its first line but {values.shape[1]} values in a row; "
            "give every column a name"
        )
    if not np.isfinite(values).all():
        row, column = np.argwhere(~np.isfinite(values))[0]
        raise ChronicsError(
            f"{path}: column {names[column]}, row {row + 1} below the names is "
            f"{values[row, column]}; every value must be a finite number"
        )
    return Table(path, names, values)


def required(folder: pathlib.Path, stem: str) -> Table:
    """Returns what `table` does; raises ChronicsError where there is no such file."""
    required_table = table(folder, stem)
    if required_table is None:
        raise _missing(folder, stem)
    return required_table


def columns(folder: pathlib.Path, stem: str) -> tuple[pathlib.Path, tuple[str, ...]]:
    """Returns the path of a file that is required, and its columns' names; reads no more of it."""
    path = _path(folder, stem)
    if path is None:
        raise _missing(folder, stem)
    with bz2.open(path, "rt") if path.suffix == ".bz2" else path.open() as file:
        try:
            return path, _names(file.readline())
        except (OSError, EOFError, ValueError) as error:
            raise ChronicsError(f"{path}: cannot be read ({error}); fetch it again") from error


def clock(folder: pathlib.Path) -> tuple[datetime.datetime, int]:
    """Returns the time of the first row, and the minutes between rows."""
    start_path, interval_path = folder / "start_datetime.info", folder / "time_interval.info"
    for path, form in ((start_path, "2019-01-05 23:55"), (interval_path, "00:05")):
        if not path.is_file():
            raise ChronicsError(f"{path}: missing; it should hold one line such as {form}")
    try:
        start = datetime.datetime.strptime(start_path.read_text().strip()[:16], "%Y-%m-%d %H:%M")
    except ValueError as error:
        raise ChronicsError(f"{start_path}: {error}; write it like 2019-01-05 23:55") from error
    text = interval_path.read_text().strip()
    try:
        hours, minutes = (int(part) for part in text.split(":")[:2])
    except ValueError as error:
        raise ChronicsError(f"{interval_path}: {text!r}; write it like 00:05") from error
    if 60 * hours + minutes < 1:
        raise ChronicsError(f"{interval_path}: {text!r}; rows must be at least a minute apart")
    return start, 60 * hours + minutes


def plants(folder: pathlib.Path) -> dict[str, tuple[str, float]]:
    """Returns kind and Pmax in MW of each generator, from the environment's prods_charac.csv.

    Looked for in `folder` and the two folders above it, where Grid2Op keeps it.
    """
    places = [place / "prods_charac.csv" for place in (folder, *folder.resolve().parents[:2])]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        raise ChronicsError(
            f"{folder}: no prods_charac.csv in it or the two folders above, which says what is "
            "wind and what is solar; copy it there from the Grid2Op environment"
        )
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    try:
        return {row["name"]: (row["type"], float(row["Pmax"])) for row in rows}
    except (KeyError, TypeError, ValueError) as error:
        raise ChronicsError(
            f"{path}: needs columns name, type and Pmax with numbers in Pmax ({error})"
        ) from error


def digest(folder: pathlib.Path) -> str:
    """Returns a name for all that the chronics in `folder` say; raises as `folders`."""
    content = hashlib.sha256()
    for scenario in folders(folder):
        for path in sorted(path for path in scenario.iterdir() if path.is_file()):
            content.update(f"{scenario.name}/{path.name}\0{path.stat().st_size}\0".encode())
            content.update(path.read_bytes())
    return content.hexdigest()[:16]


def _names(line: str) -> tuple[str, ...]:
    return tuple(name.strip().strip('"') for name in line.split(";"))


def _missing(folder: pathlib.Path, stem: str) -> ChronicsError:
    return ChronicsError(
        f"{folder}: no {stem}.csv or {stem}.csv.bz2; a scenario needs load_p and load_q, and "
        "prod_p where the fleet has wind or solar plants"
    )


def _path(folder: pathlib.Path, stem: str) -> pathlib.Path | None:
    for name in (f"{stem}.csv.bz2", f"{stem}.csv"):
        if (folder / name).is_file():
            return folder / name
    return None
