"""Plays whole episodes of a controller on given tapes."""

from __future__ import annotations

from collections.abc import Mapping

import chex
import jax
import jax.numpy as jnp

from agents import controllers
from envs import grid_env, restart
from envs import tape as tape_lib


def held_out(env: grid_env.GridEnv, split: str, episodes: int, seed: int) -> tape_lib.Tape:
    """Returns tapes of `split`, every leaf `[episodes, …]`; the same for every controller."""
    sample = lambda key: env.sample_tape(key, split)
    return jax.jit(jax.vmap(sample))(jax.random.split(jax.random.PRNGKey(seed), episodes))


def play(
    env: grid_env.GridEnv, controller: controllers.Controller, tapes: tape_lib.Tape
) -> Mapping[str, chex.Array]:
    """Returns the sums of reward and of every reward term over each episode, `[episodes]`.

    Besides: `played`, the share of the horizon that was played; `survived`, the same without a step
    that ended the episode; and `reason`, why it ended early (`envs.termination.Reason`). Nothing is
    counted after an episode's end.
    """

    def one(tape):
        def step(carry, _):
            state, ended, totals = carry
            after = env.transition(state, controller(state.observation), tape)
            now = {"return": after.reward, "played": 1.0 / env.horizon, **after.terms}
            totals = jax.tree.map(lambda sum_, x: sum_ + jnp.where(ended, 0.0, x), totals, now)
            after = jax.tree.map(lambda new, old: jnp.where(ended, old, new), after, state)
            return (after, ended | after.terminated, totals), None

        start = env.start(tape)
        shape = jax.eval_shape(
            lambda s: env.transition(s, controller(s.observation), tape).terms, start
        )
        zeros = {"return": 0.0, "played": 0.0, **{name: 0.0 for name in shape}}
        zeros = jax.tree.map(jnp.float32, zeros)
        start = restart.strong(start)
        (state, _, totals), _ = jax.lax.scan(
            step, (start, start.terminated, zeros), None, length=env.horizon
        )
        fatal = jnp.where(state.terminated, 1.0 / env.horizon, 0.0)
        survived = jnp.maximum(totals["played"] - fatal, 0.0)
        return {**totals, "survived": survived, "reason": state.reason}

    return jax.vmap(one)(tapes)
