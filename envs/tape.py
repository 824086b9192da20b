"""Everything exogenous for one episode, row by row."""

from __future__ import annotations

import chex
import flax.struct


@flax.struct.dataclass
class Tape:
    """One episode's exogenous data. Row 0 is the initial state; step t reads row t + 1."""

    load_p_mw: chex.Array  # `[rows, n_load]` what the loads will draw
    load_q_mvar: chex.Array  # `[rows, n_load]`
    forecast_mw: chex.Array  # `[rows]` day-ahead forecast of total load
    plan_p_mw: chex.Array  # `[rows, n_gen]` day-ahead schedule on that forecast
    day: chex.Array  # day of the year, 0 to 363

    def at(self, row: chex.Array) -> Row:
        """Returns one row."""
        return Row(
            self.load_p_mw[row], self.load_q_mvar[row], self.forecast_mw[row], self.plan_p_mw[row]
        )

    def forecast_at(self, rows: chex.Array) -> chex.Array:
        """Returns the forecast at several rows."""
        return self.forecast_mw[rows]


@flax.struct.dataclass
class Row:
    """One row of a tape."""

    load_p_mw: chex.Array
    load_q_mvar: chex.Array
    forecast_mw: chex.Array
    plan_p_mw: chex.Array


@flax.struct.dataclass
class PooledTape:
    """A tape that lives in a pool: read like a `Tape`, without copying it into each grid's state.

    The pool is shared by a batch of grids (`vmap` with the pool unmapped), so that starting a new
    episode changes one integer instead of a day of data.
    """

    pool: Tape  # every leaf with a leading axis `[n_tape]`
    index: chex.Array

    def at(self, row: chex.Array) -> Row:
        """Returns one row."""
        pool = self.pool
        return Row(
            pool.load_p_mw[self.index, row],
            pool.load_q_mvar[self.index, row],
            pool.forecast_mw[self.index, row],
            pool.plan_p_mw[self.index, row],
        )

    def forecast_at(self, rows: chex.Array) -> chex.Array:
        """Returns the forecast at several rows."""
        return self.pool.forecast_mw[self.index, rows]
