"""Dispatchers that follow the load foreseen: by Pmax, or cheapest first; blind to the network."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import chex
import jax.numpy as jnp

from agents import controllers
from envs import decision, grid_env, schedule


def proportional(env: grid_env.GridEnv) -> controllers.Controller:
    """Returns the controller whose units share the load foreseen in proportion to Pmax.

    What automatic generation control with one participation factor for all does. Ramps are left to
    the environment, which shares by Pmax too what they hold back.
    """

    def decide(state, tape):
        on = _in_service(env, state)
        limits = _Limits(env.limits.p_min_mw * on, env.limits.p_max_mw * on, *_costs(env))
        return _follow(env, schedule.proportional, limits, state, tape)

    return controllers.Controller(
        "proportional", "by Pmax", controllers.FORECASTS, controllers.stateless,
        controllers.per_grid(decide),
    )  # fmt: skip


def merit_order(env: grid_env.GridEnv) -> controllers.Controller:
    """Returns the controller that covers the load foreseen by the cheapest units first.

    A market cleared every five minutes, each unit offering what it can reach within its ramp.
    """
    p_min, p_max, ramp = env.limits.p_min_mw, env.limits.p_max_mw, env.limits.ramp_mw

    def decide(state, tape):
        on = _in_service(env, state)
        low = jnp.minimum(jnp.maximum(p_min, state.gen_p_mw - ramp), p_max)
        high = jnp.maximum(jnp.minimum(p_max, state.gen_p_mw + ramp), p_min)
        limits = _Limits(low * on, high * on, *_costs(env))
        return _follow(env, schedule.merit_order, limits, state, tape)

    return controllers.Controller(
        "merit_order", "merit order", controllers.FORECASTS, controllers.stateless,
        controllers.per_grid(decide),
    )  # fmt: skip


class _Limits(NamedTuple):
    """What a schedule reads of generators, `[n_gen]`, named as in `grid.Generators`."""

    unit_p_min_mw: chex.Array
    unit_p_max_mw: chex.Array
    cost_c1: chex.Array
    cost_c2: chex.Array


class _Market(NamedTuple):
    """What a schedule reads of a grid: here the generators as they are in one step."""

    gen: _Limits


def _follow(
    env: grid_env.GridEnv,
    plan: Callable[[_Market, chex.Array], chex.Array],
    limits: _Limits,
    state: grid_env.State,
    tape,
) -> chex.Array:
    """Returns the action that has units cover what is foreseen for the next step."""
    now = tape.at(state.t)
    demand = (
        now.load_forecast_mw[0] * (1.0 - state.frequency.shed_share)
        - now.renewable_forecast_mw[0]
        + state.losses_mw
        - state.condenser_mw.sum()
    )
    target = plan(_Market(limits), demand[None])[0]
    return env.action_for(state, tape, decision.Targets(unit_mw=target))


def _in_service(env, state):
    """Returns which generators are in service on the island that lives, `[n_gen]` 1 or 0."""
    return (state.gen_on & (state.vm_pu[env.grid.gen.bus] > 0)).astype(jnp.float32)


def _costs(env):
    return jnp.asarray(env.grid.gen.cost_c1), jnp.asarray(env.grid.gen.cost_c2)
