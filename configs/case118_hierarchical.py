"""IEEE 118 buses, a strategic agent, its regions and a safety agent, by gradients."""

import dataclasses

from actors.options import ActorOptions
from configs import case118
from configs.experiment import Experiment

_HOUR = 12  # steps


def experiment() -> Experiment:
    """Returns the experiment: `case118` with the team `hierarchical`.

    A window is as long as a directive holds, so that each has one decided in it, and what it earns
    from there on. Windows do not end in values, whose errors led agents astray. A limit on rewards
    keeps a blackout, worth 100,000, from being all that a batch teaches. Six agents have narrower
    layers than one operator, so that a step takes about as long.
    """
    base = case118.experiment()
    return dataclasses.replace(
        base,
        name="case118_hierarchical",
        team=dataclasses.replace(
            base.team, kind="hierarchical", decision_steps=_HOUR, policy_layers=(64, 128)
        ),
        actor=ActorOptions(batch=64, unroll_length=_HOUR),
        learner=dataclasses.replace(
            base.learner, window=_HOUR, minibatches=16, bootstrap=False, reward_limit=5.0
        ),
    )
