"""What a PSS/E RAW file says that pypowsybl does not pass on, and whether it is whole.

PSS/E's file formats, Siemens PTI (Power Flow Raw Data File): the header's third number is the
revision; a line Q ends the file; from revision 33 on buses have limits of voltage.
"""

import csv
import itertools
import pathlib
import re
from collections.abc import Mapping

import numpy as np

from envs.case import validate
from envs.case.conversion import Notes

_WITH_END, _WITH_LIMITS = 30, 33  # revisions
_HEADER = 3  # lines
_NVHI, _NVLO = 9, 10  # columns of a bus
_BUS, _ENDS, _VMAX, _VMIN = 0, [0, 1], 11, 12  # columns of MATPOWER's tables
_NAMED = re.compile(r"VL(\d+)_0")  # pypowsybl's bus of the bus with that number


def check_end(path: pathlib.Path) -> None:
    """Raises CaseError where the file is cut off."""
    lines = _lines(path)
    if _revision(lines) >= _WITH_END and not any(line.strip() == "Q" for line in lines):
        raise validate.CaseError(
            f"{path}: has no line Q, which ends a RAW file: it is cut off, after {len(lines)} "
            "lines; copy it whole, or add that line if nothing is missing"
        )


def restore(path: pathlib.Path, struct: dict, notes: Notes) -> None:
    """Gives the buses in `struct` their numbers and limits of voltage in the file, in place."""
    names = [str(name) for name in np.atleast_1d(struct["bus_name"])]
    numbers = [int(found[1]) if (found := _NAMED.fullmatch(name)) else 0 for name in names]
    known = [number for number in numbers if number]
    if len(set(known)) < len(known):
        notes.add("bus", names, "{n} have other numbers than in the file")
        return
    others = [name for name, number in zip(names, numbers) if not number]
    following = itertools.count(max(known, default=0) + 1)
    numbers = [number or next(following) for number in numbers]
    notes.add("bus", others, "{n} that have no number in the file follow its numbers")
    bus = np.atleast_2d(struct["bus"])
    new = dict(zip(bus[:, _BUS], numbers))
    limits = _voltage_limits(path)
    for row, number in zip(bus, numbers):
        row[[_VMAX, _VMIN]] = limits.get(number, row[[_VMAX, _VMIN]])
    for table, columns in (("bus", [_BUS]), ("branch", _ENDS), ("gen", [_BUS]), ("dcline", _ENDS)):
        rows = np.atleast_2d(struct.get(table, ()))
        if rows.size:
            rows[:, columns] = np.vectorize(new.get)(rows[:, columns])
            struct[table] = rows


def _lines(path: pathlib.Path) -> list[str]:
    return path.read_text(encoding="utf-8", errors="replace").splitlines()


def _revision(lines: list[str]) -> int:
    """Returns the revision that the header names, 0 where it names none."""
    fields = lines[0].split("/")[0].split(",") if lines else []
    return int(fields[2]) if len(fields) > 2 and fields[2].strip().isdigit() else 0


def _voltage_limits(path: pathlib.Path) -> Mapping[int, tuple[float, float]]:
    """Returns the highest and the lowest normal voltage, pu, of each bus that has them."""
    lines, limits = _lines(path), {}
    if _revision(lines) < _WITH_LIMITS:
        return limits
    records = (line for line in lines[_HEADER:] if not line.startswith("@!"))  # comments
    for row in csv.reader(records, quotechar="'", skipinitialspace=True):
        if not row or row[0].split("/")[0].strip() in ("0", "Q"):
            break
        try:
            limits[int(row[0])] = float(row[_NVHI]), float(row[_NVLO])
        except (IndexError, ValueError):  # a record may end before them
            continue
    return limits
