"""An experiment: the options of every package in one place."""

import dataclasses
import re
from typing import Annotated

from actors.options import ActorOptions, EvaluatorOptions
from agents.options import TeamOptions
from envs.inputs import bounds
from envs.inputs.bounds import Range
from envs.options import EnvOptions
from learner import options as learner_options
from learner.options import LearnerOptions
from replay.options import ReplayOptions

_MOST_STEPS = 2**24  # in a training batch; on 14 buses they take about 10 GB
_NAME = re.compile(r"\w[\w .+-]{0,79}")

# Days without outages: a blackout costs as much as two hundred days of operation, and one in a
# hundred days would hide from a learner what redispatch saves.
NORMAL_OPERATION = EnvOptions(
    reward="savings", maintenance_per_day=0.0, branch_faults_per_day=0.0, gen_faults_per_day=0.0
)

# What a redispatch, a set-point or a load that is moved earns, it earns within the step.
MYOPIC_TEAM = TeamOptions(effective_horizon=1.0, initial_std=0.02, policy_layers=(256, 256))

# Gradients of each step's reward through the power flow. Actions are dispersed only so far that
# actors meet the states around those that the policy leads to.
BY_GRADIENT = LearnerOptions(
    objective="analytic", window=1, epochs=1, minibatches=8, learning_rate=3e-4,
    final_learning_rate=0.01, target_kl=0.0,
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class RunOptions(bounds.Options, prefix="run."):
    """Options of the run as a whole. The text beside each field is its help."""

    steps: Annotated[
        int, "environment steps to learn from, all actors together", Range(1, 1e15)
    ] = 1_000_000
    max_minutes: Annotated[
        float,
        "end earlier, after this many minutes of learning, compilation not counted: the clock of "
        "every launch starts when its first update is done",
        Range(0, 1e9, above=True),
    ] = 60.0
    checkpoint_seconds: Annotated[
        float, "time between two checkpoints", Range(0, 1e9, above=True)
    ] = 30.0
    synchronous: Annotated[
        bool, "actors wait for each update, so that a seed gives the same run every time"
    ] = False
    colocate: Annotated[bool, "queue and variable server share the learner's process"] = True


@dataclasses.dataclass(frozen=True)
class Experiment(bounds.Options):
    """Everything that determines a run, except the machine. The text is each field's help."""

    name: Annotated[str, "name of the experiment, for folders and titles"]
    seed: Annotated[int, "seed of every random number in the run", bounds.SEEDS] = 0
    env: EnvOptions = EnvOptions()
    team: TeamOptions = TeamOptions()
    actor: ActorOptions = ActorOptions()
    replay: ReplayOptions = ReplayOptions()
    learner: LearnerOptions = LearnerOptions()
    evaluator: EvaluatorOptions = EvaluatorOptions()
    run: RunOptions = RunOptions()

    def check(self) -> None:
        """Raises ValueError where options of different packages do not go together."""
        if not _NAME.fullmatch(self.name):
            raise ValueError(
                f"name={bounds.as_text(self.name)}: must be letters, digits, spaces and . _ + -, "
                "at most 80, for it becomes the name of a folder"
            )
        if self.actor.unroll_length > self.env.horizon_steps:
            raise ValueError(
                f"actor.unroll_length={self.actor.unroll_length}: must be at most "
                f"env.horizon_steps={self.env.horizon_steps}"
            )
        steps = self.steps_per_update
        if steps > _MOST_STEPS:
            raise ValueError(
                f"actor.batch={self.actor.batch}: with actor.unroll_length="
                f"{self.actor.unroll_length} and learner.unrolls_per_update="
                f"{self.learner.unrolls_per_update} a training batch has {steps} steps; it may "
                f"have {_MOST_STEPS}"
            )
        idle_values = self.team.effective_horizon == 1.0 or not self.learner.bootstrap
        if self.learner.objective == "analytic" and idle_values:
            for name, idle in (("value_clip", 0.0), ("correction", "clip")):
                if (value := getattr(self.learner, name)) != idle:
                    raise ValueError(
                        f"learner.{name}={value}: learner.objective=analytic learns no values with "
                        "team.effective_horizon=1 or learner.bootstrap=false; leave "
                        f"learner.{name}={idle}"
                    )
        learner_options.check_batch(self.learner, self.actor.unroll_length, self.actor.batch)
        if self.run.synchronous and self.learner.unrolls_per_update != self.actor.count:
            raise ValueError(
                f"run.synchronous needs one unroll of each actor in an update: set "
                f"learner.unrolls_per_update={self.actor.count} (actor.count), "
                f"it is {self.learner.unrolls_per_update}"
            )

    @property
    def steps_per_update(self) -> int:
        """Environment steps in a training batch."""
        return self.actor.batch * self.actor.unroll_length * self.learner.unrolls_per_update

    @property
    def updates(self) -> int:
        """Updates in the budget of the run."""
        return -(-self.run.steps // self.steps_per_update)


def check_one_process(experiment: Experiment) -> None:
    """Raises ValueError where one process cannot do what actors and learner would."""
    actors, devices = experiment.actor.count, experiment.learner.devices
    if actors % devices:
        raise ValueError(
            f"actor.count={actors}: rollouts are spread over learner.devices={devices}, which must "
            "divide it"
        )
    if experiment.learner.unrolls_per_update != actors:
        raise ValueError(
            f"learner.unrolls_per_update={experiment.learner.unrolls_per_update}: an update takes "
            f"one unroll of each actor here; set it to actor.count, {actors}"
        )
