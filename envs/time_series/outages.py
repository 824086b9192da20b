"""Planned maintenance and random faults of branches and generators."""

import chex
import jax
import jax.numpy as jnp
import numpy as np

from envs.case import connectivity
from envs.case.grid import Grid
from envs.time_series import curriculum
from envs.time_series.options import TimeSeriesOptions
from envs.time_series.series import FAULT, IN_SERVICE, MAINTENANCE

# RTE's competition data plan maintenance between 9 and 17 h (maintenance_meta.json in Grid2Op).
MAINTENANCE_START_H, MAINTENANCE_LENGTH_H = (8.0, 10.0), (6.0, 8.0)
REPAIR_H = (4.0, 8.0)


def may_trip(grid: Grid) -> np.ndarray:
    """Returns which generators may fault `[n_gen]`: those the rest can replace at nominal load.

    The loss of any other is a blackout whatever is done, which would only add a constant.
    """
    p_max = grid.gen.capacity_mw
    return p_max.sum() - p_max >= grid.bus.load_p_mw.sum()


def sample(
    key: chex.PRNGKey,
    grid: Grid,
    options: TimeSeriesOptions,
    n_rows: int,
    progress: chex.Numeric = 1.0,
) -> tuple[chex.Array, chex.Array]:
    """Returns the status of branches and generators, uint8 `[n_rows, n_branch]`, `[…, n_gen]`.

    Maintenance takes `maintenance_per_day` branches (up to two at once) that leave the grid whole.
    Each branch, and each generator that may, faults with the same probability, at most once
    a day, at any time after row 0, and is repaired within `REPAIR_H`. Rates are for a day of 24 h:
    a shorter episode sees its share. Of a curriculum `progress`, 0 to 1, is behind.
    """
    factor = lambda name: curriculum.factor(options, name, progress)
    dt_h = options.step_minutes / 60.0
    n_branch, n_gen = grid.n_branch, grid.n_gen
    uniform = jax.random.uniform(key, (3 * (n_branch + n_gen) + 2 * n_branch + 5,))
    when, repair, which, first, second, rest = jnp.split(
        uniform, np.cumsum([n_branch + n_gen] * 3 + [n_branch] * 2)
    )
    row = jnp.arange(n_rows)[:, None]

    # Faults of branches, then of generators, in one table.
    trips = may_trip(grid)
    of_branch = np.full(n_branch, options.branch_faults_per_day / n_branch)
    of_gen = options.gen_faults_per_day * trips / max(trips.sum(), 1)
    factors = factor("branch_faults_per_day"), factor("gen_faults_per_day")
    rates = [jnp.asarray(rate) * by for rate, by in zip((of_branch, of_gen), factors)]
    start = 1 + jnp.floor(when * (24.0 / dt_h)).astype(jnp.int32)
    start = jnp.where(which < jnp.concatenate(rates), start, n_rows)
    end = start + steps(repair, REPAIR_H, dt_h)
    faulty = (row >= start) & (row < end)
    branch_faulty, gen_faulty = faulty[:, :n_branch], faulty[:, n_branch:]

    # Maintenance: the branches with the largest draws among those that may go.
    classes = jnp.asarray(connectivity.classes(grid))
    rate = options.maintenance_per_day * factor("maintenance_per_day")
    least = rate // 1
    number = least + (rest[0] < rate - least)
    one = jnp.argmax(jnp.where(classes > 0, first, -1.0))
    allowed = (classes > 0) & (classes != classes[one])
    two = jnp.argmax(jnp.where(allowed, second, -1.0))
    planned = jnp.zeros((n_rows, n_branch), bool)
    for place, (branch, goes) in enumerate((
        (one, (number >= 1) & (classes > 0).any()),
        (two, (number >= 2) & allowed.any()),
    )):  # fmt: skip
        begin = steps(rest[1 + 2 * place], MAINTENANCE_START_H, dt_h)
        length = steps(rest[2 + 2 * place], MAINTENANCE_LENGTH_H, dt_h)
        within = goes & (row >= begin) & (row < begin + length)
        planned |= within & (jnp.arange(n_branch) == branch)

    status = jnp.where(branch_faulty, FAULT, IN_SERVICE)
    branch_status = jnp.where(planned, MAINTENANCE, status).astype(jnp.uint8)
    return branch_status, jnp.where(gen_faulty, FAULT, IN_SERVICE).astype(jnp.uint8)


def steps(share: chex.Array, hours: tuple[float, float], dt_h: float) -> chex.Array:
    """Returns a duration in whole steps, uniform between `hours` by `share` in [0, 1)."""
    least, most = np.ceil(hours[0] / dt_h), np.floor(hours[1] / dt_h)
    most = max(least, most)
    return (least + jnp.floor(share * (most - least + 1))).astype(jnp.int32)
