"""The evaluator's process."""

from collections.abc import Mapping

import launchpad as lp
from absl import logging

from actors import evaluator
from evaluation import validation
from launch.nodes import shell
from launch.run import metrics_log, parts, run_folder, storage
from learner import checkpoint

_PATIENCE_S = 0.5


@storage.reported(checkpoint.CheckpointError)
def evaluator_node(settings: shell.NodeSettings, server: lp.Address) -> None:
    """Scores the newest parameters on validation days and keeps the best."""
    heartbeat = shell.begin(settings)
    experiment = settings.experiment
    folder = run_folder.RunFolder(settings.workdir)
    env, networks, _ = parts.build(experiment)
    source = shell.variables(settings, server, networks, heartbeat.stopping)
    # Learning must not wait for what this process compiles.
    heartbeat.progress("waiting for the first update")
    while not heartbeat.stopping() and source.newest(1, _PATIENCE_S) is None:
        continue
    if heartbeat.stopping():
        shell.end(settings, heartbeat)
        return
    heartbeat.progress("compiling", limited=False)
    scorer = validation.Validation(env, networks, experiment.evaluator.episodes)
    baseline = scorer.score_doing_nothing(heartbeat.beat)
    checkpoints = checkpoint.Checkpoints(folder.path, "best")
    best = float("-inf")
    if checkpoints.any():
        restored, set_aside = checkpoints.recover(networks)
        best = restored.run["return"]
        for note in set_aside:
            logging.warning(note)
    log = metrics_log.MetricsLog(folder, settings.name)

    def record(version: int, scores: Mapping[str, float]) -> None:
        compared = validation.compared(scores, baseline)
        log.write(version * experiment.steps_per_update, compared)
        heartbeat.report({"version": version, **compared})

    evaluator.run(
        source,
        lambda bundle: scorer.score(bundle, heartbeat.beat),
        lambda bundle, scores: checkpoints.save(int(bundle.version), bundle, scores),
        record,
        heartbeat,
        period_s=experiment.evaluator.period_seconds,
        best=best,
    )
    checkpoints.wait()
    log.close()
    shell.end(settings, heartbeat)
