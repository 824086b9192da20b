"""Ordinary days: whole, or with a branch in maintenance and random faults."""

import chex

from envs.time_series import series as series_lib
from evaluation.scenarios import days

MAINTENANCE_PER_DAY, BRANCH_FAULTS_PER_DAY, GEN_FAULTS_PER_DAY = 1.0, 0.5, 0.1  # hard


def series(key: chex.PRNGKey, setting: days.Setting) -> series_lib.TimeSeries:
    """Returns a day with nothing out; hard, with one planned outage and random faults."""
    if not setting.hard:
        return days.ordinary(key, setting)
    rates = MAINTENANCE_PER_DAY, BRANCH_FAULTS_PER_DAY, GEN_FAULTS_PER_DAY
    return days.sample(key, setting, *rates)
