"""What is reported of an episode, in which unit, and which way is better."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

Episodes = Mapping[str, np.ndarray]  # Sums over each episode, see `episodes.play`.


class Metric(NamedTuple):
    """One number of each episode."""

    title: str
    unit: str
    higher_is_better: bool
    of: Callable[[Episodes], np.ndarray]


METRICS: dict[str, Metric] = {
    "return": Metric("return", "", True, lambda e: e["return"]),
    "cost": Metric(
        "operating cost", "$/day", False, lambda e: e["generation_cost"] + e["load_control_cost"]
    ),
    "losses": Metric("losses", "MWh", False, lambda e: e["losses"]),
    "overload": Metric("overload", "MVAh", False, lambda e: e["overload"]),
    "voltage_violation": Metric(
        "voltage violation", "pu·h", False, lambda e: e["voltage_violation"]
    ),
    "energy_not_served": Metric(
        "energy not served", "MWh", False, lambda e: e["energy_not_served"]
    ),
    "survival": Metric("survival", "% of day", True, lambda e: 100.0 * e["survived"]),
}


def compute(episodes: Episodes) -> dict[str, np.ndarray]:
    """Returns every metric of every episode, `{name: [episodes]}`, in double precision."""
    exact = {name: np.asarray(values, np.float64) for name, values in episodes.items()}
    return {name: metric.of(exact) for name, metric in METRICS.items()}
