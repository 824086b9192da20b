"""Overrides: which steps they are, which limit they name, and the lines that tell of them."""

import csv
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agents import bundle as bundle_lib, controllers, inspection, networks as networks_lib
from agents.baselines import look_ahead
from agents.baselines.look_ahead import Limit
from agents.options import TeamOptions
from envs import grid_env
from envs.options import EnvOptions
from evaluation import (
    element_names,
    episodes,
    metrics,
    override_lines,
    overrides,
    report_arrays,
    results,
    team_arrays,
)
from evaluation.scenarios import suite

GRIDS, SHARES = 3, np.array([0.04, 0.5, 0.9], np.float32)


@pytest.fixture(scope="module")
def env():
    return grid_env.make(EnvOptions(case="case30", layout="full", horizon_steps=4))


@pytest.fixture(scope="module")
def days(env):
    return suite.draw(env, "peak", "hard", "test", GRIDS, 0)


@pytest.fixture(scope="module")
def team(env):
    return networks_lib.make(env.layout, TeamOptions(kind="hierarchical")).team


@pytest.fixture(scope="module")
def wild(env, key):
    """A request that overloads branches."""
    return 2.0 * jax.random.bernoulli(key, 0.5, (GRIDS, env.layout.action_size)) - 1.0


@pytest.fixture(scope="module")
def key():
    return jax.random.PRNGKey(0)


@pytest.fixture(scope="module")
def played(env, days, team, wild):
    """Days of who requests wild things, and lets a share of them pass, the same for every area."""

    def hold(state):
        passed = jnp.asarray(1.0 - SHARES)[:, None]
        return passed * wild, inspection.Inspection(
            held_back=jnp.repeat(jnp.asarray(SHARES)[:, None], 2, 1), unheld=wild
        )

    careful = controllers.Controller(
        "careful", "careful", "nothing", controllers.stateless,
        lambda state, series, memory: (hold(state)[0], memory), team=team,
        inspect=lambda state, memory: hold(state)[1],
    )  # fmt: skip
    return episodes.Player(env, record=True).play(careful, days)


def test_the_record_names_the_branch_that_the_request_would_overload(env, days, played, wild):
    off = dataclasses.replace(env.options.protection, enabled=False)
    calm = grid_env.make(dataclasses.replace(env.options, protection=off))
    state = jax.jit(jax.vmap(env.start))(days)
    rows = jax.vmap(look_ahead.foresee)(state, days)
    step = jax.jit(jax.vmap(lambda s, a, r: calm.detailed(s, a, r)))
    requested, done = (
        np.asarray(step(state, action, rows)[1].rho)
        for action in (wild, jnp.asarray(1.0 - SHARES)[:, None] * wild)
    )
    override = jax.tree.map(lambda leaf: leaf[0], played.recording.overrides["safety"])
    np.testing.assert_allclose(override.share, np.stack([SHARES, SHARES], 1))
    # The first grid's requests are held back by less than what counts.
    assert override.held.tolist() == [False, True, True]
    assert override.limit[0] == Limit.NONE and (override.limit[1:] == Limit.OVERLOAD).all()
    worst = requested[1:].argmax(1)
    np.testing.assert_array_equal(override.element[1:], worst)
    np.testing.assert_allclose(override.size[1:], requested[1:].max(1) - 1.0, rtol=1e-3)
    left = np.maximum(done[[1, 2], worst] - 1.0, 0.0)
    np.testing.assert_allclose(override.taken[1:], np.where(left > 1e-4, left, 0.0), atol=1e-3)


def test_metrics_count_steps_with_overrides_and_with_a_limit_foreseen(env, played):
    measured, outcomes = metrics.compute(played.outcomes, env), played.outcomes
    override, counted = played.recording.overrides["safety"], outcomes.counted
    steps = counted.sum(0)
    assert measured["held_back"].tolist() == [0.0, 100.0, 100.0]
    by_hand = lambda flags: 100.0 * (flags & counted).sum(0) / steps
    np.testing.assert_allclose(measured["foreseen"], by_hand(override.limit > 0))
    kept = (override.limit > 0) & (override.taken == 0)
    np.testing.assert_allclose(measured["averted"], by_hand(kept))
    assert measured["foreseen"][1:].min() > 0 and measured["averted"][2] > 0


def test_there_is_a_line_for_each_step_and_region(env, days, played, team, tmp_path):
    arrays = report_arrays.extract(played, jax.tree.map(np.asarray, days), env, 25, team=team)
    folder = results.Folder(tmp_path)
    task = results.Task("peak", "hard", "careful")
    folder.save(task, 25, {"metrics": {"return": [0.0] * GRIDS}}, arrays)
    path = tmp_path / override_lines.NAME
    assert override_lines.write_csv(path, folder, [task], [(25, GRIDS)], env.grid)
    rows = list(csv.DictReader(path.open()))
    counted = played.outcomes.counted[:, 1:].sum()
    assert len(rows) == 2 * counted  # steps of two grids, in each two areas
    first = rows[0]
    assert (first["by"], first["region"], first["limit"]) == ("safety", "area_1", "overload")
    assert (first["day"], first["step"], first["share"], first["unit"]) == ("26", "0", "0.5", "%")
    override = played.recording.overrides["safety"]
    branch = element_names.branch(env.grid, int(override.element[0, 1]))
    assert first["element"] == f"branch {branch}"
    assert float(first["size"]) == pytest.approx(100 * override.size[0, 1], rel=1e-3)


def test_nobody_who_never_holds_back_has_lines(env, tmp_path):
    folder, task = results.Folder(tmp_path), results.Task("peak", "hard", "plain")
    folder.save(task, 0, {"metrics": {"return": [0.0]}}, team_arrays.held_back(
        {}, np.ones((4, 1), bool), env, None, 0, 0
    ))  # fmt: skip
    path = tmp_path / override_lines.NAME
    assert not override_lines.write_csv(path, folder, [task], [(0, 1)], env.grid)
    assert not path.exists()


def test_who_did_not_look_ahead_says_so(env):
    shares = jnp.array([[0.0, 0.1], [0.0, 0.01]])
    ended = jnp.zeros(2, bool)
    told = episodes._held_back({"safety": overrides.Override(shares)}, ended)
    assert told["held_back"].tolist() == [True, False] and np.isnan(told["foreseen"]).all()
    none = episodes._held_back({}, ended)
    assert not any(np.asarray(values).any() for values in none.values())


def test_teams_are_told_by_their_own_arrays(env, days, played):
    nets = networks_lib.make(
        env.layout,
        TeamOptions(kind="hierarchical", policy_layers=(8,), value_layers=(8,), own_reward=0.5),
    )
    bundle = bundle_lib.initial(nets, jax.random.PRNGKey(0))
    learned = controllers.learned(nets, bundle)
    state = jax.jit(jax.vmap(env.start))(days)
    shown = learned.inspect(state, learned.start(days, 0))
    attention = np.broadcast_to(shown.attention, (4, *shown.attention.shape))
    by_bus = {
        "generation_cost": np.random.default_rng(0).normal(size=(4, GRIDS, env.grid.n_bus)),
        "retail_bill": np.full((4, GRIDS, env.grid.n_bus), 9.0),  # of no region
    }
    earned = inspection.earned(nets.team, played.outcomes.reward, by_bus)
    told = played._replace(recording=played.recording._replace(
        inspection=inspection.Inspection(attention, np.zeros((4, GRIDS, 1))), earned=earned
    ))  # fmt: skip
    hours = np.array([0, 0, 1, 1])
    plan = np.zeros((4, env.grid.n_gen))
    arrays = team_arrays.extract(told, env, nets.team, hours, 1, plan)
    assert arrays["agents"].tolist() == ["strategic", "area_1", "area_2", "safety"]
    assert arrays["directed"].tolist() == ["area_1"]
    assert arrays["attention"].shape == (2, 8, 4, 4)
    np.testing.assert_allclose(arrays["attention"].sum(-1), 1.0, rtol=1e-5)
    counted = played.outcomes.counted
    whole = (played.outcomes.reward * counted).sum(0)
    np.testing.assert_allclose(arrays["agent_return"][:, 0], whole, rtol=1e-4)
    inside = nets.team.agents[1].buses
    area = (by_bus["generation_cost"][..., inside].sum(-1) * counted).sum(0)
    np.testing.assert_allclose(arrays["area_return"][:, 1], area, rtol=1e-4)
    half = 0.5 * (whole + arrays["area_return"][:, 1])
    np.testing.assert_allclose(arrays["agent_return"][:, 1], half, rtol=1e-4)
    assert np.isnan(arrays["area_return"][:, [0, 3]]).all()
    units = env.grid.units[env.fleet.area[env.grid.gen.bus[env.grid.units]] == 1]
    made = played.recording.detail.gen_p_mw[:, 1][:, units].sum(1)
    np.testing.assert_allclose(arrays["area_redispatch_mw"][:, 0], made, rtol=1e-4)
