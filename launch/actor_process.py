"""The actor's process."""

from __future__ import annotations

from typing import Any

from actors import actor
from launch import node
from learner import variables
from replay import reverb_queue


def actor_node(settings: node.NodeSettings, index: int, queue: Any, server: Any) -> None:
    """Steps grids and sends unrolls."""
    heartbeat = node.begin(settings)
    experiment = settings.experiment
    _, networks, unroller = node.build(experiment)
    actor.run(
        unroller,
        variables.Variables(node.PatientServer(server, heartbeat.stopping), networks),
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
