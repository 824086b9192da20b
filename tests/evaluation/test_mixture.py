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
from evaluation.scenarios import mixture

OPTIONS = EnvOptions(
    horizon_steps=12, maintenance_per_day=0.0, branch_faults_per_day=0.0, gen_faults_per_day=0.0
)
PLAN = mixture.Plan(OPTIONS, mixture.parse(["normal:easy=3", "failure:hard"]), 16, 1 / 8, 0)


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pools") / "case14"
    told = []
    mixture.write(PLAN, folder, lambda what, days: told.append((what, days)))
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
        mixture.write(PLAN, tmp_path, stops)
    finished = {path: path.stat().st_mtime_ns for path in (tmp_path / "parts").iterdir()}
    assert len(finished) == 2 and not (tmp_path / "pool.json").exists()
    # What another horizon left behind is none of its parts.
    longer = dataclasses.replace(PLAN, options=dataclasses.replace(OPTIONS, horizon_steps=24))
    with pytest.raises(KeyboardInterrupt):
        mixture.write(longer, tmp_path, stops)
    assert len(list((tmp_path / "parts").iterdir())) == 4
    steps = []
    mixture.write(PLAN, tmp_path, lambda what, days: steps.append((what, days)))
    assert steps[:2] == [("normal easy, train", 12), ("normal easy, validation", 2)]
    assert not (tmp_path / "parts").exists()
    read = lambda folder: json.loads((folder / "pool.json").read_text())
    assert read(tmp_path) == read(pool)


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
    "texts, message",
    [
        (["peek:hard"], "did you mean peak?"),
        (["peak:harder"], "did you mean hard?"),
        (["peak:hard=0"], "--scenarios=peak:hard=0: the weight must be a number above 0"),
        (["peak:hard=x"], "the weight must be"),
        (["peak", "all:hard"], "name one or more, each once"),
        ([], "name one or more"),
    ],
)
def test_mixtures_that_cannot_be_are_refused(texts, message):
    with pytest.raises(ValueError) as refused:
        mixture.parse(texts)
    assert message in str(refused.value)
