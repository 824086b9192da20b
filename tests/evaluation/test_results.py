"""An evaluation's folder: nothing twice, nothing lost, and a summary that adds up."""

import csv
import dataclasses
import json
import pathlib
import shutil
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from agents import controllers
from envs import grid_env
from envs.case import digest
from envs.options import EnvOptions
from evaluation import episodes, intervals, results, runner, summary

ROOT = pathlib.Path(__file__).parents[2]
PLAN = runner.Plan(("lower",), (("normal", "easy"), ("failure", "hard")), 3, "test", 0, bound=False)
IDENTITY = {"environment": {"case": "case14"}, "seed": 0}


@pytest.fixture(scope="module")
def env():
    return grid_env.make(EnvOptions(layout="operator", horizon_steps=12, screen_outages=True))


def make(env):
    def controller(name):
        if name == "do_nothing":
            return controllers.do_nothing(env)
        part = env.layout.action["load"]
        lower = lambda state, series: jnp.zeros(env.layout.action_size).at[part].set(-1.0)
        return controllers.Controller(
            name, name, "nothing", controllers.stateless, controllers.per_grid(lower)
        )

    return controller


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


@pytest.fixture(scope="module", autouse=True)
def players(env):
    """One player for all, so that the step is compiled once."""
    shared, begin = {}, runner.Runner.__init__

    def begun(self, *arguments):
        begin(self, *arguments)
        self._players = shared

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner.Runner, "__init__", begun)
        yield


def files(folder):
    return {p.relative_to(folder.path): p.read_text() for p in folder.path.rglob("*.json")}


def without_times(text):
    batch = json.loads(text)
    batch.pop("seconds", None), batch.pop("latency", None)
    return batch


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


def test_a_file_that_cannot_be_read_is_named_and_only_its_days_are_played_again(env, whole):
    said = []
    folder = results.Folder(whole.path, said.append)
    task = results.Task("normal", "easy", "lower")
    path = folder._path(task, 0, 2)
    right = path.read_text()
    lacking = [
        json.dumps({name: value for name, value in json.loads(right).items() if name != missing})
        for missing in ("endings", "l2rpn", "seconds")
    ]
    for broken in (right[: len(right) // 2], '{"metrics": {"return": [1.0]}}', "[]", *lacking):
        path.write_text(broken)
        played = []
        runner.Runner(env, folder, make(env), PLAN).run(
            lambda task, steps, played=played: played.append(task)
        )
        assert set(played) == {task} and len(played) == 12
        assert str(path) in said.pop() and not said
        assert without_times(path.read_text()) == without_times(right)
        path.with_suffix(".json.corrupt").unlink()


@pytest.mark.slow
def test_a_day_that_is_played_again_is_the_same(env, whole):
    work, same = runner.Runner(env, whole, make(env), PLAN), 0
    of_batches = {"vm_quantiles", "rho_quantiles", "frequency_low", "going", "action_size"}
    for day in range(PLAN.episodes):
        for task, arrays in work.play_day(day):
            assert int(arrays["episode"]) == day and arrays["counted"].any()
            first = day - day % 2
            recorded = whole.arrays(task, first, min(2, PLAN.episodes - first))
            if recorded["episode"] == day:
                for name in recorded.keys() - of_batches:
                    np.testing.assert_array_equal(arrays[name], recorded[name], err_msg=name)
                same += 1
    assert same == 8  # batches of two, with one worst episode each: two of each of four tasks


def test_of_the_bound_less_is_needed(tmp_path):
    folder, task = results.Folder(tmp_path), results.Task("normal", "easy", results.BOUND)
    of_days = {"total_cost": [1.0], "operating_rows": [[1.0]], "optimal_rows": [100.0]}
    batch = {"metrics": of_days, "seconds": 1.0, "seconds_per_row": 0.1}
    folder.save(task, 0, batch)
    assert folder.batch(task, 0, 1) == batch
    batch.pop("seconds_per_row")
    folder.save(task, 0, batch)
    assert folder.batch(task, 0, 1) is None


def test_what_files_held_is_part_of_an_evaluation(env, tmp_path):
    identity_of = lambda grid: {
        **IDENTITY, "grid": digest.hexdigest(grid), "fleet": digest.hexdigest(env.fleet),
    }  # fmt: skip
    folder = results.Folder(tmp_path)
    folder.open(identity_of(env.grid), {})
    folder.open(identity_of(dataclasses.replace(env.grid, source="another text")), {})
    bus = dataclasses.replace(env.grid.bus, load_p_mw=1.01 * env.grid.bus.load_p_mw)
    with pytest.raises(results.FolderError, match="what the case file holds has changed since; gi"):
        folder.open(identity_of(dataclasses.replace(env.grid, bus=bus)), {})
    kinds = np.where(env.fleet.units.kind == "gas", "coal", env.fleet.units.kind)
    units = dataclasses.replace(env.fleet.units, kind=np.roll(kinds, 1))
    other = digest.hexdigest(dataclasses.replace(env.fleet, units=units))
    with pytest.raises(results.FolderError, match="with another fleet: what the fleet's file hold"):
        folder.open({**identity_of(env.grid), "fleet": other}, {})
    with pytest.raises(results.FolderError, match="with policy None, and {'update': 1} is req"):
        folder.open({**identity_of(env.grid), "policy": {"update": 1}}, {})

    learned = results.Folder(tmp_path / "learned")
    parameters = {"layer": {"kernel": jnp.ones((2, 3)), "bias": np.zeros(3, np.float32)}}
    identity = {"policy": {"update": 7, "parameters": digest.hexdigest(parameters)}}
    learned.open(identity, {})
    parameters["layer"]["bias"][1] = 1e-6
    with pytest.raises(results.FolderError, match="the checkpoint's parameters have changed since"):
        learned.open({"policy": {"update": 7, "parameters": digest.hexdigest(parameters)}}, {})

    manifest = json.loads((tmp_path / "evaluation.json").read_text())
    manifest["identity"]["format"] = 1
    (tmp_path / "evaluation.json").write_text(json.dumps(manifest))
    with pytest.raises(results.FolderError, match="in format 1, and this version writes format 4"):
        folder.open(identity_of(env.grid), {})
    manifest["identity"]["format"] = 3
    (tmp_path / "evaluation.json").write_text(json.dumps(manifest))
    with pytest.raises(
        results.FolderError,
        match=r"in format 3 \(its files call a day `tape`, .*, and this version writes",
    ):
        folder.open(identity_of(env.grid), {})


def test_another_commit_or_platform_is_told_and_gone_on_with(tmp_path):
    said = []
    folder = results.Folder(tmp_path, said.append)
    folder.open(IDENTITY, {"commit": "abc", "platform": "cpu", "date": "then"})
    folder.open(IDENTITY, {"commit": "abc", "platform": "cpu", "date": "now"})
    assert not said
    folder.open(IDENTITY, {"commit": "def", "platform": "cuda", "date": "now"})
    assert said == [
        f"{tmp_path}: was begun with commit abc, and goes on with def",
        f"{tmp_path}: was begun with platform cpu, and goes on with cuda",
    ]


def test_the_command_is_that_of_the_report_and_a_change_is_told(tmp_path):
    said = []
    folder = results.Folder(tmp_path, said.append)
    folder.open(IDENTITY, {"date": "then", "command": "evaluate --controllers=a"})
    folder.open(IDENTITY, {"date": "now", "command": "evaluate --controllers=a"})
    assert not said
    folder.open(IDENTITY, {"date": "now", "command": "evaluate --controllers=b"})
    assert said == [
        f"{tmp_path}: its report becomes that of this command; what was played for others before "
        "is kept"
    ]
    about = folder.manifest()["about"]
    assert about == {"date": "then", "command": "evaluate --controllers=b"}


def test_one_process_at_a_time_holds_a_folder(tmp_path):
    program = (
        "import sys, time; from evaluation import results; "
        "folder = results.Folder(sys.argv[1]); folder.hold(); print('held', flush=True); "
        "time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, cwd=ROOT
    ) as other:
        try:
            assert other.stdout.readline() == b"held\n"
            with pytest.raises(results.FolderError) as refused:
                results.Folder(tmp_path).hold()
        finally:
            other.kill()
    assert f"{tmp_path}: another command is evaluating into it (process {other.pid})" in str(
        refused.value
    )
    results.Folder(tmp_path).hold()


def failing(env, name, attempts):
    """Makes controllers as `make`, of which the one called `name` fails whenever it is to act."""

    def act(state, series, memory):
        attempts.append(name)
        raise RuntimeError("no optimum")

    bad = dataclasses.replace(make(env)("bad"), act=act, traceable=False)
    return lambda chosen: bad if chosen == name else make(env)(chosen)


def test_a_controller_that_fails_does_not_keep_the_others_from_playing(env, whole, tmp_path):
    shutil.copytree(whole.path, tmp_path, dirs_exist_ok=True)
    folder, attempts = results.Folder(tmp_path), []
    plan = dataclasses.replace(PLAN, controllers=("bad", "other"))
    work = runner.Runner(env, folder, failing(env, "bad", attempts), plan)
    failed = work.run()
    assert attempts == ["bad"]
    ((task, error),) = failed.items()
    assert task == results.Task("normal", "easy", "bad") and str(error) == "no optimum"
    # What was there before is whole too; what failed is tried again.
    assert work.complete(["bad", "lower", "other", "never"]) == ["lower", "other"]
    assert {task.controller for task, *_ in work.left()} == {"bad"}
    assert not runner.Runner(env, folder, make(env), plan).run()
    assert work.complete(["bad"]) == ["bad"]


def test_a_bound_that_fails_does_not_keep_controllers_from_playing(env, tmp_path, monkeypatch):
    def fails(*arguments):
        raise RuntimeError("no bound")

    monkeypatch.setattr(runner.acopf, "bound", fails)
    plan = dataclasses.replace(PLAN, bound=True)
    work = runner.Runner(env, results.Folder(tmp_path), make(env), plan)
    failed = {task.controller: str(error) for task, error in work.run().items()}
    assert failed == {runner.BOUND: "no bound"}
    assert work.complete(["do_nothing", "untripped", "lower"]) == [
        "do_nothing",
        "untripped",
        "lower",
    ]


def test_without_what_others_are_compared_with_nothing_goes_on(env, tmp_path):
    work = runner.Runner(
        env, results.Folder(tmp_path), failing(env, runner.NOTHING, attempts := []), PLAN
    )
    with pytest.raises(RuntimeError, match="do_nothing in normal \\(easy\\): no optimum"):
        work.run()
    assert len(attempts) == 1


@pytest.mark.slow
def test_days_that_fill_up_a_batch_are_not_decided_in(env, tmp_path):
    ended, idle = [], controllers.do_nothing(env)

    def act(state, series, memory):
        ended.append(tuple(np.asarray(state.terminated)))
        return np.zeros((2, env.layout.action_size), np.float32), memory

    watching = dataclasses.replace(idle, act=act, traceable=False)
    plan = dataclasses.replace(PLAN, scenarios=PLAN.scenarios[:1])
    runner.Runner(env, results.Folder(tmp_path), lambda name: watching, plan).run()
    assert set(ended[: env.horizon]) == {(False, False)}
    assert set(ended[-env.horizon :]) == {(False, True)}

    player, days = episodes.Player(env, record=True), episodes.held_out(env, "test", 2, seed=1)
    both, first = player.play(idle, days), player.play(idle, days, active=np.arange(2) < 1)
    active = lambda played: jax.tree.map(lambda leaf: leaf[:, :1], played)
    jax.tree.map(np.testing.assert_array_equal, active(both), active(first))
    assert both.outcomes.counted.all() and not first.outcomes.counted[:, 1].any()


def test_a_folder_holds_one_evaluation(whole, tmp_path):
    whole.open(IDENTITY, {"commit": "another"})
    with pytest.raises(results.FolderError, match="environment case 'case14', and 'case118'"):
        whole.open({**IDENTITY, "environment": {"case": "case118"}}, {})
    with pytest.raises(results.FolderError, match="seed 0, and 1 is requested"):
        whole.open({**IDENTITY, "seed": 1}, {})
    with pytest.raises(results.FolderError, match=r"no evaluation here"):
        results.Folder(tmp_path).manifest()
    for broken in ("{", "[]", '{"identity": {}}'):
        (tmp_path / "evaluation.json").write_text(broken)
        with pytest.raises(results.FolderError, match=r"evaluation.json: cannot be read"):
            results.Folder(tmp_path).manifest()


@pytest.fixture(scope="module")
def summed_up(env, whole):
    samples, notes = summary.collect(whole, PLAN, env.grid.n_bus)
    return samples, notes, summary.summarise(samples, notes, PLAN)


def row(content, scenario, controller):
    (one,) = (r for r in content["rows"]
              if (r["scenario"], r["controller"]) == (scenario, controller))  # fmt: skip
    return one["metrics"]


def test_the_summary_has_means_intervals_and_paired_differences(summed_up):
    samples, _, content = summed_up
    for scenario in ("normal", "failure"):
        level = dict(PLAN.scenarios)[scenario]
        mine = samples[results.Task(scenario, level, "lower")]["load_moved"]
        idle = samples[results.Task(scenario, level, "do_nothing")]["load_moved"]
        entry = row(content, scenario, "lower")["load_moved"]
        assert entry["mean"] == pytest.approx(mine.mean())
        assert entry["low"] <= entry["iqm"] <= entry["high"] or len(set(mine)) == 1
        difference = entry["less_do_nothing"]
        assert difference["mean"] == pytest.approx((mine - idle).mean())
        assert difference["low"] > 0.0  # it pays for every load it moves
        assert difference["verdict"] == "few"
    # Over all scenarios of a level there is a row only where there are several.
    assert not [r for r in content["rows"] if r["scenario"] == summary.ALL]


def test_doing_nothing_scores_zero_and_days_are_the_same_for_all(summed_up):
    samples, notes, _ = summed_up
    for scenario, level in PLAN.scenarios:
        idle = samples[results.Task(scenario, level, "do_nothing")]
        np.testing.assert_allclose(idle[summary.SCORE], 0.0, atol=1e-6)
        assert notes[results.Task(scenario, level, "do_nothing")]["latency"]["p99_ms"] > 0


def test_a_missing_batch_is_told(env, whole):
    more = dataclasses.replace(PLAN, episodes=5)
    with pytest.raises(RuntimeError, match="do_nothing in normal \\(easy\\): 2 of 3 batches"):
        summary.collect(whole, more, env.grid.n_bus)


def test_the_table_of_episodes_holds_every_number(summed_up, tmp_path):
    samples, _, _ = summed_up
    summary.write_csv(tmp_path / "episodes.csv", samples)
    lines = list(csv.DictReader((tmp_path / "episodes.csv").open()))
    assert len(lines) == 2 * 2 * 3
    line = lines[-1]
    task = results.Task(line["scenario"], line["level"], line["controller"])
    for name in ("cost", "survival", "l2rpn"):
        assert float(line[name]) == samples[task][name][int(line["day"])]


def test_strata_count_the_same_whatever_their_size():
    few, many = np.array([0.0, 2.0]), np.full(100, 9.0)
    described = intervals.describe([few, many])
    assert described["mean"] == 5.0
    assert described["low"] >= 4.5 and described["high"] <= 5.5


def test_the_interquartile_mean_leaves_outliers_out():
    assert intervals.interquartile_mean(np.array([0, 1, 2, 3, 4, 5, 6, 1e9])) == 3.5


def test_a_mean_of_seeds_is_as_sure_as_seeds_and_days_let_it_be():
    rng = np.random.default_rng(0)
    of_days = rng.normal(0.0, 1.0, 50)
    alike = intervals.between_seeds([np.tile(of_days, (5, 1))])
    days = scipy.stats.ttest_1samp(of_days, 0.0).confidence_interval()
    assert (alike["low"], alike["high"]) == pytest.approx((days.low, days.high))
    assert alike["sd"] == pytest.approx(0.0, abs=1e-12)
    of_seeds = np.array([1.0, 2.0, 4.0, 8.0, 16.0])
    apart = intervals.between_seeds([np.tile(of_seeds[:, None], (1, 50))] * 2)
    seeds = scipy.stats.ttest_1samp(of_seeds, 0.0).confidence_interval()
    assert (apart["low"], apart["high"]) == pytest.approx((seeds.low, seeds.high))
    assert apart["sd"] == pytest.approx(of_seeds.std(ddof=1))
    assert (apart["mean"], apart["lowest"], apart["highest"]) == (6.2, 1.0, 16.0)


@pytest.mark.parametrize("of_seeds", [0.02, 0.2, 2.0])
def test_intervals_over_few_seeds_cover_the_mean_as_often_as_they_say(of_seeds):
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(1_000):
        seeds, days = rng.normal(0.0, of_seeds, (3, 1)), rng.normal(0.0, 1.0, 50)
        interval = intervals.between_seeds([seeds + days])
        covered += interval["low"] <= 0.0 <= interval["high"]
    assert 930 <= covered <= 990


def test_intervals_cover_the_mean_as_often_as_they_say():
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(120):
        interval = intervals.describe([rng.exponential(2.0, 50)], seed=trial)
        covered += interval["low"] <= 2.0 <= interval["high"]
    assert 0.85 < covered / 120 < 1.0


def test_constant_samples_have_an_interval_of_no_width():
    for samples in ([3.0, 3.0, 3.0], [3.0]):
        assert set(intervals.describe([np.array(samples)]).values()) == {3.0}
