"""Trains a controller on this machine: actors, queue, learner, variable server, evaluator.

    python -m launch.local --config=case14
    python -m launch.local --config=case14 --config.learner.learning_rate=1e-4 --workdir=runs/mine
    python -m launch.local --config=case118_hard --start=runs/quiet

Every field of the experiment is a flag; --help lists them. Ctrl-C stops everything and keeps a
checkpoint; --resume goes on from it. A process that hangs ends the run. Afterwards:

    python -m launch.evaluate --workdir=FOLDER
    tensorboard --logdir=FOLDER/tensorboard
"""

import dataclasses
import datetime
import errno
import pathlib
import sys

from absl import app, flags

# What takes long to import is imported in `main`, when flags are known to be good.
from envs.inputs import command_line, exit_codes
from envs.inputs.bounds import Range
from launch import experiment_flags
from launch.host import interrupt, network_namespace, placement as placement_lib
from launch.loggers import choice, forwarding
from launch.run import run_folder, storage

flags.adopt_module_key_flags(experiment_flags)

_WORKDIR = flags.DEFINE_string(
    "workdir", None, "Folder of the run; by default runs/EXPERIMENT-DATE-TIME."
)
_PLACEMENT = flags.DEFINE_string(
    "placement", "auto",
    "Which cores each process owns: auto, cpu, or PLATFORM:aIDS-lIDS as in tpu:a0,1-l2,3 "
    "(actors on chips 0 and 1, learner on 2 and 3).",
)  # fmt: skip
_START = flags.DEFINE_string(
    "start", None,
    "Folder of a run whose best policy this one begins with: its value function and statistics "
    "too, and a fresh optimiser.",
)  # fmt: skip
_RESUME = flags.DEFINE_boolean(
    "resume", False,
    "Continue the run in --workdir from its newest checkpoint, as it was configured; only "
    "--config.run.* may change.",
)  # fmt: skip
_BIND = flags.DEFINE_string(
    "bind", "127.0.0.1",
    "IP address of this machine that the variable server listens on; 0.0.0.0 or :: for all.",
)  # fmt: skip
_PRIVATE_NETWORK = flags.DEFINE_enum(
    "private_network", "auto", network_namespace.CHOICES,
    "Whether the run's processes get a network of their own, which nothing outside can reach: auto "
    "where the system lets them, unless on a TPU or with --bind beyond loopback.",
)  # fmt: skip
_SILENCE_LIMIT_S = command_line.define_number(
    "silence_limit_s", 60.0,
    "End the run when a process has given no sign of life for so many seconds, or its loop has "
    "stood still for as long although it does not compile (or, if that is more, for three times "
    "as long as it ever did). While processes start, for ten times as long.",
    Range(5, 86_400), float,
)  # fmt: skip
_LOGGERS = flags.DEFINE_list("loggers", [], choice.HELP)


def main(argv: list[str]) -> int:
    """Runs the program and returns the exit code."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected argument {argv[1]!r}; options start with --")
    try:
        folder, experiment = _folder()
        placement = placement_lib.make(
            _PLACEMENT.value, experiment.actor.count, experiment.learner.devices
        )
        if placement.note:
            sys.stderr.write(f"{placement.note}\n")
        network_namespace.check_bind(_BIND.value)
        # Trackers are outside of a network of its own.
        sender = forwarding.Forwarding([folder], _LOGGERS.value, _say)
        # Before anything is imported that starts threads.
        network = network_namespace.arrange(
            _PRIVATE_NETWORK.value, placement.learner.platform, _BIND.value
        )

        import jax

        from launch import pools
        from launch.run import checks, warm_start

        jax.config.update("jax_platforms", "cpu")  # Accelerators are the nodes'.
        fill = [warm_start.read(_START.value, experiment).write] if _START.present else []
        experiment = dataclasses.replace(experiment, env=pools.with_pool(experiment.env, _say))
        interrupt.end_at_once()
        # A wrong name is refused here, not in five processes.
        checks.check_names(experiment)
        if _RESUME.value:
            checks.check_budget(folder, experiment)
        with interrupt.held(_before_first_update(folder)):
            if _RESUME.value:
                folder.begin_again(experiment)
            else:
                folder.hold(_say)
                folder.create(experiment, *fill)
    except (ValueError, OSError, run_folder.RunFolderError) as error:
        return command_line.refuse(experiment_flags.name_flags(str(error)))
    except KeyboardInterrupt:  # while days were prepared
        sys.stderr.write(f"{interrupt.NOTHING_DONE}; what was prepared is kept\n")
        return exit_codes.INTERRUPTED

    try:
        sender.begin()
        return _run(folder, experiment, placement, network)
    except OSError as error:
        number = storage.cause(error, folder)
        if number is None:
            raise
        return _end_without_storage(folder, number, "the launcher")
    finally:
        sender.close()


def _run(
    folder: run_folder.RunFolder, experiment, placement: placement_lib.Placement, network: str
) -> int:
    """Runs the program in the folder that was made for it, and returns the exit code."""
    from launch import panel, program, silence, supervisor

    _say(f"run folder  {_as_typed(folder)}\nplacement   {placement.spec}\nnetwork     {network}")
    nodes, resources = program.make(
        experiment, placement, _BIND.value, str(folder.path), folder.incarnation()
    )
    watch = silence.Watch(resources, _SILENCE_LIMIT_S.value)
    view = panel.Panel(
        folder, experiment.name, experiment.actor.count, experiment.replay.queue_size, watch
    )
    with supervisor.Supervisor(folder, watch) as processes, view:
        processes.start(nodes, resources)
        outcome = processes.watch(view.refresh)
    return _conclude(folder, outcome, view.first_update_s)


def _folder():
    """Returns the run's folder and experiment, from flags or from the run to continue."""
    if _RESUME.value:
        if _WORKDIR.value is None:
            raise ValueError("--resume needs the folder of the run: --workdir=FOLDER")
        folder = run_folder.RunFolder(_WORKDIR.value)
        folder.experiment()  # Where there is no run, nothing is made.
        folder.hold(_say)
        return folder, experiment_flags.continued(folder.experiment())
    experiment = experiment_flags.experiment()
    now = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    return run_folder.RunFolder(_WORKDIR.value or f"runs/{experiment.name}-{now}"), experiment


def _before_first_update(folder: run_folder.RunFolder) -> str:
    return (
        "interrupted before the first update; go on with "
        f"python -m launch.local --workdir={_as_typed(folder)} --resume"
    )


def _conclude(folder: run_folder.RunFolder, outcome, first_update_s: float | None) -> int:
    """Says how the run ended, a `supervisor.Outcome`, and returns the exit code."""
    from launch import supervisor

    if outcome.killed:
        sys.stderr.write(f"killed because they did not stop: {', '.join(outcome.killed)}\n")
    if outcome.storage_error is not None or not folder.exists():
        number = outcome.storage_error or errno.ENOENT
        return _end_without_storage(folder, number, outcome.node)
    if outcome.kind == "failed":
        sys.stderr.write(
            f"error: {outcome.node} {outcome.how}; the run was ended. The last lines of "
            f"{folder.log(outcome.node)}:\n\n{supervisor.last_lines(folder, outcome.node)}\n"
        )
        return exit_codes.FAILED
    learner = folder.status("learner")
    if "run/updates" not in learner:
        sys.stderr.write(f"{_before_first_update(folder)}\n")
        return exit_codes.INTERRUPTED
    if learner["state"] != "ended":
        sys.stderr.write(
            f"error: the learner did not end in order, so its last checkpoint may be missing. The "
            f"last lines of {folder.log('learner')}:\n\n"
            f"{supervisor.last_lines(folder, 'learner')}\n"
        )
        return exit_codes.FAILED
    if first_update_s is not None:
        sys.stdout.write(f"first training log after {first_update_s:.0f} s\n")
    sys.stdout.write(
        f"{outcome.kind} after {learner['steps']:,} steps and {learner['version']} updates; "
        f"checkpoint in {_as_typed(folder)}/checkpoints\n"
        f"evaluate it  python -m launch.evaluate --workdir={_as_typed(folder)}\n"
    )
    if outcome.kind == "interrupted":
        sys.stdout.write(
            f"go on        python -m launch.local --workdir={_as_typed(folder)} --resume\n"
        )
    return exit_codes.OK


def _end_without_storage(folder: run_folder.RunFolder, number: int, who: str) -> int:
    """Says why the folder cannot be written, and returns the exit code."""
    sys.stderr.write(f"error: {storage.explain(folder, number, who, _as_typed(folder))}\n")
    return exit_codes.FAILED


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _as_typed(folder: run_folder.RunFolder) -> str:
    """Returns the folder as a user would type it."""
    here = pathlib.Path.cwd()
    return str(folder.path.relative_to(here) if folder.path.is_relative_to(here) else folder.path)


if __name__ == "__main__":
    command_line.run(main)
