"""Our environment as the benchmark sees it: batches of grids stepped in one compiled call."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import chex
import flax.struct
import jax
import jax.numpy as jnp

from benchmarks import spread
from envs import grid_env, restart
from envs import options as options_lib
from envs.time_series import series as series_lib

POLICIES = ("do_nothing", "random")
_POOL = 32  # days that a batch shares, so that the measured step is not the making of days


@flax.struct.dataclass
class _Loop:
    states: grid_env.State  # every leaf `[batch, …]`
    day: chex.Array  # `[batch]` index into the pool
    # Of each device's part of the batch, `[devices]`:
    key: chex.PRNGKey
    ended: chex.Array  # episodes that ended
    terminated: chex.Array  # of these, before their horizon
    worst_mismatch: chex.Array  # largest mismatch of a step that was not terminated, pu


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A compiled rollout that goes on from where it stopped."""

    run: Callable[[], None]  # steps the whole batch `length` times and waits for it
    report: Callable[[], dict]  # of all runs so far
    reset: Callable[[], None]  # makes `resets` fresh days and starts a grid in each
    resets: int
    steps: int  # environment steps of one run
    horizon: int  # steps of an episode


def check(case: str) -> None:
    """Raises a ValueError or FileNotFoundError where `case` is none; touches no device."""
    grid_env.check(options_lib.EnvOptions(case=case))


def make(case: str) -> grid_env.GridEnv:
    """Returns the environment that is measured: the defaults on `case`."""
    return grid_env.make(options_lib.EnvOptions(case=case))


def prepare(env: grid_env.GridEnv, batch: int, length: int, policy: str, seed: int) -> Prepared:
    """Returns `batch` grids, spread over the hours of their days, under `policy`.

    A grid that is done goes on at the start of the next day of a shared pool, within the step.
    """
    pool_size = min(batch, _POOL)
    sample = jax.jit(jax.vmap(env.sample_series))
    pool = sample(jax.random.split(jax.random.PRNGKey(seed), pool_size))
    day = jnp.arange(batch) % pool_size
    rows = (jnp.arange(batch) * env.horizon) // batch

    def start(day, row):
        return env.start(series_lib.PooledTimeSeries(pool, day), row)

    first = jax.jit(jax.vmap(start))(day, rows)
    fresh = jax.jit(jax.vmap(start))(jnp.arange(pool_size), jnp.zeros(pool_size, jnp.int32))
    first, fresh = restart.strong((first, fresh))

    count = spread.devices(batch)

    def act(key):
        shape = (batch // count, env.layout.action_size)
        if policy == "random":
            return jax.random.uniform(key, shape, minval=-1.0, maxval=1.0)
        return jnp.zeros(shape)

    def step(loop: _Loop, _):
        key, k_act = jax.random.split(loop.key[0])
        states = jax.vmap(
            lambda state, action, day: env.transition(
                state, action, series_lib.PooledTimeSeries(pool, day)
            )
        )(loop.states, act(k_act), loop.day)
        done, day = states.done, (loop.day + 1) % pool_size
        mismatch = jnp.where(states.terminated, 0.0, states.metrics["mismatch_pu"]).max()
        loop = _Loop(
            states=restart.restarted(states, done, fresh, day),
            day=jnp.where(done, day, loop.day),
            key=key[None],
            ended=loop.ended + done.sum(),
            terminated=loop.terminated + states.terminated.sum(),
            worst_mismatch=jnp.maximum(loop.worst_mismatch, mismatch),
        )
        return loop, None

    rollout = spread.over_devices(
        lambda loop: jax.lax.scan(step, loop, length=length)[0], count, donate_argnums=0
    )
    keys, zero = jax.random.split(jax.random.PRNGKey(seed), count), jnp.zeros(count, jnp.int32)
    loop = _Loop(first, day, keys, zero, zero, jnp.zeros(count))
    # Leaves of their own, since they are donated.
    last = [spread.put(jax.tree.map(jnp.copy, loop), count)]

    def run():
        last[0] = jax.block_until_ready(rollout(last[0]))

    few = spread.devices(pool_size)
    fresh_days = spread.over_devices(jax.vmap(env.reset), few)
    day_keys = spread.put(jax.random.split(jax.random.PRNGKey(seed + 1), pool_size), few)

    def reset():
        jax.block_until_ready(fresh_days(day_keys))

    def report():
        return {
            "episodes_ended": int(last[0].ended.sum()),
            "ended_early": int(last[0].terminated.sum()),
            "max_mismatch_pu": float(last[0].worst_mismatch.max()),
        }

    return Prepared(run, report, reset, pool_size, batch * length, env.horizon)
