"""Proximal policy optimisation (Schulman et al. 2017), with an axis for the agents of a team.

Reads top to bottom: the training state, the update of one device's share of a batch, its parts.
The update runs under any mapping that names its axis `AXIS`; gradients, statistics and decisions
are averaged over it, so that all devices stay equal.
"""

import functools
from collections.abc import Mapping

import chex
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax

from agents import bundle as bundle_lib, heads, networks as networks_lib, normaliser, roles
from learner import (
    advantages as advantages_lib,
    analytic,
    limits as limits_lib,
    losses,
    options as options_lib,
    popart,
    schedules,
)
from learner.devices import AXIS, moments
from replay import schema

# Length that longer gradients are scaled down to, and Adam's ε: those of OpenAI's own
# implementation (Huang et al. 2022, details 11 and 3).
_MAX_GRADIENT_NORM, _ADAM_EPSILON = 0.5, 1e-5


@flax.struct.dataclass
class TrainingState:
    """Everything an update reads and writes, equal on every device."""

    params: networks_lib.Params
    optimiser: optax.OptState
    statistics: normaliser.ObservationStatistics
    value_statistics: normaliser.ValueStatistics
    key: chex.PRNGKey
    version: chex.Array  # updates made, also those that were skipped
    bad_updates: chex.Array  # updates skipped because they were not finite
    multipliers: limits_lib.Multipliers | None = None  # where there are limits


class PPO:
    """Pure functions of the training state."""

    def __init__(
        self,
        networks: networks_lib.TeamNetworks,
        options: options_lib.LearnerOptions,
        gradient: analytic.AnalyticGradient | None = None,
        updates: int = 1,
        limits: limits_lib.Limits | None = None,
    ):
        """Initialises.

        Args:
          networks: of the team.
          options: of the learner.
          gradient: the loss of windows, unless `learner.objective` is ppo.
          updates: that the run has in all, for schedules.
          limits: on reward terms, if any; the networks have values of as many costs.
        """
        self.networks, self.options = networks, options
        self._gradient, self._updates, self._limits = gradient, updates, limits
        self._losses = losses.Losses(networks, options)
        self._by_gradient = options.objective in ("analytic", "both")
        # Gradients through the environment need values for what comes after a window alone.
        self._by_values = options.objective != "analytic" or (
            options.bootstrap and bool(networks.team.discounts.any())
        )
        self._optimiser = optax.inject_hyperparams(self._make_optimiser)(
            learning_rate=options.learning_rate
        )
        self._traced = jax.jit(self._learned)  # so that it is traced once

    def _make_optimiser(self, learning_rate) -> optax.GradientTransformation:
        one = lambda: optax.chain(
            optax.clip_by_global_norm(_MAX_GRADIENT_NORM),
            optax.adam(learning_rate, eps=_ADAM_EPSILON),
        )
        if not self._by_gradient:
            return one()
        # Gradients through the environment have a size of their own.
        if not self.networks.team.breakers.action.size:
            return optax.multi_transform(
                {"policy": one(), "value": one()}, {"policy": "policy", "value": "value"}
            )
        parts = ("policy", "value", heads.BREAKER)
        return optax.multi_transform({part: one() for part in parts}, _parts)

    def init(self, key: chex.PRNGKey) -> TrainingState:
        """Returns the state before the first update."""
        key, k_params = jax.random.split(key)
        start = bundle_lib.initial(self.networks, k_params)
        return TrainingState(
            params=start.params,
            optimiser=self._optimiser.init(start.params),
            statistics=start.statistics,
            value_statistics=start.value_statistics,
            key=key,
            version=jnp.int32(0),
            bad_updates=jnp.int32(0),
            multipliers=self._limits and self._limits.initial(),
        )

    def update(
        self, state: TrainingState, unroll: schema.Unroll
    ) -> tuple[TrainingState, Mapping[str, chex.Array]]:
        """Returns the state after learning from one unroll, and metrics. Call it mapped.

        The first unroll only tells what observations look like: its metrics are of an update that
        is not made.

        Args:
          state: the current state, equal on every device.
          unroll: this device's share, `[T, B / devices, …]`.
        """
        # In a loop of one round: XLA compiles its body by itself, and so rounds it alike in every
        # program that it is part of.
        blank = jax.tree.map(
            lambda leaf: jnp.zeros(leaf.shape, leaf.dtype),
            jax.eval_shape(self._traced, state, unroll)[1],
        )
        fence = jax.lax.optimization_barrier
        once = jnp.where(state.version >= 0, 1, 0)  # always, as XLA does not know
        body = lambda _, carry: fence(self._traced(*fence((carry[0], unroll))))
        return jax.lax.fori_loop(0, once, body, (state, blank))

    def _learned(
        self, state: TrainingState, unroll: schema.Unroll
    ) -> tuple[TrainingState, Mapping[str, chex.Array]]:
        options = self.options
        key, k_epochs = jax.random.split(state.key)
        k_epochs = jax.random.fold_in(k_epochs, jax.lax.axis_index(AXIS))

        params, value_statistics, value_metrics = state.params, state.value_statistics, {}
        if self._by_values:
            params, value_statistics, value_metrics = self._renormalised(state, unroll)
        scheduled = options.final_entropy_cost != 1.0
        entropy_cost = options.entropy_cost
        if scheduled:
            entropy_cost *= self._left(state.version, options.final_entropy_cost)
        prices, multipliers = None, state.multipliers
        if self._limits:
            prices = limits_lib.prices(multipliers)
            multipliers = self._limits.ascended(multipliers, unroll.costs)
        fixed = losses.Fixed(state.statistics, value_statistics, entropy_cost, prices)
        found = {}
        if options.correction == "decoupled":
            found["proximal_log_probs"] = self._log_probs(state.params, state.statistics, unroll)
        if options.value_clip:
            found["former_values"] = self.networks.value(
                params, state.statistics, unroll.observations
            )
        epoch = functools.partial(self._epoch, unroll, fixed, found)
        (new_params, new_optimiser), metrics = jax.lax.scan(
            epoch, (params, state.optimiser), jax.random.split(k_epochs, options.epochs)
        )
        metrics = jax.tree.map(jnp.mean, metrics)
        if scheduled:
            metrics["policy/entropy_cost"] = entropy_cost

        old = self.networks.policy(state.params, state.statistics, unroll.observations)
        new = self.networks.policy(new_params, state.statistics, unroll.observations)
        divergence = jax.lax.pmean(self.networks.kl(old, new).sum(-1).mean(), AXIS)
        new_optimiser = self._steer(new_optimiser, divergence, state.version)
        metrics |= value_metrics | {
            "policy/kl": divergence,
            "policy/std": jax.lax.pmean(jnp.exp(new.log_std).mean(), AXIS),
            "policy/learning_rate": new_optimiser.hyperparams["learning_rate"],
        }
        if self._limits:
            metrics |= self._limits.metrics(multipliers)

        # An update that is not finite is not made, nor is the first: that batch only tells what
        # observations look like, and a policy that learned from them raw would not know them again.
        # One that is infinite is clipped before networks see it, and told by the variance alone.
        flat = unroll.observations.reshape(-1, unroll.observations.shape[-1])
        count = float(flat.shape[0]) * jax.lax.psum(1, AXIS)
        statistics = self.networks.observed(state.statistics, count, *moments(flat))
        made = [*jax.tree.leaves((new_params, multipliers)), statistics.variance]
        finite = jnp.isfinite(sum(jnp.sum(leaf) for leaf in made))
        either = lambda take, new, old: jax.tree.map(lambda n, o: jnp.where(take, n, o), new, old)
        keep = functools.partial(either, finite & (state.statistics.count > 0))
        return TrainingState(
            params=keep(new_params, state.params),
            optimiser=keep(new_optimiser, state.optimiser),
            statistics=either(finite, statistics, state.statistics),
            value_statistics=keep(value_statistics, state.value_statistics),
            key=key,
            version=state.version + 1,
            bad_updates=state.bad_updates + jnp.where(finite, 0, 1),
            multipliers=keep(multipliers, state.multipliers),
        ), metrics

    # Parts of the update.

    def _renormalised(self, state: TrainingState, unroll: schema.Unroll):
        """Returns parameters and value statistics that new value targets have moved, and metrics.

        Targets are measured with the value function that the batch finds. Their moments move the
        statistics, and the head is rescaled so that no value changes.
        """
        known = state.params, state.statistics, state.value_statistics
        _, targets = self._advantages(*known, unroll)
        first, second = jax.lax.pmean((targets.mean((0, 1)), (targets**2).mean((0, 1))), AXIS)
        value_statistics = popart.update(
            state.value_statistics, first, second, self.options.value_decay
        )
        params = popart.preserve(
            state.params, self.networks.value_groups, state.value_statistics, value_statistics
        )
        # 1 − Var(target − value) / Var(target), of the reward's values alone
        own = slice(self.networks.team.size)
        errors = (targets - self._values(*known, unroll.observations))[..., own]
        explained = 1.0 - jnp.var(errors) / jnp.maximum(jnp.var(targets[..., own]), 1e-8)
        return params, value_statistics, {
            "value/explained_variance": jax.lax.pmean(explained, AXIS),
            "value/target_mean": first[own].mean(),
            "value/target_std": value_statistics.std[own].mean(),
        }  # fmt: skip

    def _epoch(self, unroll: schema.Unroll, fixed: losses.Fixed, found, carry, key: chex.PRNGKey):
        """Returns parameters and optimiser after one pass over the unroll, and its metrics.

        Advantages are computed anew, with the values as they have become; `found` are fields of the
        batch that were there before the update.
        """
        params, optimiser = carry
        statistics, value_statistics = fixed.statistics, fixed.value_statistics
        count = self.options.minibatches
        flat = order = None
        if self._by_values:
            estimates, targets = self._advantages(params, statistics, value_statistics, unroll)
            batch = losses.Batch(
                unroll.observations, unroll.raw_actions, unroll.log_probs, estimates, targets,
                **found,
            )  # fmt: skip
            flat = jax.tree.map(lambda x: x.reshape((-1, *x.shape[2:])), batch)
            order = jax.random.permutation(key, flat.log_probs.shape[0]).reshape(count, -1)
        windows = window_order = None
        if self._by_gradient:
            windows = self._gradient.windows(unroll)
            k_windows = jax.random.fold_in(key, 1)
            window_order = jax.random.permutation(k_windows, windows.usable.size).reshape(count, -1)

        def loss(params, part, of_windows):
            total, metrics = self._losses(params, fixed, part) if self._by_values else (0.0, {})
            if self._by_gradient:
                more, more_metrics = self._gradient.loss(params, fixed, windows, of_windows)
                total, metrics = total + more, metrics | more_metrics
            return total, metrics

        def minibatch(carry, chosen):
            params, optimiser = carry
            rows, of_windows = chosen
            part = jax.tree.map(lambda x: x[rows], flat)
            gradients, metrics = jax.grad(loss, has_aux=True)(params, part, of_windows)
            gradients, metrics = jax.lax.pmean((gradients, metrics), AXIS)
            metrics["loss/gradient_norm"] = optax.global_norm(gradients)
            changes, optimiser = self._optimiser.update(gradients, optimiser, params)
            if (sizes := roles.step_sizes(self.networks.team, params)) is not None:
                changes = jax.tree.map(jnp.multiply, changes, sizes)
            return (optax.apply_updates(params, changes), optimiser), metrics

        return jax.lax.scan(minibatch, (params, optimiser), (order, window_order))

    def _steer(self, optimiser, divergence: chex.Array, version: chex.Array):
        """Returns the optimiser with the step size of the next update, steered or scheduled."""
        options = self.options
        rate = optimiser.hyperparams["learning_rate"]
        if options.target_kl:
            rate = schedules.steered(rate, divergence, options.target_kl, options.learning_rate)
        else:
            left = self._left(version + 1, options.final_learning_rate)
            rate = options.learning_rate * left
        return optimiser._replace(hyperparams={**optimiser.hyperparams, "learning_rate": rate})

    def _left(self, version: chex.Array, end: float) -> chex.Array:
        """Returns what is left of something that ends as the share `end` of its start."""
        return schedules.half_cosine(jnp.minimum(version / self._updates, 1.0), end)

    def _values(self, params, statistics, value_statistics, observations):
        normalised = self.networks.value(params, statistics, observations)
        return popart.denormalise(value_statistics, normalised)

    def _log_probs(self, params, statistics, unroll: schema.Unroll) -> chex.Array:
        """Returns log-probabilities `[T, B, A]` of what was done."""
        policy = self.networks.policy(params, statistics, unroll.observations)
        return self.networks.log_prob(policy, unroll.raw_actions)

    def _advantages(self, params, statistics, value_statistics, unroll: schema.Unroll):
        """Returns advantages and value targets, `[T, B, V]` each, in units of reward and costs."""
        observations = jnp.concatenate(
            [unroll.observations, unroll.bootstrap_observation[None]], axis=0
        )
        values = self._values(params, statistics, value_statistics, observations)
        cut = self._values(params, statistics, value_statistics, unroll.truncation_observation)
        next_values = jnp.where(unroll.truncated[..., None], cut[None], values[1:])
        rewards, limit = unroll.rewards, self.options.reward_limit
        rewards = jnp.clip(rewards, -limit, limit) if limit else rewards
        discounts = self.networks.team.discounts
        if self._limits:
            costs = jnp.repeat(self._limits.costs(unroll.costs), self.networks.team.size, -1)
            rewards = jnp.concatenate([rewards, costs], -1)
            discounts = np.tile(discounts, 1 + self.networks.costs)
        weights = None
        if self.options.correction == "vtrace":
            log_ratios = self._log_probs(params, statistics, unroll) - unroll.log_probs
            weights = advantages_lib.truncated_weights(log_ratios)
            weights = jnp.tile(weights, 1 + self.networks.costs)
        keeps = self.options.gae_lambda
        deciding = self.networks.team.deciding(unroll.observations)
        if deciding is not None:
            keeps = advantages_lib.semi_markov(keeps, deciding)
            keeps = jnp.tile(keeps, 1 + self.networks.costs)
        over_grids = jax.vmap(
            advantages_lib.generalised_advantages,
            (1, 1, 1, 1, 1, None, None if deciding is None else 1, 1),
            out_axes=1,
        )
        estimates = over_grids(
            rewards, values[:-1], next_values, unroll.terminated, unroll.truncated,
            jnp.asarray(discounts), keeps, weights,
        )  # fmt: skip
        corrections = estimates if weights is None else weights * estimates
        return estimates, corrections + values[:-1]


def _parts(params: networks_lib.Params):
    """Returns which part of the networks each parameter is of."""
    head = heads.BREAKER

    def part(path, _):
        names = [entry.key for entry in path]
        return head if head in names else names[0]

    return jax.tree_util.tree_map_with_path(part, params)


def bundle(state: TrainingState) -> bundle_lib.Bundle:
    """Returns what of the state is published."""
    return bundle_lib.Bundle(state.params, state.statistics, state.value_statistics, state.version)
