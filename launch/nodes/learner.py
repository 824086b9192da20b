"""The learner's process, with the queue and the variable server that it may hold."""

from collections.abc import Mapping

import launchpad as lp
import reverb
from absl import logging

from launch.nodes import shell
from launch.run import metrics_log, parts, run_folder, storage, warm_start
from learner import checkpoint, learner, variable_transport, variables
from replay import reverb_queue


@storage.reported(checkpoint.CheckpointError)
def learner_node(settings: shell.NodeSettings, queue: reverb.Client, server: lp.Address) -> None:
    """Learns until the budget is spent."""
    heartbeat = shell.begin(settings)
    experiment, run = settings.experiment, settings.experiment.run
    folder = run_folder.RunFolder(settings.workdir)
    env, networks, _ = parts.build(experiment)
    spec = parts.spec(experiment)
    checkpoints = checkpoint.Checkpoints(folder.path, "newest")
    service = learner.Learner(env, networks, experiment.learner, spec, run.steps, experiment.seed)
    notes = []
    if settings.incarnation and checkpoints.any():
        notes = service.restore(checkpoints, networks)
        for note in notes:
            logging.warning(note)
        logging.info("continuing from update %d", service.version)
    elif start := warm_start.kept(folder, networks):
        service.begin_with(start)
    log = metrics_log.MetricsLog(folder, settings.name)
    max_seconds = 60.0 * run.max_minutes
    planned = {"notes": notes, "steps_planned": run.steps, "seconds_planned": max_seconds}
    heartbeat.report(planned)

    def record(step: int, scalars: Mapping[str, float]) -> None:
        log.write(step, scalars)
        heartbeat.report({**planned, "steps": step, **scalars})

    outcome = service.run(
        reverb_queue.Reader(queue, spec),
        shell.variables(settings, server, networks, heartbeat.stopping),
        checkpoints,
        record,
        heartbeat,
        max_lag=experiment.replay.max_lag,
        max_seconds=max_seconds,
        checkpoint_seconds=run.checkpoint_seconds,
    )
    log.close()
    shell.end(settings, heartbeat, outcome=outcome, version=service.version, steps=service.steps)


def queue_tables(settings: shell.NodeSettings) -> list[reverb.Table]:
    """Returns the Reverb tables; called where the queue lives."""
    shell.serve(settings)
    spec = parts.spec(settings.experiment)
    return [reverb_queue.table(spec, settings.experiment.replay.queue_size)]


def variable_server(settings: shell.NodeSettings, address: lp.Address, callers: int) -> None:
    """Serves variables until the program is stopped."""
    shell.serve(settings)
    token = run_folder.RunFolder(settings.workdir).token()
    server = variable_transport.Server(
        variables.VariableServer(), settings.bind, shell.port(address), token, callers
    )
    lp.wait_for_stop()
    server.stop()
