"""Pools of scenarios' days: what they hold, and where they are refused."""

import dataclasses
import json
import pathlib
import shutil

import jax
import numpy as np
import pytest
from support import time_series_statistics

from envs import grid_env
from envs.options import EnvOptions
from envs.time_series import chronics, splits
from envs.time_series.series import IN_SERVICE
from evaluation.scenarios import preparation

OPTIONS = EnvOptions(
    horizon_steps=12, maintenance_per_day=0.0, branch_faults_per_day=0.0, gen_faults_per_day=0.0
)
PARTS = preparation.parse("normal:easy=3,failure:hard", "--scenarios", OPTIONS)
FOLDER = str(time_series_statistics.folder("rte_case14_realistic"))
MIXTURE = "recorded=2,failure:hard=0..1,synthetic=1..0"
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


@pytest.mark.slow
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
        ({"time_series": FOLDER, "fleet": "case14"}, "is of chronics with digest none, not "),
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
        ("recorded", "=recorded: env.time_series=synthetic has no recorded days; name the folder"),
        ("synthetic:hard", "=synthetic:hard: synthetic days have no level; leave hard out"),
        ("", "it must be one of"),
    ],
)
def test_mixtures_that_cannot_be_are_refused(text, message):
    with pytest.raises(ValueError) as refused:
        preparation.parse(text, "--scenarios", OPTIONS)
    assert message in str(refused.value)


# Recorded days.


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """A copy of recorded days, and a pool of them, of days of a scenario and of synthetic ones."""
    folder = tmp_path_factory.mktemp("recorded")
    shutil.copytree(FOLDER, folder / "chronics")
    shutil.copy(pathlib.Path(FOLDER).parent / "prods_charac.csv", folder)
    options = dataclasses.replace(OPTIONS, time_series=str(folder / "chronics"))
    plan = preparation.Plan(
        options, preparation.parse(MIXTURE, "--scenarios", options), 8, 1 / 8, 0
    )
    told = []

    def stops(what, days):
        if what == "failure hard, train":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        preparation.write(plan, folder / "pool", 0, stops)
    preparation.write(plan, folder / "pool", 0, lambda what, days: told.append((what, days)))
    assert sum(days for _, days in told) == plan.total
    assert told[0][0] == "recorded, train", "what was finished is told first"
    return dataclasses.replace(options, pool=str(folder / "pool"), scenarios=MIXTURE)


def _loads(series):
    return {load.tobytes() for load in np.asarray(series.load_p_mw)}


def test_recorded_days_are_mixed_with_scenarios_and_no_day_is_in_two_splits(mixed):
    spec = grid_env.check(dataclasses.replace(mixed, pool="", scenarios=""))
    recorded = {split: _loads(chronics.of_split(spec.recorded, split)) for split in splits.SPLITS}
    env = grid_env.make(mixed)
    drawn = {split: _loads(days) for split, days in env.recorded_days.items()}
    assert set(drawn) == {"train", "validation"}
    for split, days in env.recorded_days.items():
        assert (splits.split_indices(np.asarray(days.day)) == splits.index(split)).all()
        # All that was recorded, and synthetic days beside it.
        assert recorded[split] < drawn[split]
        assert not (drawn[split] & recorded["test"])
    assert not (drawn["train"] & drawn["validation"])
    assert len(recorded["train"]) > 8 and recorded["test"]


def test_recorded_days_have_their_weight(mixed):
    counts = json.loads((pathlib.Path(mixed.pool) / "pool.json").read_text())["scenarios"]
    assert counts["failure-hard-train"] == counts["synthetic-train"] == 4
    env = grid_env.make(mixed)
    start, end = np.asarray(env._weights["train"], float)
    sums = lambda weights: np.add.reduceat(weights, [0, len(weights) - 8, len(weights) - 4])
    np.testing.assert_allclose(sums(start), [2, 0, 1], atol=1e-6)
    np.testing.assert_allclose(sums(end), [2, 1, 0], atol=1e-6)


def test_a_pool_of_recorded_days_that_have_changed_since_is_refused(mixed, tmp_path):
    with pytest.raises(ValueError, match="env.pool=.* is of load_scale 1.0, not 0.5; prepare one"):
        grid_env.check(dataclasses.replace(mixed, load_scale=0.5))
    chronics_folder = tmp_path / "chronics"
    shutil.copytree(mixed.time_series, chronics_folder)
    shutil.copy(pathlib.Path(mixed.time_series).parent / "prods_charac.csv", tmp_path)
    moved = dataclasses.replace(mixed, time_series=str(chronics_folder))
    grid_env.check(moved)  # wherever it lies
    clock = next(chronics_folder.rglob("start_datetime.info"))
    clock.write_text(clock.read_text() + "\n")
    with pytest.raises(ValueError, match="env.pool=.* is of chronics with digest .*, not .*launch"):
        grid_env.check(moved)
    shutil.rmtree(chronics_folder)
    with pytest.raises(ValueError, match=f"env.time_series={chronics_folder}: no such folder"):
        grid_env.check(moved)


def test_recorded_days_that_leave_a_split_empty_are_refused(mixed, tmp_path):
    options = dataclasses.replace(mixed, pool="", scenarios="")
    plan = preparation.Plan(
        options, preparation.parse("recorded", "--scenarios", options), 8, 1 / 8, 0
    )
    first = jax.tree.map(lambda leaf: leaf[:1], plan.specification.recorded)
    vars(plan)["specification"] = plan.specification._replace(recorded=first)
    with pytest.raises(ValueError, match="env.time_series=.*split 'validation'.* record or read"):
        preparation.write(plan, tmp_path, 0, lambda what, days: None)


def test_scenarios_with_weather_of_their_own_do_not_go_with_recorded_days(mixed):
    names = {part.scenario for part in preparation.parse("all:hard", "env.scenarios", mixed)}
    assert names == {"normal", "peak", "failure", "cascade", "emergency"}
    with pytest.raises(ValueError, match="env.scenarios='weather': it must be one of normal"):
        preparation.parse("weather", "env.scenarios", mixed)
