"""Writes a node's metrics as JSON lines and as TensorBoard events."""

import json
import math
import os
import socket
import time
from collections.abc import Mapping

from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.summary.writer import record_writer

from launch.run import run_folder

_FLUSH_S = 5.0


class MetricsLog:
    """Appends scalars by step; a resumed run goes on in the same files.

    Events are written by the thread that calls, not in the background as TensorBoard's own writers
    do: with the disk full those either wait for ever or lose the error.
    """

    def __init__(self, folder: run_folder.RunFolder, node: str):
        self._lines = folder.metrics(node).open("a", buffering=1)
        events = folder.tensorboard / node
        events.mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{time.time():.0f}.{socket.gethostname()}.{os.getpid()}"
        self._events = record_writer.RecordWriter((events / name).open("wb"))
        self._add(file_version="brain.Event:2")
        self._flushed = -math.inf

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        """Adds one value for each name, in native JSON: what is not finite is written as null."""
        finite = {k: v if math.isfinite(v) else None for k, v in scalars.items()}
        self._lines.write(json.dumps({"step": step, **finite}) + "\n")
        tagged = [(k if "/" in k else f"run/{k}", v) for k, v in scalars.items()]
        values = [summary_pb2.Summary.Value(tag=tag, simple_value=value) for tag, value in tagged]
        self._add(step=step, summary=summary_pb2.Summary(value=values))
        if time.monotonic() - self._flushed >= _FLUSH_S:
            self._events.flush()
            self._flushed = time.monotonic()

    def close(self) -> None:
        """Flushes and closes both files."""
        self._lines.close()
        self._events.close()

    def _add(self, **content) -> None:
        event = event_pb2.Event(wall_time=time.time(), **content)
        self._events.write(event.SerializeToString())
