"""The ordinary day that every scenario starts from, and what a scenario is bound to."""

import dataclasses
from collections.abc import Mapping

import chex
import jax.numpy as jnp

from envs import options as options_lib
from envs.case import fleet as fleet_lib, grid as grid_lib
from envs.schedule import day_ahead
from envs.time_series import recorded, series as series_lib, synthetic


@dataclasses.dataclass(frozen=True)
class Setting:
    """What a scenario is bound to before it is drawn."""

    grid: grid_lib.Grid
    fleet: fleet_lib.Fleet
    options: options_lib.EnvOptions
    split: str
    hard: bool
    recorded: Mapping[str, series_lib.TimeSeries] | None = None  # by split; none: synthetic days

    @property
    def n_rows(self) -> int:
        """Rows of a time series."""
        return self.options.horizon_steps + 1

    @property
    def dt_h(self) -> float:
        """Hours between two rows."""
        return self.options.step_minutes / 60.0


def ordinary(key: chex.PRNGKey, setting: Setting) -> series_lib.TimeSeries:
    """Returns a day of the setting's split; nothing is out on it unless that was recorded."""
    return sample(key, setting, 0.0, 0.0, 0.0)


def sample(
    key: chex.PRNGKey, setting: Setting, maintenance: float, branch_faults: float, gen_faults: float
) -> series_lib.TimeSeries:
    """Returns a day of the setting's split with so many outages a day."""
    options = dataclasses.replace(
        setting.options, maintenance_per_day=maintenance, branch_faults_per_day=branch_faults,
        gen_faults_per_day=gen_faults, curriculum="",
    )  # fmt: skip
    if setting.recorded is None:
        return synthetic.sample(key, setting.grid, setting.fleet, options, setting.split)
    return recorded.sample(key, setting.recorded, setting.grid, options, setting.split)


def planned_again(series: series_lib.TimeSeries, setting: Setting) -> series_lib.TimeSeries:
    """Returns `series` with the plan that its day-ahead columns call for."""
    plan = day_ahead.unit_plan(
        setting.grid, setting.options.schedule, series.day_ahead_load_mw,
        series.day_ahead_renewable_mw,
    )  # fmt: skip
    return series.replace(plan_p_mw=plan)


def faulted(
    status: chex.Array,
    which: chex.Array,
    start: chex.Array,
    length: chex.Array,
    what: int = series_lib.FAULT,
) -> chex.Array:
    """Returns `status` `[rows, n]` with a fault of the elements `which`, bool `[n]`; uint8.

    They are out from row `start` on, for `length` rows; each is one for all or `[n]`. `what` may
    be MAINTENANCE instead, which is announced.
    """
    row = jnp.arange(status.shape[0])[:, None]
    out = which & (row >= start) & (row < start + length)
    return jnp.where(out, what, status).astype(jnp.uint8)
