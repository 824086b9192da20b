"""A look-ahead: which limits actions would break in the next step, as far as it is foreseen.

It is a step of the environment without protection, of the loads and the weather that are forecast.
"""

import dataclasses
import enum
from typing import NamedTuple

import chex
import flax.struct
import jax.numpy as jnp

from agents.baselines import outlook
from envs import grid_env
from envs.step.reward_terms import CLEAN_PU
from envs.time_series import series as series_lib

_COLLAPSE = 1e3  # beside loadings, for a step that ends the episode
LOADING_TOLERANCE = 1e-4  # rounding of single precision


class Limit(enum.IntEnum):
    """Which kind of limit is broken, the gravest first."""

    NONE = 0
    COLLAPSE = 1  # the step ends the episode
    OVERLOAD = 2
    OUTAGE = 3  # the loss of one more branch would overload another; where that has a price
    VOLTAGE = 4
    REACTIVE = 5


class Broken(NamedTuple):
    """The gravest limit that an action would break, `[…]` each.

    By kind the element is an `envs.step.termination.Reason`, a branch, the branch to lose, a bus or
    a generator, and the size 1, loading above the limit as a share of it, now or after the loss, pu
    beyond it, or MVAr beyond it.
    """

    limit: chex.Array  # `Limit`
    element: chex.Array  # index; 0 of none
    size: chex.Array  # 0 of none


class Excess(NamedTuple):
    """How far each element would be beyond its limits, 0 within them."""

    reason: chex.Array  # why the step ends the episode, a `Reason`, or 0
    loading: chex.Array  # `[…, n_branch]` share of the limit
    after_outage: chex.Array  # `[…, n_branch]` the largest after the loss of each
    voltage_pu: chex.Array  # `[…, n_bus]`
    reactive_mvar: chex.Array  # `[…, n_gen]`


@flax.struct.dataclass
class Foreseen:
    """The next row of a time series as it is foreseen, whichever is asked for."""

    row: series_lib.TimeSeries

    def at(self, row: chex.Array) -> series_lib.TimeSeries:
        """Returns it."""
        del row
        return self.row


class LookAhead:
    """Looks a step ahead in one environment, at a grid or with `vmap` at many."""

    def __init__(self, env: grid_env.GridEnv):
        """Takes the environment whose grids it looks at."""
        off = dataclasses.replace(env.options.protection, enabled=False)
        options = dataclasses.replace(
            env.options, protection=off, screen_outages=False, reward="economic", pool="",
            scenarios="", curriculum="",
        )  # fmt: skip
        self._step = grid_env.make(options)
        grid = env.grid
        tolerance = CLEAN_PU, CLEAN_PU * grid.base_mva
        self._tolerance = LOADING_TOLERANCE, LOADING_TOLERANCE, *tolerance
        as_float = lambda x: jnp.asarray(x, jnp.float32)
        self._voltages = as_float(grid.bus.vm_min_pu), as_float(grid.bus.vm_max_pu)
        self._reactive = as_float(grid.gen.q_min_mvar), as_float(grid.gen.q_max_mvar)

    def __call__(self, state: grid_env.State, ahead: Foreseen, action: chex.Array) -> Excess:
        """Returns what `action` `[action_size]` would come to in the step after `state`."""
        after, detail = self._step.detailed(state.replace(protection=None), action, ahead)
        beyond = lambda x, low, high: jnp.maximum(jnp.maximum(low - x, x - high), 0.0)
        voltage = jnp.where(detail.energised, beyond(after.vm_pu, *self._voltages), 0.0)
        return Excess(
            jnp.where(after.terminated, after.reason, 0),
            jnp.maximum(detail.rho - 1.0, 0.0),
            jnp.maximum(detail.after_outage_rho - 1.0, 0.0),
            voltage,
            jnp.where(after.gen_on, beyond(detail.gen_q_mvar, *self._reactive), 0.0),
        )

    def broken(self, excess: Excess) -> Broken:
        """Returns the gravest limit that is broken; of its kind that at the worst element."""
        by_element = excess[1:]
        largest = jnp.stack([x.max(-1) for x in by_element], -1)
        kinds = jnp.concatenate(
            [(excess.reason > 0)[..., None], largest > jnp.asarray(self._tolerance)], -1
        )
        limit = jnp.where(kinds.any(-1), 1 + kinds.argmax(-1), Limit.NONE).astype(jnp.int32)
        places = [excess.reason, *(x.argmax(-1) for x in by_element)]
        sizes = [jnp.ones_like(largest[..., 0]), *jnp.moveaxis(largest, -1, 0)]
        pick = lambda choices: jnp.select([limit == kind for kind in list(Limit)[1:]], choices, 0)
        return Broken(limit, pick(places).astype(jnp.int32), pick(sizes))

    def at(self, excess: Excess, broken: Broken) -> chex.Array:
        """Returns how far the limit of `broken` is broken in `excess`, in the unit of its size."""
        there = lambda x: jnp.take_along_axis(
            x, jnp.minimum(broken.element, x.shape[-1] - 1)[..., None], -1
        )[..., 0]
        ends = (excess.reason > 0).astype(jnp.float32)
        sizes = [ends, *(there(x) for x in excess[1:])]
        tolerance = jnp.asarray((0.0, *self._tolerance))[jnp.maximum(broken.limit - 1, 0)]
        size = jnp.select([broken.limit == kind for kind in list(Limit)[1:]], sizes, 0.0)
        return jnp.where(size > tolerance, size, 0.0)


def danger(excess: Excess) -> chex.Array:
    """Returns how far branches would be overloaded in all, and how far after each one's outage.

    Where the episode would end it is much more.
    """
    overload = excess.loading.sum(-1) + excess.after_outage.sum(-1)
    return overload + jnp.where(excess.reason > 0, _COLLAPSE, 0.0)


def foresee(state: grid_env.State, series: series_lib.TimeSeries) -> Foreseen:
    """Returns the next row of one grid as it is foreseen: totals by forecasts, shares as now."""
    now, ahead = series.at(state.t), series.at(state.t + 1)
    scale = lambda present, total: jnp.where(
        present.sum() > 1e-6, total / jnp.maximum(present.sum(), 1e-6), 1.0
    )
    load = scale(now.load_p_mw, now.load_forecast_mw[0])
    weather = scale(now.renewable_mw, now.renewable_forecast_mw[0])
    return Foreseen(now.replace(
        load_p_mw=load * now.load_p_mw,
        load_q_mvar=load * now.load_q_mvar,
        renewable_mw=weather * now.renewable_mw,
        branch_status=outlook.foreseen(now.branch_status, ahead.branch_status),
        gen_status=outlook.foreseen(now.gen_status, ahead.gen_status),
        plan_p_mw=ahead.plan_p_mw,
        day_ahead_load_mw=ahead.day_ahead_load_mw,
        day_ahead_renewable_mw=ahead.day_ahead_renewable_mw,
    ))  # fmt: skip
