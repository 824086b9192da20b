"""Networks that follow the electric one: messages along closed branches, one readout per control.

Message passing as by Gilmer et al. 2017 (Neural Message Passing for Quantum Chemistry, section 2),
with the mean over all buses as a node that every bus hears. No shape depends on the grid: the same
parameters act on another one, and a grid whose elements are numbered otherwise gets the same
actions, in that order.
"""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from agents import breakers, grid_features, heads, options as options_lib

_DEVICES = ("gen", "load", "renewable", "storage")  # elements that are at one bus


def sum_at_buses(x, bus: np.ndarray, n_bus: int):
    """Returns the sums `[..., n_bus, width]` of rows `x` `[..., n, width]` at the bus of each.

    On a CPU a round of messages and its derivative take half the time this way that they take with
    dense incidence matrices on 14 buses, a quarter on 118 and a sixth on 300.
    """
    return jnp.zeros((*x.shape[:-2], n_bus, x.shape[-1]), x.dtype).at[..., bus, :].add(x)


class _Layers(nn.Module):
    """What the layers of all these networks have in common."""

    options: options_lib.TeamOptions
    features: grid_features.GridFeatures

    def dense(self, width: int, name: str, parts: int = 1):
        """Returns a layer whose outputs are added to those of `parts` − 1 others."""
        return nn.Dense(
            width, kernel_init=nn.initializers.orthogonal((2 / parts) ** 0.5), name=name
        )

    def activated(self, x):
        """Returns what follows a layer."""
        x = nn.LayerNorm()(x) if self.options.layer_norm else x
        return getattr(nn, self.options.activation)(x)


class GraphTorso(_Layers):
    """Rounds of messages between buses."""

    widths: tuple[int, ...] = ()

    @nn.compact
    def __call__(self, tables: grid_features.Tables):
        """Returns what is known at each bus, `[..., n_bus, widths[-1]]`."""
        ends, n_bus = self.features.ends, self.features.n_bus
        first = self.widths[0]
        at_bus = self.dense(first, "bus", 3)(tables.elements["bus"])
        if tables.system.shape[-1]:
            at_bus += self.dense(first, "system", 3)(tables.system)[..., None, :]
        for kind in _DEVICES:
            device = self.activated(self.dense(first, kind)(tables.elements[kind]))
            at_bus += sum_at_buses(device, ends[kind][0], n_bus)
        at_bus = self.activated(at_bus)
        for number, width in enumerate(self.widths):
            at_bus = self._round(number, width, at_bus, tables)
        return at_bus

    def _round(self, number: int, width: int, at_bus, tables: grid_features.Tables):
        """Returns what is known at each bus after it has heard its neighbours, and all on average.

        Both directions of a branch are the same function, of sender, receiver and branch.
        """
        layer = lambda name, times=1: self.dense(times * width, f"{name}_{number}", 3)
        sends, receives, own = jnp.split(layer("bus", 3)(at_bus), 3, axis=-1)
        branch = layer("branch")(tables.elements["branch"])
        turn = nn.Dense(width, use_bias=False, name=f"direction_{number}")(self.features.turning)
        start, end = self.features.ends["branch"]
        sender, receiver = np.concatenate([start, end]), np.concatenate([end, start])
        message = sends[..., sender, :] + receives[..., receiver, :]
        message += jnp.concatenate([branch + turn, branch - turn], -2)
        closed = jnp.concatenate([tables.closed, tables.closed], -1)[..., None]
        heard = sum_at_buses(closed * self.activated(message), receiver, self.features.n_bus)
        overall = layer("overall")(at_bus.mean(-2, keepdims=True))
        return self.activated(own + layer("heard")(heard) + overall)


def torso(
    options: options_lib.TeamOptions,
    features: grid_features.GridFeatures,
    widths: tuple[int, ...],
) -> GraphTorso:
    """Returns the torso, named by its activation: no shape tells that of a checkpoint."""
    name = f"{options.activation.capitalize()}GraphTorso"
    return GraphTorso(options, features, widths, name=name)


class GraphReadout(_Layers):
    """Features of each entry of a block of actions: of its element, and of the bus it is at."""

    block: str = ""

    @nn.compact
    def __call__(self, tables: grid_features.Tables, at_bus):
        """Returns features `[..., n, width]`, of a branch those of both ends added."""
        control = self.features.controls[self.block]
        width = at_bus.shape[-1]
        own = self.dense(width, "own", 3)(tables.elements[control.kind][..., control.rows, :])
        known = self.dense(width, "bus", 3)(at_bus)
        for bus in self.features.ends[control.kind]:
            own += known[..., bus[control.rows], :]
        overall = self.dense(width, "overall", 3)(at_bus.mean(-2, keepdims=True))
        return self.activated(own + overall)


class GraphBreakers(_Layers):
    """Logits of operating breakers, the same function of each."""

    @nn.compact
    def __call__(self, each, at_bus):
        """Returns `[..., 1 + n]` of no operation first, on features of breakers `[..., n, width]`.

        No operation is weighed against all breakers of the grid, however many it has.
        """
        small = nn.initializers.orthogonal(heads.POLICY_SCALE)
        operate = nn.Dense(1, kernel_init=small, use_bias=False, name="operate")(each)[..., 0]
        start = nn.initializers.constant(heads.no_operation(self.options))
        rest = nn.Dense(1, kernel_init=small, bias_init=start, name="rest")(at_bus.mean(-2))
        return jnp.concatenate([rest + np.log(each.shape[-2]), operate], -1)


class GraphPolicyNetwork(nn.Module):
    """As `dense_networks.PolicyNetwork`, with the same function for all controls of a kind."""

    options: options_lib.TeamOptions
    features: grid_features.GridFeatures
    action: np.ndarray  # indices into the action vector, but for breakers
    breakers: np.ndarray  # those of breakers

    @nn.compact
    def __call__(self, tables: grid_features.Tables):
        """Returns mean and log standard deviation, `[..., n_action]` each, and logits."""
        parts = self.options, self.features
        at_bus = torso(*parts, self.options.policy_layers)(tables)
        read = lambda name: GraphReadout(*parts, name, name=name)(tables, at_bus)
        normal, entries, first, logits = [], [], 0, None
        for name, control in self.features.controls.items():
            every, start = np.arange(len(control.rows)), first
            first += every.size
            if name in breakers.BLOCKS:
                if self.breakers.size:
                    own = read(name)[..., self.breakers - start, :]
                    logits = GraphBreakers(*parts, name=heads.BREAKER)(own, at_bus)
                continue
            both = heads.gaussian(read(name), control.titles, self.options, f"{name}_")
            normal.append([head[..., every, control.title] for head in both])
            entries.append(start + every)
        entries = np.concatenate(entries)
        assert np.isin(self.action, entries).all(), "breakers are no continuous controls"
        own = np.searchsorted(entries, self.action)
        mean, log_std = (jnp.concatenate(parts, -1)[..., own] for parts in zip(*normal))
        return mean, log_std, logits


class GraphValueNetwork(nn.Module):
    """As `dense_networks.ValueNetwork`, of the mean over all buses."""

    options: options_lib.TeamOptions
    features: grid_features.GridFeatures
    costs: int

    @nn.compact
    def __call__(self, tables: grid_features.Tables):
        """Returns values of reward and costs `[..., 1 + costs]`."""
        at_bus = torso(self.options, self.features, self.options.value_layers)(tables)
        return heads.values(at_bus.mean(-2), self.costs)
