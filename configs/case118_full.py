"""IEEE 118 buses, one operator with every control, by gradients."""

import dataclasses

from configs import case118
from configs.experiment import Experiment


def experiment() -> Experiment:
    """Returns the experiment: `case118` with the layout `full`.

    Voltages are moved, and with them reactive power, whose limits a step's own price keeps only in
    the mean: they are priced a little early.
    """
    base = case118.experiment()
    return dataclasses.replace(
        base,
        name="case118_full",
        env=dataclasses.replace(base.env, layout="full"),
        learner=dataclasses.replace(base.learner, reactive_margin=1.0),
    )
