"""Peak load: days that come close to the most that the grid can carry."""

import chex

from envs.case import fleet as fleet_lib, grid as grid_lib
from envs.time_series import series as series_lib
from evaluation.scenarios import days, loading

EASY_SHARE, HARD_SHARE = 0.85, 0.95  # of the day's loadability


def series(
    key: chex.PRNGKey, grid: grid_lib.Grid, fleet: fleet_lib.Fleet, setting: days.Setting
) -> series_lib.TimeSeries:
    """Returns a day that peaks at a share of the largest load for which AC-OPF is feasible."""
    share = HARD_SHARE if setting.hard else EASY_SHARE
    return loading.loaded(days.ordinary(key, grid, fleet, setting), grid, fleet, setting, share)
