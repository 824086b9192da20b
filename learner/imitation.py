"""Behavioural cloning: fits a policy's most likely action to what an expert does.

With the decisions of several rounds, each in states that the policy of the round before led to,
this is what DAgger fits (Ross, Gordon and Bagnell 2011, algorithm 3.1).
"""

import functools
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax

from agents import bundle as bundle_lib, distributions, networks as networks_lib

_HELD_OUT = 8  # Of so many days one is not learned from, but tells when to stop.
_STEPS, _CHECK_EVERY, _BATCH = 6_000, 200, 256  # gradient steps, and decisions in each
_RATE, _LAST_RATE = 1e-3, 1e-2  # Adam's step size, and the share of it that is left at the end
# From where on an error counts in proportion to its size, not to its square. Experts leave most
# controls where they are nearly always: the median of what they do is that, the mean is not.
_LARGE = 0.02


class Fit(NamedTuple):
    """A fitted policy."""

    bundle: bundle_lib.Bundle  # host arrays; its value function is fresh
    error: np.ndarray  # `[action_size]` root mean square, of actions on days held out
    steps: int  # after which the loss on those days was least


def fit(
    networks: networks_lib.TeamNetworks,
    observations: np.ndarray,
    actions: np.ndarray,
    day: np.ndarray,
    key: chex.PRNGKey,
    steps: int = _STEPS,
) -> Fit:
    """Returns the policy whose most likely actions are nearest to those of an expert.

    Every eighth day, from the last on, is held out: the parameters are those of the step after
    which the loss there was least. A control without effect is learned like the rest: the expert
    leaves it at zero, and there it has to stay.

    Args:
      networks: of the team.
      observations: `[N, observation_size]`.
      actions: `[N, action_size]` in [−1, 1].
      day: `[N]` numbers of days, of two at least.
      key: of the first parameters and of what batches consist of.
      steps: of the gradient.
    """
    held_out = np.isin(day, np.unique(day)[::-_HELD_OUT])
    taken, kept = (
        (jnp.asarray(observations[part]), jnp.asarray(actions[part]))
        for part in (~held_out, held_out)
    )
    k_params, key = jax.random.split(key)
    start = bundle_lib.initial(networks, k_params)
    exact = observations[~held_out].astype(np.float64)
    moments = (exact.mean(0).astype(np.float32), exact.var(0).astype(np.float32))
    statistics = networks.observed(start.statistics, float(len(exact)), *moments)
    optimiser = optax.adam(optax.cosine_decay_schedule(_RATE, steps, _LAST_RATE))
    policy = lambda params, seen: networks.policy(params, statistics, seen)

    def loss(params, seen, action):
        fitted = policy(params, seen)
        wanted, operated = networks.carried_out(action, seen)
        # The squash without its clip, beyond which no gradient would lead an action back.
        reached = distributions.OVERSHOOT * jnp.tanh(fitted.mean)
        total = optax.huber_loss(reached, wanted, delta=_LARGE).mean()
        for operation, choice in zip(fitted.operations, operated):
            taken = jnp.take_along_axis(operation.log_probs, choice[..., None], -1)
            total -= _LARGE * taken.mean()  # in proportion, as an error that is large
        return total

    def step(carry, key, taken):
        params, moments = carry
        chosen = jax.random.randint(key, (_BATCH,), 0, len(taken[0]))
        gradient = jax.grad(loss)(params, *(part[chosen] for part in taken))
        changes, moments = optimiser.update(gradient, moments)
        return (optax.apply_updates(params, changes), moments), None

    @jax.jit
    def advance(carry, key, taken, kept):
        """Returns parameters and moments after some steps; loss and squared error held out."""
        keys = jax.random.split(key, _CHECK_EVERY)
        carry, _ = jax.lax.scan(functools.partial(step, taken=taken), carry, keys)
        reached = distributions.squash(networks.mode(policy(carry[0], kept[0])))
        return carry, loss(carry[0], *kept), ((reached - kept[1]) ** 2).mean(0)

    carry, least, best = (start.params, optimiser.init(start.params)), np.inf, None
    for done in range(_CHECK_EVERY, steps + 1, _CHECK_EVERY):
        carry, now, squared = advance(carry, jax.random.fold_in(key, done), taken, kept)
        if now < least:
            least, best = now, (carry[0], squared, done)
    if best is None:
        raise FloatingPointError("the fit is not finite: are observations and actions?")
    params, squared, done = best
    bundle = start.replace(params=params, statistics=statistics)
    return Fit(jax.tree.map(np.asarray, bundle), np.sqrt(squared), done)
