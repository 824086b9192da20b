"""IEEE 14 buses, one operator with every control, by gradients through the power flow."""

import dataclasses

from actors.options import ActorOptions
from configs.experiment import BY_GRADIENT, MYOPIC_TEAM, NORMAL_OPERATION, Experiment, RunOptions


def experiment() -> Experiment:
    """Returns the experiment."""
    return Experiment(
        name="case14",
        env=dataclasses.replace(NORMAL_OPERATION, layout="full"),
        team=MYOPIC_TEAM,
        actor=ActorOptions(batch=64, unroll_length=8),
        learner=dataclasses.replace(BY_GRADIENT, learning_rate=1e-3, loading_margin=0.99),
        run=RunOptions(steps=600_000),
    )
