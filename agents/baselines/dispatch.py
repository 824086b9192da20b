"""Dispatchers that follow the forecast load: by Pmax, or cheapest first; blind to the network."""

from __future__ import annotations

import chex
import jax.numpy as jnp

from agents import controllers
from envs import grid_env
from envs.schedule import schedule
from envs.step import actions as actions_lib
from envs.time_series import series as series_lib


def proportional(env: grid_env.GridEnv) -> controllers.Controller:
    """Returns the controller whose units share the forecast load in proportion to Pmax.

    What automatic generation control with one participation factor for all does. Ramps are left to
    the environment, which shares by Pmax too what they hold back.
    """

    def decide(state, series):
        on = _in_service(env, state)
        low, high = env.limits.p_min_mw * on, env.limits.p_max_mw * on
        target = schedule.by_size(env.grid.gen, low, high, _forecast_mw(state, series))
        return env.action_for(state, series, actions_lib.Targets(unit_mw=target))

    return controllers.Controller(
        "proportional", "by Pmax", controllers.FORECASTS, controllers.stateless,
        controllers.per_grid(decide),
    )  # fmt: skip


def merit_order(env: grid_env.GridEnv) -> controllers.Controller:
    """Returns the controller that covers the forecast load by the cheapest units first.

    A market cleared every five minutes, each unit offering what it can reach within its ramp.
    """
    c1, c2 = jnp.asarray(env.grid.gen.cost_c1), jnp.asarray(env.grid.gen.cost_c2)

    def decide(state, series):
        on = _in_service(env, state)
        low, high = actions_lib.within_ramps(env.limits, state.gen_p_mw)
        target = schedule.cheapest(low * on, high * on, c1, c2, _forecast_mw(state, series))
        return env.action_for(state, series, actions_lib.Targets(unit_mw=target))

    return controllers.Controller(
        "merit_order", "merit order", controllers.FORECASTS, controllers.stateless,
        controllers.per_grid(decide),
    )  # fmt: skip


def _forecast_mw(state: grid_env.State, series: series_lib.TimeSeries) -> chex.Array:
    """Returns what units have to cover in the next step by its forecast, MW."""
    now = series.at(state.t)
    return (
        now.load_forecast_mw[0] * (1.0 - state.frequency.shed_share)
        - now.renewable_forecast_mw[0]
        + state.losses_mw
        - state.condenser_mw.sum()
    )


def _in_service(env, state):
    """Returns which generators are in service at energised buses, `[n_gen]` 1 or 0."""
    return (state.gen_on & (state.vm_pu[env.grid.gen.bus] > 0)).astype(jnp.float32)
