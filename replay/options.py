"""What can be chosen about the queue."""

import dataclasses
from typing import Annotated

from envs.inputs import bounds
from envs.inputs.bounds import Range


@dataclasses.dataclass(frozen=True)
class ReplayOptions(bounds.Options, prefix="replay."):
    """Options of the queue. The text beside each field is its help."""

    queue_size: Annotated[int, "unrolls the queue holds before actors wait", Range(1, 65_536)] = 2
    max_lag: Annotated[
        int, "drop unrolls whose policy is more than this many updates old", Range(0, 1e9)
    ] = 8
