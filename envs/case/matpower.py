"""Reads MATPOWER case files, format version 2 (MATPOWER manual, appendix B).

A case file is a MATLAB program. Only what states data is understood: a number for `mpc.baseMVA`
and one literal matrix for each table. A file that computes its tables, as some distribution
cases do to convert ohms, is refused, for reading it without the computation would be wrong.
"""

import pathlib
import re

import numpy as np

from envs.case import grid as grid_lib, matpower_tables, validate

_TABLES = tuple(matpower_tables.COLUMNS)


def read(path: str | pathlib.Path) -> grid_lib.Grid:
    """Returns the grid in the MATPOWER file at `path`, keeping what is in service.

    Where the reference bus has no generator in service, the bus of the largest unit takes its
    place, and a warning says so.

    Raises:
      FileNotFoundError: there is no such file.
      validate.CaseError: the file is not a usable MATPOWER case.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such case file")
    base_mva, tables = _tables(path)
    return matpower_tables.grid(str(path), path.stem, base_mva, tables)


def generator_comments(path: str | pathlib.Path) -> list[str]:
    """Returns the comment after each row of `mpc.gen` in service; PGLib names the fuel there."""
    text = _text(pathlib.Path(path))
    table = re.search(r"^\s*mpc\.gen\s*=\s*\[(.*?)\];", text, re.DOTALL | re.MULTILINE)
    comments = []
    for line in table.group(1).splitlines() if table else []:
        data, _, comment = line.partition("%")
        columns = data.replace(";", " ").split()
        if len(columns) > 7 and float(columns[7]) > 0:
            comments.append(comment.strip())
    return comments


def _text(path: pathlib.Path) -> str:
    """Returns the file's text. Names and comments may be in any encoding; numbers are ASCII."""
    text = path.read_bytes().decode("utf-8", errors="replace")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _statements(path: pathlib.Path) -> str:
    """Returns the file without comments and continuations, a row of a matrix per line, in ASCII."""
    text = re.sub(r"^\s*%\{\s*$.*?^\s*%\}\s*$", "", _text(path), flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"%[^\n]*", "", text)
    text = re.sub(r"\.\.\.[^\n]*\n", " ", text)
    return text.replace(",", " ").replace(";", ";\n").encode("ascii", "replace").decode()


def _tables(path: pathlib.Path) -> tuple[float, dict[str, dict[str, np.ndarray]]]:
    """Returns base MVA, and `{table: {column: array}}` of the tables that a grid needs."""
    from matpowercaseframes import reader  # pandas takes 0.2 s; only files by path need it

    text = _statements(path)
    needed = ("version", "baseMVA", *_TABLES)
    for name in needed:
        count = len(re.findall(rf"\bmpc\.{name}\s*=(?!=)", text))
        if count == 0:
            raise validate.CaseError(
                f"{path}: no {_title(name)}: not a MATPOWER case file of format version 2"
            )
        if count > 1 or re.search(rf"\bmpc\.{name}\s*[({{]", text):
            raise validate.CaseError(
                f"{path}: {_title(name)} is assigned more than once or computed; only literal "
                "data are read: write the case from MATPOWER with `savecase`"
            )
    version, base_mva = (_scalar(path, name, reader.parse_file(name, text)) for name in needed[:2])
    if version != "2":
        raise validate.CaseError(f"{path}: mpc.version is {version!r}, only '2' is read")
    try:
        base_mva = float(base_mva)
    except ValueError:
        raise validate.CaseError(f"{path}: mpc.baseMVA is {base_mva!r}, not a number") from None
    if any(len(row) > 2 and row[2] != 0 for row in reader.parse_file("dcline", text) or []):
        raise validate.CaseError(
            f"{path}: table dcline has lines in service, and DC lines are not modelled; replace "
            "each by a load at one end and a generator at the other"
        )
    return base_mva, {
        name: matpower_tables.table(str(path), name, reader.parse_file(name, text))
        for name in _TABLES
    }


def _title(name: str) -> str:
    """Returns what a message calls `mpc.name`."""
    return f"table mpc.{name}" if name in _TABLES else f"mpc.{name}"


def _scalar(path: pathlib.Path, name: str, rows: list | None) -> str:
    """Returns the text of a single value."""
    if not rows or len(rows[0]) != 1:
        raise validate.CaseError(f"{path}: mpc.{name} is not a single value")
    return str(rows[0][0])
