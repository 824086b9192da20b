"""The request of an evaluation: its environment, plan and controllers, or a clear refusal."""

import dataclasses
import os
import pathlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
from absl.flags import FlagValues

from agents import ablations, controllers, networks
from agents.baselines import registry, shield
from configs.experiment import Experiment
from envs import grid_env
from envs.case import digest
from envs.inputs import choices
from envs.options import EnvOptions
from evaluation import runner, wording
from evaluation.scenarios import suite
from launch import ablation_flags, config_file, option_fields, own_controllers
from launch.run import parts, run_folder
from learner import checkpoint

LEARNED, ALL = "learned", "all"


@dataclasses.dataclass(frozen=True)
class Choices:
    """What may be chosen, as the flags of `launch.evaluate` say it, with their defaults."""

    # Learned with a run, all baselines without; or `own_controllers.Make`, functions.
    controllers: Sequence[str | own_controllers.Make] | None = None
    scenarios: Sequence[str] = ("normal",)
    level: Sequence[str] = ("easy",)
    episodes: int = 50
    split: str = "test"
    seed: int = 0
    bound: bool = True
    shield: bool = False
    ablations: Sequence[str] | None = None
    checkpoint: str | None = None
    config: str | None = None
    case: str | None = None
    fleet: str | None = None
    layout: str | None = None
    env: Sequence[str] = ()
    team: str | None = None
    out: str | None = None


@dataclasses.dataclass(frozen=True)
class Request:
    """What is to be evaluated."""

    env: grid_env.GridEnv
    plan: runner.Plan
    make: Callable[[str], controllers.Controller]
    identity: dict[str, Any]  # what results depend on
    restored: str | None  # which policy, in words
    folder: pathlib.Path  # where results go
    ablations: tuple[str, ...]  # by name, all that `make` knows of what is learned
    own: Mapping[str, str]  # the user's own controllers by name, and the version of each


def from_flags(flags: FlagValues | Choices, runs: Sequence[run_folder.RunFolder]) -> Request:
    """Returns the request of the flags of `launch.evaluate`, with the policies of `runs`, if any.

    Several are of one experiment and differ by their seed.

    Raises:
      ValueError: it cannot be met; the message names the flag, the value and the remedy.
      OSError: a file cannot be read.
    """
    options = _environment(flags, runs)
    own = [each for each in flags.controllers or () if own_controllers.is_own(each)]
    loaded = own_controllers.load(own, taken=(LEARNED, *(_name(run, runs) for run in runs)))
    mine = {one.name: one for one in loaded}
    for one in (each for each in loaded if each.check):
        try:
            one.check(options)
        except ValueError as error:
            raise ValueError(f"--controllers: {one.name}: {error}") from error
    plan = _plan(flags, [_name(run, runs) for run in runs], options, [*mine])
    try:
        env = grid_env.make(options)
    except ValueError as error:
        raise ValueError(str(error) if runs else _name_flags(str(error), flags)) from error
    for scenario, level in plan.scenarios:
        # Traced, not drawn: refuses what does not go with the grid or its fleet.
        series = suite.make(scenario, level, options, plan.split, env.recorded_days)
        jax.eval_shape(lambda key, s=series: s(key, env.grid, env.fleet), jax.random.PRNGKey(0))
    identity = {
        "environment": dataclasses.asdict(options), "split": plan.split, "seed": plan.seed,
        "grid": digest.hexdigest(env.grid), "fleet": digest.hexdigest(env.fleet),
    }  # fmt: skip
    if env.recorded_days is not None:
        identity["time_series"] = digest.hexdigest(env.recorded_days)
    learned, policies, which = {}, {}, _which(flags, runs)
    ablated: dict[str, controllers.Controller] = {}
    names = {_name(run, runs): run for run in runs}
    if names.keys() & {*plan.controllers}:  # of one seed as well: a folder is of all of them
        for name, run in names.items():
            experiment = run.experiment()
            nets = parts.networks(experiment, env)
            without = ablation_flags.names(flags.ablations, nets.team, experiment.team.kind)
            bundle, policies[name] = _learned(run, nets, which)
            learned[name] = controllers.learned(nets, bundle)
            ablated |= ablation_flags.ablated(name, nets, bundle)
            if name in plan.controllers:
                more = [ablations.controller_name(name, ablation) for ablation in without]
                plan = dataclasses.replace(plan, controllers=(*plan.controllers, *more))
    restored, folder = None, pathlib.Path(flags.out or _folder(flags, runs, env, policies, which))
    if policies:
        identity["policy"] = policies if len(runs) > 1 else policies[LEARNED]
        updates = sorted({policy["update"] for policy in policies.values()})
        of = f"of {runs[0].experiment().name} (update {wording.listed([*map(str, updates)])})"
        whose = "checkpoint" if len(runs) == 1 else f"checkpoints of {len(policies)} seeds"
        restored = f"the {which} {whose} {of}"

    def make(name: str) -> controllers.Controller:
        if name.endswith(shield.SUFFIX):
            return shield.shielded(env, make(name.removesuffix(shield.SUFFIX)))
        if name in mine:
            return mine[name].make(env)
        known = {**learned, **ablated}
        return known[name] if name in known else registry.make(name, env)

    versions = {name: one.version for name, one in mine.items()}
    return Request(env, plan, make, identity, restored, folder, tuple(ablated), versions)


def _which(flags: FlagValues | Choices, runs: Sequence[run_folder.RunFolder]) -> str:
    """Returns which checkpoints are evaluated: the newest, unless every run has only the best."""
    if flags.checkpoint is not None:
        return flags.checkpoint
    have = lambda kind: [_has_checkpoints(run, kind) for run in runs]
    return "best" if runs and not any(have("newest")) and all(have("best")) else "newest"


def _has_checkpoints(run: run_folder.RunFolder, kind: str) -> bool:
    try:
        return checkpoint.Checkpoints(run.path, kind, create=False).any()
    except checkpoint.CheckpointError:
        return False


def _name(run: run_folder.RunFolder, runs: Sequence[run_folder.RunFolder]) -> str:
    """Returns what the controller of a run is called: `learned`, or of several `seed_3`."""
    return LEARNED if len(runs) == 1 else run.path.name


def _learned(run: run_folder.RunFolder, nets: networks.TeamNetworks, which: str):
    """Returns the bundle of a checkpoint, and what tells it from others."""
    checkpoints = checkpoint.Checkpoints(run.path, which, create=False)
    restored = checkpoints.read(nets)
    bundle = jax.tree.map(jax.numpy.asarray, restored.bundle)
    policy = {
        "run": run.path.name,
        "update": restored.version,
        "parameters": digest.hexdigest(bundle),
    }
    return bundle, policy


def _environment(flags: FlagValues | Choices, runs: Sequence[run_folder.RunFolder]) -> EnvOptions:
    """Returns the options of the environment; a run's are its own."""
    options = _of_run(flags, runs[0]) if runs else _without_run(flags)
    # Every evaluation says how secure steps were; the reward stays as it is.
    return dataclasses.replace(options, screen_outages=True)


def _without_run(flags: FlagValues | Choices) -> EnvOptions:
    for flag, remedy in (
        ("team", "it is the team of a checkpoint"),
        ("checkpoint", "it says which of a run's checkpoints"),
        ("ablations", "they are of the team that a run has trained"),
    ):
        if getattr(flags, flag) is not None:
            given = getattr(flags, flag)
            given = ",".join(given) if isinstance(given, list) else given
            raise ValueError(
                f"--{flag}={given}: {remedy}, so it needs --workdir, the folder "
                "of a run; give that, or leave it out"
            )
    fields = option_fields.assigned("--env", flags.env, EnvOptions)
    named = _named(flags)
    for name in named.keys() & fields.keys():
        raise ValueError(
            f"--env={name}={fields[name]}: --{name}={named[name]} is given too; leave one out"
        )
    if not fields.get("screen_outages", True):
        raise ValueError(
            "--env=screen_outages=false: every evaluation screens outages, to say how secure steps "
            "were; leave it out"
        )
    try:
        start = EnvOptions(layout="full")
        if flags.config is not None:
            start = _days_as_they_come(config_file.load(flags.config))
        return option_fields.replaced(start, {**fields, **named})
    except config_file.ConfigFileError as error:
        raise ValueError(f"--config={error}") from error
    except ValueError as error:
        raise ValueError(_name_flags(str(error), flags)) from error


def _of_run(flags: FlagValues | Choices, run: run_folder.RunFolder) -> EnvOptions:
    where = os.path.relpath(run.path)
    if flags.config is not None:
        raise ValueError(
            f"--config={flags.config}: the environment of the run in {where} is its own; leave "
            "--config out, or --workdir to evaluate baselines in that of an experiment"
        )
    if flags.env:
        raise ValueError(
            f"--env={flags.env[0]}: the environment of the run in {where} is its own; "
            "leave --env out, or --workdir to evaluate baselines in another"
        )
    experiment = run.experiment()
    for name, value in _named(flags).items():
        own = getattr(experiment.env, name)
        if own != value:
            raise ValueError(
                f"--{name}={value}: the checkpoint in {where} is of {name} {own}; leave "
                f"--{name} out to evaluate it there, or --workdir to evaluate baselines on {value}"
            )
    if flags.team not in (None, experiment.team.kind):
        raise ValueError(
            f"--team={flags.team}: the checkpoint in {where} is of a team "
            f"{experiment.team.kind}; leave --team out"
        )
    return _days_as_they_come(experiment)


def _days_as_they_come(experiment: Experiment) -> EnvOptions:
    """Returns the environment of an experiment, without the days that it trains on."""
    return dataclasses.replace(experiment.env, pool="", scenarios="")


def _name_flags(message: str, flags: FlagValues) -> str:
    """Returns `message` with fields of the environment spelt as the flags that set them."""
    flag = lambda field: f"--{field[1]}" if field[1] in _named(flags) else f"--env={field[1]}"
    return re.sub(r"(?<![\w.-])env\.([\w.]+)(?==)", flag, message)


def _named(flags: FlagValues | Choices) -> dict[str, str]:
    """Returns what flags of their own say of the environment."""
    named = {"case": flags.case, "fleet": flags.fleet, "layout": flags.layout}
    return {name: value for name, value in named.items() if value is not None}


def _plan(
    flags: FlagValues | Choices, learned: Sequence[str], options: EnvOptions, own: Sequence[str]
) -> runner.Plan:
    baselines, named = list(registry.BASELINES), flags.controllers
    if own:
        named = [each for each in named if not own_controllers.is_own(each)] + [*own]
    for flag, known in (
        ("controllers", list(dict.fromkeys([LEARNED, *learned, *baselines, *own]))),
        ("scenarios", suite.SCENARIOS),
        ("level", suite.LEVELS),
        ("ablations", ablations.KINDS),
    ):
        given = named if flag == "controllers" else getattr(flags, flag)
        if given is not None and not given:
            raise ValueError(f"--{flag}=: names none; give one or more of {', '.join(known)}")
        for name in given or ():
            if name != ALL or flag == "level":
                choices.require(f"--{flag}", name, known)
    names = list(named or ()) or ([LEARNED] if learned else [ALL])
    if ALL in names:
        every = [n for n in baselines if n != runner.NOTHING]
        names = ([LEARNED] if learned else []) + every + [*own]
    if LEARNED in names and not learned:
        raise ValueError("--controllers=learned: needs --workdir, the folder of a run")
    names = [each for name in names for each in (learned if name == LEARNED else [name])]
    if flags.ablations and not {*names} & {*learned}:
        raise ValueError(
            f"--ablations={','.join(flags.ablations)}: they are compared with what was learned; "
            f"add {LEARNED} to --controllers, or leave --ablations out"
        )
    seeds = tuple(name for name in dict.fromkeys(names) if name in learned)
    seeds = seeds if len(seeds) > 1 else ()
    scenarios = suite.fitting(options) if ALL in flags.scenarios else flags.scenarios
    if flags.shield:
        names = [each for name in names for each in (name, name + shield.SUFFIX)]
    places = [(scenario, level) for level in flags.level for scenario in scenarios]
    return runner.Plan(
        tuple(dict.fromkeys(names)), tuple(dict.fromkeys(places)),
        flags.episodes, flags.split, flags.seed, flags.bound, seeds,
    )  # fmt: skip


def _folder(flags: FlagValues | Choices, runs, env, policies, which: str) -> str:
    """Returns where results go by default: beside the run, or the folder of all its seeds."""
    tail = f"{flags.split}-seed{flags.seed}"
    if not runs:
        return f"evaluations/{env.grid.name}-{env.options.layout}-{tail}"
    if policies:
        updates = [policy["update"] for policy in policies.values()]
        first, last = min(updates), max(updates)
        tail = f"{which}-{first if first == last else f'{first}to{last}'}-{tail}"
    else:
        tail = f"baselines-{tail}"
    where = runs[0].evaluation if len(runs) == 1 else runs[0].path.parent / runs[0].evaluation.name
    return str(where / tail)
