"""The simplest controllers: random actions, closing what is open, following the forecast load."""

import chex
import jax
import jax.numpy as jnp
import numpy as np

from agents import controllers
from envs import grid_env
from envs.powerflow import matrices
from envs.schedule import schedule
from envs.step import actions as actions_lib, switching
from envs.time_series import series as series_lib

_DEENERGISED_MW = 1e6  # before any number of MW


def random(env: grid_env.GridEnv) -> controllers.Controller:
    """Returns the controller that draws every control evenly from [−1, 1], in every step.

    Its memory is one key for each episode, made of the seed and the episode's place in the batch.
    """
    size = env.layout.action_size

    def start(days, seed):
        episodes = jnp.arange(days.day.shape[0])
        return jax.vmap(jax.random.fold_in, (None, 0))(jax.random.PRNGKey(seed), episodes)

    def draw(key, step):
        return jax.random.uniform(jax.random.fold_in(key, step), (size,), minval=-1.0, maxval=1.0)

    act = lambda state, series, keys: (jax.vmap(draw)(keys, state.t), keys)
    return controllers.Controller("random", "random", "nothing", start, act)


def reconnect(env: grid_env.GridEnv) -> controllers.Controller:
    """Returns the controller that follows the plan and closes branches that are open.

    One a step, as the environment allows: of those that the controller opened, or that tripped and
    do not close by themselves, the one that would carry the most, |Δθ| / x; a branch to a
    de-energised bus comes before all. By default tripped branches do close by themselves
    (`env.protection.recloses`), and nobody opens any: this is then the same as doing nothing.
    """
    branch, recloses = env.grid.branch, env.options.protection.recloses
    susceptance = env.grid.base_mva / np.abs(matrices.reactance(branch) * branch.tap)

    def decide(state, series):
        service = state.branch
        stays_open = service.why != switching.CLOSED
        if recloses:
            stays_open &= service.why != switching.TRIPPED
        # The step counts the cooldown down before it looks at the action.
        may = stays_open & service.available & (service.cooldown <= 1)
        energised = state.vm_pu > 0
        f, t = branch.from_bus, branch.to_bus
        would_carry = susceptance * jnp.abs(state.va_rad[f] - state.va_rad[t] - branch.shift_rad)
        need = jnp.where(energised[f], would_carry, 0.0)
        need = jnp.where(energised[f] != energised[t], _DEENERGISED_MW, need)
        first = jnp.where(may, need, -1.0).argmax()
        closing = (jnp.arange(may.size) == first) & may
        return env.action_for(
            state, series, actions_lib.Targets(switch=closing.astype(jnp.float32))
        )

    return controllers.Controller(
        "reconnect", "reconnect", controllers.STATE, controllers.stateless,
        controllers.per_grid(decide),
    )  # fmt: skip


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
