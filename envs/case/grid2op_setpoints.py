"""Voltages that generators of a Grid2Op environment hold, as its chronics record them.

What chronics say in prod_v takes the place of the set-points of grid.json. In all that ship with
Grid2Op it is the same in every row and every scenario.
"""

import bz2
import pathlib

from envs.case import validate


def read(environment: pathlib.Path) -> dict[str, float]:
    """Returns kV by the name of the generator, of the first row of the first scenario; may be none.

    Raises:
      validate.CaseError: the file is no table of numbers separated by semicolons.
    """
    files = sorted((environment / "chronics").glob("*/prod_v.csv*"))
    if not files:
        return {}
    path = files[0]
    try:
        with bz2.open(path, "rt") if path.suffix == ".bz2" else path.open() as file:
            names, values = (file.readline().strip().split(";") for _ in range(2))
            return dict(zip(names, map(float, values), strict=True))
    except (OSError, ValueError, EOFError) as error:
        raise validate.CaseError(
            f"{path}: no row of voltages below a row of names ({error}); fetch it again"
        ) from error
