r"""Searches for better hyperparameters: many trainings, each with other values of chosen fields.

    python -m launch.sweep --config=case118 --vary=learner.learning_rate=1e-4..3e-3:log \
        --vary=learner.minibatches=4,8,16 --trials=20 --seeds=0,1 --workdir=sweeps/rate
    python -m launch.sweep --search=grid --vary=actor.batch=32,64 \
        --vary='team.policy_layers=64|128,128'
    python -m launch.sweep --workdir=sweeps/rate --resume
    python -m launch.sweep --workdir=sweeps/rate --resume --trials=40

A field varies over values, separated by commas, or by | where values have commas themselves; over a
range LOW..HIGH; or over a range that is searched in its logarithm, LOW..HIGH:log. Ordinary
--config.… flags hold what does not vary. Each trial is trained by `python -m launch.fused`, all
seeds at once, and scored by the best return on validation days, mean over its seeds; test days are
left for `launch.evaluate`. The folder has a run folder of each trial and seed, `trials.csv`,
`report.html` and Optuna's study. Ctrl-C keeps everything; --resume continues the trial that was
going on. Needs Optuna: `make install-sweep`.
"""

import contextlib
import dataclasses
import datetime
import functools
import shlex
import sys

from absl import app, flags

# What takes long to import is imported in `main`, when flags are known to be good.
from configs.experiment import check_one_process
from envs.inputs import bounds, command_line, exit_codes
from launch import experiment_flags, option_fields
from launch.host import interrupt
from launch.run import run_folder
from launch.sweep import folder as folder_lib, space as space_lib, trial

flags.adopt_module_key_flags(experiment_flags)

_TRIALS_BY_DEFAULT = 20

_VARY = flags.DEFINE_multi_string(
    "vary", [],
    "A field of the experiment and what it varies over, FIELD=VALUES: learner.epochs=1,2,4, "
    "'team.policy_layers=64|128,128', learner.clip=0.1..0.3, learner.learning_rate=1e-4..1e-3:log; "
    "may be given again for another.",
)  # fmt: skip
_SEARCH = flags.DEFINE_enum(
    "search", "tpe", folder_lib.SEARCHES,
    "How values are chosen: by what was good so far (tree-structured Parzen estimator), at random, "
    "or every combination once.",
)  # fmt: skip
_TRIALS = command_line.define_number(
    "trials", None,
    f"Trials in all, by default {_TRIALS_BY_DEFAULT}; a grid has as many as it has combinations.",
    folder_lib.TRIALS,
)  # fmt: skip
_SEEDS = flags.DEFINE_list(
    "seeds", None, "Seeds that every trial is trained with; by default config.seed alone."
)
_SEARCH_SEED = command_line.define_number(
    "search_seed", 0, "Seed of what values are chosen.", bounds.SEEDS
)
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "Folder of the sweep; by default sweeps/EXPERIMENT-DATE-TIME."
)
_RESUME = flags.DEFINE_boolean(
    "resume", False, "Continue the sweep in --workdir; only --trials may change."
)


def main(argv: list[str]) -> int:
    """Searches, and returns the exit code."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected argument {argv[1]!r}; options start with --")
    try:
        folder, plan = _continued() if _RESUME.value else _new()
        trainer = trial.Trainer(plan, _say)
        interrupt.call(trainer.stop)
        search = _open(folder, plan)
    except (ValueError, OSError, folder_lib.FolderError) as error:
        return command_line.refuse(error)
    try:
        return _run(folder, plan, search, trainer)
    except (OSError, run_folder.RunFolderError) as error:
        sys.stderr.write(
            f"error: {error}; what is finished is kept, and the sweep goes on with python -m "
            f"launch.sweep --workdir={folder_lib.as_typed(folder.path)} --resume\n"
        )
        return exit_codes.FAILED


def _new() -> tuple[folder_lib.SweepFolder, folder_lib.Plan]:
    """Returns folder and plan of the sweep that the flags describe."""
    plan = _plan(experiment_flags.experiment())
    now = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    folder = folder_lib.SweepFolder(_WORKDIR.value or f"sweeps/{plan.experiment.name}-{now}")
    folder.check_empty()
    _check(plan)
    return folder, plan


def _continued() -> tuple[folder_lib.SweepFolder, folder_lib.Plan]:
    """Returns folder and plan of the sweep to continue, maybe with more trials."""
    if _WORKDIR.value is None:
        raise ValueError("--resume needs the folder of the sweep: --workdir=FOLDER")
    folder = folder_lib.SweepFolder(_WORKDIR.value)
    former = folder.plan()
    for flag, given, was in (
        (_VARY, tuple(_VARY.value), former.vary),
        (_SEARCH, _SEARCH.value, former.search),
        (_SEEDS, _SEEDS.value and tuple(experiment_flags.seeds(_SEEDS.value)), former.seeds),
        (_SEARCH_SEED, _SEARCH_SEED.value, former.search_seed),
    ):
        if flags.FLAGS[flag.name].present and given != was:
            _refuse_change(flag.name, given, was)
    typed = experiment_flags.typed()
    anew = experiment_flags.experiment() if "config" in typed else None
    given = anew or experiment_flags.overridden(former.experiment)
    was = option_fields.changed(given, former.experiment)
    for path, value in option_fields.changed(former.experiment, given).items():
        _refuse_change(f"config.{path}", value, was[path])
    trials = _trials(former.search, space_lib.parse(former.vary), former.trials)
    if trials < former.trials:
        raise ValueError(
            f"--trials={trials}: the sweep was begun with {former.trials}; --resume can add some "
            "and take none away"
        )
    return folder, dataclasses.replace(former, trials=trials)


def _refuse_change(flag: str, given, was) -> None:
    given, was = (option_fields.as_text(value) for value in (given, was))
    raise ValueError(
        f"--{flag}={given}: cannot change with --resume, the sweep was begun with {was}; leave it "
        "out, or start another sweep in another --workdir"
    )


def _plan(experiment) -> folder_lib.Plan:
    """Returns what the flags describe, once it is known to be sound in itself."""
    space = space_lib.parse(_VARY.value)
    for dimension in space:
        if flags.FLAGS[f"config.{dimension.field}"].present:
            raise ValueError(
                f"{dimension.flag}: --config.{dimension.field} holds the same field; give one of "
                "the two"
            )
    if _SEARCH.value == "grid":
        for dimension in space:
            if not dimension.values:
                raise ValueError(
                    f"{dimension.flag}: a grid has values and no range; list them, as in "
                    f"--vary={dimension.field}={_some(dimension)}, or give --search=tpe"
                )
    seeds = [experiment.seed] if _SEEDS.value is None else experiment_flags.seeds(_SEEDS.value)
    for seed in seeds:
        dataclasses.replace(experiment, seed=seed)  # refuses one out of range
    return folder_lib.Plan(
        experiment_flags.base(), experiment, tuple(_VARY.value), _SEARCH.value,
        _trials(_SEARCH.value, space, _TRIALS_BY_DEFAULT), tuple(seeds), _SEARCH_SEED.value,
    )  # fmt: skip


def _trials(search: str, space: space_lib.Space, default: int) -> int:
    """Returns how many trials there are in all."""
    size, given = space_lib.size(space), _TRIALS.value
    if search == "grid":
        if given not in (None, size):
            raise ValueError(f"--trials={given}: this grid has {size} combinations; leave it out")
        return size
    if given is None:
        return default if size is None else min(default, size)
    if size is not None and given > size:
        raise ValueError(
            f"--trials={given}: there are {size} combinations; give --trials={size} at most, or "
            "--search=grid to train each once"
        )
    return given


def _some(dimension: space_lib.Dimension) -> str:
    """Returns three values of a range, as --vary takes them."""
    low, high = dimension.low, dimension.high
    middle = (low * high) ** 0.5 if dimension.log else 0.5 * (low + high)
    middle = round(middle) if dimension.kind is int else float(f"{middle:.2g}")
    return ",".join(dict.fromkeys(map(str, (low, middle, high))))


def _check(plan: folder_lib.Plan) -> None:
    """Raises ValueError where a value cannot be trained, whatever it is combined with."""
    from evaluation.scenarios import preparation
    from launch.run import checks

    @functools.cache
    def missing(env, team) -> str:  # Files are read once, however many combinations name them.
        try:
            if env.scenarios and not env.pool:
                preparation.parse(env.scenarios, "env.scenarios", env)
            checks.check_names(dataclasses.replace(plan.experiment, env=env, team=team))
        except (ValueError, OSError) as error:
            return str(error)
        return ""

    def refusal(values) -> str:
        try:
            experiment = option_fields.replaced(plan.experiment, values)
            check_one_process(experiment)
        except ValueError as error:
            return experiment_flags.name_flags(str(error))
        return experiment_flags.name_flags(missing(experiment.env, experiment.team))

    space_lib.check(space_lib.parse(plan.vary), refusal)


def _open(folder: folder_lib.SweepFolder, plan: folder_lib.Plan):
    """Makes or takes the folder, and returns the search in it."""
    try:
        from launch.sweep import search
    except ModuleNotFoundError as error:
        raise ValueError(f"{error.name} is not installed; `make install-sweep` does it") from error
    folder.hold()
    folder.write(plan)
    return search.Search(folder, plan)


def _run(folder: folder_lib.SweepFolder, plan: folder_lib.Plan, search, trainer) -> int:
    """Trains what is left, reports, and returns the exit code."""
    from launch.sweep import report

    def write() -> None:
        report.write(folder, plan, search)

    seeds = f"seed{'s' * (len(plan.seeds) > 1)} {', '.join(map(str, plan.seeds))}"
    _say(
        f"sweep folder  {folder_lib.as_typed(folder.path)}\nvaries        {'  '.join(plan.vary)}\n"
        f"search        {plan.search}, {plan.trials} trials, {seeds}"
    )
    with _live() as trainer.watch:
        search.run(trainer, _say, write)
    write()
    rows, best = search.rows(), search.best()
    where = folder_lib.as_typed(folder.path)
    if trainer.stopping:
        _say(f"interrupted; go on with python -m launch.sweep --workdir={where} --resume")
    if best is None:
        if not trainer.stopping:
            sys.stderr.write(f"error: every trial failed; the last: {rows[-1].note}\n")
            return exit_codes.FAILED
        return exit_codes.OK
    run = run_folder.of_seed(folder.trial(best.number), plan.seeds[0])
    _say(
        f"best          trial {best.number + 1}, return {best.result:.2f}\n"
        f"              {shlex.join(plan.flags(best.values))}\n"
        f"evaluate it   python -m launch.evaluate --checkpoint=best --workdir="
        f"{folder_lib.as_typed(run.path)}\n"
        f"report        {where}/{report.NAME}"
    )
    return exit_codes.OK


@contextlib.contextmanager
def _live():
    """Shows the newest line of a trial below the others, on a terminal; yields what takes it."""
    import rich.console
    import rich.text

    console = rich.console.Console()
    if not console.is_terminal:
        yield lambda line: None
        return
    with console.status("") as status:
        yield lambda line: status.update(rich.text.Text(line))


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    command_line.run(main)
