"""A team: the agents that share a grid, who sees which observations and moves which actions."""

import dataclasses

import numpy as np

from agents import breakers as breakers_lib


@dataclasses.dataclass(frozen=True)
class Agent:
    """One member of a team."""

    name: str
    observation: np.ndarray  # indices into the observation vector
    action: np.ndarray  # indices into the action vector
    effective_horizon: float  # steps it looks ahead, 1/(1 − γ)
    role: str = "operator"
    parameters: str = ""  # agents that name the same share them; none: its own
    critic: np.ndarray | None = None  # entries that its value function reads; none: those it sees
    buses: np.ndarray | None = None  # bool `[n_bus]`, whose earnings are its own; none: every one
    own_reward: float = 0.0  # weight of those in its reward, 0 to 1; the rest is the whole grid's


@dataclasses.dataclass(frozen=True)
class Team:
    """Agents whose actions together are the grid's action vector, each entry moved by one."""

    agents: tuple[Agent, ...]
    observation_size: int
    action_size: int
    breakers: breakers_lib.Breakers = breakers_lib.NONE  # among the actions

    def __post_init__(self):
        names = [agent.name for agent in self.agents]
        if len(set(names)) < len(names):
            raise ValueError(f"agents of a team have names of their own, not {', '.join(names)}")
        owners: dict[int, list[str]] = {}
        for agent in self.agents:
            for entry in agent.action.tolist():
                owners.setdefault(entry, []).append(agent.name)
        missing = [entry for entry in range(self.action_size) if entry not in owners]
        twice = {entry: who for entry, who in owners.items() if len(who) > 1}
        if missing or twice or len(owners) > self.action_size:
            wrong = [f"{entry} is moved by {' and '.join(who)}" for entry, who in twice.items()]
            wrong += [f"{entry} by nobody" for entry in missing]
            wrong += [f"there is no {e} ({owners[e][0]})" for e in owners if e >= self.action_size]
            raise ValueError(
                f"a team must move each of {self.action_size} actions once: {'; '.join(wrong[:5])}"
            )

    @property
    def size(self) -> int:
        """Number of agents, A."""
        return len(self.agents)

    @property
    def discounts(self) -> np.ndarray:
        """Discount of each agent per step, `[A]`."""
        return np.array([1.0 - 1.0 / agent.effective_horizon for agent in self.agents], np.float32)

    @property
    def membership(self) -> np.ndarray:
        """Which agent moves which action, one-hot `[action_size, A]`."""
        owner = np.zeros((self.action_size, self.size), np.float32)
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

    def by_name(self, figures) -> dict:
        """Returns `agents/NAME/FIGURE` of figures `[A, …]` by name; of a single agent, nothing."""
        if self.size == 1:
            return {}
        return {
            f"agents/{agent.name}/{name}": values[index]
            for index, agent in enumerate(self.agents)
            for name, values in figures.items()
        }

    def rewards(self, reward, earned_by_bus):
        """Returns the reward of each agent, `[..., A]`.

        Args:
          reward: of the whole grid `[...]`.
          earned_by_bus: `[..., n_bus]` of what is at each bus, in the same unit.
        """
        weight = np.array([agent.own_reward for agent in self.agents], np.float32)
        whole = (1.0 - weight) * reward[..., None]
        if not weight.any():
            return whole
        every = np.ones(earned_by_bus.shape[-1], bool)
        own = [every if agent.buses is None else agent.buses for agent in self.agents]
        return whole + earned_by_bus @ (np.stack(own, -1) * weight)
