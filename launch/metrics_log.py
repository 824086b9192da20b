"""Writes a node's metrics as JSON lines and as TensorBoard events."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

import tensorboardX

from launch import run_folder


class MetricsLog:
    """Appends scalars by step; a resumed run goes on in the same files."""

    def __init__(self, folder: run_folder.RunFolder, node: str):
        self._lines = folder.metrics(node).open("a", buffering=1)
        self._events = tensorboardX.SummaryWriter(str(folder.tensorboard / node), flush_secs=5)

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        """Adds one value for each name, in native JSON: what is not finite is written as null."""
        finite = {k: v if math.isfinite(v) else None for k, v in scalars.items()}
        self._lines.write(json.dumps({"step": step, **finite}) + "\n")
        for name, value in scalars.items():
            self._events.add_scalar(name if "/" in name else f"run/{name}", value, step)

    def close(self) -> None:
        """Flushes and closes both files."""
        self._lines.close()
        self._events.close()
