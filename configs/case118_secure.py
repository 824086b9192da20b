"""IEEE 118 buses, every control; each branch whose loss would overload another is paid for."""

import dataclasses

from configs import case118
from configs.experiment import Experiment


def experiment() -> Experiment:
    """Returns the experiment."""
    base = case118.experiment()
    return dataclasses.replace(
        base,
        name="case118_secure",
        env=dataclasses.replace(base.env, layout="full", insecurity_price=50.0),
    )
