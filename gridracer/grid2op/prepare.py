"""Makes case, fleet, chronics and an experiment of a Grid2Op environment, in one folder.

Chronics are copied. Where their dates leave a split without a day (all three of
`l2rpn_case14_sandbox` are of one date), scenarios are given other dates: the second of three is for
validation and test, the others are for training; no value changes.
"""

import dataclasses
import datetime
import importlib.util
import json
import pathlib
import shutil

from envs.case import case_file, grid2op as grid2op_case
from envs.inputs import choices
from envs.options import EnvOptions
from envs.step.options import REFERENCE, ProtectionOptions
from envs.time_series import chronics, chronics_files, splits
from envs.time_series.options import MINUTES_PER_DAY, RECORDED

SOURCE = "Grid2Op (RTE France), MPL-2.0"
_PERIOD = 10  # days, after which splits repeat
FOLDER = "environments"  # in which environments are put, relative to the current one
EXPERIMENT = "experiment.yaml"  # in the folder of one
_LARGE = 60  # buses from which on what is trained begins as on 118
# How an environment plays as Grid2Op does, beside its files.
_AS_GRID2OP = {
    "schedule": RECORDED, "balancing": REFERENCE, "voltage_swing": 0.0, "maintenance_per_day": 0.0,
    "branch_faults_per_day": 0.0, "gen_faults_per_day": 0.0, "layout": "grid2op",
    "horizon_steps": 287,  # recordings may end a step short of a day
}  # fmt: skip
_PROTECTION = {"soft_steps": 3, "recloses": False}


def find(name_or_path: str) -> pathlib.Path:
    """Returns the folder of an environment: one in Grid2Op's wheel by name, or any by path.

    Raises:
      FileNotFoundError: there is none.
    """
    folder = pathlib.Path(name_or_path)
    if (folder / "grid.json").is_file():
        return folder
    package = importlib.util.find_spec("grid2op")
    data = pathlib.Path(package.origin).parent / "data" if package else None
    known = sorted(path.parent.name for path in data.glob("*/grid.json")) if data else []
    if data and name_or_path in known:
        return data / name_or_path
    there = f"there are {', '.join(known)}" if known else "none, make install-grid2op"
    for mix in (folder, data / name_or_path) if data else (folder,):
        if parts := sorted(path.parent.name for path in mix.glob("*/grid.json")):
            raise FileNotFoundError(
                f"{name_or_path}: a mix of environments; give the folder of one, "
                f"{', '.join(parts)} in {mix}"
            )
    longer = [name for name in known if name_or_path and name.startswith(name_or_path)]
    hint = f"did you mean {longer[0]}? " if longer else choices.hint(name_or_path, known)
    raise FileNotFoundError(
        f"{name_or_path}: no folder with a grid.json, and no environment in Grid2Op's wheel "
        f"({hint}{there})"
    )


def options(folder: pathlib.Path | str, chronics_folder: str = "chronics") -> EnvOptions:
    """Returns the options of an environment that plays as Grid2Op does, of a prepared folder.

    Units follow what was recorded and hold constant voltages; the unit at the reference bus takes
    up the rest; nothing is drawn at random. Branches trip in the third step in a row above their
    limit, as by Grid2Op's default parameters, and stay out until the controller closes them.
    """
    files = _files(pathlib.Path(folder), chronics_folder)
    return EnvOptions(**files, **_AS_GRID2OP, protection=ProtectionOptions(**_PROTECTION))


def prepare(environment: pathlib.Path, out: pathlib.Path) -> None:
    """Writes case, fleet, chronics and an experiment of an environment into `out`.

    Its own files are copied there too: the folder is one of Grid2Op's as well.

    Raises:
      OSError: a file is not there, or cannot be written.
      ValueError: the grid or the chronics cannot be used, `out` is the environment's folder, or
        has an experiment that somebody changed.
    """
    if out.resolve() == environment.resolve():
        raise ValueError(f"--out={out}: is the environment's own folder; give another")
    name = environment.resolve().name
    path = environment / "grid.json"
    grid = dataclasses.replace(
        grid2op_case.read(path).grid, name=name, source=f"grid.json, {SOURCE}"
    )
    experiment, text = out / EXPERIMENT, _experiment(name, grid.n_bus, out)
    if experiment.exists() and experiment.read_text() != text:
        raise ValueError(f"{experiment}: was changed since it was made; move it away, or --out=…")
    out.mkdir(parents=True, exist_ok=True)
    case_file.write_json(grid, out / "case.json")
    (out / "fleet.json").write_text(grid2op_case.fleet(path, grid, f"prods_charac.csv, {SOURCE}"))
    # What makes the folder an environment of Grid2Op as well, for agents that come from there.
    for part in sorted(environment.iterdir()):
        if part.suffix in (".json", ".csv", ".py"):
            shutil.copy(part, out)
    scenarios = chronics_files.folders(environment / "chronics")
    days = [day for folder in scenarios for day in _days(folder)]
    dealt = {splits.split_indices(day).item() for day in days} == set(range(len(splits.SPLITS)))
    for number, folder in enumerate(scenarios):
        copy = out / "chronics" / folder.name
        shutil.copytree(folder, copy, dirs_exist_ok=True)
        if not dealt:
            start = _moved(folder, number)
            (copy / "start_datetime.info").write_text(f"{start:%Y-%m-%d %H:%M}\n")
    experiment.write_text(text)


def _files(folder: pathlib.Path, chronics_folder: str = "chronics") -> dict[str, str]:
    """Returns the options of an environment that name the files of a prepared folder."""
    names = ("case", "case.json"), ("fleet", "fleet.json"), ("time_series", chronics_folder)
    return {option: str(folder / name) for option, name in names}


def _experiment(name: str, n_bus: int, folder: pathlib.Path) -> str:
    """Returns the experiment that trains in a prepared folder, as YAML."""
    env = {**_files(folder), **_AS_GRID2OP, "protection": _PROTECTION}
    lines = [
        f"# {name} of Grid2Op, played as there; why, and what scores: docs/howto/grid2op.md",
        f"name: {json.dumps(name)}",
        f"base: {'case14' if n_bus < _LARGE else 'case118'}",
        "env:",
        *(f"  {option}: {json.dumps(value)}" for option, value in env.items()),
        "learner: {loading_margin: 0.85}",
        "run: {steps: 200000}",
    ]
    return "\n".join(lines) + "\n"


def first_midnight(folder: pathlib.Path) -> tuple[datetime.datetime, int]:
    """Returns the first midnight of a scenario, and the row that it is; a day begins there."""
    start, minutes = chronics_files.clock(folder)
    midnight = datetime.datetime.combine(start.date(), datetime.time())
    if midnight < start:
        midnight += datetime.timedelta(days=1)
    return midnight, round((midnight - start).total_seconds() / 60) // minutes


def _days(folder: pathlib.Path) -> list[int]:
    """Returns the days of the year that a scenario has whole, or one step short."""
    midnight, first = first_midnight(folder)
    _, minutes = chronics_files.clock(folder)
    rows = len(chronics_files.required(folder, "load_p").values)
    count = (rows - first + 1) * minutes // MINUTES_PER_DAY
    dates = (midnight.date() + datetime.timedelta(days=day) for day in range(count))
    return [chronics.day_of(date) for date in dates]


def _moved(folder: pathlib.Path, number: int) -> datetime.datetime:
    """Returns when a scenario begins whose first day is dealt by its number.

    Of three scenarios the second begins on a validation day, which a test day follows, and the
    others with days of training.
    """
    start, _ = chronics_files.clock(folder)
    midnight, _ = first_midnight(folder)
    first = splits.days("validation" if number % 3 == 1 else "train")[0] % _PERIOD
    for later in range(splits.DAYS_PER_YEAR):
        days = datetime.timedelta(days=later)
        if chronics.day_of((midnight + days).date()) % _PERIOD == first:
            return start + days
    raise AssertionError("every split has days in each year")
