"""The actor's process."""

import launchpad as lp
import reverb

from actors import actor
from launch.nodes import shell
from launch.run import parts, storage
from replay import reverb_queue


@storage.reported()
def actor_node(
    settings: shell.NodeSettings, index: int, queue: reverb.Client, server: lp.Address
) -> None:
    """Steps grids and sends unrolls."""
    heartbeat = shell.begin(settings)
    experiment = settings.experiment
    _, networks, unroller = parts.build(experiment)
    actor.run(
        unroller,
        shell.variables(settings, server, networks, heartbeat.stopping),
        reverb_queue.Writer(queue),
        heartbeat,
        actor=index,
        incarnation=settings.incarnation,
        seed=experiment.seed,
        synchronous=experiment.run.synchronous,
    )
    shell.end(settings, heartbeat)
