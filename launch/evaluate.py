"""Evaluates controllers on scenarios: a run's checkpoint, baselines, or both, on the same days.

    python -m launch.evaluate --workdir=runs/case14-20261121-100000
    python -m launch.evaluate --workdir=FOLDER --controllers=learned,merit_order,acopf
    python -m launch.evaluate --case=case118 --controllers=all --scenarios=all --level=easy,hard
    python -m launch.evaluate --compare FOLDER_A FOLDER_B
    python -m launch.evaluate --case=case14 --scenarios=failure --replay=pandapower
    python -m launch.evaluate --case=case14 --env=protection.recloses=false --env=horizon_steps=144

Writes a folder: `report.html` (one page that needs no network), `summary.json`, `episodes.csv`, and
the results of every 25 tapes, so that what is interrupted goes on where it was. Doing nothing is
always there to compare with, and so is, unless --bound=false, the least that AC optimal power flow
says each day costs. A run may still be going on; its policy is restored in this process, whatever
devices it was trained on.
"""

from __future__ import annotations

import dataclasses
import datetime
import importlib
import importlib.metadata
import json
import os
import pathlib
import re
import sys

from absl import app, flags, logging

from launch import command_line, exit_codes, option_fields, run_folder

LEARNED, ALL = "learned", "all"
_PACKAGES = ("jax", "jaxlib", "numpy", "casadi", "flax")

_WORKDIR = flags.DEFINE_string(
    "workdir", None, "Folder of a run, for the controller `learned`; its case, fleet and layout."
)
_CHECKPOINT = flags.DEFINE_enum(
    "checkpoint", "newest", ["newest", "best"],
    "Which one: the newest, or the best by the evaluator's validation days.",
)  # fmt: skip
_CONTROLLERS = flags.DEFINE_list(
    "controllers", None,
    "Who is evaluated, by name, or all: learned, random, proportional, merit_order, reconnect, "
    "expert, dcopf, mpc, acopf. Usually learned with --workdir, and all baselines without.",
)  # fmt: skip
_SCENARIOS = flags.DEFINE_list(
    "scenarios", ["normal"],
    "How days go, by name, or all: normal, peak, failure, intermittency, cascade, emergency, "
    "weather.",
)  # fmt: skip
_LEVEL = flags.DEFINE_list("level", ["easy"], "Levels of the scenarios: easy, hard, or both.")
_EPISODES = flags.DEFINE_integer("episodes", 50, "Days of each scenario.", lower_bound=1)
_SPLIT = flags.DEFINE_enum(
    "split", "test", ["test", "validation", "train"], "Which days of the year: test is held out."
)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the days and of the bootstrap.")
_CASE = flags.DEFINE_string(
    "case", None, "Grid: a shipped case or the path of a MATPOWER .m file (usually the run's)."
)
_FLEET = flags.DEFINE_string("fleet", None, "Assets on the grid (usually the run's, or auto).")
_LAYOUT = flags.DEFINE_string(
    "layout", None, "Observations and controls (usually the run's, or full: every control)."
)
_ENV = flags.DEFINE_multi_string(
    "env", [],
    "Any field of the environment as NAME=VALUE, such as protection.recloses=false; may be given "
    "again for another. A run's environment is its own.",
)  # fmt: skip
_TEAM = flags.DEFINE_string("team", None, "Team that the checkpoint is to be of.")
_BOUND = flags.DEFINE_boolean(
    "bound",
    True,
    "Solve an AC optimal power flow for every five minutes, to tell the cost over it.",
)
_OUT = flags.DEFINE_string(
    "out", None, "Folder to write to; usually in the run's folder, or in evaluations/."
)
_COMPARE = flags.DEFINE_list(
    "compare", None, "Two folders that were written before: --compare A B, or --compare=A,B."
)
_REPLAY = flags.DEFINE_enum(
    "replay", None, ["pandapower"],
    "Play the worst episode of each controller and scenario again in this simulator, and tell how "
    "far it disagrees.",
)  # fmt: skip
_PLATFORM = flags.DEFINE_string("platform", "cpu", "Where to run: cpu, cuda or tpu.")


class _Mistake(ValueError):
    """What was asked for cannot be; the message names the flag, the value and the remedy."""


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

    from evaluation import results
    from launch import compilation, memory
    from launch.bench import machine
    from learner import checkpoint

    memory.keep()
    compilation.use_cache()
    console = rich.console.Console()
    try:
        machine.check_platform(_PLATFORM.value)
        _check_replay()
        run = run_folder.RunFolder(_WORKDIR.value) if _WORKDIR.value else None
        options = _environment(run)
        plan = _plan(run)
        env, make, identity, restored = _prepare(run, options, plan)
        say = lambda text: console.print(text, markup=False, soft_wrap=True)
        folder = results.Folder(_folder(run, identity, env), say)
        folder.hold()
        folder.open(identity, _about(restored))
    except (
        ValueError, OSError, run_folder.RunFolderError, checkpoint.CheckpointError,
        results.FolderError,
    ) as error:  # fmt: skip
        sys.stderr.write(f"error: {error}\n")
        return exit_codes.USAGE
    try:
        return _evaluate(console, folder, plan, env, make, run, restored)
    except KeyboardInterrupt:
        console.print(
            f"interrupted; the same command goes on from what is in {_shown(folder.path)}"
        )
    except OSError as error:
        sys.stderr.write(
            f"error: {_shown(folder.path)}: not finished ({error}); the same command goes on from "
            "what is there\n"
        )
    except (ValueError, RuntimeError) as error:
        sys.stderr.write(f"error: {error}\n")
    return exit_codes.FAILED


def _evaluate(console, folder, plan, env, make, run, restored) -> int:
    """Plays what is left, writes what was found, and returns the exit code."""
    from evaluation import runner, summary, tables
    from evaluation.report import page

    work = runner.Runner(env, folder, make, plan)
    with _Progress(console, work.left(), env.horizon) as progress:
        failed = work.run(progress.advance)
    for task, error in failed.items():
        sys.stderr.write(
            f"error: {task}: {error}; it is left out of the report, and the same command tries it "
            "again\n"
        )
    plan = _with_earlier(plan, work, {task.controller for task in failed})
    samples, besides = summary.collect(folder, plan, env.grid.n_bus)
    found = summary.summarise(samples, besides, plan)
    knows = {name: make(name).knows for name in found["controllers"]}
    found = {**folder.manifest(), **found, "knows": knows}

    def write() -> pathlib.Path:
        (folder.path / "summary.json").write_text(json.dumps(found, indent=1) + "\n")
        return page.write(folder, found, plan, env, run.path if run else None)

    summary.write_csv(folder.path / "episodes.csv", samples)
    report = write()
    if _REPLAY.value:
        found["replay"] = _replayed(console, folder, plan, env)
        write()

    whose = f"{restored} beside doing nothing" if restored else "controllers"
    console.print(
        f"{env.grid.name}, layout {env.options.layout}: {whose} on the same {plan.episodes} "
        f"{plan.split} days of each scenario; means with 95 % bootstrap intervals\n"
    )
    for table in tables.of(found):
        console.print(table)
    for line in tables.notes(found):
        console.print(line)
    console.print(f"written to {_shown(folder.path)}; open {_shown(report)}", soft_wrap=True)
    return exit_codes.FAILED if failed else exit_codes.OK


def _with_earlier(plan, work, failed: set[str]):
    """Returns the plan without what failed, and with what was evaluated on the same days before."""
    from agents.baselines import registry
    from evaluation import runner

    others = [n for n in registry.BASELINES if n not in (*plan.controllers, runner.NOTHING)]
    played = [name for name in plan.controllers if name not in failed]
    return dataclasses.replace(plan, controllers=(*played, *work.complete(others)))


def _check_replay() -> None:
    """Refuses to begin what could not be played again at the end."""
    if _REPLAY.value:
        try:
            importlib.import_module("evaluation.pandapower_grid")
        except ImportError as error:
            raise _Mistake(
                f"--replay={_REPLAY.value}: {_REPLAY.value} is not installed ({error}); "
                f"pip install {_REPLAY.value}, or use an environment made by make test"
            ) from error


def _replayed(console, folder, plan, env) -> list[dict]:
    from evaluation import replay

    tasks = len(plan.scenarios) * (len(plan.controllers) + 1)
    with _Progress(console, [(None, 0, tasks)], env.horizon) as progress:
        return replay.worst(folder, plan, env.grid, env.dt_h, progress.advance)


def _environment(run: run_folder.RunFolder | None):
    """Returns the options of the environment; a run's are its own."""
    asked = {"case": _CASE.value, "fleet": _FLEET.value, "layout": _LAYOUT.value}
    asked = {name: value for name, value in asked.items() if value is not None}
    options = _without_run(asked) if run is None else _of_run(run, asked)
    # Every evaluation says how secure steps were; the reward stays as it is.
    return dataclasses.replace(options, screen_outages=True)


def _without_run(asked: dict[str, str]):
    from envs.options import EnvOptions

    for flag, remedy in (
        ("team", "it is the team of a checkpoint"),
        ("checkpoint", "it says which of a run's checkpoints"),
    ):
        if flags.FLAGS[flag].present:
            raise _Mistake(
                f"--{flag}={flags.FLAGS[flag].value}: {remedy}, so it needs --workdir, the folder "
                "of a run; give that, or leave it out"
            )
    fields = option_fields.assigned("--env", _ENV.value, EnvOptions)
    for name in asked.keys() & fields.keys():
        raise _Mistake(
            f"--env={name}={fields[name]}: --{name}={asked[name]} is given too; leave one out"
        )
    if not fields.get("screen_outages", True):
        raise _Mistake(
            "--env=screen_outages=false: every evaluation screens outages, to say how secure steps "
            "were; leave it out"
        )
    try:
        return option_fields.replaced(EnvOptions(layout="full"), {**fields, **asked})
    except ValueError as error:
        raise _Mistake(re.sub(r"(?<![\w.-])env\.(?=[\w.]+=)", "--env=", str(error))) from error


def _of_run(run: run_folder.RunFolder, asked: dict[str, str]):
    if _ENV.value:
        raise _Mistake(
            f"--env={_ENV.value[0]}: the environment of the run in {_shown(run.path)} is its own; "
            "leave --env out, or --workdir to evaluate baselines in another"
        )
    experiment = run.experiment()
    for name, value in asked.items():
        own = getattr(experiment.env, name)
        if own != value:
            raise _Mistake(
                f"--{name}={value}: the checkpoint in {_shown(run.path)} is of {name} {own}; leave "
                f"--{name} out to evaluate it there, or --workdir to evaluate baselines on {value}"
            )
    if _TEAM.value not in (None, experiment.team.kind):
        raise _Mistake(
            f"--team={_TEAM.value}: the checkpoint in {_shown(run.path)} is of a team "
            f"{experiment.team.kind}; leave --team out"
        )
    return experiment.env


def _plan(run: run_folder.RunFolder | None):
    from agents.baselines import registry
    from envs import choices
    from evaluation import runner
    from evaluation.scenarios import suite

    baselines = list(registry.BASELINES)
    for flag, known in (
        ("controllers", [LEARNED, *baselines]),
        ("scenarios", suite.SCENARIOS),
        ("level", suite.LEVELS),
    ):
        if flags.FLAGS[flag].value == []:
            raise _Mistake(f"--{flag}=: names none; give one or more of {', '.join(known)}")
    names = _CONTROLLERS.value or ([LEARNED] if run else [ALL])
    if ALL in names:
        names = ([LEARNED] if run else []) + [n for n in baselines if n != runner.NOTHING]
    for name in names:
        choices.require("--controllers", name, [LEARNED, *baselines])
    if LEARNED in names and run is None:
        raise _Mistake("--controllers=learned: needs --workdir, the folder of a run")
    scenarios = list(suite.SCENARIOS) if ALL in _SCENARIOS.value else _SCENARIOS.value
    for name in scenarios:
        choices.require("--scenarios", name, suite.SCENARIOS)
    for level in _LEVEL.value:
        choices.require("--level", level, suite.LEVELS)
    places = [(scenario, level) for level in _LEVEL.value for scenario in scenarios]
    return runner.Plan(
        tuple(dict.fromkeys(names)), tuple(dict.fromkeys(places)),
        _EPISODES.value, _SPLIT.value, _SEED.value, _BOUND.value,
    )  # fmt: skip


def _prepare(run, options, plan):
    """Returns the environment, how controllers are made, what results depend on, and the policy."""
    import jax

    from agents import controllers, networks
    from agents.baselines import registry
    from envs import grid_env
    from evaluation import digest
    from evaluation.scenarios import suite
    from learner import checkpoint

    env = grid_env.make(options)
    for scenario, level in plan.scenarios:
        # Traced, not drawn: refuses what does not go with the grid or its fleet.
        tape = suite.make(scenario, level, options, plan.split)
        jax.eval_shape(lambda key, of=tape: of(key, env.grid, env.fleet), jax.random.PRNGKey(0))
    identity = {
        "environment": dataclasses.asdict(options), "split": plan.split, "seed": plan.seed,
        "grid": digest.of(env.grid), "fleet": digest.of(env.fleet),
    }  # fmt: skip
    restored, learned = None, None
    if LEARNED in plan.controllers:
        experiment = run.experiment()
        nets = networks.make(env.layout, experiment.team)
        checkpoints = checkpoint.Checkpoints(run.path, _CHECKPOINT.value, create=False)
        version = checkpoints.version()
        bundle = jax.tree.map(jax.numpy.asarray, checkpoints.policy(version, nets))
        learned = controllers.learned(nets, bundle)
        restored = f"the {_CHECKPOINT.value} checkpoint of {experiment.name} (update {version})"
        identity["policy"] = {
            "run": run.path.name, "update": version, "parameters": digest.of(bundle),
        }  # fmt: skip
    make = lambda name: learned if name == LEARNED else registry.make(name, env)
    return env, make, identity, restored


def _folder(run, identity, env) -> pathlib.Path:
    if _OUT.value:
        return pathlib.Path(_OUT.value)
    tail = f"{_SPLIT.value}-seed{_SEED.value}"
    if run is not None:
        if "policy" not in identity:
            return run.evaluation / f"baselines-{tail}"
        version = identity["policy"]["update"]
        return run.evaluation / f"{_CHECKPOINT.value}-{version}-{tail}"
    return pathlib.Path("evaluations") / f"{env.grid.name}-{env.options.layout}-{tail}"


def _about(restored: str | None) -> dict:
    from launch.bench import machine

    return {
        "date": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "policy": restored,
        "versions": {name: importlib.metadata.version(name) for name in _PACKAGES},
        "commit": machine.commit(),
        "platform": _PLATFORM.value,
        "command": " ".join(["python -m launch.evaluate", *sys.argv[1:]]),
    }


def _compare(folders: list[str]) -> int:
    import rich.console

    from evaluation import results, tables
    from evaluation.report import compare

    console = rich.console.Console()
    try:
        if len(folders) != 2:
            raise _Mistake(
                f"--compare={','.join(folders)}: give two folders that launch.evaluate wrote"
            )
        found = compare.load(*folders)
    except (ValueError, OSError, results.FolderError) as error:
        sys.stderr.write(f"error: {error}\n")
        return exit_codes.USAGE
    for table in tables.compared(found):
        console.print(table)
    out = pathlib.Path(_OUT.value) if _OUT.value else pathlib.Path(folders[0])
    console.print(f"written to {_shown(compare.write(found, out))}", soft_wrap=True)
    return exit_codes.OK


class _Progress:
    """A bar over everything that is left, and what is being played."""

    def __init__(self, console, left, horizon: int):
        import rich.progress

        self._bar = rich.progress.Progress(
            rich.progress.TextColumn("{task.description}"), rich.progress.BarColumn(),
            rich.progress.TaskProgressColumn(), rich.progress.TimeElapsedColumn(),
            rich.progress.TimeRemainingColumn(), console=console, transient=True,
        )  # fmt: skip
        total = horizon * sum(count for _, _, count in left)
        self._task = self._bar.add_task("starting", total=total) if left else None

    def __enter__(self):
        self._bar.start()
        return self

    def __exit__(self, *error):
        self._bar.stop()

    def advance(self, task, steps: int) -> None:
        """Counts `steps` more steps of episodes of `task`."""
        text = f"{task.scenario} {task.level}, {task.controller}"
        self._bar.update(self._task, advance=steps, description=text)


def _shown(path: pathlib.Path) -> str:
    return os.path.relpath(path)


if __name__ == "__main__":
    app.run(main, flags_parser=command_line.parse)
