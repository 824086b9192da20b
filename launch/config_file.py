"""Experiments from files: what differs from a shipped one, in YAML or JSON.

    base: case118            # case14 without it
    env: {reward: layered}
    learner:
      learning_rate: 3e-4
    run.steps: 100000        # dotted paths as well

The configuration that a run folder keeps, `config.json`, is such a file too: one that has every
group of options stands by itself, and what it does not say has the default of the field.
"""

import dataclasses
import os
import pathlib
import re
import stat
import typing
from collections.abc import Iterable, Mapping
from typing import Any

from configs import registry
from configs.experiment import Experiment
from envs.inputs import bounds, choices, json_file
from launch import option_fields, yaml_text

SUFFIXES = (".yaml", ".yml", ".json")
BASE = "case14"  # what a file changes that names no base

_LARGEST = 2**18  # bytes; every field of an experiment takes a sixtieth of that
_GROUPS = {field.name for field in dataclasses.fields(Experiment)} - {"name"}
_KINDS = {path: kind for path, kind, *_ in option_fields.fields(Experiment)}
_FIELD, _LINE = re.compile(r"[a-z_]+(?:\.[a-z_]+)*"), re.compile(r"line \d+: ")


class ConfigFileError(ValueError):
    """A file that describes no experiment; the message names it, the line and the field."""


def is_path(text: str) -> bool:
    """Returns whether `text` is the path of a file, and not the name of an experiment."""
    return text.endswith(SUFFIXES) or os.sep in text


def load(text: str | os.PathLike) -> Experiment:
    """Returns the experiment of a name or of a file.

    Without a `name` in it, an experiment is called after its file.

    Raises:
      ValueError: there is no experiment of that name.
      ConfigFileError: the file cannot be read, or describes none.
    """
    text = os.fspath(text)
    return _Source(text).experiment() if is_path(text) else registry.load(text)


def base(text: str) -> str:
    """Returns the name of the shipped experiment that a name or a file starts from.

    Raises:
      ConfigFileError: the file cannot be read, or names none.
    """
    return _Source(text).base() if is_path(text) else text


def changed(experiment: Experiment, fields: Mapping[str, Any]) -> Experiment:
    """Returns `experiment` with `fields`, nested or by dotted path, as a file has them.

    Raises:
      ValueError: there is no such field, or it does not accept its value; the message names it.
    """
    values: dict[str, Any] = {}
    for path, value in _leaves(fields):
        if path in values:
            raise ValueError(f"{path}: is given twice")
        values[path] = value
    return option_fields.replaced(experiment, values)


class _Source:
    """A file that describes an experiment."""

    def __init__(self, text: str):
        """Reads it; raises ConfigFileError."""
        self._name, self._lines = text, {}
        try:
            content = _contents(pathlib.Path(text))
            if text.endswith(".json"):
                self._fields = json_file.parse(content)
            else:
                self._fields, self._lines = yaml_text.parse(content)
            if not isinstance(self._fields, dict):
                raise ValueError(
                    f"holds {bounds.as_text(self._fields)} and no fields; write some as NAME: VALUE"
                )
        except OSError as error:
            raise self._error(f"cannot be read ({error.strerror}); give another file") from error
        except ValueError as error:
            raise self._error(str(error)) from error

    def experiment(self) -> Experiment:
        """Returns what it describes."""
        fields = dict(self._fields)
        start = registry.load(self.base())
        fields.pop("base", None)
        try:
            if fields.keys() >= _GROUPS and "base" not in self._fields:
                return registry.build({"name": _stem(self._name), **fields})
            return changed(start, {"name": _stem(self._name), **fields})
        except ValueError as error:
            raise self._error(str(error)) from error

    def base(self) -> str:
        """Returns the name of the experiment that it starts from."""
        name = self._fields.get("base", BASE)
        try:
            bounds.accept("base", name, str)
            choices.require("base", name, registry.names())
        except ValueError as error:
            raise self._error(str(error)) from error
        return name

    def _error(self, message: str) -> ConfigFileError:
        """Returns the error, with the line of the field that the message begins with."""
        if _LINE.match(message):
            return ConfigFileError(f"{self._name}, {message}")
        named = _FIELD.match(message)
        line = self._lines.get(named[0]) if named else None
        where = f"{self._name}, line {line}" if line else self._name
        return ConfigFileError(f"{where}: {message}")


def _contents(path: pathlib.Path) -> bytes:
    if path.is_dir():
        raise ValueError(f"is a folder; give a file in it, such as {path / 'config.json'} of a run")
    if not path.name.endswith(SUFFIXES):
        raise ValueError(f"its name must end in {', '.join(SUFFIXES)}, which say how to read it")
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError("no regular file")
    if path.stat().st_size > _LARGEST:
        raise ValueError(
            f"larger than {_LARGEST >> 10} KiB, which no experiment is; give the file of one"
        )
    return path.read_bytes()


def _stem(text: str) -> str:
    return pathlib.Path(text).stem


def _leaves(fields: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    """Yields (path, value) of the fields of an experiment, checked for their types."""
    for name, value in fields.items():
        path = f"{prefix}{name}"
        if path in _KINDS:
            yield path, _accepted(path, value)
        elif any(each.startswith(f"{path}.") for each in _KINDS):
            if not isinstance(value, Mapping):
                raise ValueError(
                    f"{path}={bounds.as_text(value)}: is a group of fields; give "
                    f"{path}: {{FIELD: VALUE}}"
                )
            yield from _leaves(value, f"{path}.")
        else:
            raise ValueError(_unknown(path))


def _accepted(path: str, value: Any) -> Any:
    """Returns a value as its field has it; whether it is in range the field checks."""
    kind = _KINDS[path]
    kind = typing.get_origin(kind) or kind
    if kind is tuple and isinstance(value, list):
        value = tuple(value)
    if not bounds.fits(value, kind):
        raise ValueError(f"{path}={bounds.as_text(value)}: must be {bounds.rule(kind)}")
    return float(value) if kind is float and abs(value) < 1e300 else value


def _unknown(path: str) -> str:
    last = path.rpartition(".")[2]
    near = [known for known in _KINDS if known.rpartition(".")[2] == last]
    hint = f"did you mean {' or '.join(near)}? " if near else choices.hint(path, _KINDS)
    group = next((p for p in _parents(path) if any(k.startswith(f"{p}.") for k in _KINDS)), "")
    known = sorted({k.removeprefix(f"{group}.").split(".")[0] for k in _KINDS
                    if k.startswith(f"{group}.")})  # fmt: skip
    known = known or sorted({*_GROUPS, "name", "base"})
    return f"{path[:100]}: no such field; {hint}there are {', '.join(known)}"


def _parents(path: str) -> Iterable[str]:
    while "." in path:
        path = path.rpartition(".")[0]
        yield path
