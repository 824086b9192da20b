"""Networks of a team: for each agent a policy and a value function on what it observes."""

from typing import Any, NamedTuple

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from agents import (
    distributions,
    graph_networks,
    grid_features,
    normaliser,
    options as options_lib,
    team as team_lib,
)

Params = Any

_POLICY_HEAD_SCALE = 0.01  # Starts every policy close to "as planned".
# The log standard deviation stays within this much of its middle, smoothly, so that densities keep
# a finite size in single precision.
_LOG_STD_MIDDLE, _LOG_STD_REACH = -1.5, 2.5


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
    """Mean and log standard deviation of one agent's actions before the squash."""

    options: options_lib.TeamOptions
    n_action: int

    @nn.compact
    def __call__(self, x):
        """Returns mean and log standard deviation, `[..., n_action]` each."""
        x = _torso(self.options.policy_layers, self.options)(x)
        return _gaussian(x, self.n_action, self.options)


def _gaussian(x, n_action: int, options: options_lib.TeamOptions, prefix: str = ""):
    """Returns mean and log standard deviation `[..., n_action]`, of heads on features `x`."""
    small = nn.initializers.orthogonal(_POLICY_HEAD_SCALE)
    offset = (np.log(options.initial_std) - _LOG_STD_MIDDLE) / _LOG_STD_REACH
    start = nn.initializers.constant(np.arctanh(offset))
    mean = nn.Dense(n_action, kernel_init=small, name=f"{prefix}mean")(x)
    # The spread depends on the state, as in Brax: it then learns as fast as the mean.
    log_std = nn.Dense(n_action, kernel_init=small, bias_init=start, name=f"{prefix}log_std")(x)
    return mean, _LOG_STD_MIDDLE + _LOG_STD_REACH * jnp.tanh(log_std)


class ValueNetwork(nn.Module):
    """Normalised values of one agent; the head is apart so that PopArt can rescale it."""

    options: options_lib.TeamOptions
    costs: int

    @nn.compact
    def __call__(self, x):
        """Returns values of reward and costs `[..., 1 + costs]` of inputs `[..., n]`."""
        x = _torso(self.options.value_layers, self.options)(x)
        return _values(x, self.costs)


def _values(x, costs: int):
    return nn.Dense(1 + costs, kernel_init=nn.initializers.orthogonal(1.0), name="head")(x)


class GraphPolicyNetwork(nn.Module):
    """As `PolicyNetwork`, with the same function for all controls of a kind."""

    options: options_lib.TeamOptions
    features: grid_features.GridFeatures
    action: np.ndarray  # indices into the action vector

    @nn.compact
    def __call__(self, tables: grid_features.Tables):
        """Returns mean and log standard deviation, `[..., n_action]` each."""
        parts = self.options, self.features
        at_bus = graph_networks.torso(*parts, self.options.policy_layers)(tables)
        blocks = []
        for name, control in self.features.controls.items():
            x = graph_networks.GraphReadout(*parts, name, name=name)(tables, at_bus)
            heads = _gaussian(x, control.titles, self.options, f"{name}_")
            every = np.arange(len(control.rows))
            blocks.append([head[..., every, control.title] for head in heads])
        mean, log_std = (jnp.concatenate(heads, -1)[..., self.action] for heads in zip(*blocks))
        return mean, log_std


class GraphValueNetwork(nn.Module):
    """As `ValueNetwork`, of the mean over all buses."""

    options: options_lib.TeamOptions
    features: grid_features.GridFeatures
    costs: int

    @nn.compact
    def __call__(self, tables: grid_features.Tables):
        """Returns values of reward and costs `[..., 1 + costs]`."""
        torso = graph_networks.torso(self.options, self.features, self.options.value_layers)
        return _values(torso(tables).mean(-2), self.costs)


class Distribution(NamedTuple):
    """Normal before the squash, each `[..., action_size]`."""

    mean: chex.Array
    log_std: chex.Array


class TeamNetworks:
    """Pure functions of a team's parameters: `{"policy": {agent: …}, "value": {agent: …}}`."""

    def __init__(
        self,
        team: team_lib.Team,
        options: options_lib.TeamOptions,
        costs: int = 0,
        features: grid_features.GridFeatures | None = None,
    ):
        """Initialises.

        Args:
          team: who acts.
          options: of the team.
          costs: how many have values beside the reward's.
          features: of the grid's elements, for networks that follow it; none: fully connected ones.
        """
        self.team, self.costs, self._features = team, costs, features
        if features:
            self._policies = [
                GraphPolicyNetwork(options, features, agent.action) for agent in team.agents
            ]
            self._values = [GraphValueNetwork(options, features, costs) for _ in team.agents]
        else:
            self._policies = [PolicyNetwork(options, agent.action.size) for agent in team.agents]
            self._values = [ValueNetwork(options, costs) for _ in team.agents]
        # Entry i of the action vector is entry `_order[i]` of the agents' actions in a row.
        self._order = np.argsort(np.concatenate([agent.action for agent in team.agents]))

    def init(self, key: chex.PRNGKey) -> Params:
        """Returns fresh parameters."""
        keys = jax.random.split(key, 2 * self.team.size)
        policy, value = {}, {}
        seen = self._inputs(self.statistics(), jnp.zeros(self.team.observation_size))
        for index, (agent, blank) in enumerate(zip(self.team.agents, seen)):
            policy[agent.name] = self._policies[index].init(keys[2 * index], blank)["params"]
            value[agent.name] = self._values[index].init(keys[2 * index + 1], blank)["params"]
        return {"policy": policy, "value": value}

    def policy(
        self, params: Params, statistics: normaliser.ObservationStatistics, observation: chex.Array
    ) -> Distribution:
        """Returns the distribution of actions at observations `[..., observation_size]`."""
        means, log_stds = [], []
        inputs = self._inputs(statistics, observation)
        for network, agent, x in zip(self._policies, self.team.agents, inputs):
            mean, log_std = network.apply({"params": params["policy"][agent.name]}, x)
            means.append(mean)
            log_stds.append(log_std)
        joined = (jnp.concatenate(parts, axis=-1)[..., self._order] for parts in (means, log_stds))
        return Distribution(*joined)

    def value(
        self, params: Params, statistics: normaliser.ObservationStatistics, observation: chex.Array
    ) -> chex.Array:
        """Returns each agent's normalised value `[..., A]`, then its values of each cost in turn.

        With costs that are `[..., (1 + costs) · A]`.
        """
        inputs = self._inputs(statistics, observation)
        values = [
            network.apply({"params": params["value"][agent.name]}, x)
            for network, agent, x in zip(self._values, self.team.agents, inputs)
        ]
        values = jnp.stack(values, axis=-1)
        return values.reshape(*values.shape[:-2], self.n_values)

    def _inputs(
        self, statistics: normaliser.ObservationStatistics, observation: chex.Array
    ) -> list:
        """Returns what each agent's networks read of observations `[..., observation_size]`."""
        if not self._features:
            x = normaliser.normalise(statistics, observation)
            return [x[..., agent.observation] for agent in self.team.agents]
        x = normaliser.normalise(self._features.pooling.per_entry(statistics), observation)
        every = np.arange(self.team.observation_size)
        return [
            self._features.tables(x, observation, np.isin(every, agent.observation))
            for agent in self.team.agents
        ]

    def statistics(self) -> normaliser.ObservationStatistics:
        """Returns statistics of observations before any."""
        features = self._features
        return normaliser.initial(
            features.pooling.groups if features else self.team.observation_size
        )

    def observed(
        self,
        statistics: normaliser.ObservationStatistics,
        count: float,
        mean: chex.Array,
        variance: chex.Array,
    ) -> normaliser.ObservationStatistics:
        """Returns statistics that include a batch; see `normaliser.merge`."""
        if self._features:
            mean, variance = self._features.pooling.moments(mean, variance)
        return normaliser.merge(statistics, count, mean, variance)

    @property
    def n_values(self) -> int:
        """How many values there are: of reward and costs, of each agent."""
        return self.team.size * (1 + self.costs)

    def log_prob(self, distribution: Distribution, raw_action: chex.Array) -> chex.Array:
        """Returns each agent's log-probability `[..., A]` of actions before the squash."""
        per_entry = distributions.log_prob(raw_action, *distribution)
        return per_entry @ self.team.membership


def make(layout, options: options_lib.TeamOptions, costs: int = 0) -> TeamNetworks:
    """Returns the networks of the team that `options` describe on an environment's layout."""
    features = grid_features.GridFeatures(layout) if options.encoder == "graph" else None
    return TeamNetworks(team_lib.make(layout, options), options, costs, features)
