"""What is reported of an episode, in which unit, and which way is better."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from envs.termination import Reason

Episodes = Mapping[str, np.ndarray]  # Sums over each episode, see `episodes.play`.


class Metric(NamedTuple):
    """One number of each episode."""

    title: str
    unit: str
    higher_is_better: bool
    of: Callable[[Episodes], np.ndarray]


METRICS: dict[str, Metric] = {
    "return": Metric("return", "", True, lambda e: e["return"]),
    # Per day survived: a controller that ends a day at noon has not halved its cost.
    "cost": Metric(
        "operating cost",
        "$/day",
        False,
        lambda e: (e["generation_cost"] + e["load_control_cost"]) / e["played"],
    ),
    "losses": Metric("losses", "MWh/day", False, lambda e: e["losses"] / e["played"]),
    "overload": Metric("overload", "MVAh", False, lambda e: e["overload"]),
    "voltage_violation": Metric(
        "voltage violation", "pu·h", False, lambda e: e["voltage_violation"]
    ),
    "reactive_violation": Metric(
        "reactive excess", "MVArh", False, lambda e: e["reactive_violation"]
    ),
    "energy_not_served": Metric(
        "energy not served", "MWh", False, lambda e: e["energy_not_served"]
    ),
    "survival": Metric("survival", "% of day", True, lambda e: 100.0 * e["survived"]),
}


def compute(episodes: Episodes) -> dict[str, np.ndarray]:
    """Returns every metric of every episode, `{name: [episodes]}`, in double precision.

    Raises:
      ValueError: an episode could not begin, so that there is nothing to measure.
    """
    exact = {name: np.asarray(values, np.float64) for name, values in episodes.items()}
    dead = np.flatnonzero(exact["played"] == 0)
    if dead.size:
        raise ValueError(
            f"{dead.size} of {exact['played'].size} days have no power flow solution to begin "
            f"with (the first is day {dead[0]}): the case cannot carry these loads"
        )
    return {name: metric.of(exact) for name, metric in METRICS.items()}


def endings(episodes: Episodes) -> dict[str, int]:
    """Returns how many episodes ended early, by reason; empty when none did."""
    names = [Reason(int(reason)).name for reason in np.asarray(episodes["reason"])]
    return {name: names.count(name) for name in sorted(set(names) - {Reason.NONE.name})}
