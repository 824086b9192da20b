"""Every field of an experiment as an absl flag: `--config=case14 --config.learner.epochs=2`."""

from __future__ import annotations

import dataclasses
import re
import typing
from typing import Any

from absl import flags

from configs import shelf
from configs.experiment import Experiment

_CONFIG = flags.DEFINE_string(
    "config", "case14", f"Experiment to start from; the shelf has {', '.join(shelf.names())}."
)


class _IntegersParser(flags.ArgumentParser):
    """Reads integers separated by commas."""

    syntactic_help = "integers separated by commas"

    def parse(self, argument):
        if isinstance(argument, tuple):
            return argument
        try:
            return tuple(int(part) for part in argument.split(","))
        except ValueError as error:
            raise ValueError(f"expected integers separated by commas, got {argument!r}") from error

    def flag_type(self):
        return "comma separated list of integers"


def _fields(cls, prefix: str = ""):
    """Yields (path, type, help, default) of every field that is not itself a group of options."""
    hints = typing.get_type_hints(cls, include_extras=True)
    for field in dataclasses.fields(cls):
        hint, path = hints[field.name], prefix + field.name
        if dataclasses.is_dataclass(hint):
            yield from _fields(hint, f"{path}.")
        else:
            kind, text = typing.get_args(hint)[:2]
            yield path, kind, text, field.default


def _define() -> None:
    define = {
        int: flags.DEFINE_integer,
        float: flags.DEFINE_float,
        bool: flags.DEFINE_boolean,
        str: flags.DEFINE_string,
    }
    for path, kind, text, default in _fields(Experiment):
        if default is not dataclasses.MISSING:
            shown = ",".join(map(str, default)) if isinstance(default, tuple) else default
            text = f"{text} (usually {shown})"
        if kind in define:
            define[kind](f"config.{path}", None, text)
        else:
            flags.DEFINE(_IntegersParser(), f"config.{path}", None, text)


_define()


def experiment() -> Experiment:
    """Returns the experiment that the parsed flags describe.

    Raises:
      ValueError: no such experiment, or a value that a field does not accept; the message names
        the flag.
    """
    return _override(shelf.load(_CONFIG.value))


def continued(former: Experiment) -> Experiment:
    """Returns the experiment of a run to continue, with a new budget if flags give one.

    Raises:
      ValueError: a flag would change what the run has been so far.
    """
    given = [f"config.{path}" for path, *_ in _fields(Experiment)]
    given = [name for name in ["config", *given] if flags.FLAGS[name].present]
    fixed = [name for name in given if not name.startswith("config.run.")]
    if fixed:
        raise ValueError(
            f"--{fixed[0]} cannot be given with --resume: the run goes on as it was configured, "
            "and only --config.run.* may change; start a new run in another --workdir"
        )
    return _override(former)


def _override(chosen: Experiment) -> Experiment:
    changes: dict[str, Any] = {}
    for path, *_ in _fields(Experiment):
        value = flags.FLAGS[f"config.{path}"].value
        if value is not None:
            *groups, name = path.split(".")
            inner = changes
            for group in groups:
                inner = inner.setdefault(group, {})
            inner[name] = value
    try:
        return _replaced(chosen, changes)
    except ValueError as error:
        raise ValueError(name_flags(str(error))) from error


def _replaced(options: Any, changes: dict[str, Any]) -> Any:
    """Returns `options` with `changes`, where the change of a group of options is a dict itself."""
    fields = {
        name: _replaced(getattr(options, name), value) if isinstance(value, dict) else value
        for name, value in changes.items()
    }
    return dataclasses.replace(options, **fields)


def name_flags(message: str) -> str:
    """Returns `message` with fields spelt as the flags that set them."""
    paths = "|".join(re.escape(path) for path, *_ in _fields(Experiment) if "." in path)
    return re.sub(rf"(?<![\w.-])({paths})(?==|\b)", r"--config.\1", message)
