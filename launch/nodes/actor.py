"""The actor's process."""

import contextlib
import os
import pathlib
from collections.abc import Iterator

import launchpad as lp
import reverb

from actors import actor
from launch.host import runtime
from launch.nodes import shell
from launch.run import parts, run_folder, storage
from replay import reverb_queue

_NICENESS = 10  # of an actor whose cores are the learner's, too


@contextlib.contextmanager
def _compiling(folder: pathlib.Path, platform: str) -> Iterator[None]:
    """Lets one actor at a time compile; whoever shares cores with the learner yields to it then.

    The learner decides the pace, and the queue has unrolls in store for it.
    """
    with runtime.alone(folder, "actor"):
        yield
    if platform == "cpu":
        for thread in os.listdir("/proc/self/task"):
            with contextlib.suppress(ProcessLookupError):  # One may have ended since.
                os.setpriority(os.PRIO_PROCESS, int(thread), _NICENESS)


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
        alone=lambda: _compiling(temporary, settings.place.platform),
    )
    shell.end(settings, heartbeat)
