"""Finds experiments by name, and writes and reads them as JSON."""

import dataclasses
import difflib
import importlib
import json
import pkgutil
import typing
from typing import Any

import configs
from configs.experiment import Experiment
from envs import options as env_options
from envs.inputs import bounds, earlier_fields

_NOT_EXPERIMENTS = ("experiment", "registry")

# What fields of earlier versions are called now, by path.
_RENAMED = {"team.horizon": "team.effective_horizon"}
# What were options in earlier versions and are constants of a module now; `envs.options` has more.
_CONSTANTS = {
    "learner.value_cost": 0.5,
    "learner.max_gradient_norm": 0.5,
    "learner.max_bad_updates": 10,
}


def names() -> list[str]:
    """Returns the names of the experiments."""
    modules = (module.name for module in pkgutil.iter_modules(configs.__path__))
    return sorted(name for name in modules if name not in _NOT_EXPERIMENTS)


def load(name: str) -> Experiment:
    """Returns the experiment called `name`.

    Raises:
      ValueError: there is none.
    """
    if name not in names():
        near = difflib.get_close_matches(name, names(), 1, cutoff=0.4)
        hint = f"did you mean --config={near[0]}? " if near else ""
        raise ValueError(
            f"--config={name}: no such experiment; {hint}there are {', '.join(names())}"
        )
    return importlib.import_module(f"configs.{name}").experiment()


def to_json(experiment: Experiment) -> str:
    """Returns every field as JSON."""
    return json.dumps(dataclasses.asdict(experiment), indent=2) + "\n"


def build(values: Any) -> Experiment:
    """Returns the experiment of what JSON said.

    Fields that earlier versions had are read where what they said can still be had.

    Raises:
      ValueError: it is none; the message names the field, its value and what it accepts.
    """
    return _build(Experiment, earlier_fields.updated(values, "", _CONSTANTS, _RENAMED), "")


def _build(cls, values, path: str):
    if not isinstance(values, dict):
        where = path.rstrip(".") or "it"
        raise ValueError(f"{where}={bounds.as_text(values)}: must be an object")
    if cls is env_options.EnvOptions:
        values = env_options.of_any_version(values)
    hints = typing.get_type_hints(cls)
    unknown = sorted(set(values) - set(hints))
    if unknown:
        raise ValueError(f"{path}{unknown[0][:60]}: no such field of {cls.__name__}")
    # A field that came later than the file has its default.
    needed = {f.name for f in dataclasses.fields(cls) if f.default is dataclasses.MISSING}
    missing = sorted(needed - set(values))
    if missing:
        raise ValueError(f"{path}{missing[0]}: missing")
    built = {}
    for name, value in values.items():
        kind = hints[name]
        if dataclasses.is_dataclass(kind):
            value = _build(kind, value, f"{path}{name}.")
        elif isinstance(value, list):
            value = tuple(value)  # JSON has no tuples.
        built[name] = value
    return cls(**built)
