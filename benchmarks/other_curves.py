"""Reads learning curves that other programs wrote, such as the scripts of `examples`."""

import math
import pathlib
from typing import Any

from envs.inputs import bounds, json_file

_TEXTS, _NUMBERS = ("experiment", "name"), ("step", "seconds", "return", "do_nothing")

Curve = dict[str, Any]  # lists by `_NUMBERS`, and `trial`, or none where it is one run


def read(path: str) -> dict[str, dict[str, list[Curve]]]:
    """Returns the curves of a file of JSON lines, by experiment and by name.

    Each line is a time at which validation days were played: `experiment`, `name` of what learns,
    `step`, `seconds`, `return` and `do_nothing`; and `trial`, where several runs of one name
    differ in more than their seed.

    Raises:
      ValueError: there is no such file, or a line is none; the message names both and says why.
    """
    experiments: dict[str, dict[str, dict[str, Curve]]] = {}
    try:
        lines = pathlib.Path(path).read_text().splitlines()
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read: {error}") from error
    if not lines:
        raise ValueError(f"{path}: has no evaluations to draw yet")
    for number, line in enumerate(lines, 1):
        try:
            row = _checked(json_file.parse(line))
        except ValueError as error:
            raise ValueError(f"{path}: line {number}: {error}") from error
        trials = experiments.setdefault(row["experiment"], {}).setdefault(row["name"], {})
        trial = row.get("trial")
        curve = trials.setdefault(trial, {"trial": trial, **{name: [] for name in _NUMBERS}})
        if curve["step"] and row["step"] < curve["step"][-1]:
            raise ValueError(
                f"{path}: line {number}: step={row['step']} comes after {curve['step'][-1]}: the "
                "file holds two runs; give each a file of its own"
            )
        for name in _NUMBERS:
            curve[name].append(float(row[name]))
    return {
        experiment: {name: list(trials.values()) for name, trials in names.items()}
        for experiment, names in experiments.items()
    }


def _checked(row: Any) -> dict[str, Any]:
    """Returns a line that says all there is to draw.

    Raises:
      ValueError: it does not.
    """
    if not isinstance(row, dict):
        raise ValueError(f"{row!r}: must be an object")
    for name in (*_TEXTS, *_NUMBERS):
        value, kind = row.get(name), str if name in _TEXTS else float
        if not bounds.fits(value, kind) or (kind is float and not math.isfinite(value)):
            what = "a text" if kind is str else "a number"
            raise ValueError(f"{name}={value!r}: must be {what}")
    if not bounds.fits(row.get("trial", ""), str):
        raise ValueError(f"trial={row['trial']!r}: must be a text")
    return row
