"""IEEE 118 buses, every control; each branch whose loss would overload another is paid for."""

import dataclasses

from configs import case118_full
from configs.experiment import Experiment


def experiment() -> Experiment:
    """Returns the experiment: `case118_full` with a price on insecurity.

    Branches, and what they carry after an outage, are priced from further below their limits: an
    outage multiplies what a policy is off by.
    """
    base = case118_full.experiment()
    return dataclasses.replace(
        base,
        name="case118_secure",
        env=dataclasses.replace(base.env, insecurity_price=1000.0),
        learner=dataclasses.replace(base.learner, loading_margin=0.97),
    )
