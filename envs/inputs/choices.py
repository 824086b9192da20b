"""Refusing a name that does not exist, with the nearest one that does."""

import difflib
from collections.abc import Iterable


def hint(value: str, known: Iterable[str]) -> str:
    """Returns "did you mean …? " when a known name is near, and nothing otherwise."""
    near = difflib.get_close_matches(value, list(known), 1)
    return f"did you mean {near[0]}? " if near else ""


def require(field: str, value: str, known: Iterable[str]) -> None:
    """Raises ValueError if `value` of `field` is not a known name."""
    known = list(known)
    if value not in known:
        raise ValueError(f"{field}={value!r}: {hint(value, known)}it must be one of "
                         f"{', '.join(known)}")  # fmt: skip
