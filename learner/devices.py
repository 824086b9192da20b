"""The devices that an update is spread over: what they run and hold, and averages over them."""

import functools
from collections.abc import Callable, Sequence

import chex
import jax
import numpy as np

AXIS = "learners"  # of the mapping that an update runs under


def mapped(
    function: Callable[..., chex.ArrayTree],
    devices: Sequence[jax.Device],
    *,
    donate_argnums: int | Sequence[int] = (),
) -> Callable[..., chex.ArrayTree]:
    """Returns `function`, compiled, which each device calls with its own entries, `[devices, …]`.

    It may average over `AXIS`. Its results are stacked, `[devices, …]`. It takes arrays of the
    host, and of jax's those that `put`, `replicate` or such a function over the same devices
    returned: newer releases of jax refuse arrays that lie elsewhere.

    Args:
      function: what one device does.
      devices: all that do it.
      donate_argnums: arguments whose memory the results may take.
    """
    # Not by `jax.shard_map`, of which newer releases make `pmap`: by that of jax 0.6.2, updates on
    # the CPU shuffle their minibatches on every device as on the first.
    return jax.pmap(function, axis_name=AXIS, devices=devices, donate_argnums=donate_argnums)


def put(tree: chex.ArrayTree, devices: Sequence[jax.Device]) -> chex.ArrayTree:
    """Returns arrays of the host, `[devices, …]`, with each entry on the device that it is for."""
    return _placing(tuple(devices))(tree)


def replicate(tree: chex.ArrayTree, devices: Sequence[jax.Device]) -> chex.ArrayTree:
    """Returns the tree on every device, `[devices, …]`."""
    repeated = lambda leaf: np.broadcast_to(leaf, (len(devices), *np.shape(leaf)))
    return put(jax.tree.map(repeated, tree), devices)


def first(tree: chex.ArrayTree) -> chex.ArrayTree:
    """Returns the first device's entries, on the host, without a computation for each leaf."""
    return jax.tree.map(lambda leaf: np.array(leaf.addressable_data(0))[0], tree)


def moments(x: chex.Array) -> tuple[chex.Array, chex.Array]:
    """Returns mean and variance over the first axis of all devices' rows."""
    mean = jax.lax.pmean(x.mean(0), AXIS)
    return mean, jax.lax.pmean(((x - mean) ** 2).mean(0), AXIS)


@functools.cache
def _placing(devices: tuple[jax.Device, ...]) -> Callable[[chex.ArrayTree], chex.ArrayTree]:
    # How a mapped program wants its arrays to lie differs between releases of jax. What one returns
    # lies as others take it, in all of them.
    return mapped(lambda tree: tree, devices)
