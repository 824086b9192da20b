"""Ordinary days: whole, or with a branch in maintenance and random faults."""

import dataclasses

import chex

from envs.case import fleet as fleet_lib, grid as grid_lib
from envs.time_series import series as series_lib
from evaluation.scenarios import days

MAINTENANCE_PER_DAY, BRANCH_FAULTS_PER_DAY, GEN_FAULTS_PER_DAY = 1.0, 0.5, 0.1  # hard


def series(
    key: chex.PRNGKey, grid: grid_lib.Grid, fleet: fleet_lib.Fleet, setting: days.Setting
) -> series_lib.TimeSeries:
    """Returns a day with nothing out; hard, with one planned outage and random faults."""
    if not setting.hard:
        return days.ordinary(key, grid, fleet, setting)
    worn = dataclasses.replace(
        setting.options,
        maintenance_per_day=MAINTENANCE_PER_DAY,
        branch_faults_per_day=BRANCH_FAULTS_PER_DAY,
        gen_faults_per_day=GEN_FAULTS_PER_DAY,
    )
    return days.sample(key, grid, fleet, setting, worn)
