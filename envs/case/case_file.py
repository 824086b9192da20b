"""Grids by name, by path, or from memory: cases that ship, and files of the formats that are read.

case_file.load("case14")    # ships
case_file.load("pandapower:mv_oberrhein")    # from pandapower.networks
case_file.load("mine.m")    # or .mat, .json
case_file.read(net).lines()    # a pandapower network, and what was changed to read it
"""

import dataclasses
import json
import os
import pathlib
from collections.abc import Mapping

import numpy as np

from envs.case import (
    columns,
    grid as grid_lib,
    grid2op,
    matpower,
    matpower_struct,
    pandapower_file,
    powsybl_file,
    validate,
)
from envs.case.conversion import Conversion
from envs.inputs import choices, json_file

SHIPPED = pathlib.Path(__file__).parent / "cases"
_READERS = {
    ".m": lambda path: Conversion(matpower.read(path)),
    ".mat": matpower_struct.read,
}
SUFFIXES = (
    ".m (MATPOWER, format version 2), .mat (MATPOWER's struct), .json (of pandapower.to_json, or "
    "made by `python -m envs.case.convert`), "
    + ", ".join(f"{suffix} ({name})" for suffix, name in powsybl_file.SUFFIXES.items())
)
Source = str | os.PathLike | Mapping  # a pandapower network is a mapping too
_WHOLE = {"id", "type", "area", "from_bus", "to_bus", "bus"}
# Columns that a file written before there were any may lack: without limits, then.
_OPTIONAL = ("angle_min_rad", "angle_max_rad")
_SINGLE = ("name", "source", "base_mva", "rated")  # values that are not tables


def names() -> list[str]:
    """Returns the names of the cases that ship with Gridracer."""
    return sorted((path.stem for path in SHIPPED.glob("*.json")), key=lambda n: (len(n), n))


def load(case: Source) -> grid_lib.Grid:
    """Returns the grid that `case` names or is; logs as a warning what was changed to read it.

    Raises:
      FileNotFoundError: neither a name that is known nor a file.
      validate.CaseError: it is not a usable case, or a package that reads it is not installed.
    """
    conversion = read(case)
    conversion.warn(str(case) if isinstance(case, str | os.PathLike) else conversion.grid.name)
    return conversion.grid


def read(case: Source) -> Conversion:
    """Returns the grid that `case` names or is, and what was changed to read it.

    Args:
      case: the name of a case that ships (`case14`), of a network of pandapower
        (`pandapower:case39`), the path of a file of one of `SUFFIXES`, a pandapower network in
        memory, or MATPOWER's struct as a dict.

    Raises:
      FileNotFoundError: neither a name that is known nor a file.
      validate.CaseError: it is not a usable case, or a package that reads it is not installed.
    """
    if pandapower_file.is_in_memory(case):
        return pandapower_file.converted(case, str(case.name or "network"), "network")
    if isinstance(case, Mapping):
        name = case.get("name", "case")
        return matpower_struct.convert(case, name if isinstance(name, str) else "case", "case")
    if not isinstance(case, str | os.PathLike):
        raise validate.CaseError(
            f"a case is a name, the path of a file, a pandapower network or MATPOWER's struct, not "
            f"of type {type(case).__name__}"
        )
    name, path = os.fspath(case), pathlib.Path(case)
    if name in names():
        return Conversion(read_json(SHIPPED / f"{name}.json"))
    if name.startswith(pandapower_file.PREFIX):
        return pandapower_file.named(name)
    if path.suffix == ".json":
        return _read_any_json(path)
    if path.suffix in _READERS:
        return _READERS[path.suffix](path)
    if path.suffix.lower() in powsybl_file.SUFFIXES or powsybl_file.is_folder(path):
        return powsybl_file.read(path)
    if name and path.exists():
        raise validate.CaseError(f"{name}: a case file ends in one of {SUFFIXES}")
    hint = choices.hint(name, names())
    raise FileNotFoundError(
        f"no case named {name!r}: {hint}shipped cases are {', '.join(names())}; a grid of your own "
        f"is given by the path of its file, which ends in one of {SUFFIXES}, and one that ships "
        f"with pandapower as {pandapower_file.PREFIX}NAME"
    )


def read_with_fleet(case: Source) -> tuple[Conversion, dict]:
    """Returns what `read` does of a pandapower network, and what a file of its fleet holds.

    What becomes wind and solar plants and batteries of the fleet is no part of the grid.

    Raises:
      FileNotFoundError: neither a name that is known nor a file.
      validate.CaseError: it is no pandapower network, or as `read`.
    """
    if pandapower_file.is_in_memory(case):
        name = str(case.name or "network")
        return pandapower_file.converted_with_fleet(case, name, "network")
    name, path = os.fspath(case), pathlib.Path(case)
    if name.startswith(pandapower_file.PREFIX):
        net = pandapower_file.named_network(name)
        short = name.removeprefix(pandapower_file.PREFIX)
        return pandapower_file.converted_with_fleet(net, short, name)
    if path.suffix == ".json":
        return pandapower_file.converted_with_fleet(pandapower_file.network(path), path.stem, name)
    raise validate.CaseError(
        f"{name}: no pandapower network, of which alone plants and batteries are read; give its "
        f".json, or a network of pandapower as {pandapower_file.PREFIX}NAME"
    )


def _read_any_json(path: pathlib.Path) -> Conversion:
    """Returns the grid of a .json: Grid2Op's, pandapower's, or the compact form."""
    try:
        data = json_file.contents(path)
    except json.JSONDecodeError as error:
        raise validate.CaseError(f"{path}: no JSON, or cut off: {error}") from error
    except (OSError, ValueError):  # for the reader of the compact form to say
        data = None
    if not pandapower_file.is_network(data):
        return Conversion(read_json(path))
    if grid2op.is_environment(path):
        return grid2op.read(path)
    return pandapower_file.read(path)


def read_json(path: pathlib.Path) -> grid_lib.Grid:
    """Returns the grid in the compact form that `write_json` writes.

    Raises:
      FileNotFoundError: there is no such file.
      validate.CaseError: the file is not a usable case.
    """
    reader = columns.Reader(path, "Gridracer case file", validate.CaseError)
    known = (*_SINGLE, "bus", "branch", "gen")
    reader.known(None, reader.data, known)

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
        rated=reader.text("rated", grid_lib.APPARENT_POWER),
    )
    return validate.check(grid, str(path))


def write_json(grid: grid_lib.Grid, path: pathlib.Path) -> None:
    """Writes `grid` in the compact form that `read_json` reads."""
    data = dataclasses.asdict(grid)
    if grid.rated == grid_lib.APPARENT_POWER:
        del data["rated"]  # as in files written before there was another
    columns.write({name: data.pop(name) for name in _SINGLE if name in data} | data, path)


def _column(reader: columns.Reader, table: str, name: str, values: list) -> np.ndarray:
    """Returns a column as an array; JSON's null stands for "no limit"."""
    null = validate.NO_LIMIT.get(name)
    return reader.numbers(table, name, values, whole=name in _WHOLE, null=null)
