"""The actor's process."""

from __future__ import annotations

from typing import Any

import launchpad as lp

from actors import actor
from launch import node, storage
from replay import reverb_queue


@storage.reported()
def actor_node(settings: node.NodeSettings, index: int, queue: Any, server: lp.Address) -> None:
    """Steps grids and sends unrolls."""
    heartbeat = node.begin(settings)
    experiment = settings.experiment
    _, networks, unroller = node.build(experiment)
    actor.run(
        unroller,
        node.variables(settings, server, networks, heartbeat.stopping),
        reverb_queue.Writer(queue),
        heartbeat.report,
        heartbeat.stopping,
        heartbeat.progress,
        actor=index,
        incarnation=settings.incarnation,
        seed=experiment.seed,
        synchronous=experiment.run.synchronous,
    )
    node.end(settings, heartbeat)
