"""IEEE 118 buses, one operator, 618 observations and 145 actions; by samples."""

import dataclasses

from actors.options import ActorOptions
from agents.options import TeamOptions
from configs.experiment import NORMAL_OPERATION, Experiment, RunOptions
from learner.options import LearnerOptions


def experiment() -> Experiment:
    """Returns the experiment.

    What 145 controls do by chance adds up, so that batches are large and used twice only, and a
    joint ratio of 0.5 is as near as 0.2 is with ten controls. Rewards are below 1 in normal
    operation; a limit keeps a blackout, worth 100,000, from deciding what values are scaled by.
    """
    return Experiment(
        name="case118_ppo",
        env=dataclasses.replace(NORMAL_OPERATION, case="case118", layout="case118"),
        team=TeamOptions(effective_horizon=20.0, initial_std=0.3),
        actor=ActorOptions(batch=128),
        learner=LearnerOptions(
            epochs=2, minibatches=8, gae_lambda=0.9, clip=0.5, target_kl=0.05,
            value_decay=0.95, reward_limit=20.0,
        ),
        run=RunOptions(steps=3_000_000),
    )  # fmt: skip
