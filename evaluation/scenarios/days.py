"""The ordinary day that every scenario starts from, and what a scenario is bound to."""

import dataclasses
from collections.abc import Mapping

import chex

from envs import options as options_lib
from envs.case import fleet as fleet_lib, grid as grid_lib
from envs.schedule import day_ahead
from envs.time_series import recorded, series as series_lib, synthetic


@dataclasses.dataclass(frozen=True)
class Setting:
    """What a scenario is bound to before it is drawn."""

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


def ordinary(
    key: chex.PRNGKey, grid: grid_lib.Grid, fleet: fleet_lib.Fleet, setting: Setting
) -> series_lib.TimeSeries:
    """Returns a day of the setting's split; nothing is out on it unless that was recorded."""
    whole = dataclasses.replace(
        setting.options, maintenance_per_day=0.0, branch_faults_per_day=0.0, gen_faults_per_day=0.0
    )
    return sample(key, grid, fleet, setting, whole)


def sample(
    key: chex.PRNGKey,
    grid: grid_lib.Grid,
    fleet: fleet_lib.Fleet,
    setting: Setting,
    options: options_lib.EnvOptions,
) -> series_lib.TimeSeries:
    """Returns a day of the setting's split with outages at the rates of `options`."""
    if setting.recorded is None:
        return synthetic.sample(key, grid, fleet, options, setting.split)
    return recorded.sample(key, setting.recorded, grid, options, setting.split)


def planned_again(
    series: series_lib.TimeSeries, grid: grid_lib.Grid, setting: Setting
) -> series_lib.TimeSeries:
    """Returns `series` with the plan that its day-ahead columns call for."""
    plan = day_ahead.unit_plan(
        grid, setting.options.schedule, series.day_ahead_load_mw, series.day_ahead_renewable_mw
    )
    return series.replace(plan_p_mw=plan)
