"""The evaluator's process."""

from collections.abc import Callable, Mapping

import jax
import launchpad as lp
import numpy as np
from absl import logging

from actors import evaluator
from agents import bundle as bundle_lib, controllers, networks as networks_lib
from envs import grid_env
from evaluation import episodes, metrics
from launch.nodes import shell
from launch.run import metrics_log, run_folder, storage
from learner import checkpoint

_VALIDATION_SEED = 20_000


class _Scorer:
    """Plays the same validation days with one policy after another."""

    def __init__(self, env: grid_env.GridEnv, networks: networks_lib.TeamNetworks, n_days: int):
        self._env = env
        self._days = episodes.held_out(env, "validation", n_days, _VALIDATION_SEED)
        self._player = episodes.Player(env)
        self._untrained = bundle_lib.initial(networks, jax.random.PRNGKey(0))
        # One program for what is learned and for doing nothing: its memory tells them apart.
        learned = controllers.learned(networks, self._untrained)
        self._controller = controllers.weighted(learned, 1.0)

    def score(self, bundle: bundle_lib.Bundle, beat: Callable[[], None]) -> dict[str, float]:
        """Returns a policy's metrics, means over the days; calls `beat` while it plays."""
        return self._means((bundle, np.float32(1.0)), beat)

    def score_doing_nothing(self, beat: Callable[[], None]) -> dict[str, float]:
        """Returns the same of a controller that does nothing."""
        return self._means((self._untrained, np.float32(0.0)), beat)

    def _means(self, memory: controllers.Memory, beat: Callable[[], None]) -> dict[str, float]:
        played = self._player.play(
            self._controller, self._days, memory=memory, progress=lambda steps: beat()
        )
        values = metrics.compute(played.outcomes, self._env)
        return {name: float(v.mean()) for name, v in values.items() if not np.isnan(v).any()}


@storage.reported(checkpoint.CheckpointError)
def evaluator_node(settings: shell.NodeSettings, server: lp.Address) -> None:
    """Scores the newest parameters on validation days and keeps the best."""
    heartbeat = shell.begin(settings)
    experiment = settings.experiment
    folder = run_folder.RunFolder(settings.workdir)
    env, networks, unroller = shell.build(experiment)
    scorer = _Scorer(env, networks, experiment.evaluator.episodes)
    baseline = scorer.score_doing_nothing(heartbeat.beat)
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
