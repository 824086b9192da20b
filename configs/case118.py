"""IEEE 118 buses, one operator, 618 observations and 145 actions, the proportional plan."""

import dataclasses

from agents.options import TeamOptions
from configs.experiment import NORMAL_OPERATION, Experiment, RunOptions
from learner.options import LearnerOptions


def experiment() -> Experiment:
    """Returns the experiment."""
    return Experiment(
        name="case118",
        env=dataclasses.replace(NORMAL_OPERATION, case="case118", layout="case118"),
        team=TeamOptions(horizon=20.0, initial_std=0.3),
        learner=LearnerOptions(gae_lambda=0.9),
        run=RunOptions(steps=1_000_000, max_minutes=20.0),
    )
