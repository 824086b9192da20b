"""The evaluator's process."""

from __future__ import annotations

from collections.abc import Mapping

import jax
import launchpad as lp
import numpy as np
from absl import logging

from actors import evaluator
from agents import bundle as bundle_lib
from agents import controllers
from evaluation import episodes, metrics
from launch.nodes import shell
from launch.run import metrics_log, run_folder, storage
from learner import checkpoint

_VALIDATION_SEED = 20_000


@storage.reported(checkpoint.CheckpointError)
def evaluator_node(settings: shell.NodeSettings, server: lp.Address) -> None:
    """Scores the newest parameters on validation days and keeps the best."""
    heartbeat = shell.begin(settings)
    experiment = settings.experiment
    folder = run_folder.RunFolder(settings.workdir)
    env, networks, unroller = shell.build(experiment)
    days = episodes.held_out(env, "validation", experiment.evaluator.episodes, _VALIDATION_SEED)

    player = episodes.Player(env)
    bundle = bundle_lib.initial(networks, jax.random.PRNGKey(0))
    # One program for what is learned and for doing nothing: its memory tells them apart.
    controller = controllers.weighted(controllers.learned(networks, bundle), 1.0)

    def means(bundle, weight: float) -> dict[str, float]:
        memory = (bundle, np.float32(weight))
        played = player.play(
            controller, days, memory=memory, progress=lambda steps: heartbeat.beat()
        ).happened
        found = metrics.compute(played, env)
        return {name: float(v.mean()) for name, v in found.items() if not np.isnan(v).any()}

    baseline = means(bundle, 0.0)
    checkpoints = checkpoint.Checkpoints(folder.path, "best")
    best = float("-inf")
    if checkpoints.any():
        restored, set_aside = checkpoints.recover(networks)
        best = restored.run["return"]
        for note in set_aside:
            logging.warning(note)
    log = metrics_log.MetricsLog(folder, settings.name)
    steps_per_update = unroller.steps * experiment.learner.unrolls_per_update

    def record(version: int, scores: Mapping[str, float]) -> None:
        compared = {f"evaluation/{name}": value for name, value in scores.items()}
        compared["evaluation/do_nothing_return"] = baseline["return"]
        log.write(version * steps_per_update, compared)
        heartbeat.report({"version": version, **compared})

    evaluator.run(
        shell.variables(settings, server, networks, heartbeat.stopping),
        lambda bundle: means(bundle, 1.0),
        lambda bundle, scores: checkpoints.save(int(bundle.version), bundle, scores),
        record,
        heartbeat.stopping,
        heartbeat.progress,
        period_s=experiment.evaluator.period_seconds,
        best=best,
    )
    checkpoints.wait()
    log.close()
    shell.end(settings, heartbeat)
