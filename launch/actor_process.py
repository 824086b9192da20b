"""The actor's process."""

from __future__ import annotations

from typing import Any

from actors import actor
from launch import node, storage
from learner import variables
from replay import reverb_queue


@storage.reported()
def actor_node(settings: node.NodeSettings, index: int, queue: Any, server: Any) -> None:
    """Steps grids and sends unrolls."""
    stopping = node.begin(settings)

    experiment = settings.experiment
    _, networks, unroller = node.build(experiment)
    actor.run(
        unroller,
        variables.Variables(node.PatientServer(server, stopping), networks),
        reverb_queue.Writer(queue),
        node.reporter(settings),
        stopping,
        actor=index,
        incarnation=settings.incarnation,
        seed=experiment.seed,
        synchronous=experiment.run.synchronous,
    )
    node.end(settings)
