"""A folder of days that were prepared once, such as those of scenarios, to be drawn from later.

`pool.json` says what made them, `days.npz` has every leaf of their time series, plan included.
"""

import json
import pathlib
import zipfile
from collections.abc import Mapping

import numpy as np

from envs.case import digest
from envs.case.fleet import Fleet
from envs.case.grid import Grid
from envs.inputs import json_file
from envs.time_series.options import TimeSeriesOptions
from envs.time_series.series import TimeSeries

FORMAT = 1
_ABOUT, _DAYS = "pool.json", "days.npz"
_SAME = ("step_minutes", "horizon_steps", "schedule")  # options that make a pool another one


def identity(grid: Grid, fleet: Fleet, options: TimeSeriesOptions) -> dict:
    """Returns what has to be the same where a pool is used as where it was made."""
    return {
        "grid": grid.name,
        "digest": digest.hexdigest({"grid": grid, "fleet": fleet}),
        **{name: getattr(options, name) for name in _SAME},
    }


def write(
    folder: pathlib.Path, series: TimeSeries, same: Mapping, scenarios: Mapping[str, int]
) -> None:
    """Writes days `[n_series, …]`; `same` is their `identity`, `scenarios` how many are of each."""
    arrays = {name: np.asarray(leaf) for name, leaf in vars(series).items()}
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / _DAYS, "wb") as file:
        np.savez_compressed(file, **arrays)
    about = {"format": FORMAT, **same, "scenarios": dict(scenarios)}
    about["days"] = digest.hexdigest(arrays)
    # The last: a folder without it is no pool yet.
    (folder / _ABOUT).write_text(json.dumps(about, indent=1) + "\n")


def read(grid: Grid, fleet: Fleet, options: TimeSeriesOptions) -> TimeSeries:
    """Returns the days `[n_series, …]` of the pool that `options` name, numpy arrays.

    Raises:
      ValueError: there is none, it is of another grid, fleet or kind of day, or damaged; the
        message begins with the option and says how.
    """
    path, name = pathlib.Path(options.pool), f"env.pool={options.pool}"
    remedy = "prepare one by `python -m launch.prepare`"
    if not (path / _ABOUT).is_file():
        raise ValueError(f"{name}: no pool of days there ({_ABOUT} is missing); {remedy}")
    about = json_file.read(path / _ABOUT, dict)
    for field, value in {"format": FORMAT, **identity(grid, fleet, options)}.items():
        if about.get(field) != value:
            what = "grid and fleet with digest" if field == "digest" else field
            raise ValueError(f"{name}: is of {what} {about.get(field)}, not {value}; {remedy}")
    try:
        with np.load(path / _DAYS, allow_pickle=False) as file:
            arrays = {field: file[field] for field in file.files}
    except (OSError, zipfile.BadZipFile, EOFError, KeyError, ValueError) as error:
        raise ValueError(f"{name}: {_DAYS} cannot be read ({error}); {remedy}") from error
    if digest.hexdigest(arrays) != about.get("days"):
        raise ValueError(f"{name}: {_DAYS} is not what {_ABOUT} tells of; {remedy}")
    return TimeSeries(**arrays)
