"""Everything exogenous for one episode, row by row."""

from __future__ import annotations

import chex
import flax.struct

LEAD_STEPS = (1, 3, 6, 12)  # how far ahead the forecasts look, in steps
IN_SERVICE, MAINTENANCE, FAULT = 0, 1, 2  # status of a branch or a generator


@flax.struct.dataclass
class TimeSeries:
    """One episode's exogenous data. Row 0 is the initial state; step t reads row t + 1."""

    load_p_mw: chex.Array  # `[rows, n_load]` what the loads will draw
    load_q_mvar: chex.Array  # `[rows, n_load]`
    renewable_mw: chex.Array  # `[rows, n_renewable]` what the weather allows each plant
    branch_status: chex.Array  # uint8 `[rows, n_branch]`: in service, maintenance or fault
    gen_status: chex.Array  # uint8 `[rows, n_gen]`
    load_forecast_mw: chex.Array  # `[rows, n_lead]` total load in LEAD_STEPS, as foreseen now
    renewable_forecast_mw: chex.Array  # `[rows, n_lead]` total available, as foreseen now
    day_ahead_load_mw: chex.Array  # `[rows]` total load as foreseen the day before
    day_ahead_renewable_mw: chex.Array  # `[rows]` total available, as foreseen the day before
    plan_p_mw: chex.Array  # `[rows, n_gen]` schedule made on the day-ahead forecasts
    day: chex.Array  # day of the year, 0 to 363

    @property
    def gen_in_service(self) -> chex.Array:
        """Whether each generator is in service, bool, of the shape of `gen_status`."""
        return self.gen_status == IN_SERVICE

    def at(self, row: chex.Array) -> TimeSeries:
        """Returns one row: every leaf without its first axis."""
        return _leaves(self, lambda leaf: leaf[row])


@flax.struct.dataclass
class PooledTimeSeries:
    """One of a pool of time series: read like a `TimeSeries`, without a copy in each grid's state.

    The pool is shared by a batch of grids (`vmap` with the pool unmapped), so that starting a new
    episode changes one integer instead of a day of data.
    """

    pool: TimeSeries  # every leaf with a leading axis `[n_series]`
    index: chex.Array

    def at(self, row: chex.Array) -> TimeSeries:
        """Returns one row: every leaf without its first two axes."""
        return _leaves(self.pool, lambda leaf: leaf[self.index, row], lambda day: day[self.index])


@flax.struct.dataclass
class WindowedTimeSeries:
    """Some rows of one of a pool of time series, read by their numbers in the whole."""

    pool: TimeSeries  # every leaf `[rows, n_series, …]`, `day` `[1, n_series]`
    index: chex.Array
    first_row: chex.Array  # that the pool holds of it

    def at(self, row: chex.Array) -> TimeSeries:
        """Returns one row: every leaf without its first two axes."""
        return _leaves(
            self.pool,
            lambda leaf: leaf[row - self.first_row, self.index],
            lambda day: day[0, self.index],
        )


Series = TimeSeries | PooledTimeSeries | WindowedTimeSeries


def _leaves(series: TimeSeries, read, read_day=lambda day: day) -> TimeSeries:
    rows = {name: read(leaf) for name, leaf in vars(series).items() if name != "day"}
    return TimeSeries(day=read_day(series.day), **rows)
