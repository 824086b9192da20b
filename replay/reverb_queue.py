"""The queue between actors and learner: one Reverb table, one item per unroll."""

import math
import time
from collections.abc import Callable, Iterator

import jax
import numpy as np
import reverb
import tensorflow as tf

from replay import schema

TABLE = "unrolls"
_FLUSH_MS = 500  # How long a writer waits for the queue before it looks whether to stop.
_SIZE_S = 0.5  # How old the size of the queue may be that the log tells.


def table(spec: schema.Spec, max_size: int) -> reverb.Table:
    """Returns the Reverb table that holds unrolls shaped like `spec`."""
    names = schema.names(spec)
    leaves = jax.tree.leaves(spec)
    signature = [
        tf.TensorSpec(leaf.shape, tf.as_dtype(leaf.dtype), name)
        for name, leaf in zip(names, leaves)
    ]
    return reverb.Table.queue(TABLE, max_size, signature=signature)


class Writer:
    """Sends unrolls. Waiting while the queue is full is what holds actors back."""

    def __init__(self, client: reverb.Client):
        self._writer = client.trajectory_writer(num_keep_alive_refs=1)

    def write(self, unroll: schema.Unroll, stopping: Callable[[], bool]) -> bool:
        """Adds `unroll`, waiting while the queue is full; false if `stopping()` came first."""
        self._writer.append([np.asarray(leaf) for leaf in jax.tree.leaves(unroll)])
        self._writer.create_item(TABLE, 1.0, [column[-1] for column in self._writer.history])
        while not stopping():
            try:
                self._writer.flush(block_until_num_items=0, timeout_ms=_FLUSH_MS)
                return True
            except reverb.errors.DeadlineExceededError:
                continue
        return False


class Reader:
    """Receives unrolls, in the order in which they were sent."""

    def __init__(self, client: reverb.Client, spec: schema.Spec):
        self._client = client
        self._spec = spec
        self._size, self._asked = 0, -math.inf

    def read(self) -> Iterator[schema.Unroll]:
        """Yields unrolls for ever, waiting while the queue is empty. Cannot be interrupted."""
        samples = self._client.sample(
            TABLE, num_samples=2**62, emit_timesteps=False, unpack_as_table_signature=True
        )
        for sample in samples:
            yield jax.tree.unflatten(jax.tree.structure(self._spec), sample.data)

    def size(self) -> int:
        """Returns how many unrolls wait, or did half a second ago: to ask takes milliseconds."""
        if time.monotonic() - self._asked > _SIZE_S:
            self._size = self._client.server_info()[TABLE].current_size
            self._asked = time.monotonic()
        return self._size
