"""IEEE 118 buses, one operator, 618 observations and 145 actions, by gradients."""

import dataclasses

from actors.options import ActorOptions
from configs.experiment import BY_GRADIENT, MYOPIC_TEAM, NORMAL_OPERATION, Experiment, RunOptions


def experiment() -> Experiment:
    """Returns the experiment.

    What is best follows the limits of two branches, linearly in loads: tanh units are less exact,
    and stay further away from them.
    """
    return Experiment(
        name="case118",
        env=dataclasses.replace(NORMAL_OPERATION, case="case118", layout="case118"),
        team=dataclasses.replace(MYOPIC_TEAM, activation="silu"),
        actor=ActorOptions(batch=64, unroll_length=8),
        learner=dataclasses.replace(BY_GRADIENT, learning_rate=5e-4, loading_margin=0.995),
        run=RunOptions(steps=600_000),
    )
