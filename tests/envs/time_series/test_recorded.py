"""Recorded days in the environment: drawn by split, with outages on top, or refused by option."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import time_series_statistics

from envs import grid_env
from envs.options import EnvOptions
from envs.time_series import outages, recorded, splits
from envs.time_series.series import FAULT, IN_SERVICE
from evaluation.scenarios import suite

FOLDER = str(time_series_statistics.folder("rte_case14_realistic"))
WHOLE = EnvOptions(
    time_series=FOLDER, horizon_steps=12, maintenance_per_day=0.0, branch_faults_per_day=0.0,
    gen_faults_per_day=0.0,
)  # fmt: skip


@pytest.fixture(scope="module")
def specification():
    return grid_env.check(WHOLE)


@pytest.fixture(scope="module")
def env(specification):
    return grid_env.GridEnv(specification, WHOLE)


def draw(env, split, count=8):
    keys = jax.random.split(jax.random.PRNGKey(0), count)
    return jax.jit(jax.vmap(lambda key: env.sample_series(key, split)))(keys)


def test_an_episode_is_a_recorded_day_of_its_split(env, specification):
    days = specification.recorded
    seen = set()
    for split in splits.SPLITS:
        drawn = draw(env, split)
        assert set(splits.split_indices(np.asarray(drawn.day)).tolist()) == {splits.index(split)}
        for day, load in zip(drawn.day.tolist(), np.asarray(drawn.load_p_mw)):
            same = [
                np.array_equal(load, days.load_p_mw[i]) for i in np.flatnonzero(days.day == day)
            ]
            assert any(same)
        seen |= set(drawn.day.tolist())
    assert len(seen) > 5, "days differ"
    np.testing.assert_array_equal(drawn.day, draw(env, split).day)


def test_plants_that_were_recorded_stand_where_the_fleet_is_not_named(env):
    assert list(zip(env.grid.bus.id[env.fleet.renewables.bus], env.fleet.renewables.kind)) == [
        (6, "wind"), (8, "solar")
    ]  # fmt: skip
    assert env.fleet.n_storage > 0, "the rest of the case's fleet stays"


def test_a_recorded_day_is_played(env):
    state = jax.jit(env.reset)(jax.random.PRNGKey(0))
    after = jax.jit(env.step)(state, jnp.zeros(env.layout.action_size))
    load = float(state.series.load_p_mw[1].sum())
    assert float(after.terms["load"]) == pytest.approx(load / 12, rel=1e-5)
    assert not after.terminated and np.isfinite(after.observation).all()


def test_outages_come_on_top_of_what_was_recorded(env, specification):
    branch = np.array(specification.recorded.branch_status)
    branch[:, :, 3] = FAULT
    days = recorded.by_split(
        specification.recorded.replace(branch_status=branch), env.grid, WHOLE.schedule
    )
    worn = dataclasses.replace(WHOLE, branch_faults_per_day=40.0, gen_faults_per_day=20.0)
    sample = jax.jit(jax.vmap(lambda key: recorded.sample(key, days, env.grid, worn, "train")))
    drawn = sample(jax.random.split(jax.random.PRNGKey(1), 64))
    assert (drawn.branch_status[:, :, 3] == FAULT).all()
    others = np.delete(np.asarray(drawn.branch_status), 3, axis=2)
    assert (others == FAULT).any() and (others[:, 0] == IN_SERVICE).all()
    faulty = np.asarray(drawn.gen_status == FAULT).any((0, 1))
    assert faulty.any() and not (faulty & ~outages.may_trip(env.grid)).any()


def test_loads_are_scaled_by_option(specification):
    half = grid_env.check(dataclasses.replace(WHOLE, load_scale=0.5)).recorded
    np.testing.assert_allclose(half.load_p_mw, 0.5 * specification.recorded.load_p_mw, rtol=1e-6)


@pytest.mark.parametrize(
    "change, message",
    [
        (
            {"time_series": "nowhere"},
            "env.time_series=nowhere: no such folder; it must be synthetic",
        ),
        ({"time_series": "/"}, "env.time_series=/: neither it nor a folder in it has load_p.csv"),
        ({"case": "case30"}, f"env.time_series={FOLDER}: 000/load_p.csv.bz2: column 'load_5_4' is"),
        ({"fleet": "case14"}, "no wind column left for plant 0 .* env.fleet=auto takes"),
        ({"step_minutes": 3}, "env.step_minutes=3 is no multiple of that; use 5"),
    ],
)
def test_what_does_not_fit_is_refused_by_option(change, message):
    with pytest.raises(ValueError, match=message) as refused:
        grid_env.check(dataclasses.replace(WHOLE, **change))
    assert str(refused.value).startswith("env.time_series=") and "\n" not in str(refused.value)


def test_a_scale_of_synthetic_days_is_refused():
    with pytest.raises(ValueError, match="env.load_scale=0.5: is of recorded loads"):
        EnvOptions(load_scale=0.5)


def test_a_split_without_a_recorded_day_is_refused(specification):
    days = jax.tree.map(lambda leaf: leaf[:1], specification.recorded)
    assert days.day.tolist() == [6]
    one = grid_env.GridEnv(specification._replace(recorded=days), WHOLE)
    assert draw(one, "train").day.tolist() == [6] * 8
    with pytest.raises(ValueError, match="no recorded day belongs to split 'test'"):
        one.sample_series(jax.random.PRNGKey(0), "test")
    recorded.require(days, ["train"])
    with pytest.raises(ValueError, match=r"split 'validation': none of the recorded days \[6\]"):
        recorded.require(days, ["train", "validation"])


def test_scenarios_change_recorded_days_or_are_refused_by_name(env, specification):
    days = suite.draw(env, "normal", "easy", "test", 3, seed=0)
    recorded_days = specification.recorded.load_p_mw
    assert all((recorded_days == load).all((1, 2)).any() for load in np.asarray(days.load_p_mw))
    failed = suite.draw(env, "failure", "easy", "test", 3, seed=0)
    assert (failed.branch_status == FAULT).any() or (failed.gen_status == FAULT).any()
    for name in ("weather", "intermittency"):
        with pytest.raises(ValueError, match=f"scenario {name}: makes wind and sun of its own"):
            suite.draw(env, name, "easy", "test", 1, seed=0)
    assert set(suite.SCENARIOS) - set(suite.fitting(WHOLE)) == {"weather", "intermittency"}
