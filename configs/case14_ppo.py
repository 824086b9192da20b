"""IEEE 14 buses, one operator, the proportional plan, which can be made cheaper; by samples."""

from agents.options import TeamOptions
from configs.experiment import NORMAL_OPERATION, Experiment, RunOptions
from learner.options import LearnerOptions


def experiment() -> Experiment:
    """Returns the experiment.

    A redispatch pays within the step and ramps take half an hour, so a look-ahead of 20 steps is
    enough and makes advantages far less noisy than the default of 100.
    """
    return Experiment(
        name="case14_ppo",
        env=NORMAL_OPERATION,
        team=TeamOptions(effective_horizon=20.0, initial_std=0.3),
        learner=LearnerOptions(gae_lambda=0.9),
        run=RunOptions(steps=3_000_000),
    )
