"""How names, numbers and reasons are written, on the console and in pages."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from agents import ablations
from agents.baselines import shield
from envs.step.termination import Reason
from evaluation import summary as summary_lib
from evaluation.scenarios import suite

_ROUNDING = 1e-7  # what is smaller is that of single precision or of a solver
_TITLES = {
    "acopf": "AC-OPF", "acopf_forecast": "AC-OPF fcst.", "dcopf": "DC-OPF", "mpc": "MPC",
}  # fmt: skip
_LONG, _LONGER = 1e5, 1e8  # from here on intervals are shortened, and means too
_SCALES = (  # unit, its letter, digits, and the least that is written so, in units
    (1e9, "G", 2, 1), (1e6, "M", 1, 100), (1e6, "M", 2, 10), (1e3, "k", 0, 1000), (1e3, "k", 1, 0),
)  # fmt: skip
VERDICTS = {
    "better": "better", "worse": "worse", "same": "same", "few": "too few days",
    "unequal": "hours differ",
}  # fmt: skip
ENDINGS = {
    Reason.DIVERGED.name: "the power flow had no solution (voltage collapse)",
    Reason.LOAD_LOST.name: "too much load was lost in one step",
    Reason.CASCADE.name: "branches went on tripping",
    Reason.FREQUENCY.name: "frequency left the range that units ride through",
    Reason.ISLANDING.name: "the grid fell apart",
}
# What an overview shows of the metrics.
MAIN = (
    "survival", "total_cost", summary_lib.GAP, "energy_not_served", "overload", "feasible",
    "secure", summary_lib.SCORE,
)  # fmt: skip


def title(controller: str) -> str:
    """Returns what a reader calls a controller."""
    shielded = controller.endswith(shield.SUFFIX)
    base, ablation = ablations.split(controller.removesuffix(shield.SUFFIX))
    titled = _TITLES.get(base, base.replace("_", " "))
    if ablation:  # Short, as columns are; of several seeds it has to say whose.
        without = ablations.title(ablation)
        titled = without if base == "learned" else f"{titled} {without}"
    return f"{titled}, shield" if shielded else titled


def scenario(name: str, level: str = "") -> str:
    """Returns the title of a scenario, or of all of them, at a level if one is given."""
    known = suite.SCENARIOS.get(name)
    titled = "All scenarios" if name == summary_lib.ALL else known.title if known else name
    return f"{titled}, {level}" if level else titled


def sentence(name: str, level: str) -> str:
    """Returns what happens in a scenario, or nothing where its name is unknown."""
    known = suite.SCENARIOS.get(name)
    return getattr(known, level, "") if known else ""


def number(value: float, size: float | None = None, sign: str = "") -> str:
    """Returns a number with the digits that numbers of `size` (usually its own) are worth.

    Args:
      value: any number; what is not finite becomes a dash.
      size: the largest of the numbers that it stands beside.
      sign: "+" to write the sign of positive numbers too.
    """
    if not math.isfinite(value):
        return "–"
    size = abs(value) if size is None else size
    if value == 0 or size < _ROUNDING:
        return "0"
    if size < 1e-3:
        return f"{value:{sign}.1e}".replace("-", "−").replace("e−0", "e−")
    digits = 0 if size >= 1000 or value == round(value) else 1 if size >= 100 else 2
    if size < 1:
        digits = min(2 - math.floor(math.log10(size)), 4)  # three that count, in not too many
    text = f"{value:{sign},.{digits}f}".replace("-", "−")
    return text if any(digit in text for digit in "123456789") else "0"


def interval(entry: Mapping[str, float], sign: str = "", which: str = "") -> tuple[str, str]:
    """Returns a mean, and its interval as "low to high", empty where it has no width.

    Args:
      entry: `mean`, `low` and `high`, or with `which` "iqm": `iqm`, `iqm_low` and `iqm_high`.
      sign: "+" to write the sign of positive numbers too.
      which: whose interval: of the mean (empty), or "iqm".
    """
    middle, low, high = (entry[name] for name in _ends(which))
    size = max(abs(middle), abs(low), abs(high))
    ends = [number(end, size, sign) for end in (low, high)]
    return number(middle, size, sign), "" if ends[0] == ends[1] else " to ".join(ends)


def brief(entry: Mapping[str, float], sign: str = "", which: str = "") -> tuple[str, str]:
    """Returns what `interval` does, with the ends of a wide one in thousands or millions."""
    middle, low, high = (entry[name] for name in _ends(which))
    mean, ends = interval(entry, sign, which)
    size = max(abs(middle), abs(low), abs(high))
    if size < _LONG:
        return mean, ends
    unit, suffix, digits, _ = next(scale for scale in _SCALES if size >= scale[0] * scale[3])
    short = lambda end: f"{end / unit:{sign},.{digits}f}{suffix}".replace("-", "−")
    mean = short(middle) if size >= _LONGER else mean
    return mean, f"{short(low)} to {short(high)}" if ends else ""


def _ends(which: str) -> tuple[str, str, str]:
    return (which, f"{which}_low", f"{which}_high") if which else ("mean", "low", "high")


def compact(value: float) -> str:
    """Returns a number in six characters at most, thousands and millions as 1.2k and 3.4M."""
    if not math.isfinite(value):
        return "–"
    for unit, suffix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= 0.9995 * unit:
            return _short(value / unit, 4) + suffix
    if value != 0 and abs(value) < 0.005:
        return f"{value:.0e}".replace("e-0", "e-").replace("-", "−")
    return _short(value, 5)


def _short(value: float, room: int) -> str:
    """Returns at most three digits of a number below a thousand, with its sign."""
    digits = 0 if abs(value) >= 99.95 else 1 if abs(value) >= 9.995 else 2
    text = f"{value:.{min(digits, room - 2)}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return text.replace("-", "−")


def ended(endings: Mapping[str, int], days: int) -> str:
    """Returns how many of `days` ended early and why, or nothing where none did."""
    if not endings:
        return ""
    said = {ENDINGS.get(reason, reason.lower()): count for reason, count in endings.items()}
    early = f"{sum(said.values())} of {days} days ended early"
    if len(said) == 1:
        return f"{early} because {next(iter(said))}"
    ordered = sorted(said, key=lambda reason: -said[reason])
    return f"{early}: " + ", ".join(f"{said[reason]} because {reason}" for reason in ordered)


def repeated(summary: Mapping[str, Any]) -> str:
    """Returns that recorded days were played more than once, or nothing where none was."""
    recorded, days = summary.get("recorded_days"), summary["episodes"]
    if not recorded or recorded >= days:
        return ""
    one = f"{recorded} recorded day{'s' * (recorded > 1)}"
    return f"{days} days are draws of {one}, the same again: intervals say less than they seem to"


def listed(words: Sequence[str]) -> str:
    """Returns words with commas, and "and" before the last."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def step(summary: summary_lib.Summary) -> str:
    """Returns how long a step of the environment is: "five minutes"."""
    minutes = summary["identity"]["environment"]["step_minutes"]
    return "five minutes" if minutes == 5 else f"{minutes:g} minutes"


def row(summary: summary_lib.Summary, *task: str) -> dict[str, Any]:
    """Returns the row of a summary on a scenario (or all), a level and a controller."""
    names = ("scenario", "level", "controller")
    return next(row for row in summary["rows"] if tuple(row[name] for name in names) == task)


def available_metrics(summary: summary_lib.Summary, name: str, level: str) -> list[str]:
    """Returns the main metrics that anybody has in a scenario."""
    there = [row(summary, name, level, controller) for controller in summary["controllers"]]
    return [m for m in MAIN if any(m in each["metrics"] for each in there)]


def scenario_levels(summary: summary_lib.Summary) -> list[tuple[str, str]]:
    """Returns (scenario, level) of every row, "all" first of each level that has it."""
    levels = dict.fromkeys(level for _, level in summary["scenarios"])
    there = {(each["scenario"], each["level"]) for each in summary["rows"]}
    whole = [(summary_lib.ALL, level) for level in levels if (summary_lib.ALL, level) in there]
    return whole + [tuple(pair) for pair in summary["scenarios"]]
