"""Our environment as the benchmark sees it: batches of grids stepped in one compiled call."""

import chex
import flax.struct
import jax
import jax.numpy as jnp

from benchmarks import spread
from envs import grid_env, restart
from envs.time_series import series as series_lib

POLICIES = ("do_nothing", "random", "gradient")  # the last: random, with the reward's derivative
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
    steepest: chex.Array  # largest derivative of a reward by an action, thousand $


class Rollout:
    """A batch of grids, spread over the hours of their days, that steps on from where it stopped.

    A grid that is done goes on at the start of the next day of a shared pool, within the step.
    """

    def __init__(self, env: grid_env.GridEnv, batch: int, length: int, policy: str, seed: int):
        """Makes days for `batch` grids that step `length` times a run; compiles nothing yet."""
        self.steps = batch * length  # environment steps of one run
        self.resets = min(batch, _POOL)  # days that `reset` makes
        self.horizon = env.horizon  # steps of an episode
        self._env, self._policy = env, policy
        count = spread.devices(batch)
        self._part = batch // count  # grids on a device
        day_keys = jax.random.split(jax.random.PRNGKey(seed), self.resets)
        self._pool = jax.jit(jax.vmap(env.sample_series))(day_keys)
        day = jnp.arange(batch) % self.resets
        rows = (jnp.arange(batch) * env.horizon) // batch
        start = jax.jit(jax.vmap(self._start))
        fresh = start(jnp.arange(self.resets), jnp.zeros(self.resets, jnp.int32))
        first, self._fresh = restart.strong((start(day, rows), fresh))

        self._rollout = spread.over_devices(
            lambda loop: jax.lax.scan(self._step, loop, length=length)[0], count, donate_argnums=0
        )
        keys, zero = jax.random.split(jax.random.PRNGKey(seed), count), jnp.zeros(count, jnp.int32)
        loop = _Loop(first, day, keys, zero, zero, jnp.zeros(count), jnp.zeros(count))
        # Leaves of their own, since they are donated.
        self._loop = spread.put(jax.tree.map(jnp.copy, loop), count)

        few = spread.devices(self.resets)
        self._fresh_days = spread.over_devices(jax.vmap(env.reset), few)
        reset_keys = jax.random.split(jax.random.PRNGKey(seed + 1), self.resets)
        self._reset_keys = spread.put(reset_keys, few)

    def run(self) -> None:
        """Steps the whole batch `length` times and waits for it."""
        self._loop = jax.block_until_ready(self._rollout(self._loop))

    def reset(self) -> None:
        """Makes `resets` fresh days and starts a grid in each."""
        jax.block_until_ready(self._fresh_days(self._reset_keys))

    def report(self) -> dict:
        """Returns what happened in all runs so far."""
        return {
            "episodes_ended": int(self._loop.ended.sum()),
            "ended_early": int(self._loop.terminated.sum()),
            "max_mismatch_pu": float(self._loop.worst_mismatch.max()),
            "max_slope": float(self._loop.steepest.max()),
        }

    def _start(self, day: chex.Array, row: chex.Array) -> grid_env.State:
        return self._env.start(series_lib.PooledTimeSeries(self._pool, day), row)

    def _act(self, key: chex.PRNGKey) -> chex.Array:
        shape = (self._part, self._env.layout.action_size)
        if self._policy == "do_nothing":
            return jnp.zeros(shape)
        return jax.random.uniform(key, shape, minval=-1.0, maxval=1.0)

    def _step(self, loop: _Loop, _) -> tuple[_Loop, None]:
        key, k_act = jax.random.split(loop.key[0])

        def advance(action, state, day):
            series = series_lib.PooledTimeSeries(self._pool, day)
            state = self._env.transition(state, action, series)
            return state.reward, state

        action = self._act(k_act)
        if self._policy == "gradient":
            advance = jax.grad(advance, has_aux=True)
        slopes, states = jax.vmap(advance)(action, loop.states, loop.day)
        done, day = states.done, (loop.day + 1) % self.resets
        mismatch = jnp.where(states.terminated, 0.0, states.metrics["mismatch_pu"]).max()
        steepest = jnp.abs(slopes).max() if self._policy == "gradient" else 0.0
        loop = _Loop(
            states=restart.restarted(states, done, self._fresh, day),
            day=jnp.where(done, day, loop.day),
            key=key[None],
            ended=loop.ended + done.sum(),
            terminated=loop.terminated + states.terminated.sum(),
            worst_mismatch=jnp.maximum(loop.worst_mismatch, mismatch),
            steepest=jnp.maximum(loop.steepest, steepest),
        )
        return loop, None
