"""IEEE 13-node feeder with three microgrids, an agent each and one for the feeder, by gradients."""

import dataclasses

from actors.options import ActorOptions
from configs.experiment import BY_GRADIENT, MYOPIC_TEAM, NORMAL_OPERATION, Experiment, RunOptions


def experiment() -> Experiment:
    """Returns the experiment.

    Each microgrid that is cut off lives on, and no loss of load ends the day: what is left is still
    to be operated.
    """
    return Experiment(
        name="ieee13_mg",
        env=dataclasses.replace(
            NORMAL_OPERATION, case="ieee13_mg", layout="microgrids", islands="all",
            blackout_share=1.0,
        ),
        team=dataclasses.replace(MYOPIC_TEAM, kind="microgrids", initial_switching=0.002),
        actor=ActorOptions(batch=64, unroll_length=8),
        learner=dataclasses.replace(BY_GRADIENT, learning_rate=1e-3, loading_margin=0.99),
        run=RunOptions(steps=200_000),
    )  # fmt: skip
