"""Actors and learner in one process: a seed gives the same run, to the last bit, every time."""

import dataclasses
import threading
import time

import jax
import numpy as np
import pytest
from support import local_queue

from actors import actor, unroll as unroll_lib
from configs import registry
from learner import checkpoint, learner as learner_lib, variables as variables_lib

UPDATES = 4


class Monitor:
    """Ends a loop when `stopping` says so, and keeps what it reports."""

    def __init__(self, stopping):
        self.stopping, self.reports = stopping, []

    def progress(self, doing, limited=True):
        pass

    def report(self, figures):
        self.reports.append(figures)


def _run(folder, env, networks, *, seed=0):
    """Runs synchronously for `UPDATES` updates and returns the final bundle and the log."""
    experiment = registry.load("case14_ppo")
    options = dataclasses.replace(experiment.learner, epochs=1)
    unrollers = [unroll_lib.Unroller(env, networks, 8, 4) for _ in range(2)]
    spec = unrollers[0].spec()
    queue, server = local_queue.LocalQueue(2), variables_lib.VariableServer()
    stop = threading.Event()
    rows, monitor = [], Monitor(stop.is_set)
    threads = [
        threading.Thread(
            target=actor.run,
            args=(unroller, variables_lib.Variables(server, networks), queue, monitor),
            kwargs={"actor": index, "incarnation": 0, "seed": seed, "synchronous": True},
        )
        for index, unroller in enumerate(unrollers)
    ]  # fmt: skip
    steps = UPDATES * 2 * 8 * 4
    service = learner_lib.Learner(env, networks, options, spec, steps, seed)
    checkpoints = checkpoint.Checkpoints(folder, "newest")
    for thread in threads:
        thread.start()
    try:
        outcome = service.run(
            queue, variables_lib.Variables(server, networks), checkpoints,
            lambda step, scalars: rows.append({"step": step, **scalars}), monitor,
            max_lag=0, max_seconds=300.0, checkpoint_seconds=1e9,
        )  # fmt: skip
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)
    assert outcome == "finished" and not any(thread.is_alive() for thread in threads)
    return service, rows, monitor.reports


@pytest.mark.slow
def test_a_seed_gives_the_same_run(tmp_path, env, networks):
    first, rows, reports = _run(tmp_path / "a", env, networks)
    second, again, _ = _run(tmp_path / "b", env, networks)
    jax.tree.map(np.testing.assert_array_equal, first.bundle(), second.bundle())
    assert [r["loss/total"] for r in rows] == [r["loss/total"] for r in again]
    assert len(rows) == UPDATES and rows[-1]["step"] == UPDATES * 64
    assert all(row["run/lag_max"] == 0 for row in rows)
    assert reports and 0.99 < sum(reports[-1][name] for name in (
        "acting_share", "queue_wait_share", "variable_wait_share")) < 1.01  # fmt: skip
    other, *_ = _run(tmp_path / "c", env, networks, seed=1)
    assert not np.array_equal(first.bundle().statistics.mean, other.bundle().statistics.mean)


@pytest.mark.slow
def test_a_checkpoint_continues_where_it_was_left(tmp_path, env, networks):
    first, *_ = _run(tmp_path, env, networks)
    fresh = learner_lib.Learner(
        env, networks, dataclasses.replace(registry.load("case14_ppo").learner, epochs=1),
        unroll_lib.Unroller(env, networks, 8, 4).spec(), 64 * UPDATES, 9,
    )  # fmt: skip
    fresh.restore(checkpoint.Checkpoints(tmp_path, "newest"), networks)
    assert fresh.version == UPDATES and fresh.steps == first.steps
    jax.tree.map(np.testing.assert_array_equal, fresh.state, first.state)


def test_what_acted_before_observations_were_known_is_not_learned_from(tmp_path, env, networks):
    spec = unroll_lib.Unroller(env, networks, 8, 4).spec()
    rng = np.random.default_rng(0)
    queue, rows = local_queue.LocalQueue(8), []
    for index, version in enumerate((0, 0, 0, 0, 1, 1)):  # two make a batch
        item = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), spec)
        origin = item.origin.replace(index=np.int32(index), version=np.int32(version))
        seen = rng.normal(size=spec.observations.shape).astype(np.float32)
        queue.write(item.replace(observations=seen, origin=origin), lambda: False)
    service = learner_lib.Learner(
        env,
        networks,
        dataclasses.replace(registry.load("case14_ppo").learner, epochs=1),
        spec,
        1000,
        0,
    )
    service.run(
        queue, variables_lib.Variables(variables_lib.VariableServer(), networks),
        checkpoint.Checkpoints(tmp_path, "newest"),
        lambda step, scalars: rows.append(scalars), Monitor(lambda: len(rows) == 2),
        max_lag=8, max_seconds=300.0, checkpoint_seconds=1e9,
    )  # fmt: skip
    assert service.version == 2
    assert [row["run/stale_dropped"] for row in rows] == [0.0, 2.0]
    assert [row["run/lag_max"] for row in rows] == [0.0, 0.0]


def test_the_variable_server_waits_for_a_version():
    server = variables_lib.VariableServer()
    assert server.newest(0, 0.0) is None
    server.publish(b"one", 1)
    assert server.newest(0, 0.0) == b"one" and server.newest(2, 0.05) is None
    threading.Timer(0.2, server.publish, (b"two", 2)).start()
    started = time.monotonic()
    assert server.newest(2, 5.0) == b"two" and time.monotonic() - started < 4.0
