"""The losses of a minibatch of samples: of the policy, of the values, of the entropy."""

import chex
import flax.struct
import jax.numpy as jnp
import numpy as np

from agents import networks as networks_lib, normaliser
from learner import limits, options as options_lib, popart, surrogates
from learner.devices import moments

# Weight of the value loss: that of OpenAI's own implementation (Huang et al. 2022, detail 10).
_VALUE_COST = 0.5


@flax.struct.dataclass
class Fixed:
    """What every minibatch of an update has in common."""

    statistics: normaliser.ObservationStatistics
    value_statistics: normaliser.ValueStatistics
    entropy_cost: chex.Numeric
    prices: chex.Array | None = None  # `[L]` of costs, where there are limits


@flax.struct.dataclass
class Batch:
    """Decisions of one device's share, time and grids flattened to N; V values."""

    observations: chex.Array  # `[N, observation_size]`
    raw_actions: chex.Array  # `[N, action_size]`
    log_probs: chex.Array  # `[N, A]`
    advantages: chex.Array  # `[N, V]`
    targets: chex.Array  # `[N, V]` in units of reward and costs
    # By the policy and the value function that the update found, where options ask for it:
    proximal_log_probs: chex.Array | None = None  # `[N, A]`
    former_values: chex.Array | None = None  # `[N, V]` normalised as predictions in this update


class Losses:
    """The losses of one team."""

    def __init__(self, networks: networks_lib.TeamNetworks, options: options_lib.LearnerOptions):
        self._networks, self._options = networks, options

    def __call__(self, params, fixed: Fixed, batch: Batch):
        """Returns the losses of a minibatch, summed, and metrics.

        The policy's count unless it learns from gradients through the environment alone.
        """
        options = self._options
        policy = self._networks.policy(params, fixed.statistics, batch.observations)
        log_probs = self._networks.log_prob(policy, batch.raw_actions)
        log_ratio = log_probs - batch.log_probs
        ratio = jnp.exp(log_ratio)  # [N, A]
        mean, variance = moments(batch.advantages)
        advantages = (batch.advantages - mean) / (jnp.sqrt(variance) + 1e-8)
        if fixed.prices is not None:
            advantages = limits.combined(advantages, fixed.prices)
        bounded = ratio
        if options.correction == "decoupled":
            bounded = jnp.exp(log_probs - batch.proximal_log_probs)
            log_weight = batch.proximal_log_probs - batch.log_probs
            gain = surrogates.decoupled(bounded, log_weight, advantages, options.clip)
        elif options.correction == "vtrace":
            gain = surrogates.weighted(log_probs, batch.log_probs, advantages)
        else:
            gain = surrogates.clipped(ratio, advantages, options.clip)
        gain = gain.mean(0)  # [A]
        team = self._networks.team
        surrogate = -(team.weights("policy") * gain).mean()

        predicted = self._networks.value(params, fixed.statistics, batch.observations)
        targets = popart.normalise(fixed.value_statistics, batch.targets)
        errors = self._squared_errors(predicted, targets, batch.former_values).mean(0)  # [V]
        value_weights = np.tile(team.weights("value"), 1 + self._networks.costs)
        value_loss = 0.5 * (value_weights * errors).mean()
        entropies = self._networks.entropy(policy).mean(0)  # [A]
        entropy = (team.weights("entropy") * entropies).sum()
        loss = _VALUE_COST * value_loss
        if options.objective != "analytic":
            loss = surrogate + loss - fixed.entropy_cost * entropy
        clipped = (jnp.abs(bounded - 1.0) > options.clip).mean(0)
        # Schulman's estimator of the divergence from the policy that acted, k3.
        divergence = (ratio - 1.0 - log_ratio).mean(0)
        return loss, {
            "loss/total": loss,
            "loss/policy": surrogate,
            "loss/value": value_loss,
            "policy/entropy": entropy,
            "policy/clip_share": clipped.mean(),
            "policy/kl_behaviour": divergence.mean(),
            **team.by_name({
                "policy_loss": -gain, "value_loss": 0.5 * errors, "entropy": entropies,
                "clip_share": clipped, "kl_behaviour": divergence,
            }),
        }  # fmt: skip

    def _squared_errors(self, predicted, targets, former) -> chex.Array:
        """Returns the squared error of each value, the larger of two where values are clipped.

        A value that has left its former one by more than `value_clip` then has no gradient, unless
        that takes it back (Schulman's implementation of PPO; Huang et al. 2022, detail 9).
        """
        errors = (predicted - targets) ** 2
        limit = self._options.value_clip
        if not limit:
            return errors
        clipped = former + jnp.clip(predicted - former, -limit, limit)
        return jnp.maximum(errors, (clipped - targets) ** 2)
