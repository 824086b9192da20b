"""An evaluation's folder: nothing twice, nothing lost, and a summary that adds up."""

import csv
import dataclasses
import json

import jax.numpy as jnp
import numpy as np
import pytest

from agents import controllers
from envs import grid_env
from envs.options import EnvOptions
from evaluation import intervals, results, runner, summary

PLAN = runner.Plan(("lower",), (("normal", "easy"), ("failure", "hard")), 3, "test", 0, bound=False)
IDENTITY = {"environment": {"case": "case14"}, "seed": 0}


@pytest.fixture(scope="module")
def env():
    return grid_env.make(EnvOptions(layout="operator", horizon_steps=12, screen_outages=True))


def make(env):
    def of(name):
        if name == "do_nothing":
            return controllers.do_nothing(env)
        part = env.layout.action["load"]
        lower = lambda state, tape: jnp.zeros(env.layout.action_size).at[part].set(-1.0)
        return controllers.Controller(
            name, name, "nothing", controllers.stateless, controllers.per_grid(lower)
        )

    return of


@pytest.fixture(scope="module", autouse=True)
def small_batches():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "BATCH", 2)
        yield


@pytest.fixture(scope="module")
def whole(env, tmp_path_factory):
    folder = results.Folder(tmp_path_factory.mktemp("whole"))
    folder.open(IDENTITY, {})
    runner.Runner(env, folder, make(env), PLAN).run()
    return folder


def files(folder):
    return {p.relative_to(folder.path): p.read_text() for p in folder.path.rglob("*.json")}


def without_times(text):
    found = json.loads(text)
    found.pop("seconds", None), found.pop("latency", None)
    return found


def test_what_was_interrupted_goes_on_and_ends_the_same(env, whole, tmp_path):
    folder = results.Folder(tmp_path / "out")
    folder.open(IDENTITY, {})
    started = []

    def interrupt(task, steps):
        started.append(task)
        if task == results.Task("failure", "hard", "untripped"):
            raise KeyboardInterrupt

    work = runner.Runner(env, folder, make(env), PLAN)
    with pytest.raises(KeyboardInterrupt):
        work.run(interrupt)
    before = files(folder)
    assert 1 < len(before) < len(files(whole))
    again = []
    runner.Runner(env, folder, make(env), PLAN).run(lambda task, steps: again.append(task))
    assert not {t for t in again if t.scenario == "normal"}
    after = files(folder)
    assert {name: after[name] for name in before} == before
    expected = files(whole)
    assert after.keys() == expected.keys()
    for name, text in after.items():
        assert without_times(text) == without_times(expected[name]), name


def test_a_file_that_cannot_be_read_is_named_and_only_its_tapes_are_played_again(env, whole):
    said = []
    folder = results.Folder(whole.path, said.append)
    task = results.Task("normal", "easy", "lower")
    path = folder._path(task, 0, 2)
    right = path.read_text()
    for broken in (right[: len(right) // 2], '{"metrics": {"return": [1.0]}}', "[]"):
        path.write_text(broken)
        played = []
        runner.Runner(env, folder, make(env), PLAN).run(
            lambda task, steps, played=played: played.append(task)
        )
        assert set(played) == {task} and len(played) == 12
        assert str(path) in said.pop() and not said
        assert without_times(path.read_text()) == without_times(right)
        path.with_suffix(".json.corrupt").unlink()


def test_a_folder_holds_one_evaluation(whole, tmp_path):
    whole.open(IDENTITY, {"commit": "another"})
    with pytest.raises(results.FolderError, match="environment case 'case14', and 'case118'"):
        whole.open({**IDENTITY, "environment": {"case": "case118"}}, {})
    with pytest.raises(results.FolderError, match="seed 0, and 1 is asked for"):
        whole.open({**IDENTITY, "seed": 1}, {})
    with pytest.raises(results.FolderError, match=r"no evaluation here"):
        results.Folder(tmp_path).manifest()
    (tmp_path / "evaluation.json").write_text("{")
    with pytest.raises(results.FolderError, match=r"evaluation.json: cannot be read"):
        results.Folder(tmp_path).manifest()


@pytest.fixture(scope="module")
def found(env, whole):
    samples, besides = summary.collect(whole, PLAN, env.grid.n_bus)
    return samples, besides, summary.summarise(samples, besides, PLAN)


def row(found, scenario, controller):
    (one,) = (r for r in found["rows"]
              if (r["scenario"], r["controller"]) == (scenario, controller))  # fmt: skip
    return one["metrics"]


def test_the_summary_has_means_intervals_and_paired_differences(found):
    samples, _, told = found
    for scenario in ("normal", "failure"):
        level = dict(PLAN.scenarios)[scenario]
        mine = samples[results.Task(scenario, level, "lower")]["load_moved"]
        idle = samples[results.Task(scenario, level, "do_nothing")]["load_moved"]
        told_of = row(told, scenario, "lower")["load_moved"]
        assert told_of["mean"] == pytest.approx(mine.mean())
        assert told_of["low"] <= told_of["iqm"] <= told_of["high"] or len(set(mine)) == 1
        difference = told_of["less_do_nothing"]
        assert difference["mean"] == pytest.approx((mine - idle).mean())
        assert difference["verdict"] == "worse"  # it pays for every load it moves
    # Over all scenarios of a level there is a row only where there are several.
    assert not [r for r in told["rows"] if r["scenario"] == summary.ALL]


def test_doing_nothing_scores_zero_and_days_are_the_same_for_all(found):
    samples, besides, _ = found
    for scenario, level in PLAN.scenarios:
        idle = samples[results.Task(scenario, level, "do_nothing")]
        np.testing.assert_allclose(idle[summary.SCORE], 0.0, atol=1e-6)
        assert besides[results.Task(scenario, level, "do_nothing")]["latency"]["p99_ms"] > 0


def test_a_missing_batch_is_told(env, whole):
    more = dataclasses.replace(PLAN, episodes=5)
    with pytest.raises(summary.Unfinished, match="do_nothing in normal \\(easy\\): 2 of 3 batches"):
        summary.collect(whole, more, env.grid.n_bus)


def test_the_table_of_episodes_holds_every_number(found, tmp_path):
    samples, _, _ = found
    summary.write_csv(tmp_path / "episodes.csv", samples)
    lines = list(csv.DictReader((tmp_path / "episodes.csv").open()))
    assert len(lines) == 2 * 2 * 3
    line = lines[-1]
    task = results.Task(line["scenario"], line["level"], line["controller"])
    for name in ("cost", "survival", "l2rpn"):
        assert float(line[name]) == samples[task][name][int(line["tape"])]


def test_strata_count_the_same_whatever_their_size():
    few, many = np.array([0.0, 2.0]), np.full(100, 9.0)
    described = intervals.describe([few, many])
    assert described["mean"] == 5.0
    assert described["low"] >= 4.5 and described["high"] <= 5.5


def test_the_interquartile_mean_leaves_outliers_out():
    assert intervals.interquartile_mean(np.array([0, 1, 2, 3, 4, 5, 6, 1e9])) == 3.5


def test_intervals_cover_the_mean_as_often_as_they_say():
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(120):
        interval = intervals.of_mean(rng.exponential(2.0, 50), seed=trial)
        covered += interval.low <= 2.0 <= interval.high
    assert 0.85 < covered / 120 < 1.0


def test_constant_samples_have_an_interval_of_no_width():
    assert intervals.of_mean(np.array([3.0, 3.0, 3.0])) == (3.0, 3.0, 3.0)
    assert intervals.of_mean(np.array([3.0])) == (3.0, 3.0, 3.0)
