"""Controllers that are others with a change: with a shield, or with an ablation of their team."""

from collections.abc import Mapping, Sequence
from typing import Any

from agents import ablations
from agents.baselines import shield

# What a change costs is told by: differences of these, paired, to the unaltered controller.
TOLD = ("return", "total_cost", "energy_not_served", "overload", "feasible")


def unaltered(controller: str) -> str | None:
    """Returns the name of the controller that this one is but for a change, or none."""
    if controller.endswith(shield.SUFFIX):
        return controller.removesuffix(shield.SUFFIX)
    return ablations.split(controller)[0] if is_ablation(controller) else None


def is_ablation(controller: str) -> bool:
    """Returns whether a controller is a team without something."""
    return bool(ablations.split(controller)[1])


def among(controllers: Sequence[str]) -> dict[str, str]:
    """Returns which of `controllers` are altered, by what they are without the change."""
    bases = {name: unaltered(name) for name in controllers}
    return {name: base for name, base in bases.items() if base in bases}


def foreseen_share(metrics: Mapping[str, Mapping[str, Any]]) -> float | None:
    """Returns in how many % of the steps in which something was held back a limit was foreseen.

    That is what was requested would have broken one. None: nothing was held back, or nobody looked
    ahead. `metrics` are those of a row of a summary.
    """
    held, foreseen = (metrics.get(name) for name in ("held_back", "foreseen"))
    if held is None or foreseen is None or held["mean"] <= 0:
        return None
    return 100.0 * foreseen["mean"] / held["mean"]
