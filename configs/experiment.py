"""An experiment: the options of every room in one place."""

from __future__ import annotations

import dataclasses
from typing import Annotated

from actors.options import ActorOptions, EvaluatorOptions
from agents.options import TeamOptions
from envs.options import EnvOptions
from learner import options as learner_options
from learner.options import LearnerOptions
from replay.options import ReplayOptions

# Days without outages: a blackout costs as much as two hundred days of operation, and one in a
# hundred days would hide from a learner what redispatch saves.
NORMAL_OPERATION = EnvOptions(
    reward="savings", maintenance_per_day=0.0, branch_faults_per_day=0.0, gen_faults_per_day=0.0
)


@dataclasses.dataclass(frozen=True)
class RunOptions:
    """Options of the run as a whole. The text beside each field is its help."""

    steps: Annotated[int, "environment steps to learn from, all actors together"] = 1_000_000
    max_minutes: Annotated[
        float, "end earlier, after this many minutes of learning, compilation not counted: the "
        "clock of every launch starts when its first update is done"
    ] = 60.0  # fmt: skip
    checkpoint_seconds: Annotated[float, "time between two checkpoints"] = 30.0
    synchronous: Annotated[
        bool, "actors wait for each update, so that a seed gives the same run every time"
    ] = False
    colocate: Annotated[bool, "queue and variable server share the learner's process"] = True

    def __post_init__(self):
        if self.steps < 1:
            raise ValueError(f"run.steps={self.steps}: must be at least 1")
        for name in ("max_minutes", "checkpoint_seconds"):
            if not getattr(self, name) > 0:
                raise ValueError(f"run.{name}={getattr(self, name)}: must be above 0")


@dataclasses.dataclass(frozen=True)
class Experiment:
    """Everything that determines a run, besides the machine. The text is each field's help."""

    name: Annotated[str, "name of the experiment, for folders and titles"]
    seed: Annotated[int, "seed of every random number in the run"] = 0
    env: EnvOptions = EnvOptions()
    team: TeamOptions = TeamOptions()
    actor: ActorOptions = ActorOptions()
    replay: ReplayOptions = ReplayOptions()
    learner: LearnerOptions = LearnerOptions()
    evaluator: EvaluatorOptions = EvaluatorOptions()
    run: RunOptions = RunOptions()

    def __post_init__(self):
        if self.actor.unroll_length > self.env.horizon_steps:
            raise ValueError(
                f"actor.unroll_length={self.actor.unroll_length}: must be at most "
                f"env.horizon_steps={self.env.horizon_steps}"
            )
        learner_options.check_batch(self.learner, self.actor.unroll_length, self.actor.batch)
        if self.run.synchronous and self.learner.unrolls_per_update != self.actor.count:
            raise ValueError(
                f"run.synchronous needs one unroll of each actor in an update: set "
                f"learner.unrolls_per_update={self.actor.count} (actor.count), "
                f"it is {self.learner.unrolls_per_update}"
            )
