"""Trains in one process, rollout and update compiled together: no actors, queue or server.

    python -m launch.fused --config=case118
    python -m launch.fused --config=case14 --seeds=0,1,2,3,4 --workdir=runs/five
    python -m launch.fused --config=case118_hard --start=runs/quiet

It learns as `python -m launch.local` with --config.run.synchronous does, to the last bit, from the
same experiment, and leaves the same run folder: --resume, launch.evaluate and TensorBoard work on
either. Several seeds are trained at once, each in a folder of its own, FOLDER/seed_N; --resume goes
on with all that FOLDER has.
"""

import dataclasses
import datetime
import os
import pathlib
import sys

from absl import app, flags

from configs.experiment import check_one_process
from envs.inputs import command_line, exit_codes
from launch import experiment_flags
from launch.host import interrupt, placement as placement_lib
from launch.loggers import choice
from launch.run import run_folder

flags.adopt_module_key_flags(experiment_flags)

_WORKDIR = flags.DEFINE_string(
    "workdir", None, "Folder of the run, or of all seeds; by default runs/EXPERIMENT-DATE-TIME."
)
_SEEDS = flags.DEFINE_list(
    "seeds", None, "Seeds to train at once, in folders of their own; by default config.seed alone."
)
_START = flags.DEFINE_string(
    "start", None,
    "Folder of a run whose best policy this one begins with: its value function and statistics "
    "too, and a fresh optimiser.",
)  # fmt: skip
_RESUME = flags.DEFINE_boolean(
    "resume", False,
    "Continue the run in --workdir, or all seeds there, from the newest checkpoint; only "
    "--config.run.* may change.",
)  # fmt: skip
_LOGGERS = flags.DEFINE_list("loggers", [], choice.HELP)


def main(argv: list[str]) -> int:
    """Trains, and returns the exit code."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected argument {argv[1]!r}; options start with --")
    try:
        folders, experiments = _runs()
        check_one_process(experiments[0])
        placement = placement_lib.make("auto", 0, experiments[0].learner.devices)
        if placement.note:
            sys.stderr.write(f"{placement.note}\n")
        os.environ.update(placement.learner.env)  # Before jax is imported.
        training = _begin(folders, experiments)
    except (ValueError, OSError, run_folder.RunFolderError) as error:
        return command_line.refuse(experiment_flags.name_flags(str(error)))
    except KeyboardInterrupt:  # while days were prepared
        sys.stderr.write(f"{interrupt.NOTHING_DONE}; what was prepared is kept\n")
        return exit_codes.INTERRUPTED
    several = len(folders) > 1
    where = folders[0].path.parent if several else folders[0].path
    _say(f"run folder  {where}")
    try:
        outcome = training.run(_say)
    except FloatingPointError as error:
        sys.stderr.write(f"error: {error}\n")
        return exit_codes.FAILED
    them = "them" if several else "it"
    _say(f"{outcome}; evaluate {them}  python -m launch.evaluate --workdir={where}")
    return exit_codes.OK


def _runs():
    """Returns folders and experiments, one of each for every seed."""
    if _RESUME.value:
        if _WORKDIR.value is None:
            raise ValueError("--resume needs the folder of the run: --workdir=FOLDER")
        if _SEEDS.value is not None:
            raise ValueError(
                f"--seeds={','.join(_SEEDS.value)}: cannot be given with --resume, which goes on "
                "with all seeds in --workdir; give one of its folders to go on with that alone"
            )
        return _former(pathlib.Path(_WORKDIR.value))
    experiment = experiment_flags.experiment()
    now = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    root = pathlib.Path(_WORKDIR.value or f"runs/{experiment.name}-{now}")
    if _SEEDS.value is None:
        return [run_folder.RunFolder(root)], [experiment]
    seeds = experiment_flags.seeds(_SEEDS.value)
    experiments = [dataclasses.replace(experiment, seed=seed) for seed in seeds]
    return [run_folder.of_seed(root, seed) for seed in seeds], experiments


def _former(root: pathlib.Path):
    """Returns the run to continue in `root`, or those of all seeds there, as `_runs` does."""
    folders = run_folder.trained_in(root)
    return folders, [experiment_flags.continued(folder.experiment()) for folder in folders]


def _begin(folders, experiments):
    """Makes the folders and builds what is trained."""
    # After the placement has set what jax reads when it is imported.
    from launch import fused_run

    return fused_run.begin(
        folders, experiments, _say, resume=_RESUME.value, start=_START.value,
        loggers=_LOGGERS.value,
        prepared=lambda: interrupt.end_at_once("interrupted before the first update"),
    )  # fmt: skip


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    command_line.run(main)
