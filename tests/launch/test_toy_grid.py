"""Two units and one load, whose cheapest dispatch is known in closed form, and learned."""

import dataclasses
import time

import jax.numpy as jnp
import numpy as np
import pytest

from actors import unroll as unroll_lib
from agents import controllers, networks as networks_lib
from agents.options import TeamOptions
from configs.experiment import BY_GRADIENT, NORMAL_OPERATION
from envs import grid_env
from envs.step import actions
from evaluation import episodes
from launch import fused_loop
from learner import learner as learner_lib

# $/h of p MW: 0.2 p² + 10 p and 0.2 p² + 30 p. No resistance, so that units produce what is drawn.
CASE = """function mpc = toy
mpc.version = '2';
mpc.baseMVA = 100;
mpc.bus = [
    1 3  0  0 0 0 1 1 0 135 1 1.06 0.94;
    2 2 80 20 0 0 1 1 0 135 1 1.06 0.94;
];
mpc.gen = [
    1 0 0 100 -100 1 100 1 100 0;
    2 0 0 100 -100 1 100 1 100 0;
];
mpc.branch = [
    1 2 0 0.05 0 200 0 0 0 0 1 -360 360;
];
mpc.gencost = [
    2 0 0 3 0.2 10 0;
    2 0 0 3 0.2 30 0;
];
"""
HOUR = 1 / 12


def _cheapest(load_mw):
    """Returns what both units produce at equal incremental cost, 0.4 a + 10 = 0.4 b + 30."""
    second = jnp.clip((load_mw - 50.0) / 2.0, 0.0, 100.0)
    return jnp.stack([load_mw - second, second], -1)


@pytest.fixture(scope="module")
def env(tmp_path_factory):
    path = tmp_path_factory.mktemp("case") / "toy.m"
    path.write_text(CASE)
    return grid_env.make(
        dataclasses.replace(NORMAL_OPERATION, case=str(path), schedule="proportional")
    )


@pytest.mark.slow
def test_a_toy_grid_is_solved_to_99_percent_of_its_optimum_in_under_a_minute(env):
    team = TeamOptions(effective_horizon=1.0, initial_std=0.02, policy_layers=(64, 64))
    networks = networks_lib.make(env.layout, team)
    options = dataclasses.replace(BY_GRADIENT, learning_rate=1e-3, devices=1, unrolls_per_update=1)
    unroller = unroll_lib.Unroller(env, networks, 8, 64, options.window, 300)
    learner = learner_lib.Learner(env, networks, options, unroller.spec(), 300 * 8 * 64, 0)
    loop = fused_loop.FusedLoop(unroller, [learner], [0], 1, 0)
    loop.advance()  # and compiles
    began = time.monotonic()
    while learner.version < learner.updates:
        loop.advance()
    seconds = time.monotonic() - began

    days = episodes.held_out(env, "validation", 16, 0)
    player = episodes.Player(env)

    def optimum(state, series):
        now = series.at(state.t + 1)
        return env.action_for(
            state, series, actions.Targets(unit_mw=_cheapest(now.load_p_mw.sum()))
        )

    best = controllers.Controller(
        "optimum", "", "", controllers.stateless, controllers.per_grid(optimum)
    )
    learned = controllers.learned(networks, learner.bundle())
    saved, cost = {}, {}
    for each in (best, learned):
        outcomes = player.play(each, days).outcomes
        assert outcomes.counted.all()
        saved[each.name] = float(outcomes.reward.sum())
        cost[each.name] = np.asarray(outcomes.terms["generation_cost"], float).sum()
        planned = np.asarray(outcomes.terms["planned_cost"], float).sum()
    # The optimum is one: nobody produces these loads for less, ramps or no ramps.
    load = np.asarray(days.load_p_mw, float).sum(-1)[:, 1:]
    power = np.asarray(_cheapest(load), float)
    bound = HOUR * (0.2 * power**2 + power * [10.0, 30.0]).sum()
    assert bound <= cost["optimum"] * (1 + 1e-5) and planned - cost["optimum"] > 0.98 * (
        planned - bound
    )
    assert saved["learned"] > 0.99 * saved["optimum"] > 0.0, saved
    assert seconds < 60.0
