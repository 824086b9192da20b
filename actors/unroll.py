"""One actor's work on the device: T steps of B grids in one compiled call."""

import copy
import functools
from collections.abc import Mapping, Sequence

import chex
import flax.struct
import jax
import jax.numpy as jnp

from agents import bundle as bundle_lib, distributions, networks as networks_lib, team as team_lib
from envs import grid_env, restart
from envs.step import earnings
from envs.step.termination import Reason
from envs.time_series import series as series_lib
from replay import schema
from replay.schema import RETURNS


@flax.struct.dataclass
class Days:
    """Two days for each grid, the one it is in and the next, and the state each starts from."""

    series: series_lib.TimeSeries  # every leaf `[2 B, …]`; grid b's days are b and B + b
    starts: grid_env.State  # every leaf `[2 B, …]`


@flax.struct.dataclass
class Carry:
    """What an actor keeps between unrolls."""

    key: chex.PRNGKey
    states: grid_env.State  # every leaf `[B, …]`
    day: chex.Array  # `[B]` index into `Days`
    episode_return: chex.Array  # `[B, A]` so far
    whole: chex.Array  # bool `[B]`, whether the episode was seen from the start of its day
    memory: chex.Array  # `[B, M]` of the team


class Unroller:
    """Pure functions that step a batch of grids under a team's policy."""

    def __init__(
        self,
        env: grid_env.GridEnv,
        networks: networks_lib.TeamNetworks,
        length: int,
        batch: int,
        window: int = 0,
        updates: int = 1,
        limited: Sequence[str] = (),
    ):
        """Steps `batch` grids `length` times; tells the state every `window` steps, if any.

        A run of so many `updates` draws its days accordingly. Reward terms that are `limited` are
        told of each step.
        """
        if length > env.horizon:
            raise ValueError(
                f"actor.unroll_length={length}: must be at most env.horizon_steps={env.horizon}, "
                "so that no grid is truncated twice in an unroll"
            )
        self.env, self.networks, self.length, self.batch = env, networks, length, batch
        self.window, self._updates, self._limited = window, updates, tuple(limited)
        self._fresh = jax.jit(self._fresh_days)

    def start(
        self, seed: int, actor: int, incarnation: int, version: int = 0
    ) -> tuple[Carry, Days]:
        """Returns the start of an actor: each, and each time that it is restarted, has its own.

        Its first days are of the part of the run that `version`, the newest, is in.
        """
        key = jax.random.PRNGKey(seed)
        for part in (1, actor, incarnation):
            key = jax.random.fold_in(key, part)
        return self.init(key, version)

    def init(self, key: chex.PRNGKey, version: int = 0) -> tuple[Carry, Days]:
        """Returns the start: B grids spread over the hours of B days, so that they end apart."""
        key, k_now, k_next = jax.random.split(key, 3)
        rows = (jnp.arange(self.batch) * self.env.horizon) // self.batch
        begin = jnp.int32(version)  # typed as later ones are, so that one program draws all days
        now = self._fresh(k_now, rows, begin)
        later = self._fresh(k_next, jnp.zeros_like(rows), begin)
        return _assemble(key, now, later, self.networks.team.size, self.networks.team.memory_size)

    def renew(self, version: chex.Numeric, carry: Carry, days: Days) -> tuple[Carry, Days]:
        """Returns `days` with every day that no grid is in replaced by a fresh one."""
        key, k_days = jax.random.split(carry.key)
        fresh = self._fresh(k_days, jnp.zeros(self.batch, jnp.int32), version)
        idle = (carry.day + self.batch) % (2 * self.batch)
        return carry.replace(key=key), _replace_days(days, idle, fresh)

    def unroll(
        self, bundle: bundle_lib.Bundle, carry: Carry, days: Days, origin: schema.Origin
    ) -> tuple[Carry, schema.Unroll]:
        """Returns the next carry and T steps of experience."""
        keys = jax.random.split(carry.key, self.length + 1)
        team = self.networks.team
        blank = jnp.zeros((self.batch, team.input_size))
        first = carry
        (carry, truncation_observation), (rows, logs, before) = jax.lax.scan(
            functools.partial(self._step, bundle, days),
            (carry.replace(key=keys[0]), blank),
            keys[1:],
        )
        return carry, schema.Unroll(
            **rows,
            bootstrap_observation=team.input(carry.states.observation, carry.memory),
            truncation_observation=truncation_observation,
            summary=_summary(logs, team),
            origin=origin,
            windows=self._windows(first, days, before) if self.window else None,
        )

    def _step(self, bundle: bundle_lib.Bundle, days: Days, loop, key: chex.PRNGKey):
        """Returns the loop after a step, and what the unroll, the log and windows keep of it."""
        networks, team = self.networks, self.networks.team
        carry, truncation_observation = loop
        observation = team.input(carry.states.observation, carry.memory)
        policy = networks.policy(bundle.params, bundle.statistics, observation)
        raw = networks.sample(key, policy)
        action = distributions.squash(raw)
        states, earned = jax.vmap(
            lambda state, action, index: self._transition(
                state, action, series_lib.PooledTimeSeries(days.series, index)
            )
        )(carry.states, team.to_grid(action), carry.day)
        memory = team.remember(observation, raw)
        rewards = team.rewards(states.reward, earned)
        done, episode_return = states.done, carry.episode_return + rewards

        truncation_observation = jnp.where(
            states.truncated[:, None],
            team.input(states.observation, memory),
            truncation_observation,
        )
        row = {
            "observations": observation,
            "raw_actions": raw,
            "log_probs": networks.log_prob(policy, raw),
            "rewards": rewards,
            "terminated": states.terminated,
            "truncated": states.truncated,
        }
        if self._limited:
            row["costs"] = jnp.stack([states.terms[name] for name in self._limited], -1)
        log = _log(states, done & carry.whole, episode_return)
        log["held_back"] = team.held_back(action)
        # Its observation the unroll has anyway.
        bare = carry.states.replace(series=None, terms={}, metrics={}, observation=None)
        before = (bare, carry.day) if self.window else None
        # Who is done starts the other of its two days.
        other = (carry.day + self.batch) % (2 * self.batch)
        carry = carry.replace(
            states=restart.restarted(states, done, days.starts, other),
            day=jnp.where(done, other, carry.day),
            episode_return=jnp.where(done[:, None], 0.0, episode_return),
            whole=jnp.where(done, days.starts.t[other] == 0, carry.whole),
            memory=jnp.where(done[:, None], 0.0, memory),
        )
        return (carry, truncation_observation), (row, log, before)

    def _transition(self, state: grid_env.State, action: chex.Array, series: series_lib.Series):
        """Returns the state after a step of one grid, and what each bus has earned by term."""
        after, detail = self.env.detailed(state, action, series)
        return after, detail.earned

    def _windows(self, first: Carry, days: Days, before) -> schema.Windows:
        """Returns the states that windows begin with, and the rows of the days of `first`."""
        states, day = jax.tree.map(lambda leaf: leaf[:: self.window], before)
        # A step reads the row after it, and what it leads to shows those that are known ahead.
        looked_at = self.window > 1 or self.networks.team.discounts.any()
        count = self.length + 1 + (series_lib.LEAD_STEPS[-1] if looked_at else 0)
        rows = jnp.minimum(first.states.t + jnp.arange(count)[:, None], self.env.horizon)
        series = series_lib.PooledTimeSeries(days.series, first.day).at(rows)
        return schema.Windows(
            states=states,
            usable=day == first.day,
            series=series.replace(day=series.day[None]),
            first_row=first.states.t[None],
        )

    @property
    def steps(self) -> int:
        """Environment steps in an unroll."""
        return self.length * self.batch

    @property
    def renew_every(self) -> int:
        """Unrolls after which days are due to be renewed: a grid needs one a day at most."""
        return max(1, self.env.horizon // self.length)

    def spec(self) -> schema.Spec:
        """Returns the shapes and types of an unroll, without computing one."""
        still = copy.copy(self)
        # A step's state is shaped like the one before, and seconds of tracing are left out.
        earned = dict.fromkeys(earnings.TERMS, jnp.zeros(self.env.grid.n_bus))
        still._transition = lambda state, action, series: (state, earned)

        def trace(key):
            carry, days = self.init(key)
            bundle = bundle_lib.initial(self.networks, key)
            zero = jnp.int32(0)
            return still.unroll(bundle, carry, days, schema.Origin(zero, zero, zero, zero))[1]

        return jax.eval_shape(trace, jax.random.PRNGKey(0))

    def _fresh_days(self, key: chex.PRNGKey, rows: chex.Array, version: chex.Numeric) -> Days:
        """Returns B days of `version`'s part of the run, and the states at given rows of them."""
        progress = jnp.minimum(version / self._updates, 1.0)
        sample = lambda key: self.env.sample_series(key, progress=progress)
        keys = jax.random.split(key, self.batch)
        series = jax.vmap(sample)(keys)
        protection = jax.vmap(lambda key: self.env.sample_protection(key, progress))(keys)
        starts = jax.vmap(self.env.start)(series, rows, protection)
        return restart.strong(Days(series, starts))


@functools.partial(jax.jit, static_argnums=(3, 4))
def _assemble(
    key: chex.PRNGKey, now: Days, later: Days, n_agents: int, memory_size: int
) -> tuple[Carry, Days]:
    batch = now.starts.t.shape[0]
    both = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), now, later)
    carry = Carry(
        key=key,
        states=now.starts,
        day=jnp.arange(batch, dtype=jnp.int32),
        episode_return=jnp.zeros((batch, n_agents), jnp.float32),
        whole=now.starts.t == 0,
        memory=jnp.zeros((batch, memory_size), jnp.float32),
    )
    return carry, both


@jax.jit
def _replace_days(days: Days, index: chex.Array, fresh: Days) -> Days:
    return jax.tree.map(lambda old, new: old.at[index].set(new), days, fresh)


def _log(states: grid_env.State, reported: chex.Array, episode_return: chex.Array) -> dict:
    """Returns what the log keeps of a step; the returns are of the episodes `reported`."""
    return {
        "terms": jax.tree.map(jnp.mean, states.terms),
        "metrics": jax.tree.map(lambda x: x.astype(jnp.float32).mean(), states.metrics),
        "reasons": _count_reasons(states.reason),
        "episodes": reported.sum(),
        "episode_return": jnp.where(reported[:, None], episode_return, 0.0).sum(0),
    }


def _summary(logs: dict, team: team_lib.Team) -> dict[str, chex.Array]:
    """Returns the unroll's scalars of the logs of its steps, every leaf `[T, …]`."""
    returns = logs["episode_return"].sum(0)  # [A]
    return {
        **{f"terms/{name}": x.mean() for name, x in logs["terms"].items()},
        **{f"grid/{name}": x.mean() for name, x in logs["metrics"].items()},
        **{f"ended/{name}": x.sum() for name, x in logs["reasons"].items()},
        **{name: x.mean() for name, x in logs["held_back"].items()},
        "episodes": logs["episodes"].sum().astype(jnp.float32),
        RETURNS: returns.mean(),
        **team.by_name({RETURNS: returns}),
    }


def _count_reasons(reason: chex.Array) -> Mapping[str, chex.Array]:
    counted = (member for member in Reason if member != Reason.NONE)
    return {r.name.lower(): (reason == r).sum().astype(jnp.float32) for r in counted}
