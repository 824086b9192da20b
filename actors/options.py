"""What can be chosen about actors and the evaluator."""

from __future__ import annotations

import dataclasses
from typing import Annotated


@dataclasses.dataclass(frozen=True)
class ActorOptions:
    """Options of the actors. The text beside each field is its help."""

    count: Annotated[int, "actor processes, each on a core of its own"] = 2
    batch: Annotated[int, "grids that one actor steps at once"] = 64
    unroll_length: Annotated[int, "environment steps in an unroll"] = 32

    def __post_init__(self):
        for name in ("count", "batch", "unroll_length"):
            if getattr(self, name) < 1:
                raise ValueError(f"actor.{name}={getattr(self, name)}: must be at least 1")


@dataclasses.dataclass(frozen=True)
class EvaluatorOptions:
    """Options of the evaluator that follows a training run. The text is each field's help."""

    episodes: Annotated[int, "validation days in each evaluation"] = 16
    period_seconds: Annotated[float, "time between the starts of two evaluations"] = 10.0

    def __post_init__(self):
        if self.episodes < 1:
            raise ValueError(f"evaluator.episodes={self.episodes}: must be at least 1")
        if not self.period_seconds > 0:
            raise ValueError(f"evaluator.period_seconds={self.period_seconds}: must be above 0")
