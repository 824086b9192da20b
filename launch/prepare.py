"""Prepares days of scenarios as training data: a pool that actors draw from.

    python -m launch.prepare --case=case118 --scenarios=normal:easy=2,peak:hard,cascade:hard=3
    python -m launch.prepare --case=case14 --scenarios=all:hard --days=256 --out=pools/hard
    python -m launch.local --config=case118 --config.env.pool=pools/case118

A scenario's weight says how many of the days are of it; without one it is 1. Days are drawn from
the train split of the year and, an eighth as many, from validation; none is a test day. What takes
long, the largest feasible load of each day by AC optimal power flow, is done here, once. Every 16
days of a scenario that are finished are kept: the same command goes on where it was interrupted.

The last command above draws all days of the pool alike; --config.env.scenarios weighs them.
"""

import os
import pathlib
import sys

from absl import app, flags

from envs.inputs import bounds, command_line, exit_codes

_CASE = flags.DEFINE_string(
    "case", "case14", "Grid: a shipped case, pandapower:NAME, or the path of a case file."
)
_FLEET = flags.DEFINE_string("fleet", "auto", "Assets on the grid, as env.fleet.")
_SCENARIOS = flags.DEFINE_string(
    "scenarios", "all:hard",
    "Which days, as SCENARIO:LEVEL=WEIGHT,…: normal, peak, failure, intermittency, cascade, "
    "emergency, weather, or all; easy or hard. Days as they come: recorded (those of "
    "--env=time_series=FOLDER, all of them) and synthetic, without a level.",
)  # fmt: skip
_DAYS = command_line.define_number(
    "days", 224, "Train days, all scenarios together, besides recorded ones.",
    bounds.Range(1, 100_000),
)  # fmt: skip
_SEED = command_line.define_number("seed", 0, "Seed of the days.", bounds.SEEDS)
_ENV = flags.DEFINE_multi_string(
    "env", [], "A field of the environment that makes other days, such as horizon_steps=144."
)
_PROCESSES = command_line.define_number(
    "processes", len(os.sched_getaffinity(0)), "Processes that draw days; by default one a core.",
    bounds.Range(1, 1024),
)  # fmt: skip
_OUT = flags.DEFINE_string("out", None, "Folder of the pool. Default: pools/CASE.")


def main(argv: list[str]) -> int:
    """Prepares a pool and returns the exit code."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected argument {argv[1]!r}; options start with --")
    from envs.options import EnvOptions
    from evaluation.scenarios import preparation
    from launch import option_fields, pools

    try:
        fields = option_fields.assigned("--env", _ENV.value, EnvOptions)
        named = {"case": _CASE.value, "fleet": _FLEET.value}
        options = option_fields.replaced(EnvOptions(), {**fields, **named})
        parts = preparation.parse(_SCENARIOS.value, "--scenarios", options)
        folder = pathlib.Path(_OUT.value or f"pools/{pathlib.Path(_CASE.value).stem}")
        plan = preparation.Plan(options, parts, _DAYS.value, pools.VALIDATION_SHARE, _SEED.value)
        pools.prepare(plan, folder, _PROCESSES.value)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; the same command goes on from what is there\n")
        return exit_codes.INTERRUPTED
    except (ValueError, OSError) as error:
        return command_line.refuse(error)
    train = f"--config.env.pool={folder}"
    if "time_series" in fields:
        train += f" --config.env.time_series={options.time_series}"
    sys.stdout.write(f"{plan.total} days written to {folder}; train on them with {train}\n")
    return exit_codes.OK


if __name__ == "__main__":
    command_line.run(main)
