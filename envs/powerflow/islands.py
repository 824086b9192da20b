"""Which buses a set of closed branches connects, for every grid of a batch."""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from envs.case import connectivity
from envs.powerflow.network import Network


class Islands(NamedTuple):
    """The parts that a network falls into, in the solvers' order of buses."""

    label: chex.Array  # int32 `[n_bus, batch]` lowest bus of the island that a bus is on
    # bool `[n_bus, batch]`, true on the island that serves most load, or on all that have units
    energised: chex.Array

    def root(self, net: Network) -> chex.Array:
        """Returns the bus of each bus's island whose angle is kept, int32 `[n_bus, batch]`.

        The reference bus on its own island, elsewhere the lowest.
        """
        here = self.label == self.label[net.reference]
        return jnp.where(here, net.reference, self.label).astype(jnp.int32)


def find(
    net: Network,
    closed: chex.Array,
    capacity: chex.Array,
    load: chex.Array,
    *,
    every_island: bool = False,
) -> Islands:
    """Returns the islands, of which the one that serves most load is energised.

    An island serves its load as far as the Pmax of its units goes. Of those that serve as much it
    is the one with most Pmax, and none is energised where no unit is in service. With
    `every_island` each that has a unit in service is energised.

    `closed` `[n_branch, batch]` is 1 for a branch in service, else 0. `capacity` and `load`
    `[n_bus, batch]`, in one unit, are the Pmax of the units in service and what loads draw.
    """
    shape = (net.n_bus, closed.shape[1])
    whole = Islands(jnp.zeros(shape, jnp.int32), jnp.ones(shape, bool))
    whole = whole._replace(energised=whole.energised & (capacity.sum(0) > 0))
    return jax.lax.cond(
        _may_split(net, closed).any(),
        lambda: _search(net, closed, capacity, load, every_island),
        lambda: whole,
    )


def _may_split(net: Network, closed: chex.Array) -> chex.Array:
    """Returns whether the branches that are out may divide the grid, bool `[batch]`."""
    out = (closed < 0.5).astype(jnp.int32)
    count = jnp.zeros((net.cut_class.max() + 1, closed.shape[1]), jnp.int32)
    count = count.at[net.cut_class].add(out)
    # Three or more may do so without two of them doing it.
    return (count[connectivity.BRIDGE] > 0) | (count > 1).any(0) | (count.sum(0) > 2)


def _search(
    net: Network, closed: chex.Array, capacity: chex.Array, load: chex.Array, every_island: bool
) -> Islands:
    """Returns the islands by spreading the lowest bus along closed branches."""
    n, batch = net.n_bus, closed.shape[1]
    f, t = net.branch.from_bus, net.branch.to_bus
    start = jnp.broadcast_to(jnp.arange(n, dtype=jnp.int32)[:, None], (n, batch))

    def spread(carry):
        label, _ = carry
        lower = jnp.minimum(label[f], label[t])
        lower = jnp.where(closed > 0, lower, n)
        grown = label.at[f].min(lower).at[t].min(lower)
        grown = jnp.take_along_axis(grown, grown, axis=0)  # follow the label's own label
        return grown, (grown != label).any()

    label, _ = jax.lax.while_loop(lambda carry: carry[1], spread, (start, jnp.bool_(True)))
    at = (label, jnp.broadcast_to(jnp.arange(batch), (n, batch)))
    total = lambda values: jnp.zeros((n, batch), values.dtype).at[at].add(values)
    capacity = total(capacity)
    if every_island:
        return Islands(label, jnp.take_along_axis(capacity, label, 0) > 0)
    served = jnp.clip(total(load), 0.0, capacity)
    main = jnp.where(served == served.max(0), capacity, -1.0).argmax(0)
    return Islands(label, (label == main) & (capacity.max(0) > 0))
