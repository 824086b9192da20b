"""The actor's process."""

from __future__ import annotations

from typing import Any

import launchpad as lp

from actors import actor
from launch import node
from replay import reverb_queue


def actor_node(settings: node.NodeSettings, index: int, queue: Any, server: lp.Address) -> None:
    """Steps grids and sends unrolls."""
    stopping = node.begin(settings)

    experiment = settings.experiment
    _, networks, unroller = node.build(experiment)
    actor.run(
        unroller,
        node.variables(settings, server, networks, stopping),
        reverb_queue.Writer(queue),
        node.reporter(settings),
        stopping,
        actor=index,
        incarnation=settings.incarnation,
        seed=experiment.seed,
        synchronous=experiment.run.synchronous,
    )
    node.end(settings)
