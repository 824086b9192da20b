"""From the queue to the devices: what is dropped, what is joined, what is counted."""

import collections
import queue
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import jax
import numpy as np

from learner import devices as devices_lib
from replay import schema

_MEMORY = 4096  # How many origins are remembered, to recognise a repeat.


class TrainingBatch(NamedTuple):
    """Unrolls joined along the grids and laid on the devices."""

    unroll: schema.Unroll  # leaves `[devices, T, B, …]`
    versions: list[int]  # of the policy behind each unroll
    summaries: list[dict[str, float]]


def batch_spec(spec: schema.Spec, per_batch: int, devices: int) -> schema.Spec:
    """Returns the shapes of a batch's unroll, joined and laid on devices, from those of one."""

    def over_time(leaf):  # [T, B, …]
        length, grids, *rest = leaf.shape
        shape = (devices, length, grids * per_batch // devices, *rest)
        return jax.ShapeDtypeStruct(shape, leaf.dtype)

    def at_the_end(leaf):
        shape = (devices, leaf.shape[0] * per_batch // devices, *leaf.shape[1:])
        return jax.ShapeDtypeStruct(shape, leaf.dtype)

    ends = {name: at_the_end(getattr(spec, name)) for name in schema.AT_THE_END}
    bare = spec.replace(summary={}, origin=None, **dict.fromkeys(schema.AT_THE_END))
    return jax.tree.map(over_time, bare).replace(**ends)


class Ingest:
    """Reads unrolls on a thread of its own and prepares one batch ahead."""

    def __init__(
        self,
        unrolls: Iterable[schema.Unroll],
        per_batch: int,
        devices: Sequence[jax.Device],
        max_lag: int,
        version: Callable[[], int],
    ):
        """Initialises and starts reading.

        Args:
          unrolls: the queue's unrolls, without end.
          per_batch: unrolls in a batch.
          devices: where the batch goes, in equal shares.
          max_lag: unrolls that are older than this many updates when read are dropped.
          version: tells the learner's current version.
        """
        self.repeats = self.stale = 0
        self._unrolls, self._per_batch, self._devices = unrolls, per_batch, list(devices)
        self._max_lag, self._version = max_lag, version
        self._seen: collections.OrderedDict[tuple[int, int, int], None] = collections.OrderedDict()
        self._ready: queue.Queue = queue.Queue()
        # One batch is gathered ahead, no more: every batch that waits adds an update of lag.
        self._ahead = threading.Semaphore(1)
        # The read cannot be interrupted; a daemon does not keep the process.
        threading.Thread(target=self._run, name="ingest", daemon=True).start()

    def next(self, timeout_s: float) -> TrainingBatch | None:
        """Returns the next batch, or nothing if none is ready in time.

        Raises:
          Exception: whatever ended the reading.
        """
        try:
            batch = self._ready.get(timeout=timeout_s)
        except queue.Empty:
            return None
        if isinstance(batch, Exception):
            raise batch
        self._ahead.release()
        return batch

    def _run(self) -> None:
        try:
            group: list[schema.Unroll] = []
            self._ahead.acquire()
            for unroll in self._unrolls:
                if self._accept(unroll):
                    group.append(unroll)
                if len(group) == self._per_batch:
                    self._ready.put(self._join(group))
                    group = []
                    self._ahead.acquire()
            raise RuntimeError("the queue ended: its server has gone")
        except Exception as error:  # Handed to the learner, which raises it.
            self._ready.put(error)

    def _accept(self, unroll: schema.Unroll) -> bool:
        """Returns whether an unroll is new and recent, and counts it."""
        origin = unroll.origin
        identity = (int(origin.actor), int(origin.incarnation), int(origin.index))
        if identity in self._seen:
            self.repeats += 1
            return False
        self._seen[identity] = None
        if len(self._seen) > _MEMORY:
            self._seen.popitem(last=False)
        if self._version() - int(origin.version) > self._max_lag:
            self.stale += 1
            return False
        return True

    def _join(self, group: list[schema.Unroll]) -> TrainingBatch:
        # A fixed order of actors makes synchronous runs the same every time.
        group = sorted(
            group, key=lambda unroll: (int(unroll.origin.actor), int(unroll.origin.index))
        )
        summaries = [{k: float(v) for k, v in unroll.summary.items()} for unroll in group]
        # The log's part stays here; what is left has grids on axis 1, or 0 without a time axis.
        bare = [unroll.replace(summary={}, origin=None) for unroll in group]
        joined = jax.tree.map(lambda *leaves: np.concatenate(leaves, axis=1), *[
            unroll.replace(**{name: getattr(unroll, name)[None] for name in schema.AT_THE_END})
            for unroll in bare
        ])  # fmt: skip
        unroll = jax.tree.map(self._shares, joined)
        unroll = unroll.replace(**{name: getattr(unroll, name)[:, 0] for name in schema.AT_THE_END})
        unroll = devices_lib.put(unroll, self._devices)
        return TrainingBatch(unroll, [int(unroll.origin.version) for unroll in group], summaries)

    def _shares(self, leaf: np.ndarray) -> np.ndarray:
        """Returns each device's grids, `[devices, T, B / devices, …]`, of `[T, B, …]`."""
        length, grids, *rest = leaf.shape
        shares = leaf.reshape(length, len(self._devices), grids // len(self._devices), *rest)
        return np.moveaxis(shares, 1, 0)
