"""Grids by name, from the cases that ship with Gridracer, or by path, from a MATPOWER file."""

from __future__ import annotations

import dataclasses
import difflib
import json
import pathlib

import numpy as np

from envs import grid as grid_lib
from envs import matpower, validate

_SHIPPED = pathlib.Path(__file__).parent / "cases"


def names() -> list[str]:
    """Returns the names of the cases that ship with Gridracer."""
    return sorted((path.stem for path in _SHIPPED.glob("*.json")), key=lambda n: (len(n), n))


def load(name_or_path: str) -> grid_lib.Grid:
    """Returns a shipped case by name (`case14`), or any `.m` or `.json` case by path.

    Raises:
      FileNotFoundError: neither a shipped case nor a file.
      validate.CaseError: the file is not a usable case.
    """
    shipped = _SHIPPED / f"{name_or_path}.json"
    if name_or_path in names():
        return read_json(shipped)
    if name_or_path.endswith(".json"):
        return read_json(pathlib.Path(name_or_path))
    if name_or_path.endswith(".m"):
        return matpower.read(name_or_path)
    if pathlib.Path(name_or_path).exists():
        raise validate.CaseError(
            f"{name_or_path}: a case file ends in .m (MATPOWER, format version 2) or .json "
            "(made by `python -m envs.convert`)"
        )
    near = difflib.get_close_matches(name_or_path, names(), 1)
    hint = f"did you mean {near[0]}? " if near else ""
    raise FileNotFoundError(
        f"no case named {name_or_path!r}: {hint}shipped cases are {', '.join(names())}; "
        "any MATPOWER case can be given by the path of its .m file"
    )


def read_json(path: pathlib.Path) -> grid_lib.Grid:
    """Returns the grid in the compact form that `write_json` writes."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such case file")
    try:
        data = json.loads(path.read_text())

        def table(cls, name):
            columns = {k: _column(k, v) for k, v in data[name].items()}
            return cls(**columns)

        grid = grid_lib.Grid(
            name=data["name"],
            base_mva=float(data["base_mva"]),
            bus=table(grid_lib.Buses, "bus"),
            branch=table(grid_lib.Branches, "branch"),
            gen=table(grid_lib.Generators, "gen"),
            source=data["source"],
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise validate.CaseError(f"{path}: not a Gridracer case file: {error}") from error
    return validate.check(grid, str(path))


def write_json(grid: grid_lib.Grid, path: pathlib.Path) -> None:
    """Writes `grid` as one JSON object, a column per line so that a change shows in a diff."""

    def table(rows) -> str:
        columns = []
        for field in dataclasses.fields(rows):
            values = [v if np.isfinite(v) else None for v in getattr(rows, field.name).tolist()]
            columns.append(f'    "{field.name}": {json.dumps(values)}')
        return "{\n" + ",\n".join(columns) + "\n  }"

    parts = [
        f'  "name": {json.dumps(grid.name)}',
        f'  "source": {json.dumps(grid.source)}',
        f'  "base_mva": {json.dumps(grid.base_mva)}',
        f'  "bus": {table(grid.bus)}',
        f'  "branch": {table(grid.branch)}',
        f'  "gen": {table(grid.gen)}',
    ]
    path.write_text("{\n" + ",\n".join(parts) + "\n}\n")


def _column(name: str, values: list) -> np.ndarray:
    """Returns a column as an array; JSON's null stands for "no limit"."""
    no_limit = -np.inf if "_min_" in name else np.inf
    column = np.array([no_limit if v is None else v for v in values])
    return column.astype(np.int32) if column.dtype.kind == "i" else column.astype(float)
