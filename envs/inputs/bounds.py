"""What a value may be: a type and a range, declared beside a field and checked in one way.

A field of options is declared `Annotated[float, "its help", Range(0, 1e9)]`, and is checked when
`Options` are made. Flags, JSON files and Python code are refused with the same message: the field,
the value, what is accepted.
"""

import dataclasses
import functools
import numbers
import reprlib
import types
import typing
from typing import Any

LONGEST = 400  # characters of a number; no float has more digits before its point
_MOST_ITEMS = 64  # of a tuple
_LONGEST_TEXT = 4096  # characters; no path is longer
_KINDS = {int: numbers.Integral, float: numbers.Real, bool: bool, str: str}
_WORDS = {
    int: "a whole number", float: "a number", bool: "true or false", dict: "an object",
    str: f"text of at most {_LONGEST_TEXT} printable characters", list: "a list",
    tuple: f"a list of 1 to {_MOST_ITEMS}",
}  # fmt: skip
_JSON = {None: "null", True: "true", False: "false"}


@dataclasses.dataclass(frozen=True)
class Range:
    """Finite numbers from `low` to `high`, both included unless `above` or `below` excludes it."""

    low: float
    high: float
    above: bool = False
    below: bool = False

    def contains(self, value: float) -> bool:
        """Returns whether `value` is within; not a number is not."""
        low = self.low < value if self.above else self.low <= value
        return low and (value < self.high if self.below else value <= self.high)

    def __str__(self) -> str:
        low, high = _short(self.low), _short(self.high)
        if not (self.above or self.below):
            return f"from {low} to {high}"
        low = f"above {low}" if self.above else f"at least {low}"
        return f"{low}, below {high}" if self.below else f"{low}, at most {high}"


SEEDS = Range(0, 2**31 - 1)  # what every generator takes, and seeds made by adding to one


class Options:
    """A frozen dataclass of options; every field is checked when one is made.

        @dataclasses.dataclass(frozen=True)
        class ReplayOptions(bounds.Options, prefix="replay."):
            queue_size: Annotated[int, "unrolls the queue holds", Range(1, 65_536)] = 2

    `prefix` is what messages put before the name of a field; derived options inherit it.
    """

    _prefix = ""

    def __init_subclass__(cls, *, prefix: str | None = None):
        super().__init_subclass__()
        cls._prefix = cls._prefix if prefix is None else prefix

    def __post_init__(self):
        for name, hint in _hints(type(self)).items():
            accept(self._prefix + name, getattr(self, name), hint)
        self.check()

    def check(self) -> None:
        """Raises ValueError where fields, each within its range, do not go together."""


def accept(name: str, value: Any, hint: Any, limits: Range | None = None) -> None:
    """Checks a value.

    Args:
      name: what the message calls it; an entry of a list or of an object is called after both.
      value: whole numbers are accepted as numbers; a float without limits may be infinite or NaN.
      hint: int, float, bool, str, a dataclass, a TypedDict, or a tuple, list, dict or optional of
        these; it may be `Annotated` with a `Range`.
      limits: what numbers have to be within.

    Raises:
      ValueError: it is not of that type, or outside its range.
    """
    if typing.get_origin(hint) is typing.Annotated:
        hint, *notes = typing.get_args(hint)
        limits = next((note for note in notes if isinstance(note, Range)), limits)
    kind, inner = typing.get_origin(hint) or hint, typing.get_args(hint)
    if kind is types.UnionType:
        if value is not None:
            accept(name, value, inner[0], limits)
    elif not fits(value, kind, limits):
        raise ValueError(f"{name or 'it'}={as_text(value)}: must be {rule(kind, limits)}")
    elif typing.is_typeddict(kind):
        missing = sorted(kind.__required_keys__ - value.keys())
        if missing:
            raise ValueError(f"{_inside(name, missing[0])}: missing")
        for key, inner_hint in _hints(kind).items():
            if key in value:
                accept(_inside(name, key), value[key], inner_hint)
    elif kind in (tuple, list):
        for index, item in enumerate(value):
            accept(f"{name}[{index}]", item, inner[0], limits)
    elif kind is dict and inner:
        for key, item in value.items():
            accept(_inside(name, as_text(key)[1:-1]), item, inner[1], limits)


def fits(value: Any, kind: type, limits: Range | None = None) -> bool:
    """Returns whether a value is of `kind`, and within `limits` if it is a number."""
    if typing.is_typeddict(kind):
        return isinstance(value, dict)
    if not isinstance(value, _KINDS.get(kind, kind)) or isinstance(value, bool) != (kind is bool):
        return False
    if kind is str:
        return len(value) <= _LONGEST_TEXT and (value.isprintable() or not value)
    if kind is tuple:
        return 1 <= len(value) <= _MOST_ITEMS
    return limits is None or kind not in (int, float) or limits.contains(value)


def rule(kind: type, limits: Range | None = None) -> str:
    """Returns what `kind` within `limits` is, in words."""
    words = _WORDS.get(kind, "an object")
    return f"{words} {limits}" if limits and kind in (int, float) else words


def as_text(value: Any) -> str:
    """Returns a value as messages show it, in a few dozen characters however large it is."""
    if isinstance(value, bool) or value is None:
        return _JSON[value]
    if isinstance(value, numbers.Integral) and abs(value) >= 10**20:
        return f"{float(value):.3g}" if abs(value) < 10**300 else "a number of over 300 digits"
    return _REPR.repr(value)


def _inside(name: str, key: str) -> str:
    return f"{name}.{key}" if name else key


def _short(limit: float) -> str:
    text = f"{limit:g}".replace("e+0", "e").replace("e+", "e")
    return text if float(text) == limit else str(limit)


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls, include_extras=True)


_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = 60
