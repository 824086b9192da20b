"""Breakers: in each step an agent operates one of those it has, or none: a masked categorical.

The environment moves one breaker a step. To operate one is to open it where it is closed and to
close it where it is open; the choice is written into the action block `switch`, or `coupling`, as
the one request in it, and that is what the environment does. Left out of the choice are breakers
that cool down. What the time series has out, or takes out now, is not observed: to operate that has
no effect.
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from envs.step import layouts
from envs.step.layout import Layout
from envs.step.switching import REQUEST

BLOCKS, _SEEN = ("switch", "coupling"), ("branch_closed", "branch_cooldown")
_FULL = 2.0  # before the squash: a request of 1 after it
_NEVER = -1e9  # log-probability of what is left out; e to its power is zero


class Breakers(NamedTuple):
    """Where breakers are found, indices `[k]`."""

    action: np.ndarray  # entries of the action vector
    closed: np.ndarray  # entries of the observation vector
    cooldown: np.ndarray

    def among(self, action: np.ndarray) -> "Breakers":
        """Returns those that are among entries `action` of the action vector."""
        own = np.isin(self.action, action)
        return Breakers(*(part[own] for part in self))


NONE = Breakers(*3 * [np.arange(0)])


class Operation(NamedTuple):
    """The distribution of an agent's choice: no operation, or one of its k breakers."""

    log_probs: chex.Array  # `[..., 1 + k]`, no operation first
    closed: chex.Array  # bool `[..., k]`


def find(layout: Layout) -> Breakers:
    """Returns the breakers that a layout has.

    Raises:
      ValueError: it does not show which are closed and which cool down.
    """
    indices = lambda part: np.arange(part.start, part.stop)
    blocks = [name for name in BLOCKS if name in layout.action]
    moved = np.concatenate([NONE.action, *(indices(layout.action[name]) for name in blocks)])
    if not moved.size:
        return NONE
    if missing := [name for name in _SEEN if name not in layout.observation]:
        raise ValueError(
            f"the layout has the action block {blocks[0]} and does not observe "
            f"{', '.join(missing)}, which tell a policy what it may operate; add them in "
            "envs/step/layouts.py"
        )
    rows = [layouts.ACTIONS[name].elements.rows(layout.site) for name in blocks]
    seen = (indices(layout.observation[name])[np.concatenate(rows)] for name in _SEEN)
    return Breakers(moved, *seen)


def operation(breakers: Breakers, logits: chex.Array, observation: chex.Array) -> Operation:
    """Returns the distribution of the choice that `logits` `[..., 1 + k]` are of.

    Observations `[..., observation_size]` are in physical units.
    """
    allowed = _allowed(breakers, observation)
    allowed = jnp.concatenate([jnp.ones_like(allowed[..., :1]), allowed], -1)
    log_probs = jax.nn.log_softmax(jnp.where(allowed, logits, _NEVER))
    return Operation(log_probs, _closed(breakers, observation))


def sample(key: chex.PRNGKey, operation: Operation) -> chex.Array:
    """Returns a choice at random, as entries `[..., k]` of an action before the squash."""
    return _requests(operation, jax.random.categorical(key, operation.log_probs))


def mode(operation: Operation) -> chex.Array:
    """Returns the most likely choice, as `sample` does."""
    return _requests(operation, operation.log_probs.argmax(-1))


def log_prob(operation: Operation, raw: chex.Array) -> chex.Array:
    """Returns the log-probability `[...]` of a choice as `sample` returns it."""
    operated = raw != 0.0
    chosen = jnp.concatenate([~operated.any(-1, keepdims=True), operated], -1)
    return jnp.where(chosen, operation.log_probs, 0.0).sum(-1)


def entropy(operation: Operation) -> chex.Array:
    """Returns the entropy `[...]` of the choice, in nats."""
    return -(jnp.exp(operation.log_probs) * operation.log_probs).sum(-1)


def kl(p: Operation, q: Operation) -> chex.Array:
    """Returns KL(p ‖ q) `[...]` of two distributions at the same observation."""
    return (jnp.exp(p.log_probs) * (p.log_probs - q.log_probs)).sum(-1)


def carried_out(breakers: Breakers, action: chex.Array, observation: chex.Array) -> chex.Array:
    """Returns which choice `[...]` an action `[..., action_size]` of anyone's comes to, 0 for none.

    Of several requests the environment carries out the strongest that need not wait.
    """
    request = action[..., breakers.action]
    request = jnp.where(_closed(breakers, observation), -request, request)
    request = jnp.where(_allowed(breakers, observation), request, 0.0)
    return jnp.where(request.max(-1) > REQUEST, 1 + request.argmax(-1), 0)


def _closed(breakers: Breakers, observation: chex.Array) -> chex.Array:
    return observation[..., breakers.closed] > 0.5


def _allowed(breakers: Breakers, observation: chex.Array) -> chex.Array:
    return observation[..., breakers.cooldown] < 1.5  # steps; with one left it may move in the next


def _requests(operation: Operation, choice: chex.Array) -> chex.Array:
    number = 1 + jnp.arange(operation.closed.shape[-1])
    towards = jnp.where(operation.closed, -_FULL, _FULL)
    return jnp.where(choice[..., None] == number, towards, 0.0)
