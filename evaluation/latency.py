"""How long a controller takes to decide for one grid."""

import time
from typing import NamedTuple

import jax
import numpy as np

from agents import controllers
from envs import grid_env
from envs.time_series import series as series_lib

DECISIONS = 120  # that are timed, one after another


class Latency(NamedTuple):
    """Milliseconds from a state to an action on the host."""

    p50_ms: float
    p99_ms: float
    decisions: int


class Recorder:
    """Keeps the first states of a batch's first episode, for `episodes.Player`."""

    def __init__(self):
        """Starts empty."""
        self.states: list[grid_env.State] = []

    def __call__(self, state: grid_env.State) -> None:
        """Keeps the first grid's state, unless there are enough or its episode has ended."""
        if len(self.states) < DECISIONS and not bool(state.terminated[0]):
            self.states.append(jax.tree.map(lambda leaf: leaf[:1], state))


def measure(
    controller: controllers.Controller,
    act: controllers.Act,
    states: list[grid_env.State],
    days: series_lib.TimeSeries,
    seed: int,
) -> Latency | None:
    """Returns how long decisions in `states`, of consecutive steps, took; none without a state.

    All are made once before, so that what is set up when it is first needed is not timed. `act` is
    the controller's, compiled. States have leaves `[1, …]`, days `[B, rows, …]`, of which the first
    is that of the states; the episode was played with `seed`.
    """
    series = jax.tree.map(lambda leaf: leaf[:1], days)
    if not states:
        return None
    for _ in range(2):
        memory, taken = controller.start(series, seed), []
        for state in states:
            jax.block_until_ready(state)
            begun = time.perf_counter()
            action, memory = act(state, series, memory)
            np.asarray(action)
            taken.append(time.perf_counter() - begun)
    p50, p99 = 1e3 * np.percentile(taken, [50, 99])
    return Latency(float(p50), float(p99), len(taken))
