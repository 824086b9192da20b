"""Networks of agents that share parameters, as far as the same shapes can be theirs.

Agents that observe and move equally many entries share everything, and an embedding tells them
apart (Terry et al. 2020, Parameter Sharing for Multiagent Deep Reinforcement Learning). Of others,
each has a first layer and heads of its own, and the layers between are shared.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from agents import heads, options as options_lib


class SharedTorso(nn.Module):
    """Fully connected layers of several agents."""

    widths: tuple[int, ...]
    options: options_lib.TeamOptions
    agents: tuple[str, ...]

    @nn.compact
    def __call__(self, inputs):
        """Returns features `[..., A, widths[-1]]` of each agent's inputs, `[..., n]` each."""
        first, *others = self.widths
        start = nn.initializers.orthogonal(2**0.5)
        if len({x.shape[-1] for x in inputs}) == 1:
            tell_apart = nn.initializers.normal(1.0)
            embedding = self.param("embedding", tell_apart, (len(inputs), first))
            x = nn.Dense(first, kernel_init=start, name="in")(jnp.stack(inputs, -2)) + embedding
        else:
            parts = [
                nn.Dense(first, kernel_init=start, name=f"in_{name}")(x)
                for name, x in zip(self.agents, inputs)
            ]
            x = jnp.stack(parts, -2)
        x = self._activated(x)
        for number, width in enumerate(others, 1):
            x = self._activated(nn.Dense(width, kernel_init=start, name=f"layer_{number}")(x))
        return x

    def _activated(self, x):
        x = nn.LayerNorm()(x) if self.options.layer_norm else x
        return getattr(nn, self.options.activation)(x)


def _torso(options, widths: tuple[int, ...], agents: tuple[str, ...]) -> SharedTorso:
    # Named by its activation, as no shape tells that of a checkpoint.
    name = f"Shared{options.activation.capitalize()}Torso"
    return SharedTorso(widths, options, agents, name=name)


class SharedPolicyNetwork(nn.Module):
    """As `dense_networks.PolicyNetwork`, of several agents."""

    options: options_lib.TeamOptions
    agents: tuple[str, ...]
    n_actions: tuple[int, ...]  # of each, but for breakers
    n_breakers: tuple[int, ...]

    @nn.compact
    def __call__(self, inputs):
        """Returns each agent's mean and log standard deviation `[..., n_action]`, and logits."""
        x = _torso(self.options, self.options.policy_layers, self.agents)(inputs)
        sizes = list(zip(self.n_actions, self.n_breakers))
        if len({*sizes}) == 1:
            mean, log_std, logits = heads.PolicyHeads(self.options, *sizes[0], name="heads")(x)
            part = lambda leaf, i: None if leaf is None else leaf[..., i, :]
            return [tuple(part(leaf, i) for leaf in (mean, log_std, logits))
                    for i in range(len(sizes))]  # fmt: skip
        return [
            heads.PolicyHeads(self.options, *size, name=f"heads_{name}")(x[..., i, :])
            for i, (name, size) in enumerate(zip(self.agents, sizes))
        ]


class SharedValueNetwork(nn.Module):
    """As `dense_networks.ValueNetwork`, of several agents; each value has its own last layer.

    PopArt rescales that by the agent's own value targets.
    """

    options: options_lib.TeamOptions
    agents: tuple[str, ...]
    costs: int
    alike: bool  # whether all read the same: their features then are

    @nn.compact
    def __call__(self, inputs):
        """Returns each agent's values of reward and costs, `[..., 1 + costs]` each."""
        read = inputs[:1] if self.alike else inputs
        x = _torso(self.options, self.options.value_layers, self.agents[: len(read)])(read)
        x = jnp.broadcast_to(x, (*x.shape[:-2], len(self.agents), x.shape[-1]))
        values = _ValueHeads(len(self.agents), 1 + self.costs, name="head")(x)
        return [values[..., i, :] for i in range(len(self.agents))]


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
