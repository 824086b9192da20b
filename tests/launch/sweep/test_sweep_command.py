"""`python -m launch.sweep`: what it refuses, and a whole sweep, small, with its report."""

import csv
import json
import os
import signal
import subprocess
import sys
import time

import pytest
from support import command_server

from launch.run import run_folder

SMALL = (
    "--config=case14", "--config.run.max_minutes=0.1", "--config.actor.batch=8",
    "--config.learner.minibatches=1", "--config.evaluator.episodes=1",
    "--config.env.horizon_steps=48", "--config.team.value_layers=8",
)  # fmt: skip
VARY = ("--vary=learner.learning_rate=1e-4..1e-3:log", "--vary=team.policy_layers=8|16")


@pytest.mark.parametrize(
    "flags, message",
    [
        ((), "nothing varies; give --vary=FIELD=VALUES"),
        (("--vary=learner.epoch=1,2",), "did you mean learner.epochs?"),
        (("--vary=learner.epochs=1,two",), "--vary=learner.epochs=1,two: 'two' is not a whole"),
        (("--vary=learner.epochs=0,2",), "cannot be trained with 0: --config.learner.epochs=0"),
        (("--vary=learner.clip=0..0.2",), "cannot be trained with 0.0: --config.learner.clip=0.0"),
        (("--vary=learner.objective=analytic,sac",), "must be one of ppo, analytic, both"),
        (("--vary=env.case=case14,case15",), "cannot be trained with case15: no case named"),
        (("--vary=actor.count=2,3",), "cannot be trained with 3: --config.actor.count=3"),
        (
            ("--vary=learner.epochs=1,2", "--config.env.layout=no"),
            "error: --config.env.layout='no'",
        ),
        (("--vary=learner.epochs=1,2", "--vary=learner.epochs=3,4"), "varies already"),
        (("--vary=learner.epochs=1,2", "--config.learner.epochs=2"), "give one of the two"),
        (("--vary=learner.epochs=1,2", "--trials=0"), "--trials=0: must be a whole number from 1"),
        (("--vary=learner.epochs=1,2", "--trials=3"), "there are 2 combinations"),
        (("--vary=learner.epochs=1,2", "--search=grid", "--trials=1"), "has 2 combinations"),
        (("--vary=learner.epochs=1..3", "--search=grid"), "--vary=learner.epochs=1,2,3, or give"),
        (("--vary=learner.epochs=1,2", "--search=bayes"), "--search=bayes"),
        (("--vary=learner.epochs=1,2", "--seeds=0,x"), "--seeds=0,x: must be whole numbers"),
        (("--resume",), "--resume needs the folder of the sweep"),
        (("--resume", "--workdir=nowhere"), "no sweep here"),
    ],
)
def test_what_cannot_be_searched_is_refused_in_a_line(flags, message, refusal):
    out, error = refusal("sweep", *flags)
    assert message in error and error.count("\n") == 1 and not out


@pytest.fixture(scope="module")
def server():
    server = command_server.Server("sweep")
    yield server
    server.close()


def test_a_folder_holds_one_sweep_which_goes_on_as_it_was_begun(server, tmp_path):
    begun = ["--config=case118", "--vary=learner.epochs=1,2,4", "--seeds=3", "--trials=2"]
    where = f"--workdir={tmp_path / 'sweep'}"
    run = lambda *flags: server.run([*flags, where])
    assert run(*begun)["code"] == 77
    assert "holds a sweep already" in run(*begun)["err"]
    assert run("--resume")["code"] == 77
    assert run("--resume", *begun)["code"] == 77, "the same command, with --resume"
    assert run("--resume", "--trials=3")["code"] == 77
    for flags, message in (
        (("--vary=learner.epochs=1,2",), "--vary=learner.epochs=1,2: cannot change with --resume"),
        (("--search=random",), "the sweep was begun with tpe"),
        (("--seeds=4",), "--seeds=4: cannot change with --resume, the sweep was begun with 3"),
        (("--search_seed=1",), "--search_seed=1: cannot change"),
        (("--config=case14",), "--config."),
        (("--config.run.steps=5",), "--config.run.steps=5: cannot change"),
        (("--trials=2",), "was begun with 3; --resume can add some and take none away"),
    ):
        done = run("--resume", *flags)
        assert done["code"] == 2 and message in done["err"], (flags, done)
    written = tmp_path / "sweep" / "sweep.json"
    content = json.loads(written.read_text())
    for name, value in (
        ("trials", 0), ("seeds", []), ("seeds", [-1]), ("search_seed", "x"), ("search", "bayes"),
        ("config", "no"), ("experiment", {}), ("vary", 3), ("format", 0),
    ):  # fmt: skip
        written.write_text(json.dumps({**content, name: value}))
        done = run("--resume")
        assert done["code"] == 2 and "sweep.json: cannot be read: " in done["err"], (name, done)


def test_without_optuna_it_says_what_installs_it(tmp_path):
    program = "import sys; sys.modules['optuna'] = None\n" + (
        "import runpy; runpy.run_module('launch.sweep', run_name='__main__', alter_sys=True)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "--vary=learner.epochs=1,2"], cwd=tmp_path,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert "optuna is not installed; `make install-sweep`" in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_run_is_no_sweep(server, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    done = server.run(["--vary=learner.epochs=1,2", f"--workdir={tmp_path}"])
    assert done["code"] == 2 and "holds a run already" in done["err"]


def _start(*flags, cwd):
    environment = {k: v for k, v in os.environ.items() if k not in ("XLA_FLAGS", "JAX_PLATFORMS")}
    return subprocess.Popen(
        [sys.executable, "-m", "launch.sweep", *flags], stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, cwd=cwd, env=environment,
    )  # fmt: skip


@pytest.mark.slow
def test_a_sweep_that_is_interrupted_goes_on_and_reports(tmp_path):
    """Trials last for seconds of learning, whatever the machine."""
    process = _start(*SMALL, *VARY, "--trials=2", "--workdir=sweep", cwd=tmp_path)
    trials = tmp_path / "sweep" / "trials"
    learned = trials / "001" / "seed_0" / "metrics" / "learner.jsonl"
    while process.poll() is None and not (learned.exists() and learned.stat().st_size):
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, error = process.communicate()
    assert process.returncode == 0 and "--workdir=sweep --resume" in out, error
    assert "best" not in out and not (trials / "002").exists()

    process = _start("--workdir=sweep", "--resume", cwd=tmp_path)
    out, error = process.communicate()
    assert process.returncode == 0, error
    assert "trial 1 of 2" in out and "trial 2 of 2" in out and "begun again" not in out
    assert len(json.loads((trials / "001" / "seed_0" / "launches.json").read_text())) == 2
    rows = list(csv.DictReader((tmp_path / "sweep" / "trials.csv").read_text().splitlines()))
    assert [row["state"] for row in rows] == ["finished"] * 2
    assert float(rows[0]["return"]) >= float(rows[1]["return"])
    for row in rows:
        folder = trials / f"{int(row['trial']):03d}" / "seed_0"
        trained = run_folder.RunFolder(folder).experiment()
        assert trained.learner.learning_rate == float(row["learner.learning_rate"])
        assert trained.team.policy_layers == (int(row["team.policy_layers"]),)
        scores = (folder / "metrics" / "evaluator.jsonl").read_text().splitlines()
        best = max(json.loads(line)["evaluation/return"] for line in scores)
        assert float(row["return"]) == best
    report = (tmp_path / "sweep" / "report.html").read_text()
    assert report.count('<path class="l rank') == 2
