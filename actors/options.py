"""What can be chosen about actors and the evaluator."""

import dataclasses
from typing import Annotated

from envs.inputs import bounds
from envs.inputs.bounds import Range


@dataclasses.dataclass(frozen=True)
class ActorOptions(bounds.Options, prefix="actor."):
    """Options of the actors. The text beside each field is its help."""

    count: Annotated[int, "actor processes, each on a core of its own", Range(1, 1024)] = 2
    batch: Annotated[int, "grids that one actor steps at once", Range(1, 2**20)] = 64
    unroll_length: Annotated[int, "environment steps in an unroll", Range(1, 1440)] = 32


@dataclasses.dataclass(frozen=True)
class EvaluatorOptions(bounds.Options, prefix="evaluator."):
    """Options of the evaluator that follows a training run. The text is each field's help."""

    episodes: Annotated[int, "validation days in each evaluation", Range(1, 10_000)] = 16
    period_seconds: Annotated[
        float, "time between the starts of two evaluations", Range(0, 1e9, above=True)
    ] = 10.0
