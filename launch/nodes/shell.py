"""The shell around every node: what a process does before and after its work.

A node is a function that Launchpad calls in a process of its own (`actor_node`,
`learner_node`, `evaluator_node`). It begins by pinning the process and checking that it sees
the devices it was promised, builds the heavy objects, runs a loop from `actors` or `learner` until
the program is stopped, and ends.

Nodes import at the head of their modules, never inside: two that share a process would otherwise
import the same package at the same time, on two threads.
"""

import atexit
import contextlib
import ctypes
import dataclasses
import faulthandler
import os
import pathlib
import signal
import sys
from collections.abc import Callable

import jax
import launchpad as lp
from absl import logging
from launchpad import address as lp_address

from agents import networks as networks_lib
from configs.experiment import Experiment
from launch.host import placement as placement_lib, runtime
from launch.nodes import heartbeat as heartbeat_lib
from launch.run import run_folder
from learner import variable_transport, variables as variables_lib

_PR_SET_PDEATHSIG = 1  # prctl's option, linux/prctl.h


@dataclasses.dataclass(frozen=True)
class NodeSettings:
    """What a node gets instead of flags."""

    name: str
    experiment: Experiment
    workdir: str
    place: placement_lib.Place
    bind: str  # address that the variable server listens on
    incarnation: int  # how often the run was launched before
    launcher: int  # process id that must stay alive


def begin(settings: NodeSettings) -> heartbeat_lib.Heartbeat:
    """Pins and checks this process; returns its heartbeat, which also says whether to stop."""
    logging.set_verbosity(logging.INFO)
    tie_to_launcher(settings)
    pathlib.Path("/proc/self/comm").write_text(settings.name)  # What ps and top show.
    place = settings.place
    if place.cores is not None:
        for thread in os.listdir("/proc/self/task"):  # Some have started before this one.
            with contextlib.suppress(ProcessLookupError):  # And some have ended since.
                os.sched_setaffinity(int(thread), place.cores)
    heartbeat = _heartbeat(settings)
    runtime.keep()
    devices = jax.local_devices()
    if devices[0].platform != place.platform or len(devices) != place.devices:
        raise RuntimeError(
            f"{settings.name}: promised {place.devices} {place.platform} device(s), but jax sees "
            f"{len(devices)} of {devices[0].platform}: check --placement, and that jax is "
            f"installed for {place.platform} (BUILD.md)"
        )
    where = f"cores {','.join(map(str, place.cores))}" if place.cores else "any core"
    logging.info(
        "%s: %d %s device(s), %s, process %d",
        settings.name, len(devices), devices[0].platform, where, os.getpid(),
    )  # fmt: skip
    return heartbeat


def serve(settings: NodeSettings) -> None:
    """Begins a server without a loop; one that shares the learner's process leaves all to it."""
    tie_to_launcher(settings)
    if not settings.experiment.run.colocate:
        _heartbeat(settings, loop=False)


def _heartbeat(settings: NodeSettings, loop: bool = True) -> heartbeat_lib.Heartbeat:
    faulthandler.register(signal.SIGUSR2)  # The launcher asks a loop that hangs where it stands.
    folder = run_folder.RunFolder(settings.workdir)
    return heartbeat_lib.Heartbeat(folder, settings.name, lp.stop_event().is_set, loop)


def tie_to_launcher(settings: NodeSettings) -> None:
    """Has the system ask this process to stop when the launcher dies, however it dies."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    # A group of its own: Ctrl-C reaches the launcher alone, and a second one kills no checkpoint.
    os.setpgid(0, 0)
    # Before the launcher is looked for: another one sees the lock, or this one is seen to be gone.
    run_folder.RunFolder(settings.workdir).hold_node(settings.name)
    if os.getppid() != settings.launcher:
        sys.exit(f"{settings.name}: the launcher has gone")


def variables(
    settings: NodeSettings,
    server: lp.Address,
    networks: networks_lib.TeamNetworks,
    stopping: Callable[[], bool],
) -> variables_lib.Variables:
    """Returns what publishes bundles to the run's variable server and gets them from it."""
    token = run_folder.RunFolder(settings.workdir).token()
    client = variable_transport.Client(settings.bind, port(server), token, stopping)
    return variables_lib.Variables(client, networks)


def port(address: lp.Address) -> int:
    """Returns the port that Launchpad chose for `address`."""
    return lp_address.get_port_from_address(address.resolve())


def end(settings: NodeSettings, heartbeat: heartbeat_lib.Heartbeat, **figures) -> None:
    """Says that the node's work is done, and has the process leave without more ado."""
    heartbeat.end(**figures)
    logging.info("%s: ended", settings.name)
    # A read from Reverb cannot be cancelled, and its thread would abort Python's own shutdown.
    atexit.register(_leave)


def _leave() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
