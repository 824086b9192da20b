"""One grid that a team operates, as a PettingZoo `ParallelEnv`."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from agents import options as options_lib, team as team_lib
from envs import grid_env
from envs.inputs import choices
from envs.step import earnings
from envs.step.termination import Reason
from gridracer import (
    metrics as metrics_lib,
    packages,
    rendering,
    simulator as simulator_lib,
    spaces,
    tasks,
)

gymnasium, pettingzoo = packages.required("gymnasium"), packages.required("pettingzoo")

# What it costs to operate, of `earnings.TERMS`; the others are violations and payments.
_ENERGY = ("generation_cost", "load_control_cost", "curtailment", "storage_throughput")


class GridParallelEnv(rendering.Rendered, pettingzoo.ParallelEnv):
    """A day of one grid that the agents of a team operate together; five minutes a step.

    An agent observes what it sees and hears of the grid and of other agents, over the rating of
    each entry, or in MW, pu and rad with `units="physical"`, and moves its own actions: −1 to 1, 0
    as planned. A decision that lasts several steps is held: until the next one is due
    `infos[agent]["decides"]` is false, and actions are ignored. `state()` is all that is observed.
    """

    def __init__(
        self,
        simulator: simulator_lib.Simulator,
        units: str = simulator_lib.PER_UNIT,
        render_mode: str | None = None,
    ):
        """Wraps one grid of a simulator, which others may wrap as well."""
        choices.require("units", units, simulator_lib.UNITS)
        if render_mode is not None:
            choices.require("render_mode", render_mode, rendering.MODES)
        self.metadata = {
            "name": simulator.task.name, "render_modes": list(rendering.MODES), "render_fps": 12,
            "is_parallelizable": True,
        }  # fmt: skip
        self._simulator, self.render_mode = simulator, render_mode
        self._team: team_lib.Team = simulator.team
        physical = units == simulator_lib.PHYSICAL
        self._scale = np.ones_like(simulator.ratings) if physical else 1.0 / simulator.ratings
        self.possible_agents = [agent.name for agent in self._team.agents]
        self.agents: list[str] = []
        self._members = dict(zip(self.possible_agents, self._team.agents))
        box = gymnasium.spaces.Box
        self.observation_spaces = {
            name: box(-np.inf, np.inf, seen.shape, np.float32)
            for name, seen in zip(self.possible_agents, self._team.seen)
        }
        self.action_spaces = {
            name: spaces.actions(agent.action.size) for name, agent in self._members.items()
        }
        self.state_space = box(-np.inf, np.inf, (self._team.input_size,), np.float32)
        self._own = _Own(simulator)
        self._random = np.random.default_rng()
        self._grids: simulator_lib.Grids | None = None
        self._seen = np.zeros(self._team.input_size, np.float32)
        self._totals: metrics_lib.DayTotals | None = None

    def observation_space(self, agent: str) -> gymnasium.Space:
        """Returns what an agent observes."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> gymnasium.Space:
        """Returns what an agent moves."""
        return self.action_spaces[agent]

    def role(self, agent: str) -> str:
        """Returns what an agent is for, such as consumer or region."""
        return self._members[agent].role

    @property
    def functional(self) -> grid_env.GridEnv:
        """The environment as pure functions of JAX, with its grid, fleet, layout and options."""
        return self._simulator.env

    def state(self) -> np.ndarray:
        """Returns all that is observed, in the units of the observations `[input_size]`."""
        spaces.begun(self._grids)
        return self._seen * self._scale

    def reset(self, seed: int | None = None, options: Mapping[str, Any] | None = None):
        """Returns observations and infos by agent at the start of a new day.

        `options={"day": n}` starts the n-th draw of the split, whatever was drawn before.
        """
        if seed is not None:
            self._random = np.random.default_rng(seed)
        key = simulator_lib.day_key(self._random, options)
        self._grids = self._simulator.start(key[None])
        self.agents, self._totals = list(self.possible_agents), None
        states = self._grids.states
        self._seen = np.asarray(self._team.input(states.observation, self._grids.memory))[0]
        day = int(self._grids.days.day[0])
        decides = self._decides()
        infos = {name: {"day_of_year": day, "decides": decides[name]} for name in self.agents}
        if self.render_mode == "human":
            self.render()
        return self._observations(), infos

    def step(self, actions: Mapping[str, np.ndarray]):
        """Returns observations, rewards, terminations, truncations and infos by agent.

        Raises:
          gymnasium.error.ResetNeeded: the day has not begun, or is over.
          ValueError: an agent has no action, or one that is not finite or of its space's shape.
        """
        if not self.agents:
            raise gymnasium.error.ResetNeeded("the day is over, or has not begun: call reset()")
        joint = self._joint(actions)
        self._grids, outcome = self._simulator.step(self._grids, joint[None])
        outcome = jax.tree.map(lambda leaf: leaf[0], jax.device_get(outcome))
        self._seen = outcome.observation
        terminated, truncated = bool(outcome.terminated), bool(outcome.truncated)
        infos = self._infos(outcome, terminated or truncated)
        named = lambda value: dict.fromkeys(self.agents, value)
        rewards = dict(zip(self.possible_agents, outcome.reward.tolist()))
        returned = (
            self._observations(), rewards, named(terminated), named(truncated), infos,
        )  # fmt: skip
        if terminated or truncated:
            self.agents = []
        if self.render_mode == "human":
            self.render()
        return returned

    def _joint(self, actions: Mapping[str, np.ndarray]) -> np.ndarray:
        """Returns the actions of all agents in one vector `[output_size]`."""
        joint = np.zeros(self._team.output_size, np.float32)
        for name in self.agents:
            if name not in actions:
                raise ValueError(f"no action of {name}: every one of `agents` needs one")
            shape = self.action_spaces[name].shape
            action = spaces.checked(actions[name], shape, f"action of {name}")
            joint[self._members[name].action] = action
        return joint

    def _observations(self) -> dict[str, np.ndarray]:
        scaled = self._seen * self._scale
        return {name: scaled[seen] for name, seen in zip(self.possible_agents, self._team.seen)}

    def _decides(self) -> dict[str, bool]:
        """Returns whether each agent's next action is a decision, and none that is held."""
        deciding = self._team.deciding(self._seen)
        if deciding is None:
            return dict.fromkeys(self.possible_agents, True)
        return dict(zip(self.possible_agents, np.asarray(deciding).tolist()))

    def _infos(self, outcome: simulator_lib.Outcome, over: bool) -> dict[str, dict[str, Any]]:
        names, decides = self._simulator.metrics.names, self._decides()
        system: dict[str, Any] = dict(zip(names, outcome.metrics.tolist()))
        system["reason"] = Reason.NONE.name
        self._totals = self._totals or metrics_lib.DayTotals(self._simulator.metrics, 1)
        self._totals.add(outcome.metrics[None])
        if over:
            system["reason"] = Reason(int(self._grids.states.reason[0])).name
            system["day"] = dict(zip(names, self._totals.take(np.ones(1, bool))[0].tolist()))
        own = self._own(self._grids.states, outcome.earned)
        return {
            name: {**system, "own": own[name], "decides": decides[name]} for name in self.agents
        }


class _Own:
    """What of a step is an agent's own."""

    def __init__(self, simulator: simulator_lib.Simulator):
        self._env, self._agents = simulator.env, simulator.team.agents
        every = np.ones(simulator.env.grid.n_bus, bool)
        self._buses = [every if a.buses is None else a.buses for a in self._agents]

    def __call__(self, states: grid_env.State, earned) -> dict[str, dict[str, float]]:
        """Returns by agent, of its buses: violations, $ of energy, and $ that each term earned.

        `states` `[1, …]`, `earned` by term `[n_bus]`.
        """
        bus, vm = self._env.grid.bus, np.asarray(states.vm_pu[0])
        outside = (vm > 0.0) & ((vm < np.float32(bus.vm_min_pu)) | (vm > np.float32(bus.vm_max_pu)))
        told = {}
        for agent, buses in zip(self._agents, self._buses):
            by_term = {name: 1e3 * float(earned[name] @ buses) for name in earnings.TERMS}
            told[agent.name] = {
                "voltage_violations": int((outside & buses).sum()),
                "energy_cost": -sum(by_term[name] for name in _ENERGY),
                **{f"earned_{name}": value for name, value in by_term.items()},
            }
        return told


def make(
    case: str,
    team: str | options_lib.TeamOptions,
    scenario: str = "",
    level: str = "",
    split: str = "train",
    units: str = simulator_lib.PER_UNIT,
    metrics: Mapping[str, metrics_lib.Metric | metrics_lib.Function] | None = None,
    render_mode: str | None = None,
    **options,
) -> GridParallelEnv:
    """Returns the environment of a task for a team, by its kind or its options.

    All else as `gridracer.gymnasium_env.make`.

    Raises:
      ValueError: a name, an option or its value is not accepted, or the grid has no such team.
      FileNotFoundError: there is no such case.
    """
    if isinstance(team, str):
        team = options_lib.TeamOptions(kind=team)
    if not isinstance(team, options_lib.TeamOptions):
        raise ValueError(f"team={team!r}: must be the name of a kind, or a TeamOptions")
    if team.kind == "nodes":
        options = {"layout": "nodes", **options}
    task = tasks.make(case, scenario, level, split, make, **options)
    simulator = simulator_lib.shared(task, metrics, team)
    return GridParallelEnv(simulator, units, render_mode)
