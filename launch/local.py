"""Trains a controller on this machine: actors, queue, learner, variable server, evaluator.

    python -m launch.local --config=case14
    python -m launch.local --config=case14 --config.learner.learning_rate=1e-4 --workdir=runs/mine

Every field of the experiment is a flag; --help lists them. Ctrl-C stops everything and keeps a
checkpoint; --resume goes on from it. Afterwards:

    python -m launch.evaluate --workdir=FOLDER
    tensorboard --logdir=FOLDER/tensorboard
"""

from __future__ import annotations

import datetime
import pathlib
import sys

from absl import app, flags

from agents import team as team_lib
from envs import grid_env
from launch import command_line, exit_codes, experiment_flags, run_folder
from launch import panel as panel_lib
from launch import placement as placement_lib
from launch import supervisor as supervisor_lib

flags.adopt_module_key_flags(experiment_flags)

_WORKDIR = flags.DEFINE_string(
    "workdir", None, "Folder of the run; by default runs/EXPERIMENT-DATE-TIME."
)
_PLACEMENT = flags.DEFINE_string(
    "placement",
    "auto",
    "Which cores each process owns: auto, cpu, or PLATFORM:aIDS-lIDS as in tpu:a0,1-l2,3 "
    "(actors on chips 0 and 1, learner on 2 and 3).",
)
_RESUME = flags.DEFINE_boolean(
    "resume",
    False,
    "Continue the run in --workdir from its newest checkpoint, as it was configured; only "
    "--config.run.* may change.",
)


def main(argv: list[str]) -> int:
    """Runs the program and returns the exit code."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected argument {argv[1]!r}; options start with --")
    try:
        folder, experiment = _folder()
        placement = placement_lib.make(
            _PLACEMENT.value, experiment.actor.count, experiment.learner.devices
        )
        # A wrong name is found here, not in five processes.
        team_lib.make(grid_env.check(experiment.env).layout, experiment.team)
        if _RESUME.value:
            folder.begin_again(experiment)
        else:
            folder.create(experiment)
    except (ValueError, OSError, run_folder.RunFolderError) as error:
        return command_line.refuse(experiment_flags.name_flags(str(error)))

    from launch import program as program_lib

    sys.stdout.write(f"run folder  {_shown(folder)}\nplacement   {placement.spec}\n")
    sys.stdout.flush()
    program, resources = program_lib.make(
        experiment, placement, str(folder.path), folder.incarnation()
    )
    panel = panel_lib.Panel(
        folder, experiment.name, experiment.actor.count, experiment.replay.queue_size
    )
    with supervisor_lib.Supervisor(folder) as supervisor, panel:
        supervisor.start(program, resources)
        outcome = supervisor.watch(panel.refresh)
    return _conclude(folder, outcome, panel.first_update_seconds)


def _folder():
    """Returns the run's folder and experiment, from flags or from the run to continue."""
    if _RESUME.value:
        if _WORKDIR.value is None:
            raise ValueError("--resume needs the folder of the run: --workdir=FOLDER")
        folder = run_folder.RunFolder(_WORKDIR.value)
        return folder, experiment_flags.continued(folder.experiment())
    experiment = experiment_flags.experiment()
    now = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    return run_folder.RunFolder(_WORKDIR.value or f"runs/{experiment.name}-{now}"), experiment


def _conclude(
    folder: run_folder.RunFolder, outcome: supervisor_lib.Outcome, first_update_s: float | None
) -> int:
    """Says how the run ended and returns the exit code."""
    if outcome.killed:
        sys.stderr.write(f"killed because they did not stop: {', '.join(outcome.killed)}\n")
    if outcome.kind == "failed":
        sys.stderr.write(
            f"error: {outcome.node} {outcome.how}; the run was ended. The last lines of "
            f"{folder.log(outcome.node)}:\n\n{supervisor_lib.last_lines(folder, outcome.node)}\n"
        )
        return exit_codes.FAILED
    learner = folder.status("learner")
    if "run/updates" not in learner:
        sys.stdout.write(f"{outcome.kind} before the first update\n")
        return exit_codes.OK
    if learner["state"] != "ended":
        sys.stderr.write(
            f"error: the learner did not end in order, so its last checkpoint may be missing. The "
            f"last lines of {folder.log('learner')}:\n\n"
            f"{supervisor_lib.last_lines(folder, 'learner')}\n"
        )
        return exit_codes.FAILED
    if first_update_s is not None:
        sys.stdout.write(f"first training log after {first_update_s:.0f} s\n")
    sys.stdout.write(
        f"{outcome.kind} after {learner['steps']:,} steps and {learner['version']} updates; "
        f"checkpoint in {_shown(folder)}/checkpoints\n"
        f"evaluate it  python -m launch.evaluate --workdir={_shown(folder)}\n"
    )
    if outcome.kind == "interrupted":
        sys.stdout.write(
            f"go on        python -m launch.local --workdir={_shown(folder)} --resume\n"
        )
    return exit_codes.OK


def _shown(folder: run_folder.RunFolder) -> str:
    """Returns the folder as a user would type it."""
    here = pathlib.Path.cwd()
    return str(folder.path.relative_to(here) if folder.path.is_relative_to(here) else folder.path)


if __name__ == "__main__":
    command_line.run(main)
