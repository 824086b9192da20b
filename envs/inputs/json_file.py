"""Reads JSON that a person, or an earlier run, has written, whatever has become of it since."""

import json
import pathlib
import stat
from typing import Any

from envs.inputs import bounds

_LARGEST = 64 * 2**20  # bytes; the largest case that ships has a quarter of one MiB


class JsonError(ValueError):
    """The file holds no JSON, or not what it should; the message names it and says why."""


def read(path: pathlib.Path, hint: Any) -> Any:
    """Returns what the JSON file at `path` holds, a `hint` as `bounds.accept` understands it.

    Raises:
      OSError: there is no such file, or it cannot be read.
      JsonError: it is too large, no JSON, or something else than `hint`.
    """
    try:
        data = contents(path)
        bounds.accept("", data, hint)
    except ValueError as error:
        raise JsonError(f"{path}: cannot be read: {error}") from error
    return data


def contents(path: pathlib.Path) -> Any:
    """Returns what the JSON file at `path` holds, whatever it is.

    Raises:
      OSError: there is no such file, or it cannot be read.
      ValueError: as `parse`, or the file is too large, or a device; the message does not name it.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError("no regular file")
    if path.stat().st_size > _LARGEST:
        raise ValueError(f"larger than {_LARGEST >> 20} MiB")
    return parse(path.read_bytes())


def parse(text: str | bytes) -> Any:
    """Returns what JSON says.

    Raises:
      ValueError: it is none; or brackets are nested too deeply, a number is too long, or an object
        has an entry twice.
    """
    try:
        return json.loads(text, parse_int=_whole, object_pairs_hook=_without_repeats)
    except RecursionError:
        raise ValueError("brackets are nested too deeply") from None


def _whole(text: str) -> int:
    if len(text) > bounds.LONGEST:  # Python needs a time that grows with the square.
        raise ValueError(f"a number of {len(text)} digits")
    return int(text)


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries: dict[str, Any] = {}
    for name, value in pairs:
        if name in entries:
            raise ValueError(f"{bounds.as_text(name)} is given twice")
        entries[name] = value
    return entries
