"""The day-ahead plan: what every unit is scheduled to produce, made on the forecast.

A schedule is a function of the grid and of the demand to cover, losses included, `[time]` MW. It
returns the active power `[time, n_gen]` MW, zero for condensers.
"""

from collections.abc import Callable

import chex
import jax
import jax.numpy as jnp

from envs.case.grid import Generators, Grid
from envs.schedule import secured as secured_lib, sharing

_BISECTIONS = 40


def proportional(grid: Grid, demand_mw: chex.Array) -> chex.Array:
    """Splits demand in proportion to Pmax: fair to units, blind to cost and to the network.

    Dispatchable loads draw what the case file says.
    """
    low, high = _limits(grid, demand_mw.dtype)
    return jax.vmap(lambda total: by_size(grid.gen, low, high, total))(demand_mw)


def by_size(
    gen: Generators, low_mw: chex.Array, high_mw: chex.Array, total_mw: chex.Array
) -> chex.Array:
    """Returns what units produce that share `total_mw` in proportion to the most they can.

    The least and the most of each are `[n_gen]`. Dispatchable loads draw what the case file says,
    less or more only where the others cannot reach the total.
    """
    loads = gen.is_dispatchable_load
    target, weight = jnp.zeros_like(high_mw), high_mw
    if not loads.any():
        return sharing.share(target, low_mw, high_mw, weight, total_mw)[0]
    target, weight = target + gen.scheduled_load_mw, jnp.where(loads, 0.0, weight)
    power, rest = sharing.share(target, low_mw, high_mw, weight, total_mw)
    weight = jnp.where(loads, -low_mw, 0.0)
    return sharing.share(power, low_mw, high_mw, weight, power.sum() + rest)[0]


def merit_order(grid: Grid, demand_mw: chex.Array) -> chex.Array:
    """Clears the market at one price and ignores the network: cheapest units first."""
    low, high = _limits(grid, demand_mw.dtype)
    c1, c2 = (jnp.asarray(c, demand_mw.dtype) for c in (grid.gen.cost_c1, grid.gen.cost_c2))
    return jax.vmap(lambda total: cheapest(low, high, c1, c2, total))(demand_mw)


def cheapest(
    low_mw: chex.Array, high_mw: chex.Array, c1: chex.Array, c2: chex.Array, total_mw: chex.Array
) -> chex.Array:
    """Returns what units produce that cover `total_mw` at one price.

    At price π a unit with cost c2 p² + c1 p produces (π − c1) / 2 c2 within its limits, or
    anything between them when c2 is zero and π equals c1; such marginal units share the rest in
    proportion to their range. All arrays are `[n_gen]`, c1 in $/MWh and c2 in $/MW²h.
    """
    dearest = c1 + 2 * c2 * high_mw
    width = 1e-4 * jnp.maximum(1.0, jnp.abs(dearest).max())  # Prices closer than this are equal.

    def offered(price):
        return jnp.clip((price - c1) / jnp.maximum(2 * c2, 1e-9), low_mw, high_mw)

    def halve(_, bounds):
        lower, upper = bounds
        middle = 0.5 * (lower + upper)
        enough = offered(middle).sum() >= total_mw
        return jnp.where(enough, lower, middle), jnp.where(enough, middle, upper)

    least = c1 + 2 * c2 * jnp.minimum(low_mw, 0.0)  # what is drawn may be worth less than c1
    start = (jnp.min(least) - 2 * width, jnp.max(dearest) + 2 * width)
    lower, upper = jax.lax.fori_loop(0, _BISECTIONS, halve, start)
    price = 0.5 * (lower + upper)
    below, above = offered(price - width), offered(price + width)
    return sharing.share(below, below, above, above - below, total_mw)[0]


def secured(grid: Grid, demand_mw: chex.Array) -> chex.Array:
    """As `proportional`, with as little redispatch as thermal limits ask for: `secured.table`."""
    knots, plans = (jnp.asarray(x, demand_mw.dtype) for x in secured_lib.table(grid))
    return jax.vmap(lambda plan: jnp.interp(demand_mw, knots, plan), 1, 1)(plans)


SCHEDULES: dict[str, Callable[[Grid, chex.Array], chex.Array]] = {
    "merit_order": merit_order,
    "proportional": proportional,
    "secured": secured,
}


def _limits(grid: Grid, dtype):
    """Returns (Pmin, Pmax) of each generator `[n_gen]` MW, zero for condensers."""
    return jnp.asarray(grid.gen.p_min_mw, dtype), jnp.asarray(grid.gen.p_max_mw, dtype)
