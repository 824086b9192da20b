"""Converts a MATPOWER case into the compact form that ships in `envs/cases`.

python -m envs.convert pglib_opf_case14_ieee.m --name=case14 --out=envs/cases/case14.json
"""

import dataclasses
import pathlib

from absl import app, flags

from envs import case_file, matpower

_NAME = flags.DEFINE_string("name", None, "Name of the case; by default the file's.")
_OUT = flags.DEFINE_string("out", None, "File to write; by default NAME.json here.")
_SOURCE = flags.DEFINE_string(
    "source",
    "PGLib-OPF v23.07, IEEE PES Power Grid Library, licensed CC-BY-4.0, "
    "https://github.com/power-grid-lib/pglib-opf",
    "Attribution that travels with the data.",
)


def main(argv: list[str]) -> None:
    """Converts the file named on the command line."""
    if len(argv) != 2:
        raise app.UsageError("give exactly one MATPOWER .m file")
    try:
        grid = matpower.read(argv[1])
    except (FileNotFoundError, ValueError) as error:
        raise SystemExit(f"convert: {error}") from error
    name = _NAME.value or grid.name
    source = f"{pathlib.Path(argv[1]).name}, {_SOURCE.value}"
    out = pathlib.Path(_OUT.value or f"{name}.json")
    case_file.write_json(dataclasses.replace(grid, name=name, source=source), out)
    print(f"{out}: {grid.n_bus} buses, {grid.n_branch} branches, {grid.n_gen} generators")


if __name__ == "__main__":
    app.run(main)
