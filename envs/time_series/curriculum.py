"""Outages and protection that a run begins with less of than it ends with.

Each is a factor of an option, which goes in a straight line from where a run begins to 1 at its
end: what comes after, evaluations too, has the option as it is.
"""

import functools
from typing import Any

from envs.inputs import bounds, choices
from envs.time_series import mixture

ENABLED = "protection.enabled"  # its factor is the share of days that are played with protection
HARD_LIMIT, SOFT_STEPS = "protection.hard_limit", "protection.soft_steps"
_SHARE, _MULTIPLE = bounds.Range(0, 1), bounds.Range(1, 1000)
_STARTS = {
    "maintenance_per_day": _SHARE, "branch_faults_per_day": _SHARE, "gen_faults_per_day": _SHARE,
    ENABLED: _SHARE, HARD_LIMIT: _MULTIPLE, SOFT_STEPS: _MULTIPLE,
}  # fmt: skip


@functools.cache
def starts(text: str) -> dict[str, float]:
    """Returns the factor that each option begins with, of a text `OPTION=START..1,…`.

    Raises:
      ValueError: it is of another form, names an option that has no curriculum, or one twice.
    """
    factors: dict[str, float] = {}
    for each in text.split(",") if text else ():
        name, _, factor = each.partition("=")
        choices.require("env.curriculum", name, _STARTS)
        start, end = mixture.start_and_end(factor)
        if name in factors or end != 1.0 or ".." not in factor or not _STARTS[name].contains(start):
            raise ValueError(
                f"env.curriculum={each}: give each option once, with a factor {_STARTS[name]} that "
                "it begins with and the 1 that it ends with, as in =0..1"
            )
        factors[name] = start
    return factors


def check(options: Any) -> None:
    """Raises ValueError where `options.curriculum` has no form, or is of what never happens."""
    for name in starts(options.curriculum):
        group = options.protection if "." in name else options
        field = ENABLED if "." in name else name
        if not getattr(group, field.rpartition(".")[2]):
            raise ValueError(
                f"env.curriculum={options.curriculum}: env.{field} is "
                f"{bounds.as_text(getattr(group, field.rpartition('.')[2]))}, so that {name} has "
                f"nothing to begin with; set env.{field}, or leave it out"
            )


def factor(options: Any, name: str, progress: Any) -> Any:
    """Returns what the option `name` is multiplied by when `progress`, 0 to 1, is behind."""
    start = starts(options.curriculum).get(name)
    return 1.0 if start is None else 1.0 - (1.0 - start) * (1.0 - progress)
