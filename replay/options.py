"""What can be chosen about the queue."""

from __future__ import annotations

import dataclasses
from typing import Annotated


@dataclasses.dataclass(frozen=True)
class ReplayOptions:
    """Options of the queue. The text beside each field is its help."""

    queue_size: Annotated[int, "unrolls the queue holds before actors wait"] = 2
    max_lag: Annotated[int, "drop unrolls whose policy is more than this many updates old"] = 8

    def __post_init__(self):
        if self.queue_size < 1:
            raise ValueError(f"replay.queue_size={self.queue_size}: must be at least 1")
        if self.max_lag < 0:
            raise ValueError(f"replay.max_lag={self.max_lag}: must not be negative")
