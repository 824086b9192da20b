"""How long decisions take: of a grid whose episode goes on, set up before."""

import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agents import controllers
from envs import grid_env
from envs.options import EnvOptions
from evaluation import episodes, latency


@pytest.fixture(scope="module")
def env():
    return grid_env.make(EnvOptions(horizon_steps=12))


def _slow_at_first(env):
    seen = []

    def act(state, series, memory):
        time.sleep(0.2 if not seen else 0.002)
        seen.append(1)
        return np.zeros((state.t.shape[0], env.layout.action_size)), memory

    return controllers.Controller(
        "slow", "slow at first", "nothing", controllers.stateless, act, traceable=False
    )


def test_what_is_set_up_when_first_needed_is_not_timed(env):
    days = episodes.held_out(env, "test", 2, seed=0)
    recorder = latency.Recorder()
    controller = _slow_at_first(env)
    episodes.Player(env).play(controllers.do_nothing(env), days, watch=recorder)
    measured = latency.measure(controller, controller.act, recorder.states, days, 0)
    assert measured.decisions == 12
    assert 2.0 <= measured.p50_ms <= measured.p99_ms < 100.0


def test_decisions_about_a_dead_grid_are_not_timed(env):
    series = episodes.held_out(env, "test", 1, seed=0)
    state = jax.jit(jax.vmap(env.start))(series)
    recorder = latency.Recorder()
    for terminated in (False, False, True, True):
        recorder(state.replace(terminated=jnp.full(1, terminated)))
    assert len(recorder.states) == 2
    controller = controllers.do_nothing(env)
    assert latency.measure(controller, controller.act, recorder.states, series, 0).decisions == 2
    assert latency.measure(controller, controller.act, [], series, 0) is None
