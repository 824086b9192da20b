"""What commands have in common: numbers with bounds, and one line about a mistake."""

import functools
import re
import sys
from collections.abc import Callable
from typing import Any

from absl import app, flags

from envs.inputs import bounds, exit_codes, json_file

_LONGEST_NAME = 100  # characters of a flag's name; absl compares an unknown one with every flag
_HINT = "; --help lists the flags"
_LONGEST_WORD, _LONGEST_LINE = 300, 2000  # characters of a message

flags.disclaim_key_flags()  # What is defined through this module is its caller's.


class FileRefused(app.UsageError):
    """A file cannot be read or written, of which the list of flags says nothing."""


class NumberParser(flags.ArgumentParser):
    """Reads a number, of a length that is soon read, and within limits if there are any."""

    def __init__(self, kind: type, limits: bounds.Range | None = None):
        self._kind, self._limits = kind, limits
        self._parser = flags.IntegerParser() if kind is int else flags.FloatParser()
        self.syntactic_help = bounds.rule(kind, limits)

    def parse(self, argument):
        """Returns the number."""
        try:
            if isinstance(argument, str) and len(argument) > bounds.LONGEST:
                raise ValueError(f"{len(argument)} characters")
            value = self._parser.convert(argument)
        except (ValueError, TypeError) as error:
            raise ValueError(f"must be {self.syntactic_help}") from error
        if not bounds.fits(value, self._kind, self._limits):
            raise ValueError(f"must be {self.syntactic_help}")
        return value

    def flag_type(self):
        """Returns what --helpfull calls it."""
        return self._parser.flag_type()


def define_number(
    name: str, default: Any, text: str, limits: bounds.Range, kind: type = int
) -> flags.FlagHolder:
    """Defines a flag that takes a number of `kind` within `limits`; its help says which."""
    return flags.DEFINE(NumberParser(kind, limits), name, default, text)


def run(main: Callable[[list[str]], int | None]) -> None:
    """Runs a command and exits with what `main` returns; a mistake is told in one line."""
    app.run(functools.partial(_guarded, main), flags_parser=_parse)


def refuse(why: Exception | str, hint: str = "") -> int:
    """Tells why nothing is begun, in one line however long the reason, and returns the exit code.

    A word that is too long to read, such as a number of a thousand digits, is cut.
    """
    cut = lambda word: f"{word[0][:60]}… ({len(word[0])} characters)"
    text = re.sub(rf"\S{{{_LONGEST_WORD},}}", cut, " ".join(str(why).split()))
    sys.stderr.write(f"error: {text[:_LONGEST_LINE]}{hint}\n")
    return exit_codes.USAGE


def _parse(argv: list[str]) -> list[str]:
    """Parses flags for `app.run`; returns what is none."""
    for argument in argv[1:]:
        name = argument.partition("=")[0]
        if name.startswith("-") and len(name) > _LONGEST_NAME:
            sys.exit(refuse(f"{name}: no such flag", _HINT))
    try:
        return flags.FLAGS(argv)
    except flags.Error as error:
        sys.exit(refuse(str(error).removeprefix("flag "), _HINT))
    except SystemExit:  # absl has written the help, and would end as if that were a failure.
        sys.exit(0)


def _guarded(main: Callable[[list[str]], int | None], argv: list[str]) -> int | None:
    try:
        return main(argv)
    except app.UsageError as error:
        return refuse(error, "" if isinstance(error, FileRefused) else _HINT)
    except json_file.JsonError as error:  # A file that another process of the command writes.
        sys.stderr.write(f"error: {error}\n")
        return exit_codes.FAILED
