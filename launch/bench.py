"""Measures Gridracer's speed beside its peers', in one run on this machine.

    python -m launch.bench powerflow                       # AC power flows a second
    python -m launch.bench env                             # whole environment steps a second
    python -m launch.bench contingency                     # single outages analysed a second
    python -m launch.bench acopf                           # AC optimal power flow beside PGLib's
    python -m launch.bench train                           # training, service beside one process
    python -m launch.bench teams --threads=2               # training, a team beside one operator
    python -m launch.bench adapters                        # Gymnasium's and PettingZoo's forms
    python -m launch.bench powerflow --cases=case118 --batches=64,1024 --json=out.json
    python -m launch.bench env --cases=case14 --peers=none --threads=2
    python -m launch.bench plot powerflow.json env.json --png=cost.png
    python -m launch.bench plot runs/case14 runs/case118 --png=curves.png
    python -m launch.bench plot runs/sb3/curve.jsonl runs/rllib/curve.jsonl --over=seconds

powerflow solves the same random problems (every load within ± 5 %) with our solvers, with
lightsim2grid's fastest, and with pandapower, each started from the same solved base. env steps
batches of our environment, and Grid2Op's on a grid of as many buses. contingency looks at every
outage of one branch, by distribution factors and by AC power flow, beside lightsim2grid's DC and AC
analysis. The peers need `make peers` once; without it they are left out and said to be.
train runs experiments (--cases) through the service, in its synchronous mode and in one process:
steps a second, lag, where time goes, and the time to --target_return. teams trains the team of an
experiment and one operator in its place, in turns in one process. adapters steps the environment as
functions, and through the interfaces of Gymnasium and PettingZoo.
acopf solves PGLib-OPF's cases up to 1,000 buses, in its three variants, and compares objectives
with those that PGLib publishes; --markdown=docs/results/acopf.md writes the page. plot draws what
powerflow and env measured, from any number of their JSON files; or of folders of runs, how fast
they learned, with the spread of their seeds; teams that learned one experiment in one picture,
and what the scripts of examples learned, from their files curve.jsonl.

Progress and the table go to standard error. The JSON, with machine, versions, commit, settings and
every number, goes to standard output, or to the file of --json. Leave the machine alone meanwhile.
docs/benchmarks.md says what each number means.
"""

import datetime
import importlib
import json
import pathlib
import sys
import types

from absl import app, flags

from benchmarks import peer_process
from envs.inputs import bounds, command_line, exit_codes
from envs.inputs.bounds import Range
from launch.host import interrupt, machine

# The module that measures each.
_SUBJECTS = {
    "powerflow": "benchmarks.powerflow", "env": "benchmarks.environment",
    "contingency": "benchmarks.contingency", "acopf": "benchmarks.acopf",
    "train": "benchmarks.training", "teams": "launch.bench_teams",
    "adapters": "gridracer.bench_adapters",
}  # fmt: skip
_WIDTH = 110  # columns of a table that no terminal shows
_QUIET_LOAD = 0.5  # load average above which others disturb the measurement

_CASES = flags.DEFINE_list(
    "cases", None,
    "Grids: shipped cases, pandapower:NAME, or paths of case files. By default those of case14, "
    "case118, case300 and case1354 (env, adapters: of case14 and case118) that ship. acopf: names "
    "of PGLib (case14_ieee, case14_ieee__sad); by default all up to 1,000 buses. train: "
    "experiments; by default case14 and case118. teams: experiments; by default "
    "case118_hierarchical.",
)  # fmt: skip
_BATCHES = flags.DEFINE_list(
    "batches",
    None,
    "How many grids at once. By default 1,16,64,256,1024,4096 (env: 1,64,256,1024; contingency: "
    "32,256; adapters: 1,64,256).",
)
_METHODS = flags.DEFINE_list("methods", None, "powerflow: our methods to measure; by default all.")
_POLICIES = flags.DEFINE_list(
    "policies",
    None,
    "env: do_nothing, random, or gradient, which is random and takes the derivative of each step's "
    "reward by its action; by default all. The peers do nothing.",
)
_TOLERANCE = command_line.define_number(
    "tolerance", 1e-4, "powerflow, contingency: largest power mismatch of a solution, pu.",
    Range(1e-12, 1), float,
)  # fmt: skip
_LENGTH = command_line.define_number(
    "length", 32, "env: steps in one compiled call.", Range(1, 10_000)
)
_THREADS = command_line.define_number(
    "threads", 1, "Cores that we, and then the peers, are kept on.", Range(1, 4096)
)
_PLATFORM = flags.DEFINE_enum(
    "platform", "cpu", ["cpu", "cuda", "tpu"],
    "Where we compute: on those cores, or on all GPUs or TPU chips there are. Peers stay on cores.",
)  # fmt: skip
_PEERS = flags.DEFINE_string(
    "peers", "auto",
    "auto: those that `make peers` installed in .venv-peers; none; or the path of an interpreter.",
)  # fmt: skip
_REPEATS = command_line.define_number("repeats", 15, "Repeats of a measurement.", Range(1, 1e6))
_SECONDS = command_line.define_number(
    "seconds", 3.0, "What the repeats of one measurement may take; three are made in any case.",
    Range(0, 1e6), float,
)  # fmt: skip
_SEED = command_line.define_number(
    "seed", 0, "Seed of the problems, days and random actions.", bounds.SEEDS
)
_TIME_LIMIT = command_line.define_number(
    "time_limit", 600.0, "acopf: seconds that one case may take.", Range(1, 1e6), float
)
_STEPS = command_line.define_number(
    "steps", 300_000, "train: environment steps of each run.", Range(1, 1e12)
)
_TARGET_RETURN = command_line.define_number(
    "target_return", None, "train: the validation return to tell the time to.", Range(-1e12, 1e12),
    float,
)  # fmt: skip
_MARKDOWN = flags.DEFINE_string(
    "markdown", None, "acopf: page to write the table into, in place of an earlier run's."
)
_JSON = flags.DEFINE_string("json", None, "File for the JSON instead of standard output.")
_PNG = flags.DEFINE_string("png", "cost.png", "plot: the picture to write.")
_OVER = flags.DEFINE_enum(
    "over", "step", ["step", "seconds"], "plot: what runs are drawn over, steps or the clock."
)


def main(argv: list[str]) -> int:
    """Measures or draws, and returns the exit code."""
    name, *files = argv[1:] or [""]
    try:
        if name == "plot":
            return _plot(files)
        if name not in _SUBJECTS or files:
            typed = f"not {' '.join(argv[1:])!r}" if name else "but nothing was given"
            raise app.UsageError(
                f"say what to measure, one of {', '.join(_SUBJECTS)}, {typed}; or plot, and the "
                "reports to draw"
            )
        _check_targets(name)
        python = peer_process.interpreter(_PEERS.value)
        cores = machine.pin(_THREADS.value, _PLATFORM.value)  # Before jax is imported.
        machine.check_platform(_PLATFORM.value)
        subject, settings = _subject(name, python)
        subject.check(settings)
    except (ValueError, OSError) as error:
        return command_line.refuse(
            str(error).replace("env.case=", "--cases=").replace("--config=", "--cases=")
        )
    return _measure(name, subject, settings, cores)


def _measure(name: str, subject: types.ModuleType, settings, cores: list[int]) -> int:
    """Measures, writes and prints the result, and returns the exit code."""
    import rich.console

    from benchmarks import tables
    from launch.host import runtime

    runtime.keep()
    width = None if sys.stderr.isatty() else _WIDTH
    console = rich.console.Console(stderr=True, highlight=False, width=width)
    about = {
        "benchmark": name,
        "command": " ".join(["python -m launch.bench", *sys.argv[1:]]),
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "commit": machine.commit(),
        "machine": machine.describe(cores),
        "versions": machine.versions(),
    }
    load = about["machine"]["load_average"][0]
    if load > _QUIET_LOAD:
        console.print(f"others are using this machine (load average {load:.1f}): expect noise")
    interrupt.raise_error()  # Peers that run are ended with us.
    try:
        result = subject.measure(settings, lambda text: console.print(text, soft_wrap=True))
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; nothing is written\n")
        return exit_codes.INTERRUPTED
    except ValueError as error:
        sys.stderr.write(f"error: {error}\n")
        return exit_codes.FAILED
    result = {**about, **result}
    text = json.dumps(result, indent=2) + "\n"
    if _JSON.value:
        pathlib.Path(_JSON.value).write_text(text)
    else:
        sys.stdout.write(text)
        sys.stdout.flush()
    if _MARKDOWN.value:
        subject.write_markdown(result, pathlib.Path(_MARKDOWN.value))
    console.print()
    console.print(tables.TABLES[name](result))
    for target in filter(None, (_JSON.value, _MARKDOWN.value)):
        console.print(f"written to {target}", soft_wrap=True)
    peers = [case.get("peers", {}) for case in result["cases"]]
    reports = [report for each in peers for report in each.values()]
    return exit_codes.FAILED if any(map(peer_process.failed, reports)) else exit_codes.OK


def _plot(files: list[str]) -> int:
    """Draws the reports, and returns the exit code.

    Raises:
      ValueError: there is nothing to draw, or nowhere to write it.
    """
    if not files:
        raise ValueError(
            "name the reports to draw, written by `python -m launch.bench --json`, or folders of "
            "runs"
        )
    target = pathlib.Path(_PNG.value).absolute()
    if target.suffix != ".png" or not target.parent.is_dir():
        raise ValueError(f"--png={_PNG.value}: give a file that ends in .png, in a folder")
    curves = [pathlib.Path(file).is_dir() or file.endswith(".jsonl") for file in files]
    if any(curves) and not all(curves):
        file = files[curves.index(False)]
        raise ValueError(f"{file}: is no folder of runs; draw reports and runs one after the other")
    figure = _learning_curves(files) if all(curves) else _cost(files)
    figure.savefig(target, dpi=130)
    sys.stdout.write(f"written to {_PNG.value}\n")
    return exit_codes.OK


def _cost(files: list[str]):
    """Returns the figure of what bench files say a step costs."""
    from benchmarks import plot

    return plot.draw([plot.read(file) for file in files])


def _learning_curves(paths: list[str]):
    """Returns the figure of folders of runs, of one seed or several each, and of other curves."""
    import numpy as np

    from benchmarks import learning_curves, other_curves
    from evaluation.report import curve
    from launch.run import run_folder

    experiments = {}
    for folder in paths:
        if folder.endswith(".jsonl"):
            for name, others in other_curves.read(folder).items():
                for kind, curves in others.items():
                    experiments.setdefault(name, {}).setdefault(kind, []).extend(curves)
            continue
        try:
            runs = run_folder.trained_in(folder)
        except run_folder.RunFolderError as error:
            raise ValueError(str(error).replace("--workdir=", "")) from error
        curves = [curve.read(run.path) for run in runs]
        if None in curves:
            raise ValueError(f"{runs[curves.index(None)].path}: has no evaluations to draw yet")
        experiment = runs[0].experiment()
        name, kind = experiment.name, experiment.team.kind
        teams = experiments.setdefault(name, {})
        if kind in teams:
            raise ValueError(
                f"{folder}: {name} of team.kind={kind} is there already; give one folder of each"
            )
        untimed = [run.path for run, c in zip(runs, curves) if np.isnan(c["seconds"]).any()]
        if untimed and _OVER.value == "seconds":
            raise ValueError(f"{untimed[0]}: does not tell how long it took; use --over=step")
        teams[kind] = curves
    return learning_curves.draw(experiments, _OVER.value)


def _subject(name: str, python: pathlib.Path | None):
    """Returns the module that measures, and its settings from the flags."""
    from benchmarks import comparison
    from envs.case import case_file

    subject = importlib.import_module(_SUBJECTS[name])
    named = getattr(subject, "EXPERIMENTS", None)
    named = named or [case for case in subject.CASES if case in case_file.names()]
    return subject, comparison.Settings(
        cases=tuple(_CASES.value or named), batches=_batches() or subject.BATCHES,
        threads=_THREADS.value, repeats=_REPEATS.value, seconds=_SECONDS.value, seed=_SEED.value,
        python=python, methods=tuple(_METHODS.value or ()), policies=tuple(_POLICIES.value or ()),
        length=_LENGTH.value, tolerance_pu=_TOLERANCE.value, time_limit_s=_TIME_LIMIT.value,
        steps=_STEPS.value, target_return=_TARGET_RETURN.value,
    )  # fmt: skip


def _batches() -> tuple[int, ...]:
    one = command_line.NumberParser(int, Range(1, 2**20))
    try:
        return tuple(sorted({one.parse(text) for text in _BATCHES.value or ()}))
    except ValueError as error:
        raise ValueError(f"--batches={','.join(_BATCHES.value)}: each {error}") from error


def _check_targets(subject: str) -> None:
    """Raises where --json or --markdown could not be written once everything has been measured."""
    if _MARKDOWN.value and subject != "acopf":
        raise ValueError(f"--markdown={_MARKDOWN.value}: only acopf writes a page")
    for flag in (_JSON, _MARKDOWN):
        if not flag.value:
            continue
        target = pathlib.Path(flag.value)
        try:
            there = target.exists()
            target.open("a").close()
            if not there:
                target.unlink()
        except OSError as error:
            raise ValueError(
                f"--{flag.name}={target}: cannot be written ({error.strerror})"
            ) from error


if __name__ == "__main__":
    command_line.run(main)
