"""The shells around actors, learner and evaluator: what a process does before and after its work.

Every function here that ends in `_node` is what Launchpad calls in a process of its own. It pins
the process, checks that it sees the devices it was promised, builds the heavy objects, and runs a
loop from `actors` or `learner` until the program is stopped.
"""

from __future__ import annotations

import atexit
import ctypes
import dataclasses
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from absl import logging

from configs.experiment import Experiment
from launch import placement as placement_lib
from launch import run_folder

_PR_SET_PDEATHSIG = 1  # prctl's option, linux/prctl.h
_STATUS_PERIOD_S = 0.5
# Seeds of things that must not share random numbers.
_LEARNER_STREAM, _VALIDATION_SEED = 2, 20_000


@dataclasses.dataclass(frozen=True)
class NodeSettings:
    """What a node gets instead of flags."""

    name: str
    experiment: Experiment
    workdir: str
    place: placement_lib.Place
    incarnation: int  # how often the run was launched before
    launcher: int  # process id that must stay alive


def actor_node(settings: NodeSettings, index: int, queue: Any, server: Any) -> None:
    """Steps grids and sends unrolls."""
    stopping = _begin(settings)
    from actors import actor
    from learner import variables
    from replay import reverb_queue

    experiment = settings.experiment
    env, networks = _build(experiment)
    actor.run(
        _unroller(experiment, env, networks),
        variables.Variables(_Patient(server, stopping), networks),
        reverb_queue.Writer(queue),
        _reporter(settings),
        stopping,
        actor=index,
        incarnation=settings.incarnation,
        seed=experiment.seed,
        synchronous=experiment.run.synchronous,
    )
    _end(settings)


def learner_node(settings: NodeSettings, queue: Any, server: Any) -> None:
    """Learns until the budget is spent."""
    stopping = _begin(settings)
    import jax

    from launch import metrics_log
    from learner import checkpoint, learner, variables
    from replay import reverb_queue

    experiment, run = settings.experiment, settings.experiment.run
    folder = run_folder.RunFolder(settings.workdir)
    env, networks = _build(experiment)
    spec = _unroller(experiment, env, networks).spec()
    seed = int(jax.random.randint(_stream(experiment, _LEARNER_STREAM), (), 0, 2**31 - 1))
    checkpoints = checkpoint.Checkpoints(folder.path, "newest")
    service = learner.Learner(networks, experiment.learner, spec, run.steps, seed)
    if settings.incarnation and checkpoints.any():
        service.restore(checkpoints, networks)
        logging.info("continuing from update %d", service.version)
    log = metrics_log.MetricsLog(folder, settings.name)
    report = _reporter(settings, updates_planned=service.updates, steps_planned=run.steps)

    def record(step: int, scalars: Mapping[str, float]) -> None:
        log.write(step, scalars)
        report({"steps": step, **scalars})

    outcome = service.run(
        reverb_queue.Reader(queue, spec),
        variables.Variables(_Patient(server, stopping), networks),
        checkpoints,
        record,
        stopping,
        max_lag=experiment.replay.max_lag,
        max_seconds=60.0 * run.max_minutes,
        checkpoint_seconds=run.checkpoint_seconds,
    )
    log.close()
    _end(settings, outcome=outcome, version=service.version, steps=service.steps)


def evaluator_node(settings: NodeSettings, server: Any) -> None:
    """Scores the newest parameters on validation days and keeps the best."""
    stopping = _begin(settings)
    import jax
    import numpy as np

    from actors import evaluator
    from agents import controllers
    from evaluation import episodes, metrics
    from launch import metrics_log
    from learner import checkpoint, variables

    experiment = settings.experiment
    folder = run_folder.RunFolder(settings.workdir)
    env, networks = _build(experiment)
    tapes = episodes.held_out(env, "validation", experiment.evaluator.episodes, _VALIDATION_SEED)
    idle = controllers.do_nothing(env.layout.action_size)

    @jax.jit
    def play(bundle):
        controller = controllers.learned(networks, bundle.params, bundle.statistics)
        return episodes.play(env, controller, tapes)

    def means(played) -> dict[str, float]:
        played = jax.tree.map(np.asarray, played)
        return {name: float(v.mean()) for name, v in metrics.compute(played).items()}

    baseline = means(jax.jit(lambda: episodes.play(env, idle, tapes))())
    checkpoints = checkpoint.Checkpoints(folder.path, "best")
    best = float("-inf")
    if checkpoints.any():
        best = checkpoints.run(checkpoints.newest_version())["return"]
    log = metrics_log.MetricsLog(folder, settings.name)
    report = _reporter(settings)
    steps_per_update = (
        experiment.actor.batch
        * experiment.actor.unroll_length
        * experiment.learner.unrolls_per_update
    )

    def record(version: int, scores: Mapping[str, float]) -> None:
        compared = {f"evaluation/{name}": value for name, value in scores.items()}
        compared["evaluation/do_nothing_return"] = baseline["return"]
        log.write(version * steps_per_update, compared)
        report({"version": version, **compared})

    evaluator.run(
        variables.Variables(_Patient(server, stopping), networks),
        lambda bundle: means(play(bundle)),
        lambda bundle, scores: checkpoints.save(int(bundle.version), bundle, scores),
        record,
        stopping,
        period_s=experiment.evaluator.period_seconds,
        best=best,
    )
    checkpoints.wait()
    log.close()
    _end(settings)


def queue_tables(settings: NodeSettings) -> list[Any]:
    """Returns the Reverb tables; called where the queue lives."""
    _tie_to_launcher(settings)
    from replay import reverb_queue

    env, networks = _build(settings.experiment)
    spec = _unroller(settings.experiment, env, networks).spec()
    return [reverb_queue.table(spec, settings.experiment.replay.queue_size)]


def variable_server(settings: NodeSettings) -> Any:
    """Returns the variable server; called where it lives."""
    _tie_to_launcher(settings)
    from learner import variables

    return variables.VariableServer()


class _Patient:
    """A variable server that may be busy or not there yet: a call that times out is repeated."""

    def __init__(self, server: Any, stopping: Callable[[], bool]):
        self._server, self._stopping = server, stopping

    def publish(self, message, version):
        return self._repeat(self._server.publish, message, version)

    def newest(self, at_least, timeout_s):
        return self._repeat(self._server.newest, at_least, timeout_s)

    def _repeat(self, call, *args):
        while not self._stopping():
            try:
                return call(*args)
            except Exception as error:  # Courier maps gRPC's status to kinds it does not export.
                if "deadline" not in str(error).lower() and "unavailable" not in str(error).lower():
                    raise
                logging.warning("variable server: %s; trying again", error)
        return None


def _build(experiment: Experiment):
    """Returns the environment and the team's networks."""
    from agents import networks
    from envs import grid_env

    env = grid_env.make(experiment.env)
    return env, networks.make(env.layout, experiment.team)


def _unroller(experiment: Experiment, env, networks):
    from actors import unroll

    return unroll.Unroller(env, networks, experiment.actor.unroll_length, experiment.actor.batch)


def _stream(experiment: Experiment, stream: int):
    import jax

    return jax.random.fold_in(jax.random.PRNGKey(experiment.seed), stream)


def _begin(settings: NodeSettings) -> Callable[[], bool]:
    """Pins and checks this process; returns what says whether to stop."""
    logging.set_verbosity(logging.INFO)
    _tie_to_launcher(settings)
    place = settings.place
    if place.cores is not None:
        os.sched_setaffinity(0, place.cores)
    import jax

    from launch import compilation

    compilation.use_cache()
    found = jax.local_devices()
    if found[0].platform != place.platform or len(found) != place.devices:
        raise RuntimeError(
            f"{settings.name}: promised {place.devices} {place.platform} device(s), but jax sees "
            f"{len(found)} of {found[0].platform}: check --placement, and that jax is installed "
            f"for {place.platform} (BUILD.md)"
        )
    where = f"cores {','.join(map(str, place.cores))}" if place.cores else "any core"
    logging.info(
        "%s: %d %s device(s), %s, process %d",
        settings.name, len(found), found[0].platform, where, os.getpid(),
    )  # fmt: skip
    run_folder.RunFolder(settings.workdir).write_status(
        settings.name, {"state": "starting", "pid": os.getpid(), "time": time.time()}
    )
    import launchpad as lp

    event = lp.stop_event()
    return event.is_set


def _tie_to_launcher(settings: NodeSettings) -> None:
    """Has the system ask this process to stop when the launcher dies, however it dies."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != settings.launcher:
        sys.exit(f"{settings.name}: the launcher has gone")


def _reporter(settings: NodeSettings, **always) -> Callable[[Mapping[str, Any]], None]:
    """Returns a function that tells the console what a node does, twice a second at most."""
    folder = run_folder.RunFolder(settings.workdir)
    last = 0.0

    def report(figures: Mapping[str, Any]) -> None:
        nonlocal last
        now = time.time()
        if now - last >= _STATUS_PERIOD_S:
            last = now
            folder.write_status(
                settings.name,
                {"state": "running", "pid": os.getpid(), "time": now, **always, **figures},
            )

    return report


def _end(settings: NodeSettings, **figures) -> None:
    """Says that the node's work is done, and has the process leave without more ado."""
    folder = run_folder.RunFolder(settings.workdir)
    last = folder.status(settings.name)
    folder.write_status(settings.name, {**last, "state": "ended", "time": time.time(), **figures})
    logging.info("%s: ended", settings.name)
    # A read from Reverb cannot be cancelled, and its thread would abort Python's own shutdown.
    atexit.register(_leave)


def _leave() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
