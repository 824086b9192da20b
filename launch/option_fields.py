"""Fields of nested options by dotted path: what text says of them, and options with some set."""

import collections
import dataclasses
import functools
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from absl import flags

from envs.inputs import bounds, choices, command_line


class IntegersParser(flags.ArgumentParser):
    """Reads integers separated by commas."""

    syntactic_help = "integers separated by commas"

    def parse(self, argument):
        """Returns a tuple of integers."""
        if isinstance(argument, tuple):
            return argument
        try:
            return tuple(_PARSERS[int].parse(part) for part in argument.split(","))
        except ValueError as error:
            raise ValueError(f"expected integers separated by commas, got {argument!r}") from error

    def flag_type(self):
        """Returns what --help calls it."""
        return "comma separated list of integers"


_PARSERS = {
    int: command_line.NumberParser(int),
    float: command_line.NumberParser(float),
    bool: flags.BooleanParser(),
    str: flags.ArgumentParser(),
}


def parser(kind: Any) -> flags.ArgumentParser:
    """Returns what reads the text of a field of type `kind`; the field checks the range."""
    return _PARSERS.get(kind, IntegersParser())


def fields(cls: type, prefix: str = "") -> Iterator[tuple[str, Any, str, Any]]:
    """Yields (path, type, help, default) of every field that is not itself a group of options.

    The help ends with the range of a number.
    """
    hints = typing.get_type_hints(cls, include_extras=True)
    for field in dataclasses.fields(cls):
        hint, path = hints[field.name], prefix + field.name
        if dataclasses.is_dataclass(hint):
            yield from fields(hint, f"{path}.")
        else:
            kind, *notes = typing.get_args(hint)
            notes.sort(key=lambda note: not isinstance(note, str))  # help before range
            yield path, kind, "; ".join(map(str, notes)), field.default


def assigned(flag: str, texts: Sequence[str], cls: type) -> dict[str, Any]:
    """Returns by path the values that texts of the form NAME=VALUE give to fields of `cls`.

    Where two are of one field, the last counts. `flag` is what gave them, for messages.

    Raises:
      ValueError: there is no such field, or no such value of it.
    """
    kinds = {path: kind for path, kind, *_ in fields(cls)}
    values = {}
    for text in texts:
        name, value = named(flag, text, kinds)
        values[name] = parsed(flag, text, kinds[name], value)
    return values


def named(flag: str, text: str, kinds: Mapping[str, Any]) -> tuple[str, str]:
    """Returns the field that a text of the form NAME=VALUE names, one of `kinds`, and the value.

    Raises:
      ValueError: there is no such field, or no value.
    """
    name, equals, value = text.partition("=")
    near = [path for path in kinds if path.endswith(f".{name}")]
    if near:
        raise ValueError(f"{flag}={text}: no such field; did you mean {' or '.join(near)}?")
    choices.require(flag, name, kinds)
    if not equals:
        raise ValueError(f"{flag}={name}: has no value; give {flag}={name}=VALUE")
    return name, value


def parsed(flag: str, text: str, kind: Any, value: str) -> Any:
    """Returns the value of a field of type `kind` that stands in `text`, what `flag` was given.

    Raises:
      ValueError: it is none.
    """
    try:
        return parser(kind).parse(value)
    except ValueError as error:
        rule = bounds.rule(kind) if kind in _PARSERS else IntegersParser.syntactic_help
        raise ValueError(f"{flag}={text}: {value!r} is not {rule}") from error


def changed(former: Any, options: Any) -> dict[str, Any]:
    """Returns by path the values of `options` that are others in `former`."""
    take = lambda group, path: functools.reduce(getattr, path.split("."), group)
    values = {path: take(options, path) for path, *_ in fields(type(options))}
    return {path: value for path, value in values.items() if value != take(former, path)}


def as_text(value: Any) -> str:
    """Returns a value of a field as its flag takes it."""
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def replaced(options: Any, values: Mapping[str, Any]) -> Any:
    """Returns `options` with `values`, by path.

    Raises:
      ValueError: a field does not accept its value.
    """
    own, groups = {}, collections.defaultdict(dict)
    for path, value in values.items():
        name, dot, rest = path.partition(".")
        if dot:
            groups[name][rest] = value
        else:
            own[name] = value
    inner = {name: replaced(getattr(options, name), changes) for name, changes in groups.items()}
    return dataclasses.replace(options, **own, **inner)
