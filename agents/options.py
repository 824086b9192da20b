"""What can be chosen about the agents."""

from __future__ import annotations

import dataclasses
from typing import Annotated


@dataclasses.dataclass(frozen=True)
class TeamOptions:
    """Options of the team and its networks. The text beside each field is its help."""

    kind: Annotated[str, "who shares the grid: centralised"] = "centralised"
    horizon: Annotated[float, "steps an agent looks ahead; the discount is 1 - 1/horizon"] = 100.0
    policy_layers: Annotated[tuple[int, ...], "hidden layers of the policy, e.g. 128,128"] = (
        128,
        128,
    )
    value_layers: Annotated[tuple[int, ...], "hidden layers of the value function"] = (128, 128)
    initial_std: Annotated[float, "initial standard deviation of actions before the squash"] = 0.5

    def __post_init__(self):
        if not self.horizon > 1:
            raise ValueError(f"team.horizon={self.horizon}: must be above 1")
        if not 0.02 <= self.initial_std <= 2.5:
            raise ValueError(f"team.initial_std={self.initial_std}: must be from 0.02 to 2.5")
        for name in ("policy_layers", "value_layers"):
            if not getattr(self, name) or min(getattr(self, name)) < 1:
                raise ValueError(
                    f"team.{name}={getattr(self, name)}: give one width or more, each at least 1"
                )
