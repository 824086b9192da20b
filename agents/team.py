"""A team: the agents that share a grid, who sees which observations and moves which actions.

A team may decide more than the grid is told: latent actions, such as directives, that agents hear
in the step after. It keeps them from step to step, with decisions that hold for several steps and
how long they have held. All of that is its memory `[M]`. What networks read is the observation of
the environment followed by the memory: that tells all that decisions depend on.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import chex
import jax.numpy as jnp
import numpy as np

from agents import breakers as breakers_lib
from envs.step import earnings
from envs.step.layout import Layout

LEAST_HELD_BACK = 0.05  # share of a request from which holding it back is an override
_NOBODY = np.zeros(0, int)


@dataclasses.dataclass(frozen=True)
class Learning:
    """How an agent learns, each a multiple of what the learner's options say."""

    learning_rate: float = 1.0  # step size of its parameters
    policy: float = 1.0  # weight of its policy's loss, by samples and by gradients
    value: float = 1.0  # of its values'
    entropy: float = 1.0  # of its entropy bonus


@dataclasses.dataclass(frozen=True)
class Agent:
    """One member of a team."""

    name: str
    observation: np.ndarray  # indices into the environment's observation vector
    action: np.ndarray  # indices into the action vector, latent actions after the environment's
    effective_horizon: float  # steps it looks ahead, 1/(1 − γ)
    role: str = "operator"
    parameters: str = ""  # agents that name the same share them; none: its own
    critic: np.ndarray | None = None  # entries that its value function reads; none: those it sees
    buses: np.ndarray | None = None  # bool `[n_bus]`, whose earnings are its own; none: every one
    own_reward: float = 0.0  # weight of those in its reward, 0 to 1; the rest is the whole grid's
    own_terms: tuple[str, ...] = earnings.SAVINGS  # of `earnings.TERMS`, what those are made of
    period: int = 1  # steps that a decision of it holds
    hears: np.ndarray = dataclasses.field(default_factory=lambda: _NOBODY)  # latent actions
    learning: Learning = Learning()
    # What its entries are, in order. Agents of equal ones share first and last layers, too, with
    # the parameters that they share; none: only where all of those have equally many entries.
    entries: tuple[str, ...] = ()


class Safety(NamedTuple):
    """Latent actions that hold back a share of what agents request: 0 and below none, 1 all."""

    entries: np.ndarray  # of the latent actions, `[R]`
    agents: tuple[str, ...]  # whose requests, by name, R


@dataclasses.dataclass(frozen=True)
class Team:
    """Agents whose actions together are the grid's action vector, each entry moved by one."""

    agents: tuple[Agent, ...]
    observation_size: int  # of the environment
    action_size: int  # of the environment
    breakers: breakers_lib.Breakers = breakers_lib.NONE  # among the actions
    latents: int = 0  # actions beyond the environment's
    # What of actions `[..., action_size + latents]` in [−1, 1] the environment gets; none: its own
    # entries as they are.
    compose: Callable[[chex.Array], chex.Array] | None = None
    attends: bool = False  # whether agents attend to one another before they decide
    safety: Safety | None = None  # which latent actions hold back what others request

    def __post_init__(self):
        names = [agent.name for agent in self.agents]
        if len(set(names)) < len(names):
            raise ValueError(f"agents of a team have names of their own, not {', '.join(names)}")
        owners: dict[int, list[str]] = {}
        for agent in self.agents:
            for entry in agent.action.tolist():
                owners.setdefault(entry, []).append(agent.name)
        missing = [entry for entry in range(self.output_size) if entry not in owners]
        twice = {entry: who for entry, who in owners.items() if len(who) > 1}
        if missing or twice or len(owners) > self.output_size:
            wrong = [f"{entry} is moved by {' and '.join(who)}" for entry, who in twice.items()]
            wrong += [f"{entry} by nobody" for entry in missing]
            wrong += [f"there is no {e} ({owners[e][0]})" for e in owners if e >= self.output_size]
            raise ValueError(
                f"a team must move each of {self.output_size} actions once: {'; '.join(wrong[:5])}"
            )
        for agent in self.agents:
            if agent.period < 1 or agent.effective_horizon < 1:
                raise ValueError(
                    f"{agent.name}: period={agent.period}, effective_horizon="
                    f"{agent.effective_horizon}: both are steps, 1 or more"
                )
            if unknown := [name for name in agent.own_terms if name not in earnings.TERMS]:
                raise ValueError(
                    f"{agent.name}: own_terms has {unknown[0]}: must be of "
                    f"{', '.join(earnings.TERMS)}"
                )
            if agent.period > 1 and self.breakers.among(agent.action).action.size:
                raise ValueError(
                    f"{agent.name}: period={agent.period}: who operates breakers decides in every "
                    "step, as an operation that is held would be undone"
                )
            if (agent.hears < self.action_size).any() or (agent.hears >= self.output_size).any():
                raise ValueError(
                    f"{agent.name}: hears {agent.hears.tolist()}: must be latent actions, "
                    f"{self.action_size} to {self.output_size - 1}"
                )

    # Sizes and who is where.

    @property
    def size(self) -> int:
        """Number of agents, A."""
        return len(self.agents)

    @property
    def output_size(self) -> int:
        """How many entries there are to decide, latent ones among them."""
        return self.action_size + self.latents

    @property
    def input_size(self) -> int:
        """How many entries networks read from: observation and memory."""
        return self.observation_size + self.memory_size

    @property
    def discounts(self) -> np.ndarray:
        """Discount of each agent per step, `[A]`."""
        return np.array([1.0 - 1.0 / agent.effective_horizon for agent in self.agents], np.float32)

    def weights(self, loss: str) -> np.ndarray:
        """Returns each agent's weight in a loss, `policy`, `value` or `entropy`, `[A]`."""
        return np.array([getattr(agent.learning, loss) for agent in self.agents], np.float32)

    @property
    def membership(self) -> np.ndarray:
        """Which agent moves which action, one-hot `[output_size, A]`."""
        owner = np.zeros((self.output_size, self.size), np.float32)
        for index, agent in enumerate(self.agents):
            owner[agent.action, index] = 1.0
        return owner

    @property
    def groups(self) -> dict[str, tuple[int, ...]]:
        """The agents that have parameters in common, by the name of these; in order."""
        groups: dict[str, list[int]] = {}
        for index, agent in enumerate(self.agents):
            groups.setdefault(agent.parameters or agent.name, []).append(index)
        return {name: tuple(members) for name, members in groups.items()}

    @functools.cached_property
    def seen(self) -> list[np.ndarray]:
        """Which entries of the input each agent's policy reads: also what it hears and holds."""
        return [
            np.concatenate([agent.observation, self._remembered(index)])
            for index, agent in enumerate(self.agents)
        ]

    @functools.cached_property
    def judged(self) -> list[np.ndarray]:
        """Which entries of the input each agent's value function reads."""
        memory = self.observation_size + np.arange(self.memory_size)
        return [
            seen if agent.critic is None else np.concatenate([agent.critic, memory])
            for agent, seen in zip(self.agents, self.seen)
        ]

    # Memory: for each agent whose decisions hold, the steps since; and what is kept of actions.

    @functools.cached_property
    def _holding(self) -> np.ndarray:
        """Numbers of the agents whose decisions hold for more than a step."""
        return np.array([i for i, agent in enumerate(self.agents) if agent.period > 1], int)

    @property
    def held_actions(self) -> np.ndarray:
        """Entries of actions whose decisions hold for more than a step."""
        return np.concatenate([_NOBODY, *(self.agents[i].action for i in self._holding)])

    @functools.cached_property
    def _kept(self) -> np.ndarray:
        """Entries of actions that are kept: latent ones, and those of decisions that hold."""
        latents = np.arange(self.action_size, self.output_size)
        return np.union1d(latents, self.held_actions)

    @property
    def memory_size(self) -> int:
        """Length of the memory, M."""
        return self._holding.size + self._kept.size

    def _remembered(self, index: int) -> np.ndarray:
        agent = self.agents[index]
        entries = agent.hears
        since = np.flatnonzero(self._holding == index)
        if since.size:
            entries = np.union1d(entries, agent.action)
        kept = self._holding.size + np.searchsorted(self._kept, entries)
        return self.observation_size + np.concatenate([since, kept]).astype(int)

    def input(self, observation: chex.Array, memory: chex.Array) -> chex.Array:
        """Returns what networks read, `[..., input_size]`."""
        if not self.memory_size:
            return observation
        return jnp.concatenate([observation, memory], -1)

    def deciding(self, seen: chex.Array) -> chex.Array | None:
        """Returns who decides, bool `[..., A]`, by inputs `[..., input_size]`; none: all, always.

        Of the others the last decision holds.
        """
        if not self._holding.size:
            return None
        since = seen[..., self.observation_size : self.observation_size + self._holding.size]
        everybody = jnp.ones((*seen.shape[:-1], self.size), bool)
        return everybody.at[..., self._holding].set(since < 0.5)

    def held(self, seen: chex.Array) -> chex.Array:
        """Returns the decisions before the squash that hold, `[..., output_size]`; others are 0."""
        kept = seen[..., self.observation_size + self._holding.size :]
        return jnp.zeros((*seen.shape[:-1], self.output_size)).at[..., self._kept].set(kept)

    def remember(self, seen: chex.Array, raw_action: chex.Array) -> chex.Array:
        """Returns the memory `[..., M]` after actions `[..., output_size]` before the squash."""
        if not self.memory_size:
            return jnp.zeros((*seen.shape[:-1], 0))
        since = seen[..., self.observation_size : self.observation_size + self._holding.size]
        periods = np.array([self.agents[i].period for i in self._holding], np.float32)
        since = jnp.where(since + 1.5 > periods, 0.0, since + 1.0)
        return jnp.concatenate([since, raw_action[..., self._kept]], -1)

    def to_grid(self, action: chex.Array) -> chex.Array:
        """Returns what the environment gets of actions `[..., output_size]` in [−1, 1]."""
        if self.compose:
            return self.compose(action)
        return action[..., : self.action_size] if self.latents else action

    def share_held_back(self, action: chex.Array) -> chex.Array | None:
        """Returns which share of whose request is held back, `[..., R]`; none: of nobody's, ever.

        Of actions `[..., output_size]` in [−1, 1], in the order of `safety.agents`.
        """
        return None if self.safety is None else jnp.clip(action[..., self.safety.entries], 0.0, 1.0)

    # What agents earn, and what is told of them.

    def by_name(self, figures) -> dict:
        """Returns `agents/NAME/FIGURE` of figures `[A, …]` by name; of a single agent, nothing."""
        if self.size == 1:
            return {}
        return {
            f"agents/{agent.name}/{name}": values[index]
            for index, agent in enumerate(self.agents)
            for name, values in figures.items()
        }

    def held_back(self, action: chex.Array) -> dict[str, chex.Array]:
        """Returns `agents/NAME/…` of whose requests are held back, of actions `[B, output_size]`.

        The mean share, and the share of grids in which it is an override.
        """
        shares = self.share_held_back(action)
        if shares is None:
            return {}
        figures = {}
        for index, name in enumerate(self.safety.agents):
            own = shares[..., index]
            figures[f"agents/{name}/held_back"] = own.mean()
            figures[f"agents/{name}/overrides"] = (own > LEAST_HELD_BACK).mean()
        return figures

    def rewards(self, reward: chex.Array, earned: Mapping[str, chex.Array]) -> chex.Array:
        """Returns the reward of each agent, `[..., A]`.

        Args:
          reward: of the whole grid `[...]`.
          earned: `[..., n_bus]` of what is at each bus, by term, in the same unit.
        """
        weight = np.array([agent.own_reward for agent in self.agents], np.float32)
        rewards = (1.0 - weight) * reward[..., None]
        if not weight.any():
            return rewards
        for name, values in earned.items():
            every = np.ones(values.shape[-1], bool)
            share = [
                agent.own_reward
                * (every if agent.buses is None else agent.buses)
                * (name in agent.own_terms)
                for agent in self.agents
            ]
            if np.any(share):
                rewards += values @ np.stack(share, -1).astype(np.float32)
        return rewards


def on(layout: Layout, agents: Sequence[Agent], **more) -> Team:
    """Returns the team of `agents` on a layout, with the breakers there; `more` fields by name."""
    breakers = breakers_lib.find(layout)
    return Team(tuple(agents), layout.observation_size, layout.action_size, breakers, **more)
