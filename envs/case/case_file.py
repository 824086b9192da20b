"""Grids by name, from the cases that ship with Gridracer, or by path, from a MATPOWER file."""

import dataclasses
import pathlib

import numpy as np

from envs.case import columns, grid as grid_lib, matpower, validate
from envs.inputs import choices

SHIPPED = pathlib.Path(__file__).parent / "cases"
_WHOLE = {"id", "type", "area", "from_bus", "to_bus", "bus"}
# Columns that a file written before there were any may lack: without limits, then.
_OPTIONAL = ("angle_min_rad", "angle_max_rad")


def names() -> list[str]:
    """Returns the names of the cases that ship with Gridracer."""
    return sorted((path.stem for path in SHIPPED.glob("*.json")), key=lambda n: (len(n), n))


def load(name_or_path: str) -> grid_lib.Grid:
    """Returns a shipped case by name (`case14`), or any `.m` or `.json` case by path.

    Raises:
      FileNotFoundError: neither a shipped case nor a file.
      validate.CaseError: the file is not a usable case.
    """
    shipped = SHIPPED / f"{name_or_path}.json"
    if name_or_path in names():
        return read_json(shipped)
    if name_or_path.endswith(".json"):
        return read_json(pathlib.Path(name_or_path))
    if name_or_path.endswith(".m"):
        return matpower.read(name_or_path)
    if name_or_path and pathlib.Path(name_or_path).exists():
        raise validate.CaseError(
            f"{name_or_path}: a case file ends in .m (MATPOWER, format version 2) or .json "
            "(made by `python -m envs.case.convert`)"
        )
    hint = choices.hint(name_or_path, names())
    raise FileNotFoundError(
        f"no case named {name_or_path!r}: {hint}shipped cases are {', '.join(names())}; "
        "any MATPOWER case can be given by the path of its .m file"
    )


def read_json(path: pathlib.Path) -> grid_lib.Grid:
    """Returns the grid in the compact form that `write_json` writes.

    Raises:
      FileNotFoundError: there is no such file.
      validate.CaseError: the file is not a usable case.
    """
    reader = columns.Reader(path, "Gridracer case file", validate.CaseError)
    reader.known(None, reader.data, ("name", "source", "base_mva", "bus", "branch", "gen"))

    def table(cls, name):
        fields = [field.name for field in dataclasses.fields(cls)]
        required = tuple(field for field in fields if field not in _OPTIONAL)
        lists = reader.table(name, required, _OPTIONAL if cls is grid_lib.Branches else ())
        absent = [None] * len(lists[fields[0]])
        return cls(*(_column(reader, name, each, lists.get(each, absent)) for each in fields))

    grid = grid_lib.Grid(
        name=reader.text("name"),
        base_mva=reader.number("base_mva"),
        bus=table(grid_lib.Buses, "bus"),
        branch=table(grid_lib.Branches, "branch"),
        gen=table(grid_lib.Generators, "gen"),
        source=reader.text("source"),
    )
    return validate.check(grid, str(path))


def write_json(grid: grid_lib.Grid, path: pathlib.Path) -> None:
    """Writes `grid` in the compact form that `read_json` reads."""
    data = dataclasses.asdict(grid)
    columns.write({"name": data.pop("name"), "source": data.pop("source"), **data}, path)


def _column(reader: columns.Reader, table: str, name: str, values: list) -> np.ndarray:
    """Returns a column as an array; JSON's null stands for "no limit"."""
    null = validate.NO_LIMIT.get(name)
    return reader.numbers(table, name, values, whole=name in _WHOLE, null=null)
