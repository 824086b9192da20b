"""A short digest of arrays and numbers, to tell whether they are still the same."""

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping

import numpy as np

_DIGITS = 12


def hexdigest(value: object) -> str:
    """Returns 12 hexadecimal digits of the arrays in a nest of dataclasses and mappings.

    Text by itself, as a name or a source, does not count; text in arrays does.
    """
    sha = hashlib.sha256()
    for path, array in _leaves(value, ""):
        text = array.dtype.kind in "OSU"
        content = repr(array.tolist()).encode() if text else array.tobytes()
        kind = "text" if text else array.dtype.str
        sha.update(f"{path} {kind} {array.shape} {len(content)} ".encode() + content)
    return sha.hexdigest()[:_DIGITS]


def _leaves(value: object, path: str) -> Iterator[tuple[str, np.ndarray]]:
    if dataclasses.is_dataclass(value):
        # What later versions added to a record does not count where it is none.
        fields = {field.name: field.default for field in dataclasses.fields(value)}
        value = {name: getattr(value, name) for name in fields}
        value = {
            name: each
            for name, each in value.items()
            if each is not None or fields[name] is not None
        }
    elif isinstance(value, (list, tuple)):
        value = dict(enumerate(value))
    if isinstance(value, Mapping):
        for name in sorted(value):
            yield from _leaves(value[name], f"{path}/{name}")
    elif not isinstance(value, str):
        yield path, np.asarray(value)
