"""A task: a grid, how its days go, and what of it is asked for."""

import dataclasses
import inspect
from collections.abc import Callable, Mapping

import chex

from configs import registry
from configs.experiment import NORMAL_OPERATION, Experiment
from envs import grid_env
from envs.inputs import choices
from envs.options import EnvOptions
from envs.time_series import series as series_lib, splits
from evaluation.scenarios import suite
from launch import config_file

# Every control but breakers, and nothing that any grid lacks.
_LAYOUT = "setpoints"


@dataclasses.dataclass(frozen=True)
class Task:
    """An environment and its days."""

    options: EnvOptions
    scenario: str = ""  # of `suite.SCENARIOS`; none: days as the options say
    level: str = ""  # easy or hard, with a scenario
    split: str = "train"  # train, validation or test: no day belongs to two of them

    @property
    def name(self) -> str:
        """The case, with scenario and level where there are such."""
        return "-".join(part for part in (self.options.case, self.scenario, self.level) if part)


def make(
    case: str,
    scenario: str = "",
    level: str = "",
    split: str = "train",
    caller: Callable | None = None,
    **options,
) -> Task:
    """Returns the task on a case, shipped or a file's, with `EnvOptions` by name.

    Options that are groups may be given by their fields, `protection={"enabled": False}`.

    Without a scenario days have no outages but those that `options` ask for. Options that are not
    given are those of the experiments' normal operation, with every control but breakers; on a
    case whose experiment has another layout, such as `ieee13_mg`, that experiment's. `caller` takes
    other arguments as well: where a name is refused, they are told, too.

    Raises:
      ValueError: there is no such option, or it does not accept its value.
    """
    known = [field.name for field in dataclasses.fields(EnvOptions)]
    if unknown := sorted(set(options) - set(known)):
        taken = [*inspect.signature(caller or make).parameters, *known]
        names = list(dict.fromkeys(name for name in taken if name not in ("caller", "options")))
        hint = choices.hint(unknown[0], names)
        raise ValueError(
            f"{unknown[0]}: no such argument or option of an environment; {hint}there are "
            f"{', '.join(names)}"
        )
    if bool(scenario) != bool(level):
        raise ValueError(
            f"scenario={scenario!r}, level={level!r}: give both, as cascade and hard, or neither"
        )
    if not isinstance(options.get("reward", ""), str):
        raise ValueError(
            f"reward={options['reward']!r}: must be the name of one; enter a function of yours "
            "into envs.step.rewards.REWARDS under a name first (docs/howto/reward.md)"
        )
    groups = {name: each for name, each in options.items() if isinstance(each, Mapping)}
    single = {name: each for name, each in options.items() if name not in groups}
    usual = config_file.changed(Experiment("task", env=_usual(case)), {"env": groups})
    env = dataclasses.replace(usual.env, **single)
    return Task(env, scenario, level, split)


def _usual(case: str) -> EnvOptions:
    if case in registry.names() and "microgrids" in registry.load(case).env.layout:
        return registry.load(case).env
    return dataclasses.replace(NORMAL_OPERATION, case=case, layout=_LAYOUT)


def days(task: Task, env: grid_env.GridEnv) -> Callable[[chex.PRNGKey], series_lib.TimeSeries]:
    """Returns what draws a day of the task, a pure function of a key.

    Raises:
      ValueError: there is no such scenario, level or split, or it does not go with the options.
    """
    splits.index(task.split)
    if not task.scenario:
        return lambda key: env.sample_series(key, task.split)
    draw = suite.make(task.scenario, task.level, task.options, task.split, env.recorded_days)
    return lambda key: draw(key, env.grid, env.fleet)
