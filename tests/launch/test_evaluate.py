"""`python -m launch.evaluate` as a user types it: what it writes, refuses and goes on from."""

import dataclasses
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import textwrap

import jax
import numpy as np
import pytest
from support import time_series_statistics
from support.evaluation_flags import flags

from agents import bundle as bundle_lib, networks
from configs import registry
from envs import grid_env
from evaluation.report import compare
from launch import evaluation_request
from launch.run import run_folder
from learner import checkpoint

RECORDED = time_series_statistics.folder("rte_case14_realistic")
ROOT = pathlib.Path(__file__).parents[2]


# The shortest of evaluations.
SMALL = (
    "--case=case14", "--controllers=merit_order", "--scenarios=failure", "--episodes=2",
    "--env=horizon_steps=12", "--bound=false",
)  # fmt: skip


def evaluate(*arguments, cwd=ROOT, **environment):
    return subprocess.run(
        [sys.executable, "-m", "launch.evaluate", *map(str, arguments)],
        cwd=cwd, capture_output=True, text=True, timeout=400, check=False,
        env={**os.environ, **environment},
    )  # fmt: skip


def stub(folder, name, text):
    """Puts a module before the real one of that name, and returns the path to find it by."""
    folder.mkdir()
    (folder / f"{name}.py").write_text(text)
    return str(folder)


def untrained(folder, seed=0, update=7, kind="centralised", case="case14"):
    """Makes a run of two-hour days whose policy was never trained, and returns its path."""
    text = registry.to_json(registry.load("case14_ppo"))
    text = text.replace('"horizon_steps": 288', '"horizon_steps": 24')
    experiment = registry.build(
        json.loads(text.replace('"unroll_length": 32', '"unroll_length": 8'))
    )
    experiment = dataclasses.replace(
        experiment, seed=seed, team=dataclasses.replace(experiment.team, kind=kind),
        env=dataclasses.replace(experiment.env, case=case),
    )  # fmt: skip
    folder.create(experiment)
    env = grid_env.make(experiment.env)
    nets = networks.make(env.layout, experiment.team)
    bundle = bundle_lib.initial(nets, jax.random.PRNGKey(seed))
    checkpoints = checkpoint.Checkpoints(folder.path, "best")
    checkpoints.save(update, jax.tree.map(np.asarray, bundle), {"return": 0.0})
    checkpoints.wait()
    return folder.path


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return untrained(run_folder.RunFolder(tmp_path_factory.mktemp("run") / "mine"))


@pytest.fixture(scope="module")
def evaluated(run):
    done = evaluate(f"--workdir={run}", "--checkpoint=best", "--episodes=3")
    assert done.returncode == 0, done.stderr
    return done


def test_a_checkpoint_is_evaluated_beside_doing_nothing_and_ac_opf(run, evaluated):
    folder = run / "evaluation" / "best-7-test-seed0"
    content = json.loads((folder / "summary.json").read_text())
    rows = {row["controller"]: row["metrics"] for row in content["rows"]}
    assert set(rows) == {"do_nothing", "learned"}
    assert rows["learned"]["gap"]["mean"] > 0 and "less_do_nothing" in rows["learned"]["cost"]
    assert content["bound"]["normal-easy"]["optimal_rows"] == 100.0
    assert content["identity"]["policy"]["update"] == 7 and content["knows"]["learned"]
    assert len((folder / "episodes.csv").read_text().splitlines()) == 1 + 2 * 3
    page = (folder / "report.html").read_text()
    assert "learned" in page and "do nothing" in page
    assert max(map(len, evaluated.stdout.splitlines()[:-1])) <= 80
    assert "operating cost" in evaluated.stdout
    # Where nobody sees a bar, a line for each task.
    assert re.search(r"^  0%  normal easy, do_nothing$", evaluated.stdout, re.MULTILINE)
    assert re.search(r"^ \d\d%  normal easy, learned$", evaluated.stdout, re.MULTILINE)


@pytest.mark.slow
def test_what_is_there_is_not_played_again_and_what_is_broken_is_named(run, evaluated):
    folder = run / "evaluation" / "best-7-test-seed0"
    results = folder / "results" / "normal-easy"
    before = {p: p.stat().st_mtime_ns for p in results.rglob("*.json")}
    broken = results / "learned" / "000-002.json"
    broken.write_text("{")
    done = evaluate(f"--workdir={run}", "--checkpoint=best", "--episodes=3")
    assert done.returncode == 0, done.stderr
    assert "000-002.json" in done.stdout and "cannot be read" in done.stdout
    after = {p: p.stat().st_mtime_ns for p in results.rglob("*.json")}
    assert {p for p in before if after[p] != before[p]} == {broken}
    # The console folds long lines.
    told = [line for line in evaluated.stdout.splitlines() if not re.match(r" *\d+%  ", line)]
    assert told[2:8] == [line for line in done.stdout.splitlines() if line in told][2:8]


@pytest.mark.slow
def test_seeds_are_evaluated_together_and_told_apart(tmp_path):
    for seed, update in ((2, 7), (10, 9)):
        untrained(run_folder.of_seed(tmp_path, seed), seed, update)
    done = evaluate(f"--workdir={tmp_path}", "--checkpoint=best", "--episodes=3", "--bound=false")
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stdout.split())  # the console folds long lines
    assert "best checkpoints of 2 seeds of case14_ppo (update 7 and 9)" in said
    assert re.search(r"^ *seed 2 .*\n *seed 10 .*\n *mean of 2 .*\n *their sd ", done.stdout, re.M)
    folder = tmp_path / "evaluation" / "best-7to9-test-seed0"
    content = json.loads((folder / "summary.json").read_text())
    rows = {row["controller"]: row["metrics"]["cost"]["mean"] for row in content["rows"]}
    assert list(rows) == ["do_nothing", "seed_2", "seed_10"] and rows["seed_2"] != rows["seed_10"]
    (place,) = content["seeds"]
    cost = place["metrics"]["cost"]
    assert cost["mean"] == pytest.approx((rows["seed_2"] + rows["seed_10"]) / 2)
    assert cost["sd"] == pytest.approx(abs(rows["seed_2"] - rows["seed_10"]) / 2**0.5)
    assert cost["lowest"] == pytest.approx(min(rows["seed_2"], rows["seed_10"]))
    assert content["identity"]["policy"]["seed_10"]["update"] == 9
    assert "Between seeds" in (folder / "report.html").read_text()
    # A file or an unfinished folder beside them is no seed, and other seeds another evaluation.
    (tmp_path / "seed_notes.txt").touch()
    (tmp_path / "seed_11").mkdir()
    assert len(run_folder.trained_in(tmp_path)) == 2
    shutil.rmtree(tmp_path / "seed_2")
    done = evaluate(
        f"--workdir={tmp_path}", "--checkpoint=best", "--episodes=3", "--bound=false",
        f"--out={folder}",
    )  # fmt: skip
    assert done.returncode == 2 and "holds an evaluation" in done.stderr
    # Two evaluations of seeds are compared by their means, day by day.
    both = compare.load(folder, folder)["places"][0]["controllers"]
    assert set(both) == {"do_nothing", "learned"}
    assert both["learned"]["a"]["cost"]["mean"] == pytest.approx(cost["mean"])


def test_seeds_of_different_runs_are_not_evaluated_together(tmp_path):
    for seed, batch in ((0, 64), (1, 32)):
        experiment = registry.load("case14")
        actor = dataclasses.replace(experiment.actor, batch=batch)
        run_folder.of_seed(tmp_path, seed).create(
            dataclasses.replace(experiment, seed=seed, actor=actor)
        )
    with pytest.raises(
        run_folder.RunFolderError, match=r"options of seed_1 are not those of seed_0"
    ):
        run_folder.trained_in(tmp_path)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"case": "case118"}, "is of case case14"),
        ({"layout": "full"}, "is of layout operator"),
        ({"team": "hierarchical"}, "is of a team centralised"),
        ({"checkpoint": "newest"}, "newest"),
        ({"controllers": ["learnt"]}, "did you mean learned?"),
        ({"scenarios": ["peek"]}, "did you mean peak?"),
        ({"level": ["harder"]}, "did you mean hard?"),
        ({"env": ["horizon_steps=48"]}, "is its own; leave --env out"),
        (
            {"ablations": ["no-messages"]},
            "is of a team centralised; no-messages: the team's agents do not attend to one "
            "another; it has none; give what it has, or leave --ablations out",
        ),
        ({"ablations": ["credits"]}, "did you mean credit?"),
    ],
)
def test_what_cannot_be_is_refused_with_both_names(run, changes, message):
    (value,) = changes.values()
    with pytest.raises((ValueError, checkpoint.CheckpointError)) as refused:
        evaluation_request.from_flags(
            flags(**{"checkpoint": "best", **changes}), [run_folder.RunFolder(run)]
        )
    assert message in str(refused.value)
    assert (value if isinstance(value, str) else value[0]) in str(refused.value)


def test_ablations_are_played_beside_what_was_learned(tmp_path):
    run = untrained(run_folder.RunFolder(tmp_path / "pair"), kind="ippo", case="case30")
    names = lambda **changes: (
        evaluation_request.from_flags(
            flags(bound=False, **changes), [run_folder.RunFolder(run)]
        ).plan.controllers
    )
    credit = ("learned-no-area_1", "learned-no-area_2")
    assert names(ablations=["credit"]) == ("learned", *credit)
    mates = ("learned-only-area_1", "learned-only-area_2")
    assert names(ablations=["all"], controllers=["learned", "expert"]) == (
        "learned", "expert", *mates, *credit,
    )  # fmt: skip
    shielded = names(ablations=["credit"], shield=True)
    assert shielded == ("learned", "learned+shield", *credit)
    with pytest.raises(ValueError, match="--ablations=credit: they are compared with what was lea"):
        names(ablations=["credit"], controllers=["expert"])
    with pytest.raises(ValueError, match="no-safety: the team has no safety agent; it has random-"):
        names(ablations=["credit", "no-safety"])


def test_where_only_the_best_is_kept_it_is_evaluated(run):
    request = evaluation_request.from_flags(flags(bound=False), [run_folder.RunFolder(run)])
    assert request.folder == run / "evaluation" / "best-7-test-seed0"
    assert request.restored == "the best checkpoint of case14_ppo (update 7)"


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"controllers": ["learned"]}, "needs --workdir"),
        ({"controllers": []}, "--controllers=: names none; give one or more of learned, do_noth"),
        ({"scenarios": []}, "--scenarios=: names none; give one or more of normal, peak"),
        ({"level": []}, "--level=: names none; give one or more of easy, hard"),
        ({"scenarios": ["all", "x"]}, "--scenarios='x': it must be one of normal, peak"),
        ({"controllers": ["all", "x"]}, "--controllers='x': it must be one of learned, do_nothing"),
        ({"level": ["all"]}, "--level='all': it must be one of easy, hard"),
        ({"team": "centralised"}, "--team=centralised: it is the team of a checkpoint, so it need"),
        ({"checkpoint": "newest"}, "--checkpoint=newest: it says which of a run's checkpoints, so"),
        (
            {"ablations": ["all"]},
            "--ablations=all: they are of the team that a run has trained, so",
        ),
        ({"env": ["protection.recloze=no"]}, "did you mean protection.recloses?"),
        ({"env": ["horizon_steps=0"]}, "--env=horizon_steps=0: must be a whole number from 1 to"),
        ({"env": ["time_series=nowhere"]}, "--env=time_series=nowhere: no such folder; it must be"),
        (
            {"env": [f"time_series={RECORDED}", "horizon_steps=12"], "scenarios": ["weather"]},
            "scenario weather: makes wind and sun of its own",
        ),
        ({"env": ["layout=full"], "layout": "operator"}, "--layout=operator is given too"),
        ({"env": ["screen_outages=false"]}, "every evaluation screens outages"),
        (
            {"scenarios": ["cascade"], "env": ["protection.enabled=false"]},
            "set env.protection.enabled to true",
        ),
        ({"case": "case15"}, "case15"),
        (
            {"case": "case57", "scenarios": ["intermittency"], "fleet": "plain"},
            "neither wind nor sun; choose one that has: set env.fleet to auto",
        ),
    ],
)
def test_mistakes_without_a_run_are_refused(changes, message):
    with pytest.raises((ValueError, OSError)) as refused:
        evaluation_request.from_flags(flags(**changes), [])
    assert message in str(refused.value)


def test_recorded_days_are_part_of_an_evaluation_and_all_means_what_goes_with_them():
    env = [f"time_series={RECORDED}", "horizon_steps=12"]
    request = evaluation_request.from_flags(flags(env=env, scenarios=["all"]), [])
    assert not {"weather", "intermittency"} & {name for name, _ in request.plan.scenarios}
    half = evaluation_request.from_flags(flags(env=[*env, "load_scale=0.5"]), [])
    assert len(request.identity["time_series"]) == 12
    assert half.identity["time_series"] != request.identity["time_series"]


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("--scenarios=",), "error: --scenarios=: names none; give one or more of normal, peak"),
        (("--checkpoint=newest",), "error: --checkpoint=newest: it says which"),
        (("--compare", "nowhere", "nowhere"), "no evaluation here"),
        (("--compare", "nowhere"), "give two folders"),
        (("--replay_day=3",), "says what --replay=pandapower replays; give both"),
        (("--replay=pandapower", "--replay_day=50"), "--replay_day=50: days are 0 to 49"),
    ],
)
def test_a_refusal_is_a_line_and_leaves_nothing(tmp_path, refusal, arguments, message):
    assert message in refusal("evaluate", *arguments, "--out", tmp_path / "out")[1]
    assert not (tmp_path / "out").exists()


def test_a_folder_of_something_else_is_refused(run, evaluated, tmp_path):
    out = tmp_path / "copy"
    shutil.copytree(run / "evaluation" / "best-7-test-seed0", out)
    done = evaluate(f"--workdir={run}", "--checkpoint=best", "--seed=1", f"--out={out}")
    assert done.returncode == 2 and "seed 0, and 1 is requested" in done.stderr


def test_two_evaluations_are_compared(run, evaluated, tmp_path):
    one = run / "evaluation" / "best-7-test-seed0"
    done = evaluate("--compare", one, one, "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "compare.html").is_file()
    assert "B less A on the same days" in done.stdout and "learned" in done.stdout


def test_a_simulator_that_is_missing_is_noticed_before_anything_is_played(tmp_path):
    path = stub(tmp_path / "stub", "pandapower", "raise ImportError('none here')")
    out = tmp_path / "out"
    done = evaluate(*SMALL, "--replay=pandapower", f"--out={out}", PYTHONPATH=path)
    assert done.returncode == 2 and "pip install pandapower" in done.stderr, done.stderr
    assert not out.exists()


@pytest.mark.slow
def test_what_was_found_is_written_before_it_is_played_again(tmp_path):
    fails = """
        import sys, types
        def from_ppc(*arguments, **options):
            raise RuntimeError("no such grid")
        sys.modules["pandapower.converter"] = types.ModuleType("converter")
        sys.modules["pandapower.converter.pypower"] = types.SimpleNamespace(from_ppc=from_ppc)
    """
    path = stub(tmp_path / "stub", "pandapower", textwrap.dedent(fails))
    out = tmp_path / "out"
    done = evaluate(*SMALL, "--replay=pandapower", f"--out={out}", PYTHONPATH=path)
    assert done.returncode == 1 and "error: no such grid" in done.stderr, done.stderr
    assert {"summary.json", "episodes.csv", "report.html"} <= {p.name for p in out.iterdir()}
    done = evaluate(*SMALL, "--replay=pandapower", "--replay_day=1", f"--out={out}")
    assert done.returncode == 0, done.stderr
    content = json.loads((out / "summary.json").read_text())
    assert {entry["controller"] for entry in content["replay"]} == {"do_nothing", "merit_order"}
    assert "pandapower" in (out / "report.html").read_text()
    assert [entry["episode"] for entry in content["replay"]] == [1, 1]
    assert all(entry["steps"] and entry["vm_pu"] < 1e-3 for entry in content["replay"])


@pytest.mark.slow
def test_what_is_named_twice_is_played_once(tmp_path):
    twice = ("--controllers=merit_order,merit_order", "--scenarios=failure,failure")
    done = evaluate(*SMALL, *twice, "--level=hard,easy,hard", f"--out={tmp_path}")
    assert done.returncode == 0, done.stderr
    content = json.loads((tmp_path / "summary.json").read_text())
    assert content["scenarios"] == [["failure", "hard"], ["failure", "easy"]]
    assert len(content["rows"]) == 2 * 2
    assert content["identity"]["environment"]["horizon_steps"] == 12


def test_a_bound_that_fails_is_named_and_left_out(tmp_path):
    path = stub(
        tmp_path / "stub", "sitecustomize",
        "from agents.baselines import acopf\n"
        "def bound(*arguments): raise RuntimeError('no optimum')\n"
        "acopf.bound = bound\n",
    )  # fmt: skip
    asked = (*SMALL[:-1], f"--out={tmp_path / 'out'}")
    done = evaluate(*asked, PYTHONPATH=f"{path}{os.pathsep}{ROOT}")
    assert done.returncode == 1
    assert "bound in failure (easy): no optimum; it is left out of the report" in done.stderr
    assert "--bound=false" in done.stderr
    content = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert content["controllers"] == ["do_nothing", "merit_order"] and content["bound"] == {}
    assert (tmp_path / "out" / "report.html").exists() and "merit order" in done.stdout


@pytest.mark.slow
def test_a_later_command_keeps_what_was_evaluated_before_and_leaves_out_what_fails(tmp_path):
    assert evaluate(*SMALL, f"--out={tmp_path}").returncode == 0
    path = stub(
        tmp_path / "stub", "sitecustomize",
        "from agents.baselines import simple\n"
        "def fails(*arguments): raise RuntimeError('no optimum')\n"
        "simple.random = lambda env, of=simple.random: fails()\n",
    )  # fmt: skip
    more = ("--controllers=random,proportional", f"--out={tmp_path}")
    done = evaluate(*SMALL, *more, PYTHONPATH=f"{path}{os.pathsep}{ROOT}")
    assert done.returncode == 1 and "random in failure (easy): no optimum" in done.stderr
    content = json.loads((tmp_path / "summary.json").read_text())
    assert content["controllers"] == ["do_nothing", "proportional", "merit_order"]
    done = evaluate(*SMALL, *more)
    assert done.returncode == 0, done.stderr
    content = json.loads((tmp_path / "summary.json").read_text())
    assert content["controllers"] == ["do_nothing", "random", "proportional", "merit_order"]


@pytest.mark.slow
def test_a_folder_that_cannot_be_written_is_told_without_a_traceback(tmp_path):
    (tmp_path / "results").write_text("in the way")
    done = evaluate(*SMALL, f"--out={tmp_path}")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "not finished" in done.stderr and "the same command goes on" in done.stderr
