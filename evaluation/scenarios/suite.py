"""The scenarios by name, and time series of them that are the same for every controller."""

import dataclasses
from collections.abc import Callable, Mapping

import chex
import jax
import jax.numpy as jnp

from envs import grid_env, options as options_lib
from envs.case import fleet as fleet_lib, grid as grid_lib
from envs.inputs import choices
from envs.time_series import series as series_lib, splits
from envs.time_series.options import RECORDED, SYNTHETIC
from evaluation.scenarios import (
    cascade,
    days,
    emergency,
    failure,
    intermittency,
    normal,
    peak,
    storm,
)

LEVELS = ("easy", "hard")
Draw = Callable[[chex.PRNGKey, grid_lib.Grid, fleet_lib.Fleet], series_lib.TimeSeries]


@dataclasses.dataclass(frozen=True)
class Scenario:
    """A way for a day to go."""

    name: str
    number: int  # folded into keys, so that no two scenarios share their days
    title: str
    easy: str  # one sentence
    hard: str
    series: Callable[..., series_lib.TimeSeries]  # of key and `days.Setting`
    check: Callable[[options_lib.EnvOptions], None] = lambda options: None
    weather: bool = False  # whether it makes wind and sun of its own, which recorded days have
    plans: bool = False  # whether it makes other loads, and a plan of its own for them


_ALL = (
    Scenario(
        "normal", 0, "Normal operation",
        "A whole day with everything in service.",
        "A day with a branch in planned maintenance, and random faults of branches (0.5 a day) and "
        "generators (0.1 a day).",
        normal.series,
    ),
    Scenario(
        "peak", 1, "Peak load",
        "A day that peaks at 85 % of the largest load for which AC optimal power flow is feasible.",
        "A day that peaks at 95 % of the largest load for which AC optimal power flow is feasible.",
        peak.series,
        plans=True,
    ),
    Scenario(
        "failure", 2, "Failure of an element",
        "A generator or a branch fails at a random time and is repaired after 4 to 8 h.",
        "A generator or a branch fails, and on every other day a second one while it is out.",
        failure.series,
    ),
    Scenario(
        "intermittency", 3, "Intermittent wind and sun",
        "Wind and sun are 40 to 50 % of energy, badly foreseen, with one sudden ramp in an area.",
        "Wind and sun are 50 to 60 % of energy, badly foreseen, with three sudden ramps.",
        intermittency.series,
        weather=True,
    ),
    Scenario(
        "cascade", 4, "Cascading outages",
        "At 80 % of the largest feasible load two adjacent branches trip within 15 min of the peak "
        "hours.",
        "At 90 % of the largest feasible load three adjacent branches trip within 15 min of the "
        "peak hours.",
        cascade.series,
        cascade.check,
        plans=True,
    ),
    Scenario(
        "emergency", 5, "Emergency",
        "The unit with the most planned power among those that the others can replace is lost; "
        "with microgrids, what supplies the grid from beyond, for 4 to 8 h and announced.",
        "A tie corridor is lost: the branches between two areas that the grid can do without; with "
        "microgrids, what supplies the grid from beyond, by surprise.",
        emergency.series,
    ),
    Scenario(
        "weather", 6, "Extreme weather",
        "A storm crosses the grid in 3 to 6 h and takes 2 branches of 118 buses in the mean.",
        "A storm crosses the grid in 3 to 6 h and takes 5 branches of 118 buses in the mean.",
        storm.series,
        weather=True,
    ),
)  # fmt: skip
SCENARIOS: dict[str, Scenario] = {scenario.name: scenario for scenario in _ALL}


def fitting(options: options_lib.EnvOptions) -> list[str]:
    """Returns the names of the scenarios that go with the days of `options`."""
    recorded_days = options.time_series != SYNTHETIC
    recorded_plan = options.schedule == RECORDED
    return [
        name
        for name, scenario in SCENARIOS.items()
        if not (recorded_days and scenario.weather) and not (recorded_plan and scenario.plans)
    ]


def make(
    name: str,
    level: str,
    options: options_lib.EnvOptions,
    split: str,
    recorded: Mapping[str, series_lib.TimeSeries] | None = None,
) -> Draw:
    """Returns the pure function `(key, grid, fleet) → series` of a scenario.

    Of `options` it takes step, horizon and schedule. With one key, easy and hard are the same day
    but for what the level adds. `recorded` has the recorded days by split, where days are such.

    Raises:
      ValueError: there is no such scenario, level or split; or the scenario does not go with
        `options`. The function raises it where the scenario does not go with the grid or fleet.
    """
    choices.require("scenario", name, SCENARIOS)
    choices.require("level", level, LEVELS)
    splits.index(split)
    scenario = SCENARIOS[name]
    scenario.check(options)
    if scenario.plans and options.schedule == RECORDED:
        raise ValueError(
            f"scenario {name}: makes a plan of its own, and env.schedule={RECORDED} is what was "
            f"recorded; take {', '.join(fitting(options))}, or env.schedule=secured"
        )
    if name not in fitting(options):
        raise ValueError(
            f"scenario {name}: makes wind and sun of its own, and env.time_series="
            f"{options.time_series} has recorded ones; take {', '.join(fitting(options))}, or "
            "synthetic days"
        )
    return lambda key, grid, fleet: scenario.series(
        jax.random.fold_in(key, scenario.number),
        days.Setting(grid, fleet, options, split, level == "hard", recorded),
    )


def draw(
    env: grid_env.GridEnv, name: str, level: str, split: str, count: int, seed: int
) -> series_lib.TimeSeries:
    """Returns time series of a scenario, leaves `[count, …]`, the same for every controller.

    Time series i depends on its number and `seed`, not on `count`, on the layout or on the reward.

    Raises:
      ValueError: as `make`.
    """
    series = make(name, level, env.options, split, env.recorded_days)
    one = jax.jit(
        lambda i: series(jax.random.fold_in(jax.random.PRNGKey(seed), i), env.grid, env.fleet)
    )
    # One by one: in a batch, rounding would depend on its size.
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *map(one, range(count)))
