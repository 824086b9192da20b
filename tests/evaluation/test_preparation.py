"""Pools of scenarios' days: what they hold, and where they are refused."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest

from envs import grid_env
from envs.options import EnvOptions
from envs.time_series import splits
from envs.time_series.series import IN_SERVICE
from evaluation.scenarios import preparation

OPTIONS = EnvOptions(
    horizon_steps=12, maintenance_per_day=0.0, branch_faults_per_day=0.0, gen_faults_per_day=0.0
)
PARTS = preparation.parse("normal:easy=3,failure:hard", "--scenarios")
PLAN = preparation.Plan(OPTIONS, PARTS, 16, 1 / 8, 0)


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pools") / "case14"
    told = []
    preparation.write(PLAN, folder, 0, lambda what, days: told.append((what, days)))
    assert sum(days for _, days in told) == PLAN.total == 12 + 4 + 2 + 1
    assert {what for what, _ in told} >= {"normal easy, train", "failure hard, validation"}
    return folder


def _in(folder):
    return dataclasses.replace(OPTIONS, pool=str(folder))


def test_days_are_drawn_from_the_pool_and_none_is_of_another_split(pool):
    env = grid_env.make(_in(pool))
    assert set(env.recorded_days) == {"train", "validation"}
    assert {split: len(days.day) for split, days in env.recorded_days.items()} == {
        "train": 16, "validation": 3,
    }  # fmt: skip
    for split, days in env.recorded_days.items():
        assert (splits.split_indices(np.asarray(days.day)) == splits.index(split)).all()
    day = jax.jit(env.sample_series)(jax.random.PRNGKey(0))
    known = np.asarray(env.recorded_days["train"].load_p_mw)
    assert (known == np.asarray(day.load_p_mw)).all((1, 2)).sum() == 1
    with pytest.raises(ValueError, match="no recorded day belongs to split 'test'"):
        env.sample_series(jax.random.PRNGKey(0), "test")


def test_what_is_finished_is_not_drawn_again(pool, tmp_path):
    def stops(what, days):
        if what == "failure hard, train":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        preparation.write(PLAN, tmp_path, 1, stops)
    finished = list((tmp_path / "parts").glob("*.npz"))
    assert len(finished) >= 3 and not (tmp_path / "pool.json").exists()
    # What another horizon left behind is none of its parts.
    longer = dataclasses.replace(PLAN, options=dataclasses.replace(OPTIONS, horizon_steps=24))
    with pytest.raises(KeyboardInterrupt):
        preparation.write(longer, tmp_path, 0, stops)
    assert len(list((tmp_path / "parts").glob("*.npz"))) >= 2 * 3
    steps = []
    preparation.write(PLAN, tmp_path, 0, lambda what, days: steps.append((what, days)))
    assert steps[:2] == [("normal easy, train", 12), ("normal easy, validation", 2)]
    assert not (tmp_path / "parts").exists()
    read = lambda folder: json.loads((folder / "pool.json").read_text())
    assert read(tmp_path) == read(pool)


def test_two_processes_draw_the_days_of_one(pool, tmp_path):
    preparation.write(PLAN, tmp_path, 2, lambda what, days: None)
    read = lambda folder: json.loads((folder / "pool.json").read_text())
    assert read(tmp_path) == read(pool)  # with a digest of the days


def test_days_are_drawn_by_weight_which_changes_in_the_course_of_training(pool):
    options = dataclasses.replace(_in(pool), scenarios="normal:easy=1..0,failure:hard=0..2")
    env = grid_env.make(options)
    recorded = env.recorded_days["train"]
    out = lambda status: (np.asarray(status) != IN_SERVICE).any((1, 2))
    is_failure = out(recorded.gen_status) | out(recorded.branch_status)
    known = np.asarray(recorded.load_p_mw)
    sample = jax.jit(jax.vmap(env.sample_series, (0, None, None)), static_argnums=1)
    for progress, low, high in ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), (0.5, 0.5, 0.8)):
        days = sample(jax.random.split(jax.random.PRNGKey(0), 400), "train", progress)
        index = (np.asarray(days.load_p_mw)[:, None] == known).all((2, 3)).argmax(1)
        share = is_failure[index].mean()
        assert low <= share <= high, f"{share} at {progress}"


def test_a_scenario_that_a_pool_has_not_is_refused(pool):
    with pytest.raises(ValueError, match="env.scenarios='peak'.*it must be one of normal, failure"):
        grid_env.check(dataclasses.replace(_in(pool), scenarios="peak:hard"))
    with pytest.raises(ValueError, match="has no days of normal:hard; it has failure-hard, normal"):
        grid_env.check(dataclasses.replace(_in(pool), scenarios="normal:hard"))


@pytest.mark.parametrize(
    "change, message",
    [
        ({"case": "case30"}, "is of grid"),
        ({"fleet": "plain"}, "is of grid and fleet with digest"),
        ({"horizon_steps": 24}, "is of horizon_steps 12, not 24; prepare one by"),
        ({"time_series": "elsewhere"}, "env.time_series=elsewhere names other days"),
    ],
)
def test_a_pool_of_something_else_is_refused(pool, change, message):
    with pytest.raises(ValueError, match="env.pool=") as refused:
        grid_env.check(dataclasses.replace(_in(pool), **change))
    assert message in str(refused.value)


@pytest.mark.parametrize("damage", ["missing", "cut", "changed", "format"])
def test_a_damaged_pool_is_refused(pool, tmp_path, damage):
    folder = tmp_path / "pool"
    shutil.copytree(pool, folder)
    days, about = folder / "days.npz", folder / "pool.json"
    if damage == "missing":
        about.unlink()
    elif damage == "cut":
        days.write_bytes(days.read_bytes()[:1000])
    elif damage == "changed":
        with np.load(days) as file:
            arrays = {name: file[name] for name in file.files}
        arrays["load_p_mw"][0, 0, 0] += 1.0
        np.savez_compressed(days, **arrays)
    else:
        about.write_text(about.read_text().replace('"format": 1', '"format": 0'))
    with pytest.raises(ValueError, match=f"env.pool={folder}.*launch.prepare"):
        grid_env.check(_in(folder))


@pytest.mark.parametrize(
    "text, message",
    [
        ("peek:hard", "did you mean peak?"),
        ("peak:harder", "did you mean hard?"),
        ("peak:hard=0", "--scenarios=peak:hard=0: the weight must be a number above 0"),
        ("peak:hard=x", "the weight must be"),
        ("peak:hard=1..x", "the weight must be"),
        ("peak:hard=0..1", "all weights are 0 at the start"),
        ("peak,all:hard", "name one or more, each once"),
        ("", "it must be one of"),
    ],
)
def test_mixtures_that_cannot_be_are_refused(text, message):
    with pytest.raises(ValueError) as refused:
        preparation.parse(text, "--scenarios")
    assert message in str(refused.value)
