"""The day-ahead plan by table: a schedule depends on one number, so it is computed once."""

import chex
import jax
import jax.numpy as jnp

from envs.case.grid import Grid
from envs.schedule import schedule

_POINTS = 1025
PLANNED_LOSSES = 0.03  # share of load that a plan allows for; a choice


def unit_plan(grid: Grid, name: str, load_mw: chex.Array, renewable_mw: chex.Array) -> chex.Array:
    """Returns the plan `[time, n_gen]` MW on the totals `[time]` that the day before foresees."""
    return plan(grid, name, demand(grid, load_mw, renewable_mw))


def plan(grid: Grid, name: str, demand_mw: chex.Array) -> chex.Array:
    """Returns the schedule `name` for `demand_mw` `[time]`, as `[time, n_gen]` MW.

    `schedule.SCHEDULES[name]` is evaluated at equally spaced demands between ΣPmin and ΣPmax and
    interpolated linearly, which keeps its sum exact and every unit within its limits. Demand
    outside that range is planned as its nearer end.
    """
    low, high = least_mw(grid), float(grid.gen.p_max_mw.sum())
    with jax.ensure_compile_time_eval():
        points = jnp.linspace(low, high, _POINTS, dtype=jnp.float32)
        table = jax.jit(lambda demand: schedule.SCHEDULES[name](grid, demand))(points)
    place = jnp.clip((demand_mw - low) * ((_POINTS - 1) / max(high - low, 1e-6)), 0, _POINTS - 1)
    below = jnp.minimum(place.astype(jnp.int32), _POINTS - 2)
    left, right = table[below], table[below + 1]
    return left + (place - below)[:, None] * (right - left)


def least_mw(grid: Grid) -> float:
    """Returns the sum of Pmin, below which a plan cannot go."""
    return float(grid.gen.p_min_mw.sum())


def demand(grid: Grid, load_mw: chex.Array, renewable_mw: chex.Array) -> chex.Array:
    """Returns what units are to cover `[time]`: load and losses less renewables, at least ΣPmin.

    Where less would be left, fewer renewables are taken into the plan.
    """
    total = load_mw * (1.0 + PLANNED_LOSSES)
    taken = jnp.minimum(renewable_mw, jnp.maximum(total - least_mw(grid), 0.0))
    return jnp.maximum(total - taken, least_mw(grid))
