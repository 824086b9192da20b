"""Networks of a team: for each agent a policy and a value function on what it observes."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from agents import (
    attention_networks,
    breakers as breakers_lib,
    distributions,
    grid_features,
    groups,
    normaliser,
    options as options_lib,
    team as team_lib,
    teams,
)

Params = Any


class Distribution(NamedTuple):
    """Normals before the squash, each `[..., controls]`, and each agent's choice of a breaker."""

    mean: chex.Array
    log_std: chex.Array
    operations: tuple[breakers_lib.Operation, ...] = ()  # of agents that have breakers
    # Who decides, bool `[..., A]`, and the controls of decisions that hold; none: all decide.
    deciding: chex.Array | None = None
    held: chex.Array | None = None


class TeamNetworks:
    """Pure functions of a team's parameters: `{"policy": {group: …}, "value": {group: …}}`.

    Agents that share parameters are a group; who shares none is one by himself. Normals are of the
    controls but breakers, in the order of the action vector.
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
        # By `both`, samples teach what has no derivative: breakers, and decisions that hold, whose
        # worth shows later. Where there is neither they teach everything, too.
        held = np.isin(self._continuous, team.held_actions)
        self._by_samples = np.ones(held.size, np.float32)
        if objective == "both" and (operated or held.any()):
            self._by_samples = held.astype(np.float32)
        self._policies = groups.policies(team, options, features, controls, each)
        self._values = groups.values(team, options, features, costs)
        if features and (team.memory_size or team.attends):
            raise ValueError(
                f"team.encoder=graph: reads the grid alone, and agents of team.kind={options.kind} "
                "hear one another or hold decisions; give team.encoder=mlp"
            )

    def init(self, key: chex.PRNGKey) -> Params:
        """Returns fresh parameters."""
        keys = jax.random.split(key, 2 * self.team.size)
        blank = self.statistics(), jnp.zeros(self.team.input_size)
        seen, judged = (
            self._inputs(*blank, entries) for entries in (self.team.seen, self.team.judged)
        )
        return {
            "policy": {g.name: g.init(keys[2 * g.members[0]], seen) for g in self._policies},
            "value": {g.name: g.init(keys[2 * g.members[0] + 1], judged) for g in self._values},
        }

    def policy(
        self, params: Params, statistics: normaliser.ObservationStatistics, observation: chex.Array
    ) -> Distribution:
        """Returns the distribution of actions at inputs `[..., input_size]`, see `Team.input`."""
        inputs = self._inputs(statistics, observation, self.team.seen)
        means, log_stds, logits = zip(*groups.each(self._policies, params["policy"], inputs))
        operations = (
            breakers_lib.operation(own, logits[index], observation)
            for index, own in self._breakers.items()
        )
        joined = (jnp.concatenate(parts, axis=-1)[..., self._order] for parts in (means, log_stds))
        deciding, held = self.team.deciding(observation), None
        if deciding is not None:
            held = self.team.held(observation)[..., self._continuous]
        return Distribution(*joined, tuple(operations), deciding, held)

    def attention(
        self, params: Params, statistics: normaliser.ObservationStatistics, observation: chex.Array
    ) -> chex.Array:
        """Returns how much each agent heeds each, `[..., heads, A, A]`, at inputs; rows sum to 1.

        Of teams that attend to one another alone.
        """
        (group,) = self._policies
        inputs = self._inputs(statistics, observation, self.team.seen)
        params = {"params": params["policy"][group.name]}
        _, state = group.run(params, inputs, mutable="intermediates")
        (weights,) = state["intermediates"]["attention"][attention_networks.WEIGHTS]
        return weights

    def value(
        self, params: Params, statistics: normaliser.ObservationStatistics, observation: chex.Array
    ) -> chex.Array:
        """Returns each agent's normalised value `[..., A]`, then its values of each cost in turn.

        With costs that are `[..., (1 + costs) · A]`.
        """
        inputs = self._inputs(statistics, observation, self.team.judged)
        values = jnp.stack(groups.each(self._values, params["value"], inputs), axis=-1)
        return values.reshape(*values.shape[:-2], self.n_values)

    def _inputs(
        self,
        statistics: normaliser.ObservationStatistics,
        observation: chex.Array,
        entries: Sequence[np.ndarray],
    ) -> list:
        """Returns what each network reads of inputs `[..., input_size]`."""
        if not self._features:
            x = normaliser.normalise(statistics, observation)
            return [x[..., own] for own in entries]
        x = normaliser.normalise(self._features.pooling.per_entry(statistics), observation)
        every = np.arange(self.team.input_size)
        return [self._features.tables(x, observation, np.isin(every, own)) for own in entries]

    @property
    def value_groups(self) -> dict[str, np.ndarray]:
        """Which values each head's columns are: `[1 + costs]`, of several agents `[n, 1 + costs]`.

        By the name of the head's parameters among those of value functions.
        """
        of = lambda members: np.array(members)[:, None] + self.team.size * np.arange(1 + self.costs)
        return {
            group.name: of(group.members) if len(group.members) > 1 else of(group.members)[0]
            for group in self._values
        }

    def statistics(self) -> normaliser.ObservationStatistics:
        """Returns statistics of observations before any."""
        features = self._features
        return normaliser.initial(features.pooling.groups if features else self.team.input_size)

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

    # Actions here are before the squash, `[..., output_size]`. What holds has no probability.

    def sample(self, key: chex.PRNGKey, distribution: Distribution) -> chex.Array:
        """Returns actions at random."""
        normal = distributions.sample(key, distribution.mean, distribution.log_std)
        normal = self._held_on(distribution, normal)
        if not self._samples_breakers:
            return self._joined(normal, map(breakers_lib.mode, distribution.operations))
        keys = (jax.random.fold_in(key, index) for index in self._breakers)
        return self._joined(normal, map(breakers_lib.sample, keys, distribution.operations))

    def mode(self, distribution: Distribution) -> chex.Array:
        """Returns the most likely actions."""
        operated = map(breakers_lib.mode, distribution.operations)
        return self._joined(self._held_on(distribution, distribution.mean), operated)

    def log_prob(self, distribution: Distribution, raw_action: chex.Array) -> chex.Array:
        """Returns each agent's log-probability `[..., A]` of actions."""
        normal = raw_action[..., self._continuous] if self._breakers else raw_action
        per_entry = distributions.log_prob(normal, distribution.mean, distribution.log_std)
        chosen = (
            breakers_lib.log_prob(operation, raw_action[..., own.action])
            for own, operation in zip(self._breakers.values(), distribution.operations)
        )
        return self._by_agent(distribution, self._by_samples * per_entry, chosen)

    def entropy(self, distribution: Distribution) -> chex.Array:
        """Returns the entropy of each agent's actions `[..., A]`, in nats."""
        normal = distributions.entropy(distribution.log_std)
        operated = map(breakers_lib.entropy, distribution.operations)
        return self._by_agent(distribution, self._by_samples * normal, operated)

    def kl(self, p: Distribution, q: Distribution) -> chex.Array:
        """Returns KL(p ‖ q) of each agent `[..., A]` at the same observations."""
        normal = distributions.kl(p.mean, p.log_std, q.mean, q.log_std)
        return self._by_agent(p, normal, map(breakers_lib.kl, p.operations, q.operations))

    def differentiated(self, raw_action: chex.Array) -> chex.Array:
        """Returns actions with the derivatives that gradients through the environment go by.

        What samples alone teach has none.
        """
        held = self.team.held_actions
        if not held.size or self._by_samples.all():
            return raw_action
        return raw_action.at[..., held].set(jax.lax.stop_gradient(raw_action[..., held]))

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

    def _held_on(self, distribution: Distribution, normal: chex.Array) -> chex.Array:
        """Returns `normal` where it is decided, and what holds elsewhere."""
        if distribution.deciding is None:
            return normal
        owner = self.team.membership[self._continuous].argmax(-1)
        return jnp.where(distribution.deciding[..., owner], normal, distribution.held)

    def _by_agent(
        self, distribution: Distribution, per_control: chex.Array, per_operation
    ) -> chex.Array:
        """Returns sums `[..., A]` over each agent's controls `[..., n]` and choice of a breaker.

        Of agents that do not decide nothing is counted.
        """
        total = per_control @ self.team.membership[self._continuous]
        for index, value in zip(self._breakers, per_operation):
            total = total.at[..., index].add(value)
        deciding = distribution.deciding
        return total if deciding is None else jnp.where(deciding, total, 0.0)

    def _joined(self, normal: chex.Array, operated) -> chex.Array:
        if not self._breakers:
            return normal
        return jnp.concatenate([normal, *operated], axis=-1)[..., self._places]


def make(
    layout, options: options_lib.TeamOptions, costs: int = 0, objective: str = "ppo"
) -> TeamNetworks:
    """Returns the networks of the team that `options` describe on an environment's layout."""
    features = grid_features.GridFeatures(layout) if options.encoder == "graph" else None
    return TeamNetworks(teams.make(layout, options), options, costs, features, objective)
