"""Networks of a team: for each agent a policy and a value function on what it observes."""

import functools
import operator
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from agents import (
    breakers as breakers_lib,
    dense_networks,
    distributions,
    graph_networks,
    grid_features,
    normaliser,
    options as options_lib,
    team as team_lib,
)

Params = Any


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
        features: grid_features.GridFeatures | None = None,
        objective: str = "ppo",
    ):
        """Initialises.

        Args:
          team: who acts.
          options: of the team.
          costs: how many have values beside the reward's.
          features: of the grid's elements, for networks that follow it; none: fully connected ones.
          objective: what the policy is improved by, `learner.objective`. By gradients, `analytic`,
            nothing is learned of breakers at random, and samples have the most likely operation. By
            `both`, samples teach which breaker to operate and gradients the rest: probabilities and
            entropies are then those of that choice alone, if there is one.
        """
        self.team, self.costs, self._features = team, costs, features
        each = [team.breakers.among(agent.action) for agent in team.agents]
        self._breakers = {i: own for i, own in enumerate(each) if own.action.size}  # by agent
        operated = [own.action for own in self._breakers.values()]
        controls = [
            agent.action[~np.isin(agent.action, own.action)]
            for agent, own in zip(team.agents, each)
        ]
        moved = np.concatenate(controls)
        # Entry i of the controls but breakers, in the order of the action vector, is entry
        # `_order[i]` of the agents' in a row; of the vector, entry `_places[i]` of those and then
        # breakers.
        self._continuous, self._order = np.sort(moved), np.argsort(moved)
        self._places = np.argsort(np.concatenate([self._continuous, *operated]))
        self._samples_breakers = objective != "analytic"
        self._breakers_alone = objective == "both" and bool(operated)
        if features:
            self._policies = [
                graph_networks.GraphPolicyNetwork(options, features, moved, own.action)
                for moved, own in zip(controls, each)
            ]
            value = graph_networks.GraphValueNetwork(options, features, costs)
        else:
            self._policies = [
                dense_networks.PolicyNetwork(options, moved.size, own.action.size)
                for moved, own in zip(controls, each)
            ]
            value = dense_networks.ValueNetwork(options, costs)
        self._value = value

    def init(self, key: chex.PRNGKey) -> Params:
        """Returns fresh parameters."""
        keys = jax.random.split(key, 2 * self.team.size)
        policy, value = {}, {}
        seen = self._inputs(self.statistics(), jnp.zeros(self.team.observation_size))
        for index, (agent, blank) in enumerate(zip(self.team.agents, seen)):
            policy[agent.name] = self._policies[index].init(keys[2 * index], blank)["params"]
            value[agent.name] = self._value.init(keys[2 * index + 1], blank)["params"]
        return {"policy": policy, "value": value}

    def policy(
        self, params: Params, statistics: normaliser.ObservationStatistics, observation: chex.Array
    ) -> Distribution:
        """Returns the distribution of actions at observations `[..., observation_size]`."""
        means, log_stds, operations = [], [], []
        inputs = self._inputs(statistics, observation)
        for index, (agent, x) in enumerate(zip(self.team.agents, inputs)):
            own_params = {"params": params["policy"][agent.name]}
            mean, log_std, logits = self._policies[index].apply(own_params, x)
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
        inputs = self._inputs(statistics, observation)
        values = [
            self._value.apply({"params": params["value"][agent.name]}, x)
            for agent, x in zip(self.team.agents, inputs)
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
    features = grid_features.GridFeatures(layout) if options.encoder == "graph" else None
    return TeamNetworks(team_lib.make(layout, options), options, costs, features, objective)
