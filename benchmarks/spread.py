"""Dividing a batch among devices: on a CPU one for each core that we are kept on."""

from collections.abc import Callable
from typing import Any

import jax
from jax.experimental.shard_map import shard_map

_AXIS = "batch"

Tree = Any  # a pytree of arrays


def devices(batch: int) -> int:
    """Returns how many devices a batch is divided among: as many as leave it in equal parts."""
    return next(n for n in range(jax.local_device_count(), 0, -1) if batch % n == 0)


def over_devices(batched: Callable[..., Tree], count: int, **options) -> Callable[..., Tree]:
    """Returns `batched`, compiled, with every leaf's first axis divided among `count` devices.

    `batched` works on any part of a batch by itself; `options` are those of `jax.jit`.
    """
    if count == 1:
        return jax.jit(batched, **options)
    spec = jax.sharding.PartitionSpec(_AXIS)
    parts = shard_map(batched, mesh=_mesh(count), in_specs=spec, out_specs=spec, check_rep=False)
    return jax.jit(parts, **options)


def put(tree: Tree, count: int) -> Tree:
    """Returns `tree` on the devices that `over_devices` works on."""
    if count == 1:
        return tree
    spec = jax.sharding.PartitionSpec(_AXIS)
    return jax.device_put(tree, jax.sharding.NamedSharding(_mesh(count), spec))


def _mesh(count: int) -> jax.sharding.Mesh:
    return jax.sharding.Mesh(jax.local_devices()[:count], (_AXIS,))
