"""What a sweep varies: fields of an experiment, each over listed values or over a range."""

import dataclasses
import itertools
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from configs.experiment import Experiment
from launch import option_fields

_RANGE = re.compile(r"(?P<low>[^:]+?)\.\.(?P<high>[^:]+)(?::(?P<scale>.*))?")
_MOST = 1000  # combinations that are looked at for one that can be trained


@dataclasses.dataclass(frozen=True)
class Dimension:
    """A field and what it is varied over: `values`, or all numbers from `low` to `high`."""

    field: str  # by dotted path
    kind: Any  # of the field's values
    given: str  # as a person typed it
    values: tuple[Any, ...] = ()
    low: float = math.nan
    high: float = math.nan
    log: bool = False  # the range is searched evenly in the logarithm

    @property
    def flag(self) -> str:
        """What a person gave for it."""
        return f"--vary={self.given}"

    @property
    def ends(self) -> tuple[Any, ...]:
        """Every value, or the two ends of the range."""
        return self.values or (self.low, self.high)


Space = tuple[Dimension, ...]


def parse(texts: Sequence[str]) -> Space:
    """Returns the space that texts of the form FIELD=VALUES span.

    VALUES are separated by commas, or by | where one of them has commas, as lists always may. A
    number may have a range LOW..HIGH instead, or LOW..HIGH:log.

    Raises:
      ValueError: there is no such field or value, a field is there twice, or nothing varies.
    """
    if not texts:
        raise ValueError(
            "nothing varies; give --vary=FIELD=VALUES, such as --vary=learner.epochs=1,2,4"
        )
    kinds = {path: kind for path, kind, *_ in option_fields.fields(Experiment)}
    space: dict[str, Dimension] = {}
    for text in texts:
        field, values = option_fields.named("--vary", text, kinds)
        if field == "seed":
            raise ValueError(
                f"--vary={text}: every trial is trained with the same seeds; --seeds=0,1,2 names "
                "them"
            )
        if field in space:
            raise ValueError(
                f"--vary={text}: {field} varies already, {space[field].flag}; give all of its "
                "values at once"
            )
        space[field] = _dimension(field, kinds[field], text, values)
    return tuple(space.values())


def _dimension(field: str, kind: Any, text: str, values: str) -> Dimension:
    as_range = _RANGE.fullmatch(values) if kind in (int, float) else None
    if as_range:
        return _range(field, kind, text, as_range)
    # A list of integers has commas itself, so that only | tells one from the next.
    listed = kind not in (int, float, bool, str)
    parts = values.split("|" if listed or "|" in values else ",")
    parsed = [option_fields.parsed("--vary", text, kind, part) for part in parts]
    if len(set(parsed)) < len(parsed):
        raise ValueError(f"--vary={text}: names a value twice")
    if len(parsed) < 2:
        more = ", separated by |" if listed else ", separated by commas"
        raise ValueError(
            f"--vary={text}: has one value, and so does not vary; give several{more}, or hold it "
            f"there with --config.{field}={values}"
        )
    return Dimension(field, kind, text, tuple(parsed))


def _range(field: str, kind: Any, text: str, match: re.Match) -> Dimension:
    low, high = (option_fields.parsed("--vary", text, kind, match[end]) for end in ("low", "high"))
    if match["scale"] not in (None, "log"):
        raise ValueError(f"--vary={text}: after a range may stand :log and nothing else")
    log = match["scale"] == "log"
    if not low < high:
        raise ValueError(f"--vary={text}: is empty; a range goes from less to more, LOW..HIGH")
    if log and low <= 0:
        raise ValueError(f"--vary={text}: a logarithmic range begins above 0")
    return Dimension(field, kind, text, low=low, high=high, log=log)


def size(space: Space) -> int | None:
    """Returns how many combinations there are, none where a range makes them countless."""
    if not all(dimension.values for dimension in space):
        return None
    return math.prod(len(dimension.values) for dimension in space)


def combinations(space: Iterable[Dimension]) -> Iterable[dict[str, Any]]:
    """Yields every combination of values, of ranges the ends; the last field changes fastest."""
    space = tuple(space)
    for values in itertools.product(*(dimension.ends for dimension in space)):
        yield {dimension.field: value for dimension, value in zip(space, values)}


def check(space: Space, refusal: Callable[[Mapping[str, Any]], str]) -> None:
    """Checks that every value can be trained in some combination with the others.

    Args:
      space: what varies; of a range the ends are looked at.
      refusal: returns why a combination, by field, cannot be trained; nothing where it can.

    Raises:
      ValueError: no combination with some value can be trained; the message says why.
    """
    held = refusal({})
    for dimension in space:
        others = [other for other in space if other is not dimension]
        for value in dimension.ends:
            why = ""
            for rest in itertools.islice(combinations(others), _MOST):
                said = refusal({dimension.field: value, **rest})
                if not said:
                    break
                why = why or said
            else:
                if why == held:  # It is not this value's fault.
                    raise ValueError(held)
                shown = option_fields.as_text(value)
                raise ValueError(f"{dimension.flag}: cannot be trained with {shown}: {why}")
