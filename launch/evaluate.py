"""Evaluates controllers on scenarios: a run's checkpoint, baselines, or both, on the same days.

    python -m launch.evaluate --workdir=runs/case14-20261121-100000
    python -m launch.evaluate --workdir=FOLDER --controllers=learned,merit_order,acopf
    python -m launch.evaluate --workdir=FOLDER_OF_SEEDS
    python -m launch.evaluate --workdir=FOLDER --ablations=all --shield
    python -m launch.evaluate --case=case118 --controllers=all --scenarios=all --level=easy,hard
    python -m launch.evaluate --config=FILE.yaml --controllers=acopf
    python -m launch.evaluate --case=case14 --controllers=mine.py:cautious,expert
    python -m launch.evaluate --compare FOLDER_A FOLDER_B
    python -m launch.evaluate --case=case14 --scenarios=failure --replay=pandapower --replay_day=17
    python -m launch.evaluate --case=case14 --env=protection.recloses=false --env=horizon_steps=144

Writes a folder: `report.html` (one page that needs no network), `summary.json`, `episodes.csv`,
`overrides.csv` where somebody held something back, and the results of every 25 days, so that an
interrupted evaluation goes on where it was. Doing nothing is always there to compare with, and so
is, unless --bound=false, the least that AC optimal power flow says each day costs. A run may still
be going on; its policy is restored in this process, whatever devices it was trained on.
"""

import contextlib
import os
import sys

from absl import app, flags, logging

from envs.inputs import bounds, command_line, exit_codes
from launch.host import interrupt
from launch.run import run_folder

_WORKDIR = flags.DEFINE_string(
    "workdir", None,
    "Folder of a run, for the controller `learned`; its case, fleet and layout. Or that of several "
    "seeds, as launch.fused --seeds makes it: each is evaluated, and how they differ.",
)  # fmt: skip
flags.DEFINE_enum(
    "checkpoint", None, ["newest", "best"],
    "Which checkpoint: the newest (by default, if it is kept), or the best by the evaluator's "
    "validation days.",
)  # fmt: skip
flags.DEFINE_list(
    "controllers", None,
    "Who is evaluated, by name, or all: learned, do_nothing (always there), random, proportional, "
    "merit_order, reconnect, expert, dcopf, mpc, acopf_forecast, acopf; or one of your own as "
    "FILE.py:NAME or MODULE:NAME, a function of an environment (docs/howto/baseline.md) or an "
    "agent of Grid2Op. Default: learned with --workdir, and all baselines without.",
)  # fmt: skip
flags.DEFINE_list(
    "scenarios", ["normal"],
    "How days go, by name, or all: normal, peak, failure, intermittency, cascade, emergency, "
    "weather.",
)  # fmt: skip
flags.DEFINE_list("level", ["easy"], "Levels of the scenarios: easy, hard, or both.")
_EPISODES = command_line.define_number(
    "episodes", 50, "Days of each scenario.", bounds.Range(1, 100_000)
)
flags.DEFINE_enum(
    "split", "test", ["test", "validation", "train"], "Which days of the year: test is held out."
)
command_line.define_number("seed", 0, "Seed of the days and of the bootstrap.", bounds.SEEDS)
flags.DEFINE_string(
    "config", None,
    "Experiment, by name or file, whose environment baselines are evaluated in; --case, --fleet, "
    "--layout and --env change it.",
)  # fmt: skip
flags.DEFINE_string(
    "case", None,
    "Grid: a shipped case, pandapower:NAME, or the path of a case file (default: the run's, or "
    "case14).",
)  # fmt: skip
flags.DEFINE_string("fleet", None, "Assets on the grid (default: the run's, or auto).")
flags.DEFINE_string(
    "layout", None, "Observations and controls (default: the run's, or full: every control)."
)
flags.DEFINE_multi_string(
    "env", [],
    "Any field of the environment as NAME=VALUE, such as protection.recloses=false; may be given "
    "again for another. A run's environment is its own.",
)  # fmt: skip
flags.DEFINE_string("team", None, "Team that the checkpoint is to be of.")
flags.DEFINE_boolean(
    "shield", False,
    "Play every controller with a shield as well, which holds back what would overload a branch.",
)  # fmt: skip
flags.DEFINE_list(
    "ablations", None,
    "Play what was learned without what its team is coordinated by as well, by name, or all: "
    "no-messages, shuffled-messages, no-directives, no-safety, random-mates (each agent among "
    "team-mates that act at random), credit (each agent does nothing, one at a time).",
)  # fmt: skip
flags.DEFINE_boolean(
    "bound", True,
    "Solve an AC optimal power flow for every five minutes, to tell the cost over it.",
)  # fmt: skip
_OUT = flags.DEFINE_string(
    "out", None, "Folder to write to. Default: one in the run's folder, or in evaluations/."
)
_COMPARE = flags.DEFINE_list(
    "compare", None, "Two folders that were written before: --compare A B, or --compare=A,B."
)
_REPLAY = flags.DEFINE_enum(
    "replay", None, ["pandapower"],
    "Solve the worst episode of each controller and scenario again in this simulator, and report "
    "how far it disagrees.",
)  # fmt: skip
_REPLAY_DAY = command_line.define_number(
    "replay_day", None,
    "Instead of the worst episodes replay those of this day, by its number in episodes.csv.",
    bounds.Range(0, 99_999),
)  # fmt: skip
_PLATFORM = flags.DEFINE_string("platform", "cpu", "Where to run: cpu, cuda or tpu.")


def main(argv: list[str]) -> int:
    """Evaluates and returns the exit code."""
    rest = argv[1:]
    if _COMPARE.value is not None:
        return _compare([*_COMPARE.value, *rest])
    if rest:
        raise app.UsageError(f"unexpected argument {rest[0]!r}; options start with --")
    logging.set_verbosity(logging.ERROR)  # Orbax tells every step of a restore.
    os.environ["JAX_PLATFORMS"] = _PLATFORM.value  # Before jax is imported.
    import rich.console

    from evaluation import reference_check, results
    from launch import evaluation_request, evaluation_run
    from launch.host import machine, runtime
    from learner import checkpoint

    runtime.keep()
    console = rich.console.Console()
    console.print("setting up the grid, the scenarios and the controllers")
    try:
        machine.check_platform(_PLATFORM.value)
        _check_replay()
        runs = run_folder.trained_in(_WORKDIR.value) if _WORKDIR.value else []
        request = evaluation_request.from_flags(flags.FLAGS, runs)
        say = lambda text: console.print(text, markup=False, soft_wrap=True)
        command = " ".join(["python -m launch.evaluate", *sys.argv[1:]])
        folder = evaluation_run.open_folder(request, say, _PLATFORM.value, command)
    except (
        ValueError, OSError, run_folder.RunFolderError, checkpoint.CheckpointError,
        results.FolderError, reference_check.SimulatorMissing,
    ) as error:  # fmt: skip
        return command_line.refuse(error)
    interrupt.raise_error()  # From here on there is something to go on from.
    try:
        return _evaluate(console, folder, request, runs)
    except KeyboardInterrupt:
        console.print(
            f"interrupted; the same command goes on from what is in {os.path.relpath(folder.path)}"
        )
    except OSError as error:
        sys.stderr.write(
            f"error: {os.path.relpath(folder.path)}: not finished ({error}); the same command goes "
            "on from what is there\n"
        )
    except (ValueError, RuntimeError) as error:
        sys.stderr.write(f"error: {error}\n")
    return exit_codes.FAILED


def _evaluate(console, folder, request, runs) -> int:
    """Plays what is left of a request, writes the results, and returns the exit code."""
    from evaluation import runner, tables, wording
    from launch import evaluation_run

    env = request.env
    work = evaluation_run.Evaluation(request, folder, runs)
    with _progress(console, work.left(), env.horizon) as advance:
        failed = work.play(advance)
    for task, error in failed.items():
        remedy = ", and --bound=false does without" if task.controller == runner.BOUND else ""
        sys.stderr.write(
            f"error: {task}: {error}; it is left out of the report, and the same command tries it "
            f"again{remedy}\n"
        )
    report = work.write()
    plan, content = work.plan, work.content
    if _REPLAY.value:
        content["replay"] = _replay(console, folder, plan, request)
        work.write()

    whose = f"{request.restored} beside doing nothing" if request.restored else "controllers"
    if request.plan.seeds != plan.seeds:
        whose += f" (without {wording.listed(sorted({*request.plan.seeds} - {*plan.controllers}))})"
    console.print(
        f"{env.grid.name}, layout {env.options.layout}: {whose} on the same {plan.episodes} "
        f"{plan.split} days of each scenario; means with 95 % bootstrap intervals\n"
    )
    for table in tables.summary_tables(content):
        console.print(table)
    for line in tables.notes(content):
        console.print(line)
    console.print(
        f"written to {os.path.relpath(folder.path)}; open {os.path.relpath(report)}", soft_wrap=True
    )
    return exit_codes.FAILED if failed else exit_codes.OK


def _check_replay() -> None:
    """Refuses to begin what could not be replayed at the end, maybe after hours."""
    from evaluation import reference_check

    day = _REPLAY_DAY.value
    if _REPLAY.value:
        reference_check.simulator()
    elif day is not None:
        raise ValueError(f"--replay_day={day}: says what --replay=pandapower replays; give both")
    if day is not None and day >= _EPISODES.value:
        raise ValueError(
            f"--replay_day={day}: days are 0 to {_EPISODES.value - 1} (--episodes="
            f"{_EPISODES.value})"
        )


def _replay(console, folder, plan, request) -> list[dict]:
    from evaluation import reference_check, runner

    env, day = request.env, _REPLAY_DAY.value
    rounds = 1 if day is None else 2  # A chosen day is played again before it is checked.
    days = rounds * len(plan.played_tasks())
    with _progress(console, [(None, 0, days)], env.horizon) as advance:
        if day is None:
            recorded = reference_check.worst_episodes(folder, plan, env.grid.n_bus)
        else:
            work = runner.Runner(env, folder, request.make, plan)
            recorded = work.play_day(day, advance)
        return reference_check.check_episodes(recorded, env.grid, env.dt_h, advance)


def _compare(folders: list[str]) -> int:
    import rich.console

    from evaluation import results, tables
    from evaluation.report import compare

    console = rich.console.Console()
    try:
        if len(folders) != 2:
            raise ValueError(
                f"--compare={','.join(folders)}: give two folders that launch.evaluate wrote"
            )
        comparison = compare.load(*folders)
        out = results.writable(_OUT.value or folders[0])
    except (ValueError, OSError, results.FolderError) as error:
        return command_line.refuse(error)
    for table in tables.compared(comparison):
        console.print(table)
    try:
        page = compare.write(comparison, out)
    except OSError as error:
        sys.stderr.write(
            f"error: {os.path.relpath(out)}: the comparison is not written ({error})\n"
        )
        return exit_codes.FAILED
    console.print(f"written to {os.path.relpath(page)}", soft_wrap=True)
    return exit_codes.OK


@contextlib.contextmanager
def _progress(console, left, horizon: int):
    """Shows a bar over everything that is `left`; yields what counts more steps of a task.

    Where nobody sees a bar it is a line for every task that begins.
    """
    import rich.progress

    total, done, last = horizon * sum(count for _, _, count in left), 0, None

    def tell(task, steps: int) -> None:
        nonlocal done, last
        if task != last:
            console.print(f"{done / total:4.0%}  {task.scenario} {task.level}, {task.controller}")
        done, last = done + steps, task

    if not console.is_terminal:
        yield tell
        return
    with rich.progress.Progress(
        rich.progress.TextColumn("{task.description}"), rich.progress.BarColumn(),
        rich.progress.TaskProgressColumn(), rich.progress.TimeElapsedColumn(),
        rich.progress.TimeRemainingColumn(), console=console, transient=True,
    ) as bar:  # fmt: skip
        whole = bar.add_task("starting", total=total) if left else None

        def advance(task, steps: int) -> None:
            text = f"{task.scenario} {task.level}, {task.controller}"
            bar.update(whole, advance=steps, description=text)

        yield advance


if __name__ == "__main__":
    command_line.run(main)
