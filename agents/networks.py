"""Networks of a team: for each agent a policy and a value function on what it observes."""

import functools
import operator
from typing import Any, NamedTuple

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from agents import (
    breakers as breakers_lib,
    distributions,
    normaliser,
    options as options_lib,
    team as team_lib,
)

Params = Any

_POLICY_HEAD_SCALE = 0.01  # Starts every policy close to "as planned".
# The log standard deviation stays within this much of its middle, smoothly, so that densities keep
# a finite size in single precision.
_LOG_STD_MIDDLE, _LOG_STD_REACH = -1.5, 2.5
BREAKER_HEAD = "breaker"  # name of the parameters


class Torso(nn.Module):
    """Fully connected layers, orthogonal initialisation."""

    widths: tuple[int, ...]
    activation: str  # of `options.ACTIVATIONS`
    layer_norm: bool  # before each activation (Ba, Kiros and Hinton 2016)

    @nn.compact
    def __call__(self, x):
        """Returns features `[..., widths[-1]]` of inputs `[..., n]`."""
        for width in self.widths:
            x = nn.Dense(width, kernel_init=nn.initializers.orthogonal(2**0.5))(x)
            x = nn.LayerNorm()(x) if self.layer_norm else x
            x = getattr(nn, self.activation)(x)
        return x


def _torso(widths: tuple[int, ...], options: options_lib.TeamOptions) -> Torso:
    # No shape tells an activation, so that the name of the parameters does: without it a checkpoint
    # would be read into another function. The first activation has kept the name that Flax gives.
    first = options.activation == options_lib.ACTIVATIONS[0]
    name = None if first else f"{options.activation.capitalize()}Torso"
    return Torso(widths, options.activation, options.layer_norm, name=name)


class PolicyNetwork(nn.Module):
    """What one agent's actions are drawn from: normals before the squash, and a breaker."""

    options: options_lib.TeamOptions
    n_action: int  # but for breakers
    n_breakers: int = 0

    @nn.compact
    def __call__(self, x):
        """Returns mean and log standard deviation, `[..., n_action]` each, and logits.

        Logits `[..., 1 + n_breakers]` are of no operation and of operating each breaker; none where
        there are no breakers.
        """
        x = _torso(self.options.policy_layers, self.options)(x)
        small = nn.initializers.orthogonal(_POLICY_HEAD_SCALE)
        offset = (np.log(self.options.initial_std) - _LOG_STD_MIDDLE) / _LOG_STD_REACH
        start = nn.initializers.constant(np.arctanh(offset))
        mean = nn.Dense(self.n_action, kernel_init=small, name="mean")(x)
        # The spread depends on the state, as in Brax: it then learns as fast as the mean.
        log_std = nn.Dense(self.n_action, kernel_init=small, bias_init=start, name="log_std")(x)
        log_std = _LOG_STD_MIDDLE + _LOG_STD_REACH * jnp.tanh(log_std)
        if not self.n_breakers:
            return mean, log_std, None
        moved = self.options.initial_switching
        rest = np.log((1.0 - moved) / moved * self.n_breakers)
        start = lambda key, shape, dtype: jnp.zeros(shape, dtype).at[0].set(rest)
        head = nn.Dense(1 + self.n_breakers, kernel_init=small, bias_init=start, name=BREAKER_HEAD)
        return mean, log_std, head(x)


class ValueNetwork(nn.Module):
    """Normalised values of one agent; the head is apart so that PopArt can rescale it."""

    options: options_lib.TeamOptions
    costs: int

    @nn.compact
    def __call__(self, x):
        """Returns values of reward and costs `[..., 1 + costs]` of inputs `[..., n]`."""
        x = _torso(self.options.value_layers, self.options)(x)
        start = nn.initializers.orthogonal(1.0)
        return nn.Dense(1 + self.costs, kernel_init=start, name="head")(x)


class Distribution(NamedTuple):
    """Normals before the squash, each `[..., controls]`, and each agent's choice of a breaker."""

    mean: chex.Array
    log_std: chex.Array
    operations: tuple[breakers_lib.Operation, ...] = ()  # of agents that have breakers


class TeamNetworks:
    """Pure functions of a team's parameters: `{"policy": {agent: …}, "value": {agent: …}}`.

    Normals are of the controls but breakers, in the order of the action vector.
    """

    def __init__(
        self,
        team: team_lib.Team,
        options: options_lib.TeamOptions,
        costs: int = 0,
        objective: str = "ppo",
    ):
        """Initialises.

        Args:
          team: whose networks they are.
          options: of the team.
          costs: how many costs have values beside the reward's.
          objective: what the policy is improved by, `learner.objective`. By gradients, `analytic`,
            nothing is learned of breakers at random, and samples have the most likely operation. By
            `both`, samples teach which breaker to operate and gradients the rest: probabilities and
            entropies are then those of that choice alone, if there is one.
        """
        self.team, self.costs = team, costs
        each = [team.breakers.among(agent.action) for agent in team.agents]
        self._breakers = {i: own for i, own in enumerate(each) if own.action.size}  # by agent
        operated = [own.action for own in self._breakers.values()]
        controls = [
            agent.action[~np.isin(agent.action, own.action)]
            for agent, own in zip(team.agents, each)
        ]
        self._policies = [
            PolicyNetwork(options, moved.size, own.action.size)
            for moved, own in zip(controls, each)
        ]
        # Entry i of the controls but breakers, in the order of the action vector, is entry
        # `_order[i]` of the agents' in a row; of the vector, entry `_places[i]` of those and then
        # breakers.
        moved = np.concatenate(controls)
        self._continuous, self._order = np.sort(moved), np.argsort(moved)
        self._places = np.argsort(np.concatenate([self._continuous, *operated]))
        self._samples_breakers = objective != "analytic"
        self._breakers_alone = objective == "both" and bool(operated)
        self._values = [ValueNetwork(options, costs) for _ in team.agents]

    def init(self, key: chex.PRNGKey) -> Params:
        """Returns fresh parameters."""
        keys = jax.random.split(key, 2 * self.team.size)
        policy, value = {}, {}
        for index, agent in enumerate(self.team.agents):
            blank = jnp.zeros(agent.observation.size)
            policy[agent.name] = self._policies[index].init(keys[2 * index], blank)["params"]
            value[agent.name] = self._values[index].init(keys[2 * index + 1], blank)["params"]
        return {"policy": policy, "value": value}

    def policy(
        self, params: Params, statistics: normaliser.ObservationStatistics, observation: chex.Array
    ) -> Distribution:
        """Returns the distribution of actions at observations `[..., observation_size]`."""
        x = normaliser.normalise(statistics, observation)
        means, log_stds, operations = [], [], []
        for index, (network, agent) in enumerate(zip(self._policies, self.team.agents)):
            mean, log_std, logits = network.apply(
                {"params": params["policy"][agent.name]}, x[..., agent.observation]
            )
            means.append(mean)
            log_stds.append(log_std)
            if own := self._breakers.get(index):
                operations.append(breakers_lib.operation(own, logits, observation))
        joined = (jnp.concatenate(parts, axis=-1)[..., self._order] for parts in (means, log_stds))
        return Distribution(*joined, tuple(operations))

    def value(
        self, params: Params, statistics: normaliser.ObservationStatistics, observation: chex.Array
    ) -> chex.Array:
        """Returns each agent's normalised value `[..., A]`, then its values of each cost in turn.

        With costs that are `[..., (1 + costs) · A]`.
        """
        x = normaliser.normalise(statistics, observation)
        values = [
            network.apply({"params": params["value"][agent.name]}, x[..., agent.observation])
            for network, agent in zip(self._values, self.team.agents)
        ]
        values = jnp.stack(values, axis=-1)
        return values.reshape(*values.shape[:-2], self.n_values)

    @property
    def n_values(self) -> int:
        """How many values there are: of reward and costs, of each agent."""
        return self.team.size * (1 + self.costs)

    # Actions here are before the squash, `[..., action_size]`.

    def sample(self, key: chex.PRNGKey, distribution: Distribution) -> chex.Array:
        """Returns actions at random."""
        normal = distributions.sample(key, distribution.mean, distribution.log_std)
        if not self._samples_breakers:
            return self._joined(normal, map(breakers_lib.mode, distribution.operations))
        keys = (jax.random.fold_in(key, index) for index in self._breakers)
        return self._joined(normal, map(breakers_lib.sample, keys, distribution.operations))

    def mode(self, distribution: Distribution) -> chex.Array:
        """Returns the most likely actions."""
        operated = map(breakers_lib.mode, distribution.operations)
        return self._joined(distribution.mean, operated)

    def log_prob(self, distribution: Distribution, raw_action: chex.Array) -> chex.Array:
        """Returns each agent's log-probability `[..., A]` of actions."""
        if self._breakers_alone:
            total = jnp.zeros((*raw_action.shape[:-1], self.team.size), raw_action.dtype)
        else:
            normal = raw_action[..., self._continuous] if self._breakers else raw_action
            per_entry = distributions.log_prob(normal, distribution.mean, distribution.log_std)
            total = per_entry @ self.team.membership[self._continuous]
        for (index, own), operation in zip(self._breakers.items(), distribution.operations):
            chosen = breakers_lib.log_prob(operation, raw_action[..., own.action])
            total = total.at[..., index].add(chosen)
        return total

    def entropy(self, distribution: Distribution) -> chex.Array:
        """Returns the entropy `[...]` of actions, in nats."""
        parts = [breakers_lib.entropy(operation) for operation in distribution.operations]
        if not self._breakers_alone:
            parts.append(distributions.entropy(distribution.log_std).sum(-1))
        return functools.reduce(operator.add, parts)

    def kl(self, p: Distribution, q: Distribution) -> chex.Array:
        """Returns KL(p ‖ q) `[...]` of two distributions at the same observations."""
        parts = [*map(breakers_lib.kl, p.operations, q.operations)]
        parts.append(distributions.kl(p.mean, p.log_std, q.mean, q.log_std).sum(-1))
        return functools.reduce(operator.add, parts)

    def carried_out(
        self, action: chex.Array, observation: chex.Array
    ) -> tuple[chex.Array, tuple[chex.Array, ...]]:
        """Returns what `action` `[..., action_size]` in [−1, 1], of anyone's, comes to.

        That is of each control that normals are of, and of each agent's choice of a breaker.
        """
        chosen = [
            breakers_lib.carried_out(own, action, observation) for own in self._breakers.values()
        ]
        return action[..., self._continuous], tuple(chosen)

    def _joined(self, normal: chex.Array, operated) -> chex.Array:
        if not self._breakers:
            return normal
        return jnp.concatenate([normal, *operated], axis=-1)[..., self._places]


def make(
    layout, options: options_lib.TeamOptions, costs: int = 0, objective: str = "ppo"
) -> TeamNetworks:
    """Returns the networks of the team that `options` describe on an environment's layout."""
    return TeamNetworks(team_lib.make(layout, options), options, costs, objective)
