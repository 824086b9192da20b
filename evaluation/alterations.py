"""Controllers that are others with a change: with a shield, or with an ablation of their team."""

from agents import ablations
from agents.baselines import shield


def unaltered(controller: str) -> str | None:
    """Returns the name of the controller that this one is but for a change, or none."""
    if controller.endswith(shield.SUFFIX):
        return controller.removesuffix(shield.SUFFIX)
    return ablations.split(controller)[0] if is_ablation(controller) else None


def is_ablation(controller: str) -> bool:
    """Returns whether a controller is a team without something."""
    return bool(ablations.split(controller)[1])
