"""Networks of agents that share parameters, as far as the same shapes can be theirs.

Agents that are alike, as they observe and move the same kinds of entries, share everything, and an
embedding tells them apart (Terry et al. 2020, Parameter Sharing for Multiagent Deep Reinforcement
Learning). Those of another kind have a first layer and heads of their own, and the layers between
are shared.
"""

import operator
from collections.abc import Callable, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from agents import heads, options as options_lib


class SharedTorso(nn.Module):
    """Fully connected layers of several agents."""

    widths: tuple[int, ...]
    options: options_lib.TeamOptions
    kinds: tuple[str, ...]  # of each agent: those of one kind have equally many inputs

    @nn.compact
    def __call__(self, inputs):
        """Returns features `[..., A, widths[-1]]` of each agent's inputs, `[..., n]` each."""
        first, *others = self.widths
        start = nn.initializers.orthogonal(2**0.5)
        layer = lambda name: nn.Dense(first, kernel_init=start, name=name)
        x = jnp.stack(_by_kind(self.kinds, lambda kind: layer(f"in{kind}"), inputs), -2)
        if len({*self.kinds}) < len(self.kinds) or len(self.kinds) == 1:
            tell_apart = nn.initializers.normal(1.0)
            x += self.param("embedding", tell_apart, (len(inputs), first))
        x = self._activated(x)
        for number, width in enumerate(others, 1):
            x = self._activated(nn.Dense(width, kernel_init=start, name=f"layer_{number}")(x))
        return x

    def _activated(self, x):
        x = nn.LayerNorm()(x) if self.options.layer_norm else x
        return getattr(nn, self.options.activation)(x)


def _by_kind(kinds: tuple[str, ...], make: Callable[[str], nn.Module], inputs: Sequence) -> list:
    """Returns for each agent what the module of its kind makes of its inputs `[..., n]`."""
    made = [None] * len(kinds)
    for kind in dict.fromkeys(kinds):
        members = [i for i, other in enumerate(kinds) if other == kind]
        together = make(kind)(jnp.stack([inputs[i] for i in members], -2))
        for place, i in enumerate(members):
            made[i] = jax.tree.map(operator.itemgetter((..., place, slice(None))), together)
    return made


def _torso(options, widths: tuple[int, ...], kinds: tuple[str, ...]) -> SharedTorso:
    # Named by its activation, as no shape tells that of a checkpoint.
    name = f"Shared{options.activation.capitalize()}Torso"
    return SharedTorso(widths, options, kinds, name=name)


class SharedPolicyNetwork(nn.Module):
    """As `dense_networks.PolicyNetwork`, of several agents."""

    options: options_lib.TeamOptions
    reads: tuple[str, ...]  # kind of each agent, of what it observes
    moves: tuple[str, ...]  # and of what it moves
    n_actions: tuple[int, ...]  # of each, but for breakers
    n_breakers: tuple[int, ...]

    @nn.compact
    def __call__(self, inputs):
        """Returns each agent's mean and log standard deviation `[..., n_action]`, and logits."""
        x = _torso(self.options, self.options.policy_layers, self.reads)(inputs)
        sizes = dict(zip(self.moves, zip(self.n_actions, self.n_breakers)))
        head = lambda kind: heads.PolicyHeads(self.options, *sizes[kind], name=f"heads{kind}")
        return _by_kind(self.moves, head, [x[..., i, :] for i in range(len(self.moves))])


class SharedValueNetwork(nn.Module):
    """As `dense_networks.ValueNetwork`, of several agents; each value has its own last layer.

    PopArt rescales that by the agent's own value targets.
    """

    options: options_lib.TeamOptions
    kinds: tuple[str, ...]  # of each agent: those of one kind read the same kinds of entries
    costs: int
    alike: bool  # whether all read the same: their features then are

    @nn.compact
    def __call__(self, inputs):
        """Returns each agent's values of reward and costs, `[..., 1 + costs]` each."""
        read = inputs[:1] if self.alike else inputs
        agents = len(self.kinds)
        x = _torso(self.options, self.options.value_layers, self.kinds[: len(read)])(read)
        x = jnp.broadcast_to(x, (*x.shape[:-2], agents, x.shape[-1]))
        values = _ValueHeads(agents, 1 + self.costs, name="head")(x)
        return [values[..., i, :] for i in range(agents)]


class _ValueHeads(nn.Module):
    """A last layer for each agent."""

    agents: int
    values: int

    @nn.compact
    def __call__(self, x):
        one = nn.initializers.orthogonal(1.0)
        every = lambda key, shape: jax.vmap(lambda key: one(key, shape[1:]))(
            jax.random.split(key, shape[0])
        )
        kernel = self.param("kernel", every, (self.agents, x.shape[-1], self.values))
        bias = self.param("bias", nn.initializers.zeros, (self.agents, self.values))
        return jnp.einsum("...aw,awv->...av", x, kernel) + bias
