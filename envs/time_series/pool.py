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
from envs.time_series import chronics_files, mixture, profiles
from envs.time_series.options import SYNTHETIC, TimeSeriesOptions
from envs.time_series.series import TimeSeries

FORMAT = 1
_ABOUT, _DAYS = "pool.json", "days.npz"
_SAME = ("step_minutes", "horizon_steps", "schedule")  # options that make a pool another one
_RECORDED = ("chronics", "load_scale")  # of a pool that was made of recorded days
_WORDS = {"digest": "grid and fleet with digest", "chronics": "chronics with digest"}


def identity(grid: Grid, fleet: Fleet, options: TimeSeriesOptions) -> dict:
    """Returns what has to be the same where a pool is used as where it was made.

    Raises:
      FileNotFoundError: there are no chronics in the folder that `options` name.
    """
    same = {
        "grid": grid.name,
        "digest": digest.hexdigest({"grid": grid, "fleet": fleet}),
        **{name: getattr(options, name) for name in _SAME},
    }
    if options.time_series == SYNTHETIC:
        return same
    folder = pathlib.Path(options.time_series)
    reader = profiles if profiles.is_folder(folder) else chronics_files
    chronics = reader.digest(folder)
    return same | dict(zip(_RECORDED, (chronics, options.load_scale)))


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


def read(
    grid: Grid, fleet: Fleet, options: TimeSeriesOptions
) -> tuple[TimeSeries, np.ndarray | None]:
    """Returns the days of the pool that `options` name, and how often each is drawn.

    Returns:
      Days `[n_series, …]`, numpy arrays; weights `[2, n_series]` of drawing each at the start and
      at the end of training, or none where all are drawn alike.

    Raises:
      ValueError: there is none, it is of another grid, fleet or kind of day, damaged, or without
        days of one of `options.scenarios`; the message begins with the option and says how.
    """
    path, name = pathlib.Path(options.pool), f"env.pool={options.pool}"
    remedy = "prepare one by `python -m launch.prepare`"
    if not (path / _ABOUT).is_file():
        raise ValueError(f"{name}: no pool of days there ({_ABOUT} is missing); {remedy}")
    about = json_file.read(path / _ABOUT, dict)
    try:
        same = dict.fromkeys(_RECORDED) | {"format": FORMAT, **identity(grid, fleet, options)}
    except FileNotFoundError as error:
        raise ValueError(f"env.time_series={error}") from error
    for field, value in same.items():
        if about.get(field) != value:
            there, here = ("none" if each is None else each for each in (about.get(field), value))
            what = _WORDS.get(field, field)
            raise ValueError(f"{name}: is of {what} {there}, not {here}; {remedy}")
    try:
        with np.load(path / _DAYS, allow_pickle=False) as file:
            arrays = {field: file[field] for field in file.files}
    except (OSError, zipfile.BadZipFile, EOFError, KeyError, ValueError) as error:
        raise ValueError(f"{name}: {_DAYS} cannot be read ({error}); {remedy}") from error
    if digest.hexdigest(arrays) != about.get("days"):
        raise ValueError(f"{name}: {_DAYS} is not what {_ABOUT} tells of; {remedy}")
    weights = _weights(about["scenarios"], options) if options.scenarios else None
    return TimeSeries(**arrays), weights


def _weights(counts: Mapping[str, int], options: TimeSeriesOptions) -> np.ndarray:
    """Returns the weight of each day; those of one split and scenario share the scenario's."""
    known = list(dict.fromkeys(name.split("-")[0] for name in counts))
    parts = {str(p): p for p in mixture.parse(options.scenarios, known, "env.scenarios")}
    there = {name.rpartition("-")[0] for name in counts}
    if missing := sorted(parts.keys() - there):
        raise ValueError(
            f"env.scenarios={options.scenarios}: env.pool={options.pool} has no days of "
            f"{missing[0].replace('-', ':')}; it has {', '.join(sorted(there))}"
        )
    columns = []
    for name, count in counts.items():
        part = parts.get(name.rpartition("-")[0])
        weight = (part.start, part.end) if part else (0.0, 0.0)
        columns += [tuple(each / count for each in weight)] * count
    return np.asarray(columns, np.float32).T
