"""The actor's process."""

import launchpad as lp
import reverb

from actors import actor
from launch.host import runtime
from launch.nodes import shell
from launch.run import parts, run_folder, storage
from replay import reverb_queue


@storage.reported()
def actor_node(
    settings: shell.NodeSettings, index: int, queue: reverb.Client, server: lp.Address
) -> None:
    """Steps grids and sends unrolls."""
    heartbeat = shell.begin(settings)
    experiment = settings.experiment
    _, networks, unroller = parts.build(experiment)
    temporary = run_folder.RunFolder(settings.workdir).temporary
    actor.run(
        unroller,
        shell.variables(settings, server, networks, heartbeat.stopping),
        reverb_queue.Writer(queue),
        heartbeat,
        actor=index,
        incarnation=settings.incarnation,
        seed=experiment.seed,
        synchronous=experiment.run.synchronous,
        alone=lambda: runtime.alone(temporary, "actor"),
    )
    shell.end(settings, heartbeat)
