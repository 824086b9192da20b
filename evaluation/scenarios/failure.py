"""Failures: a generator or a branch is lost and repaired; hard, a second one meanwhile."""

import chex
import jax
import jax.numpy as jnp
import numpy as np

from envs.case import connectivity, grid as grid_lib
from envs.time_series import outages, series as series_lib
from evaluation.scenarios import chance, days

FIRST_H, LAST_H = 1.0, 22.0
SECOND_PROBABILITY = 0.5  # hard


def series(key: chex.PRNGKey, setting: days.Setting) -> series_lib.TimeSeries:
    """Returns a day on which one element fails; hard, on every other day a second one as well.

    What may fail is a generator that the others can replace (`outages.may_trip`) or a branch that
    leaves the grid whole. The second fails while the first is out, and the two may divide the grid.
    """
    grid = setting.grid
    k_day, k_chance = jax.random.split(key)
    drawn = jax.random.uniform(k_chance, (7,))
    which, when, repaired, again, which_again, when_again, repaired_again = drawn
    day = days.ordinary(k_day, setting)
    may = jnp.asarray(_may_fail(grid))
    element = jnp.arange(may.size)  # branches, then generators
    one = element == chance.one_of(which, may)
    start = chance.row(when, setting, FIRST_H, LAST_H)
    length = chance.repair(repaired, setting)
    status = jnp.concatenate([day.branch_status, day.gen_status], axis=1)
    status = days.faulted(status, one, start, length)
    if setting.hard:
        others = may & ~one
        two = others & (element == chance.one_of(which_again, others))
        last = jnp.minimum(start + length, setting.n_rows) - 1
        second_start = jnp.minimum(chance.whole(when_again, start + 1, last), last)
        second_length = chance.repair(repaired_again, setting)
        fails = again < SECOND_PROBABILITY
        status = days.faulted(status, fails & two, second_start, second_length)
    return day.replace(
        branch_status=status[:, : grid.n_branch], gen_status=status[:, grid.n_branch :]
    )


def _may_fail(grid: grid_lib.Grid) -> np.ndarray:
    """Returns what may fail, bool `[n_branch + n_gen]`."""
    may = np.concatenate([connectivity.classes(grid) > 0, outages.may_trip(grid)])
    if not may.any():
        raise ValueError(
            f"case {grid.name}: scenario failure needs a branch that leaves the grid whole or a "
            "generator that the others can replace, and there is none; use a meshed case"
        )
    return may
