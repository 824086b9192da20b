"""The actor's process."""

from __future__ import annotations

from typing import Any

import launchpad as lp

from actors import actor
from launch.nodes import shell
from launch.run import storage
from replay import reverb_queue


@storage.reported()
def actor_node(settings: shell.NodeSettings, index: int, queue: Any, server: lp.Address) -> None:
    """Steps grids and sends unrolls."""
    heartbeat = shell.begin(settings)
    experiment = settings.experiment
    _, networks, unroller = shell.build(experiment)
    actor.run(
        unroller,
        shell.variables(settings, server, networks, heartbeat.stopping),
        reverb_queue.Writer(queue),
        heartbeat.report,
        heartbeat.stopping,
        heartbeat.progress,
        actor=index,
        incarnation=settings.incarnation,
        seed=experiment.seed,
        synchronous=experiment.run.synchronous,
    )
    shell.end(settings, heartbeat)
