"""A batch of grids on the device, each on a day of a task: what every environment here wraps.

Days are drawn when a grid needs one, and stay apart from states, so that a step copies none of
them. Programs are compiled once for a task, a team and a size of batch, whoever asks.
"""

import functools
import numbers
import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from agents import distributions, options as options_lib, team as team_lib, teams
from envs import grid_env, restart
from envs.step import observations
from envs.time_series import series as series_lib
from gridracer import forks, metrics as metrics_lib, tasks
from launch.host import runtime

PER_UNIT, PHYSICAL = UNITS = ("per_unit", "physical")

LAST_DAY = 2**32 - 1  # keys are drawn by so many numbers
_TOGETHER = 16  # grids that start in one call: those that end early are few


class Grids(NamedTuple):
    """A batch of grids, every leaf `[B, …]`."""

    states: grid_env.State
    days: series_lib.TimeSeries
    memory: chex.Array  # `[B, M]` of the team


class Outcome(NamedTuple):
    """What a step of the batch led to, every array `[B, …]`."""

    observation: chex.Array  # `[B, input_size]` of the team, in the units asked for
    reward: chex.Array  # `[B, A]` of each agent
    terminated: chex.Array  # bool
    truncated: chex.Array  # bool
    metrics: chex.Array  # `[B, n_metric]`
    earned: Mapping[str, chex.Array]  # `[B, n_bus]` thousand $, see `envs.step.earnings`


class Simulator:
    """Compiled functions of a batch of grids that a team operates."""

    def __init__(
        self,
        task: tasks.Task,
        team: options_lib.TeamOptions = options_lib.TeamOptions(),
        metrics: Mapping[str, metrics_lib.Metric | metrics_lib.Function] | None = None,
    ):
        """Builds the environment; compiles nothing yet.

        Raises:
          ValueError: the task or the team is none that there is.
          FileNotFoundError: there is no such case or fleet.
          RuntimeError: this process was forked, see `forks.check`.
        """
        forks.check()
        runtime.keep_programs()
        self.task = task
        self.env = env = grid_env.make(task.options)
        self.team: team_lib.Team = teams.make(env.layout, team)
        self.metrics = metrics_lib.Metrics(env, metrics)
        self._draw = tasks.days(task, env)
        # What is much for an entry; the memory of a team has no unit.
        site = env.layout.site
        ratings = {name: observations.ratings(site, name) for name in env.layout.observation}
        if "frequency" in ratings:
            ratings["frequency"] = np.array([env.frequency.nominal_hz])
        memory = np.ones(self.team.memory_size)
        self.ratings = np.concatenate([*ratings.values(), memory]).astype(np.float32)
        self._owner = self.team.membership.argmax(-1)
        self._started = jax.jit(jax.vmap(self._start))
        self._stepped = jax.jit(self._step)
        self._put = jax.jit(_put, donate_argnums=0)
        self._joined = jax.jit(_joined, static_argnums=1)

    def start(self, keys: chex.Array) -> Grids:
        """Returns a batch at the start of the days that `keys` `[B]` draw."""
        count = len(keys)
        parts = [
            self._some(keys[first : first + _TOGETHER], count)
            for first in range(0, count, _TOGETHER)
        ]
        return self._joined(parts, count) if len(parts) > 1 else parts[0]

    def step(self, grids: Grids, actions: chex.Array) -> tuple[Grids, Outcome]:
        """Returns the batch after actions `[B, output_size]` in [−1, 1], and what they led to."""
        states, memory, outcome = self._stepped(grids, actions)
        return Grids(states, grids.days, memory), outcome

    def _start(self, key: chex.PRNGKey) -> Grids:
        """Returns a grid at the start of the day that `key` draws."""
        days = self._draw(key)
        thresholds = self.env.sample_protection(key)
        states = self.env.start(days, protection=thresholds)
        return restart.strong(Grids(states, days, jnp.zeros(self.team.memory_size)))

    def _step(self, grids: Grids, actions: chex.Array):
        team, memory = self.team, grids.memory
        if team.memory_size:
            seen = team.input(grids.states.observation, memory)
            raw = distributions.unsquash(jnp.clip(actions, -1.0, 1.0))
            deciding = team.deciding(seen)
            if deciding is not None:
                raw = jnp.where(deciding[..., self._owner], raw, team.held(seen))
            actions, memory = distributions.squash(raw), team.remember(seen, raw)
        states, detail = jax.vmap(self.env.detailed)(
            grids.states, team.to_grid(actions), grids.days
        )
        return restart.strong(states), memory, Outcome(
            team.input(states.observation, memory), team.rewards(states.reward, detail.earned),
            states.terminated, states.truncated, jax.vmap(self.metrics.read)(states, detail),
            detail.earned,
        )  # fmt: skip

    def restart(self, grids: Grids, rows: np.ndarray, keys: chex.Array) -> Grids:
        """Returns the batch with grids `rows` `[n]` on the days that `keys` `[n]` draw."""
        count = grids.memory.shape[0]
        for first in range(0, len(rows), _TOGETHER):
            some = rows[first : first + _TOGETHER]
            padded = np.full(min(count, _TOGETHER), count)
            padded[: len(some)] = some
            grids = self._put(grids, padded, self._some(keys[first : first + _TOGETHER], count))
        return grids

    def _some(self, keys: chex.Array, count: int) -> Grids:
        """Returns as many grids as start together in a batch of `count`, the first of `keys`."""
        missing = min(count, _TOGETHER) - len(keys)
        return self._started(np.pad(np.asarray(keys), ((0, missing), (0, 0)), mode="edge"))


def shared(
    task: tasks.Task,
    metrics: Mapping[str, metrics_lib.Metric | metrics_lib.Function] | None = None,
    team: options_lib.TeamOptions = options_lib.TeamOptions(),
) -> Simulator:
    """Returns the simulator of a task, the same one to all in a process who ask for the same.

    Raises what `Simulator` raises, and
      ValueError: metrics are not functions by name.
    """
    metrics = {} if metrics is None else metrics
    if not isinstance(metrics, Mapping):
        raise ValueError(f"metrics={metrics!r}: must be functions by name")
    return _shared(task, tuple(metrics.items()), team)


@functools.lru_cache(maxsize=8)
def _shared(task: tasks.Task, metrics: tuple, team: options_lib.TeamOptions) -> Simulator:
    return Simulator(task, team, dict(metrics))


def _put(grids: Grids, rows: chex.Array, fresh: Grids) -> Grids:
    """Returns `grids` with `rows` replaced by `fresh`; rows that there are none of are left out."""
    return jax.tree.map(lambda all, some: all.at[rows].set(some, mode="drop"), grids, fresh)


def _joined(parts: list[Grids], count: int) -> Grids:
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves)[:count], *parts)


def day_key(
    random: np.random.Generator, options: Mapping[str, Any] | None, further: int = 0
) -> chex.PRNGKey:
    """Returns the key of the next day: any, or draw number `options["day"] + further`.

    Where days are drawn from few, as recorded ones are, draws repeat them.

    Raises:
      ValueError: that is no whole number from 0 to `LAST_DAY`.
      RuntimeError: this process was forked, see `forks.check`.
    """
    forks.check()
    if unknown := sorted(set(options or {}) - {"day"}):
        warnings.warn(f"reset: options {', '.join(unknown)}: not known; there is day", stacklevel=3)
    if not options or "day" not in options:
        return jax.random.PRNGKey(int(random.integers(2**31)))
    day = options["day"]
    if isinstance(day, bool) or not isinstance(day, numbers.Integral) or not 0 <= day <= LAST_DAY:
        raise ValueError(
            f"reset: options['day']={day!r}: must be a whole number from 0 to {LAST_DAY}"
        )
    return jax.random.fold_in(jax.random.PRNGKey(0), (int(day) + further) % 2**32)
