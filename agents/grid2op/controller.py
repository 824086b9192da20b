"""Agents of Grid2Op as controllers in Gridracer.

An agent sees Grid2Op's observations, made of Gridracer's states, and its actions become requests;
`observation.simulate` is a step of Gridracer's environment on the forecast. Everything else is
Gridracer's: power flow, protection, days, reward.
"""

import dataclasses
import functools
import pathlib
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import jax
import numpy as np

from agents import controllers
from agents.baselines import look_ahead
from agents.grid2op import action_from_grid2op, observation_to_grid2op, play
from agents.grid2op.action_from_grid2op import Request
from agents.grid2op.observation_to_grid2op import Seen, Standing
from envs import grid_env
from envs.options import EnvOptions
from envs.step import actions as actions_lib
from envs.time_series import series as series_lib

MAKE_AGENT = "make_agent"  # a function by this name is as submissions to the challenges have it


def playing(agent: Callable[..., Any]) -> Callable[[grid_env.GridEnv], controllers.Controller]:
    """Returns the function that makes the controller of an agent, by environment.

    Args:
      agent: a subclass of `grid2op.Agent.BaseAgent` that takes an action space; or a function
        called `make_agent` that takes Grid2Op's environment and the folder of its own file, and
        returns an agent, as submissions to the challenges have it.
    """

    def make(env: grid_env.GridEnv) -> controllers.Controller:
        name = agent.__name__
        host = _Host(env, agent)
        return controllers.Controller(
            name, name, controllers.FORECASTS, host.start, host.act, traceable=False,
            close=host.close, assumes_control=True,
        )  # fmt: skip

    return make


class _Guest(NamedTuple):
    """An agent that plays one episode."""

    agent: Any
    standing: Standing
    day: int
    maintenance: np.ndarray  # bool `[rows, n_branch]`


class _Host:
    """Lets agents of Grid2Op decide in one environment."""

    def __init__(self, env: grid_env.GridEnv, agent: Callable[..., Any]):
        self._env, self._agent = env, agent
        self._theirs = play.make(environment(env.options))
        self._theirs.reset(seed=0)
        self._maker = observation_to_grid2op.Maker(env, self._theirs)
        self._agents: list[Any] = []  # of the episodes of a batch; each is reset before another
        self._told = False
        self._look = jax.jit(jax.vmap(self._seen))
        self._write = jax.jit(jax.vmap(self._action))

    @functools.cached_property
    def _imagine(self) -> Callable[..., Seen]:
        """What simulations are made by; its environment is made when an agent first asks."""
        options = dataclasses.replace(
            self._env.options, screen_outages=False, pool="", scenarios="", curriculum=""
        )
        return jax.jit(
            functools.partial(self._imagined, grid_env.make(options)), static_argnames="again"
        )

    def start(self, days: series_lib.TimeSeries, seed: int) -> list[_Guest]:
        """Returns an agent for each of `days`, leaves `[B, …]`."""
        count = len(days.day)
        while len(self._agents) < count:
            self._agents.append(self._made())
        maintenance = observation_to_grid2op.announced(days)
        standing = self._maker.standing(0.5 * self._env.fleet.storage.energy_mwh)
        guests = []
        for i, agent in enumerate(self._agents[:count]):
            agent.seed(seed + i)
            guests.append(_Guest(agent, standing, int(days.day[i]), maintenance[i]))
        return guests

    def act(self, state: grid_env.State, days: series_lib.TimeSeries, guests: list[_Guest]):
        """Returns the actions `[B, action_size]` of a batch, and the guests as they stand then."""
        seen = jax.device_get(self._look(state, days))
        idle = np.zeros(self._env.grid.n_branch)
        after, requests = [], []
        for i, guest in enumerate(guests):
            switch = idle
            if not seen.ended[i]:
                observation = self._observation(seen, guest, i)
                self._lend_simulation(observation, state, days, guest, i)
                if seen.t[i] == 0:
                    guest.agent.reset(observation)
                action = guest.agent.act(observation, float(seen.reward[i]), False)
                if not hasattr(action, "is_ambiguous"):
                    raise TypeError(f"act returned {action!r}, which is no action of Grid2Op")
                decided = self._decided(guest, action, observation)
                switch, energy = decided.switch, np.array(seen.energy_mwh[i], float)
                guest = guest._replace(standing=decided.standing._replace(energy_mwh=energy))
            after.append(guest)
            requests.append(self._request(guest.standing, switch))
        stacked = Request(*(np.stack(parts).astype(np.float32) for parts in zip(*requests)))
        return np.asarray(self._write(state, days, stacked)), after

    def close(self) -> None:
        """Closes Grid2Op's environment."""
        self._theirs.close()

    def _made(self) -> Any:
        if isinstance(self._agent, type):
            return self._agent(self._theirs.action_space)
        code = getattr(self._agent, "__code__", None)
        where = pathlib.Path(code.co_filename).parent if code else pathlib.Path()
        return self._agent(self._theirs, str(where))

    def _seen(self, state: grid_env.State, series: series_lib.TimeSeries) -> Seen:
        return observation_to_grid2op.look(state, series.at(state.t))

    def _observation(self, seen: Seen, guest: _Guest, i: int) -> Any:
        return self._maker(seen, guest.standing, guest.day, guest.maintenance, i)

    def _request(self, standing: Standing, switch: np.ndarray) -> Request:
        plants = self._maker.elements.plants
        limits = (standing.limit * self._theirs.gen_pmax)[plants]
        return action_from_grid2op.request(standing, switch, self._env.grid, limits)

    def _action(self, state, series, request: Request) -> chex.Array:
        plan = series.at(state.t + 1).plan_p_mw
        targets = actions_lib.Targets(
            unit_mw=plan + request.shift_mw, renewable_mw=request.limit_mw,
            storage_mw=request.storage_mw, switch=request.switch,
        )  # fmt: skip
        return self._env.action_for(state, series, targets)

    def _decided(self, guest: _Guest, action, observation) -> action_from_grid2op.Decision:
        decided = action_from_grid2op.decision(action, observation, guest.standing)
        if decided.other_buses and not self._told:
            self._told = True
            warnings.warn(
                f"{type(guest.agent).__name__} asks for {action_from_grid2op.OTHER_BUSES}, which "
                "Gridracer has not: what it asks for there is left out",
                stacklevel=2,
            )
        return decided

    def _lend_simulation(self, observation, state, days, guest: _Guest, i: int) -> None:
        """Gives an observation a `simulate` that foresees by Gridracer."""
        from grid2op.Exceptions import NoForecastAvailable

        def simulate(action, time_step: int = 1):
            if time_step not in (0, 1):
                raise NoForecastAvailable(
                    f"simulate(time_step={time_step}): Gridracer foresees one step, and the present"
                )
            decided = self._decided(guest, action, observation)
            requested = jax.tree.map(np.float32, self._request(decided.standing, decided.switch))
            imagined = jax.device_get(
                self._imagine(state, days, i, requested, again=time_step == 0)
            )
            energy = np.asarray(observation.storage_charge, float)
            ahead = guest._replace(standing=decided.standing._replace(energy_mwh=energy))
            after = self._observation(jax.tree.map(lambda leaf: leaf[None], imagined), ahead, 0)
            ended = bool(imagined.ended)
            info = {"is_illegal": False, "is_ambiguous": decided.ambiguous, "exception": []}
            return after, float(imagined.reward), ended, info

        observation.simulate = simulate

    def _imagined(self, env, states, days, i, request: Request, *, again: bool) -> Seen:
        """Returns what grid `i` of a batch would be seen as after a step of `env` on its forecast.

        Or, `again`, on the present row once more.
        """
        state, series = jax.tree.map(lambda leaf: leaf[i], (states, days))
        foreseen = look_ahead.foresee(state, series)
        if again:
            foreseen = look_ahead.Foreseen(series.at(state.t))
        action = self._action(state, foreseen, request)
        after = env.transition(state, action, foreseen)
        return observation_to_grid2op.look(after, foreseen.row)


def environment(options: EnvOptions) -> pathlib.Path:
    """Returns the folder of the Grid2Op environment that the grid of `options` was made of.

    Raises:
      ValueError: it was not made of one.
    """
    folder = pathlib.Path(options.case).parent
    if not (folder / "grid.json").is_file():
        raise ValueError(
            f"case {options.case}: agents of Grid2Op need the environment that it was made of, and "
            "there is no grid.json beside it; make it by `python -m gridracer.grid2op prepare "
            "ENVIRONMENT`"
        )
    return folder
