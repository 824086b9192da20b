"""Every field of an experiment as an absl flag: `--config=case14 --config.learner.epochs=2`."""

import dataclasses
import functools
import re
from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags

from configs import registry
from configs.experiment import Experiment
from launch import config_file, option_fields

_CONFIG = flags.DEFINE_string(
    "config", config_file.BASE,
    f"Experiment to start from, or a file of one (.yaml or .json) that says what differs; there "
    f"are {', '.join(registry.names())}.",
)  # fmt: skip
_PATHS = [path for path, *_ in option_fields.fields(Experiment)]


def _define() -> None:
    shipped = _loaded()
    for path, kind, text, default in option_fields.fields(Experiment):
        if default is not dataclasses.MISSING:
            text = f"{text} ({_values(path, default, shipped)})"
        if kind is bool:
            flags.DEFINE_boolean(f"config.{path}", None, text)
        else:
            flags.DEFINE(option_fields.parser(kind), f"config.{path}", None, text)


def _loaded() -> dict[str, Experiment]:
    """Returns the experiments by name, without those whose file has a mistake."""
    experiments = {}
    for name in registry.names():
        try:
            experiments[name] = registry.load(name)
        except Exception:  # `registry.load` tells of it again, where the experiment is chosen.
            continue
    return experiments


def _values(path: str, default: Any, experiments: Mapping[str, Experiment]) -> str:
    """Returns the default of a field as text, and what experiments have instead of it."""
    others: dict[str, list[str]] = {}
    for name, experiment in experiments.items():
        value = functools.reduce(getattr, path.split("."), experiment)
        if value != default:
            others.setdefault(option_fields.as_text(value), []).append(name)
    parts = [f"{' and '.join(names)}: {value}" for value, names in others.items()]
    return "; ".join([f"default {option_fields.as_text(default)}", *parts])


_define()


def experiment() -> Experiment:
    """Returns the experiment that the parsed flags describe.

    Raises:
      ValueError: no such experiment, or a value that a field does not accept; the message names
        the flag, or the file and the field.
    """
    try:
        chosen = config_file.load(_CONFIG.value)
    except config_file.ConfigFileError as error:
        raise ValueError(f"--config={error}") from error
    return overridden(chosen)


def base() -> str:
    """Returns the name of the shipped experiment that --config, a name or a file, starts from."""
    return config_file.base(_CONFIG.value)


def continued(former: Experiment) -> Experiment:
    """Returns the experiment of a run to continue, with a new budget if flags give one.

    Raises:
      ValueError: a flag would change what the run has been so far.
    """
    fixed = [name for name in typed() if not name.startswith("config.run.")]
    fixed = ["start"] * flags.FLAGS["start"].present + fixed
    if fixed:
        raise ValueError(
            f"--{fixed[0]} cannot be given with --resume: the run goes on as it was configured, "
            "and only --config.run.* may change; start a new run in another --workdir"
        )
    return overridden(former)


def seeds(texts: Sequence[str]) -> list[int]:
    """Returns the seeds that --seeds was given.

    Raises:
      ValueError: there is none, one is no whole number, or one is there twice.
    """
    given = f"--seeds={','.join(texts)}"
    try:
        numbers = [int(text) for text in texts]
    except ValueError:
        raise ValueError(f"{given}: must be whole numbers") from None
    if len(set(numbers)) < len(numbers) or not numbers:
        raise ValueError(f"{given}: name one or more, each once")
    return numbers


def typed() -> list[str]:
    """Returns the names of the flags of an experiment that were given, such as config.seed."""
    names = ["config", *(f"config.{path}" for path in _PATHS)]
    return [name for name in names if flags.FLAGS[name].present]


def overridden(chosen: Experiment) -> Experiment:
    """Returns an experiment with the fields that flags give.

    Raises:
      ValueError: a field does not accept its value; the message names the flag.
    """
    values = {path: flags.FLAGS[f"config.{path}"].value for path in _PATHS}
    values = {path: value for path, value in values.items() if value is not None}
    try:
        return option_fields.replaced(chosen, values)
    except ValueError as error:
        raise ValueError(name_flags(str(error))) from error


def name_flags(message: str) -> str:
    """Returns `message` with fields spelt as the flags that set them, but for a file's fields."""
    if config_file.is_path(_CONFIG.value) and message.startswith(f"--config={_CONFIG.value}"):
        return message
    # A name of one word could be any word, but not where a refusal begins with it.
    message = re.sub(r"^(name|seed)(?==)", r"--config.\1", message)
    paths = "|".join(re.escape(path) for path in _PATHS if "." in path)
    return re.sub(rf"(?<![\w.-])({paths})(?==|\b)", r"--config.\1", message)
