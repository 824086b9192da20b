"""Which scenarios' days are drawn how often, and how that changes while a controller learns."""

import math
from collections.abc import Iterable
from typing import NamedTuple

from envs.inputs import choices

ALL = "all"
LEVELS = ("easy", "hard")
RECORDED, SYNTHETIC = "recorded", "synthetic"  # days as they come, with nothing of a scenario


class Part(NamedTuple):
    """A scenario of a mixture: its weight goes from `start` to `end` in the course of training."""

    scenario: str
    level: str  # none of days as they come
    start: float
    end: float

    def __str__(self) -> str:
        return f"{self.scenario}-{self.level}" if self.level else self.scenario


def parse(text: str, known: Iterable[str], field: str) -> tuple[Part, ...]:
    """Returns the parts that a text such as `SCENARIO:LEVEL=WEIGHT,…` names.

    Args:
      text: the level is hard and the weight 1 where they are left out; a weight `0..2` goes from
        0 to 2; the scenario `all` stands for each that is known. `recorded` and `synthetic` have no
        level.
      known: names of scenarios, and of days as they come.
      field: that the text is of, for messages.

    Raises:
      ValueError: it is of another form, or names what does not exist, or one twice.
    """
    known = list(known)
    parts: list[Part] = []
    for each in text.split(","):
        name, _, weight = each.partition("=")
        scenario, _, level = name.partition(":")
        choices.require(field, scenario, (*known, ALL))
        start, end = _weights(each, weight or "1", field)
        if scenario in (RECORDED, SYNTHETIC):
            if level:
                raise ValueError(
                    f"{field}={each}: {scenario} days have no level; leave {level} out"
                )
            parts.append(Part(scenario, "", start, end))
            continue
        choices.require(f"{field}={scenario}", level or "hard", LEVELS)
        names = [name for name in known if name not in (RECORDED, SYNTHETIC)]
        names = names if scenario == ALL else (scenario,)
        parts += [Part(name, level or "hard", start, end) for name in names]
    if len({str(part) for part in parts}) < len(parts) or not parts:
        raise ValueError(f"{field}={text}: name one or more, each once")
    if not sum(part.start for part in parts) or not sum(part.end for part in parts):
        raise ValueError(f"{field}={text}: all weights are 0 at the start or the end")
    return tuple(parts)


def _weights(text: str, weight: str, field: str) -> tuple[float, float]:
    values = start_and_end(weight)
    if not all(0 <= value < math.inf for value in values) or not any(values):
        raise ValueError(
            f"{field}={text}: the weight must be a number above 0, or two as in 0..2, from the "
            "start of training to its end"
        )
    return values


def start_and_end(text: str) -> tuple[float, float]:
    """Returns the numbers of a text `0..2`, from the start of training to its end.

    One number stands for both; what is no number is NaN.
    """
    start, dots, end = text.partition("..")
    try:
        return float(start), float(end if dots else start)
    except ValueError:
        return math.nan, math.nan
