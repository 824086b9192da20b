"""Fits a policy to a baseline, for runs to begin with.

    python -m launch.imitate --config=case14 --days=64 --workdir=runs/imitated
    python -m launch.imitate --config=case118 --expert=acopf --days=32 --rounds=3
    python -m launch.evaluate --workdir=runs/imitated
    python -m launch.fused --config=case14 --start=runs/imitated

The expert plays days of the train split, and a policy is fitted to what it does (behavioural
cloning). In each further round that policy plays as many other days, the expert is asked what it
would have done in every state that it meets, and a policy is fitted anew to all decisions so far
(DAgger; Ross, Gordon and Bagnell 2011). The round whose policy returns most on validation days is
written as a run: --start begins with it, and --resume goes on from it.

Every sixteen days that the expert has decided on are kept: the same command goes on where it was
interrupted, and other seeds, networks and numbers of days use what is there. Experts solve on all
cores that the command may use (taskset --cpu-list 0-3 python -m …).
"""

import dataclasses
import datetime
import os
import pathlib
import sys

from absl import app, flags

from envs.inputs import bounds, choices, command_line, exit_codes
from launch import experiment_flags
from launch.host import interrupt, placement as placement_lib
from launch.run import run_folder

flags.adopt_module_key_flags(experiment_flags)

_WORKDIR = flags.DEFINE_string(
    "workdir", None, "Folder of the run to write; by default runs/EXPERIMENT-DATE-TIME."
)
_EXPERT = flags.DEFINE_string(
    "expert", "acopf",
    "Who is imitated: do_nothing, random, proportional, merit_order, reconnect, expert, dcopf, "
    "mpc, acopf_forecast or acopf.",
)  # fmt: skip
_DAYS = command_line.define_number(
    "days", 64, "Days that are played in a round.", bounds.Range(2, 10_000)
)
_ROUNDS = command_line.define_number(
    "rounds", 1,
    "Rounds: in the first the expert plays, in the others the policy of the round before.",
    bounds.Range(1, 100),
)  # fmt: skip
_STORE = flags.DEFINE_string(
    "store", "~/.cache/gridracer/demonstrations",
    "Folder that the expert's decisions are kept in, for every run that can use them.",
)  # fmt: skip


def main(argv: list[str]) -> int:
    """Imitates, and returns the exit code."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected argument {argv[1]!r}; options start with --")
    try:
        experiment = experiment_flags.experiment()
        devices = experiment.learner.devices
        for name, value in placement_lib.make("auto", 1, devices).learner.env.items():
            os.environ[name] = value  # Before jax is imported.
        folder, work = _begin(experiment)
    except (ValueError, OSError, run_folder.RunFolderError) as error:
        return command_line.refuse(experiment_flags.name_flags(str(error)))
    except KeyboardInterrupt:  # while days were prepared
        sys.stderr.write(f"{interrupt.NOTHING_DONE}; what was prepared is kept\n")
        return exit_codes.INTERRUPTED
    interrupt.raise_error()  # From here on there is something to go on from.
    try:
        work.run(_say)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; the same command goes on from the days that are kept\n")
        return exit_codes.INTERRUPTED
    except (ValueError, OSError, RuntimeError, FloatingPointError) as error:
        sys.stderr.write(f"error: {error}\n")
        return exit_codes.FAILED
    _say(
        f"evaluate it  python -m launch.evaluate --workdir={folder.path}\n"
        f"begin with it  python -m launch.fused --config={flags.FLAGS['config'].value} "
        f"--start={folder.path}"
    )
    return exit_codes.OK


def _begin(experiment):
    """Returns the folder of the run, which it takes, and the work that is to be done."""
    # After the placement has set what jax reads when it is imported.
    from agents.baselines import registry
    from launch import imitation_run, pools
    from launch.run import checks

    choices.require("--expert", _EXPERT.value, registry.BASELINES)
    experiment = dataclasses.replace(experiment, env=pools.with_pool(experiment.env, _say))
    interrupt.end_at_once()
    checks.check_names(experiment)
    now = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    folder = run_folder.RunFolder(_WORKDIR.value or f"runs/{experiment.name}-{now}")
    folder.require_empty()
    folder.hold(_say)
    plan = imitation_run.Plan(_EXPERT.value, _DAYS.value, _ROUNDS.value)
    store = pathlib.Path(_STORE.value).expanduser()
    store.mkdir(parents=True, exist_ok=True)  # Refused before anybody is asked.
    return folder, imitation_run.Imitation(folder, experiment, plan, store)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    command_line.run(main)
