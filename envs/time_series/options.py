"""What can be chosen about a grid and the days that it is operated on."""

import dataclasses
from typing import Annotated

from envs.inputs import bounds
from envs.inputs.bounds import Range

MINUTES_PER_DAY = 1440
SYNTHETIC = "synthetic"  # in place of a folder of recorded days
RECORDED = "recorded"  # as the schedule: what units were recorded to produce


@dataclasses.dataclass(frozen=True)
class TimeSeriesOptions(bounds.Options, prefix="env."):
    """Options of the case and of time series. The text beside each field is its help."""

    case: Annotated[
        str, "grid: a shipped case (case14), pandapower:NAME, or the path of a case file"
    ] = "case14"
    fleet: Annotated[
        str, "assets on the grid: auto (the case's own), plain, a shipped fleet, or a .json file"
    ] = "auto"
    time_series: Annotated[
        str, "days: synthetic, or a folder of Grid2Op's chronics or of SimBench's profiles"
    ] = SYNTHETIC
    scenarios: Annotated[
        str,
        "training days by weight, as normal:easy=1,cascade:hard=2, or =0..2 for a weight that goes "
        "from 0 to 2 in the course of training; all:hard is every scenario; recorded and synthetic "
        "are days as they come; none: days of time_series",
    ] = ""
    pool: Annotated[
        str,
        "folder with the days of scenarios that `python -m launch.prepare` made; none: it is made "
        "when it is needed",
    ] = ""
    load_scale: Annotated[
        float, "recorded loads are multiplied by this", Range(0, 100, above=True)
    ] = 1.0
    schedule: Annotated[
        str, "day-ahead plan: secured, proportional or merit_order; or recorded, as in prod_p"
    ] = "secured"
    step_minutes: Annotated[
        int, "simulated minutes between two decisions", Range(1, MINUTES_PER_DAY)
    ] = 5
    horizon_steps: Annotated[
        int, "decisions in an episode; 288 of 5 minutes are a day", Range(1, MINUTES_PER_DAY)
    ] = 288
    # Low enough that most days are whole, high enough that each batch has some that are not.
    maintenance_per_day: Annotated[float, "branches in planned maintenance a day", Range(0, 2)] = (
        0.1
    )
    branch_faults_per_day: Annotated[
        float, "branches of the grid that trip a day", Range(0, 1000)
    ] = 0.1
    gen_faults_per_day: Annotated[
        float, "generators of the grid that trip a day", Range(0, 1000)
    ] = 0.02
    curriculum: Annotated[
        str,
        "what outages and protection are multiplied by in the course of training, as "
        "branch_faults_per_day=0..1,protection.enabled=0..1, the share of days played with it, or "
        "protection.soft_steps=3..1; none: as they are throughout",
    ] = ""

    def check(self) -> None:
        """Raises ValueError for an episode of over a day, or what only recorded days could use."""
        if self.time_series == SYNTHETIC and self.load_scale != 1.0:
            raise ValueError(
                f"env.load_scale={self.load_scale}: is of recorded loads; give their folder with "
                "env.time_series, or leave it at 1"
            )
        if self.schedule == RECORDED and self.time_series == SYNTHETIC:
            raise ValueError(
                f"env.schedule={RECORDED}: is a plan of recorded days; give their folder with "
                "env.time_series, or env.schedule=secured"
            )
        if self.horizon_steps * self.step_minutes > MINUTES_PER_DAY:
            raise ValueError(
                f"env.horizon_steps={self.horizon_steps} of env.step_minutes={self.step_minutes}: "
                f"an episode is at most one day, {MINUTES_PER_DAY // self.step_minutes} steps"
            )
