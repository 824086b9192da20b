"""Policies of agents that attend to one another before they decide.

Each agent makes a token of what it sees; multi-head attention among tokens (Vaswani et al. 2017,
Attention Is All You Need, section 3.2) gives it a message, and its action follows from both.
Gradients go through messages, so that agents learn what to tell (Das et al. 2019, TarMAC: Targeted
Multi-Agent Communication).
"""

import contextlib
from collections.abc import Callable

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from agents import heads, options as options_lib

HEADS, WIDTH = 8, 64  # of attention; of each token, all heads together
WEIGHTS = "attention"  # name of what is sown, `[..., HEADS, A, A]`, reader before read


class AttendingPolicyNetwork(nn.Module):
    """As `shared_networks.SharedPolicyNetwork`, with messages."""

    options: options_lib.TeamOptions
    agents: tuple[str, ...]
    roles: tuple[str, ...]
    n_actions: tuple[int, ...]  # of each, but for breakers
    n_breakers: tuple[int, ...]

    @nn.compact
    def __call__(self, inputs):
        """Returns each agent's mean and log standard deviation `[..., n_action]`, and logits."""
        first, *others = self.options.policy_layers
        seen = [self._dense(first, f"in_{name}")(x) for name, x in zip(self.agents, inputs)]
        seen = self._activated(jnp.stack(seen, -2))  # [..., A, first]
        token = self._dense(WIDTH, "token")(seen) + self._encodings()
        message = Attention(name="attention")(nn.LayerNorm(name="norm")(token))
        x = jnp.concatenate([seen, token + message], -1)
        for number, width in enumerate(others or (first,), 1):
            x = self._activated(self._dense(width, f"layer_{number}")(x))
        sizes = zip(self.agents, self.n_actions, self.n_breakers)
        return [
            heads.PolicyHeads(self.options, *size, name=f"heads_{name}")(x[..., i, :])
            for i, (name, *size) in enumerate(sizes)
        ]

    def _encodings(self):
        """Returns what tells agents apart, `[A, WIDTH]`: who each is, and of which role."""
        start = nn.initializers.normal(0.1)
        kinds = sorted({*self.roles})
        of_role = self.param("role", start, (len(kinds), WIDTH))
        role = np.array([kinds.index(role) for role in self.roles])
        return self.param("agent", start, (len(self.agents), WIDTH)) + of_role[role]

    def _dense(self, width: int, name: str):
        return nn.Dense(width, kernel_init=nn.initializers.orthogonal(2**0.5), name=name)

    def _activated(self, x):
        x = nn.LayerNorm()(x) if self.options.layer_norm else x
        return getattr(nn, self.options.activation)(x)


class Attention(nn.Module):
    """Scaled dot-product attention with several heads."""

    @nn.compact
    def __call__(self, tokens):
        """Returns the message `[..., A, WIDTH]` that each of `tokens`, shaped alike, reads."""
        split = lambda x: x.reshape(*x.shape[:-1], HEADS, WIDTH // HEADS)
        query, key, value = (
            split(nn.Dense(WIDTH, use_bias=False, name=name)(tokens))
            for name in ("query", "key", "value")
        )
        # For so few agents faster on CPUs than a small matrix product for each grid and head.
        scores = (query[..., :, None, :, :] * key[..., None, :, :, :]).sum(-1)  # [..., A, A, HEADS]
        weights = jax.nn.softmax(scores / np.sqrt(WIDTH // HEADS), axis=-2)
        self.sow("intermediates", WEIGHTS, jnp.moveaxis(weights, -1, -3))
        read = (weights[..., None] * value[..., None, :, :, :]).sum(-3)
        return nn.Dense(WIDTH, name="out")(read.reshape(tokens.shape))


@contextlib.contextmanager
def reading(change: Callable[[chex.Array], chex.Array]):
    """Has agents read what `change` makes of their messages `[..., A, WIDTH]`, where it is open."""

    def intercept(call, arguments, keywords, context):
        said = call(*arguments, **keywords)
        attended = isinstance(context.module, Attention) and context.method_name == "__call__"
        return change(said) if attended else said

    with nn.intercept_methods(intercept):
        yield
