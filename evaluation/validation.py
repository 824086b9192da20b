"""Scores policies on the same validation days, one after another."""

from collections.abc import Callable, Mapping

import jax
import numpy as np

from agents import bundle as bundle_lib, controllers, networks as networks_lib
from envs import grid_env
from evaluation import episodes, metrics

_SEED = 20_000


class Validation:
    """Plays validation days with whatever a learner publishes, and with doing nothing."""

    def __init__(self, env: grid_env.GridEnv, networks: networks_lib.TeamNetworks, n_days: int):
        self._env = env
        self._days = episodes.held_out(env, "validation", n_days, _SEED)
        self._player = episodes.Player(env)
        self._networks, self._n_days = networks, n_days
        self._untrained = bundle_lib.initial(networks, jax.random.PRNGKey(0))
        # One program for what is learned and for doing nothing: its memory tells them apart.
        learned = controllers.learned(networks, self._untrained)
        self._controller = controllers.weighted(learned, 1.0)

    def score(self, bundle: bundle_lib.Bundle, beat: Callable[[], None]) -> dict[str, float]:
        """Returns a policy's metrics, means over the days; calls `beat` while it plays."""
        return self._means(bundle, 1.0, beat)

    def score_doing_nothing(self, beat: Callable[[], None]) -> dict[str, float]:
        """Returns the same of a controller that does nothing."""
        return self._means(self._untrained, 0.0, beat)

    def _means(
        self, bundle: bundle_lib.Bundle, weight: float, beat: Callable[[], None]
    ) -> dict[str, float]:
        memory = controllers.acting(self._networks, bundle, self._n_days), np.float32(weight)
        played = self._player.play(
            self._controller, self._days, memory=memory, progress=lambda steps: beat()
        )
        values = metrics.compute(played.outcomes, self._env)
        return {name: float(v.mean()) for name, v in values.items() if not np.isnan(v).any()}


def compared(scores: Mapping[str, float], doing_nothing: Mapping[str, float]) -> dict[str, float]:
    """Returns what the log has of `scores`, beside the return of doing nothing."""
    named = {f"evaluation/{name}": value for name, value in scores.items()}
    return named | {"evaluation/do_nothing_return": doing_nothing["return"]}
