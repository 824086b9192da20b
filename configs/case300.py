"""IEEE 300 buses, one operator with every control, by gradients."""

import dataclasses

from configs import case118_full
from configs.experiment import Experiment


def experiment() -> Experiment:
    """Returns the experiment: `case118_full` on the larger grid.

    The loss of one branch may end a day here: policies keep further away from limits.
    """
    base = case118_full.experiment()
    return dataclasses.replace(
        base,
        name="case300",
        env=dataclasses.replace(base.env, case="case300"),
        learner=dataclasses.replace(base.learner, loading_margin=0.97),
    )
