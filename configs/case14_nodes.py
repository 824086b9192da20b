"""IEEE 14 buses, an agent for each node, by gradients through the power flow."""

import dataclasses

from configs import case14
from configs.experiment import Experiment


def experiment() -> Experiment:
    """Returns the experiment: `case14`, every control but breakers shared out among the nodes.

    A node moves three controls at most, for which small networks are enough.
    """
    base = case14.experiment()
    return dataclasses.replace(
        base,
        name="case14_nodes",
        env=dataclasses.replace(base.env, layout="nodes"),
        team=dataclasses.replace(base.team, kind="nodes", policy_layers=(64, 64)),
    )
