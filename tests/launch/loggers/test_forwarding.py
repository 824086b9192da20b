"""Metrics sent to experiment trackers: what is read, sent, gone on with, and how failures end."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time

import pytest
from support import fake_wandb, run_process

from configs import registry
from launch.loggers import choice, follow, forwarding
from launch.run import run_folder


@pytest.fixture
def folder(tmp_path):
    folder = run_folder.RunFolder(tmp_path / "mine")
    folder.create(registry.load("case14"))
    return folder


def _measure(folder, node, steps, **scalars):
    with folder.metrics(node).open("a") as file:
        for step in steps:
            file.write(json.dumps({"step": step, **scalars}) + "\n")


def _calls(file):
    return [json.loads(line) for line in file.read_text().splitlines()]


def _forward(folder, names=("wandb",)):
    said = []
    sender = forwarding.Forwarding([folder], names, said.append)
    sender.begin()
    sender.close()
    return said


def test_rows_are_read_on_from_where_they_were_read_to_and_half_lines_later(folder):
    _measure(folder, "learner", [1, 2, 3], objective=0.5, bad=None)
    with folder.metrics("learner").open("a") as file:
        file.write("no row\n[1]\n" + '{"step": 4, "obj')
    _measure(folder, "evaluator", [7], **{"evaluation/return": 1.0})
    (first, read), (rest, done) = follow.batches(folder, {}, 3)
    assert [(row.node, row.step) for row in first] == [("evaluator", 7), ("learner", 1),
                                                       ("learner", 2)]  # fmt: skip
    assert first[1].scalars == {"objective": 0.5}
    assert [row.step for row in rest] == [3] and rest == next(follow.batches(folder, read, 9))[0]
    assert list(follow.batches(folder, done, 9)) == []
    with folder.metrics("learner").open("a") as file:
        file.write('ective": 2}\n')
    ((late, _),) = follow.batches(folder, done, 9)
    assert late == [follow.Row("learner", 4, {"objective": 2.0})]


def test_a_tracker_that_is_unknown_or_not_installed_is_refused_with_what_to_install(
    monkeypatch, refusal
):
    _, error = refusal("local", "--loggers=wandbb")
    assert error.startswith("error: --loggers='wandbb': did you mean wandb? it must be one of")
    assert error.count("\n") == 1
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="--loggers=wandb: wandb is not installed; .*pip install "
                       "-c constraints.txt wandb "):  # fmt: skip
        choice.check(["wandb"])
    with pytest.raises(ValueError, match="mlflow-skinny sqlalchemy alembic"):
        choice.check(["mlflow"])
    assert choice.check([]) == ()


def test_a_run_is_sent_whole_and_gone_on_with(folder, tmp_path, monkeypatch):
    calls = fake_wandb.install(monkeypatch, tmp_path / "fake")
    monkeypatch.delenv("WANDB_MODE", raising=False)
    _measure(folder, "learner", [64, 128], objective=0.5, **{"run/updates": 1})
    folder.write_status("learner", {"state": "ended", "outcome": "finished"})
    assert _forward(folder) == []
    begun, first, second, ended = _calls(calls)
    assert begun["id"] is None and begun["case"] == "case14"
    told = {name: begun["init"][name] for name in ("project", "name", "mode", "dir")}
    assert told == {
        "project": "case14", "name": "mine", "mode": "offline", "dir": str(folder.path),
    }  # fmt: skip
    assert first == {"log": {"step": 64, "learner/objective": 0.5, "learner/run/updates": 1.0}}
    assert second["log"]["step"] == 128 and ended == {"finish": 0}

    calls.unlink()
    _measure(folder, "actor_0", [32], lag=2.0)
    monkeypatch.setenv("WANDB_MODE", "online")
    assert _forward(folder) == []
    begun, only, _ = _calls(calls)
    assert begun["id"] == "fresh" and begun["init"]["resume"] == "allow"
    assert begun["init"]["mode"] == "online"
    assert only == {"log": {"step": 32, "actor_0/lag": 2.0}}


def test_what_a_tracker_cannot_take_ends_no_run_and_is_sent_later(folder, tmp_path, monkeypatch):
    calls = fake_wandb.install(monkeypatch, tmp_path / "fake")
    _measure(folder, "learner", [64], objective=0.5)
    with monkeypatch.context() as failing:
        failing.setenv("FAKE_WANDB_FAILS", "1")
        (said,) = _forward(folder)
    assert said.startswith("not every metric could be sent") and "--loggers" in said
    assert "nobody answers" in folder.log("loggers").read_text()
    assert not calls.exists()
    assert _forward(folder) == []
    assert [call["log"]["step"] for call in _calls(calls) if "log" in call] == [64]


def test_a_run_that_never_begins_is_none_of_a_trackers(tmp_path, monkeypatch):
    calls = fake_wandb.install(monkeypatch, tmp_path / "fake")
    folder = run_folder.RunFolder(tmp_path / "never")
    said = []
    forwarding.Forwarding([folder], ["wandb"], said.append).close()
    assert not said and not calls.exists() and not folder.path.exists()


def test_metrics_are_sent_even_if_the_launcher_is_killed(folder, tmp_path, monkeypatch):
    calls = fake_wandb.install(monkeypatch, tmp_path / "fake")
    program = (
        "import sys, time\n"
        "from launch.loggers import forwarding\n"
        "from launch.run import run_folder\n"
        "sender = forwarding.Forwarding([run_folder.RunFolder(sys.argv[1])], ['wandb'], print)\n"
        "sender.begin(); print('begun', flush=True); time.sleep(60)\n"
    )
    launcher = subprocess.Popen(
        [sys.executable, "-c", program, str(folder.path)], stdout=subprocess.PIPE
    )
    assert launcher.stdout.readline() == b"begun\n"
    _measure(folder, "learner", [64], objective=0.5)
    launcher.send_signal(signal.SIGKILL)
    launcher.communicate()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if calls.exists() and "finish" in calls.read_text():
            break
        time.sleep(0.1)
    assert _calls(calls)[-2:] == [{"log": {"step": 64, "learner/objective": 0.5}}, {"finish": 1}]


@pytest.mark.slow
@pytest.mark.parametrize("command", ["fused", "local"])
def test_commands_send_what_every_process_measures(command, tmp_path, monkeypatch):
    """`launch.local` trains in a network of its own, and trackers are outside of it."""
    calls = fake_wandb.install(monkeypatch, tmp_path / "fake")
    done = run_process.done(
        f"launch.{command}", "--config=case14_ppo", "--config.run.steps=3000", "--loggers=wandb",
        "--config.actor.batch=8", "--config.actor.unroll_length=16",
        "--config.learner.minibatches=2", "--config.evaluator.episodes=1",
        "--config.env.horizon_steps=48", f"--workdir={tmp_path}/run", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    folder = run_folder.RunFolder(tmp_path / "run")
    sent = [call["log"] for call in _calls(calls) if "log" in call]
    for file in folder.metrics("").parent.glob("*.jsonl"):
        steps = [json.loads(line)["step"] for line in file.read_text().splitlines()]
        own = [row["step"] for row in sent if any(k.startswith(f"{file.stem}/") for k in row)]
        assert own == steps and steps
    # The evaluator of a run as short as this may not have come to score anything.
    assert "learner" in {name.split("/")[0] for row in sent for name in row}
    assert _calls(calls)[-1] == {"finish": 0}


def test_weights_and_biases_takes_a_run_offline(folder, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    _measure(folder, "learner", [64, 128], objective=0.5)
    assert _forward(folder) == []
    (run,) = (folder.path / "wandb").glob("offline-run-*")
    assert next(run.glob("*.wandb")).stat().st_size > 0
    known = json.loads((folder.path / "loggers.json").read_text())["wandb"]
    assert known["run"] == run.name.rpartition("-")[2]
    assert known["read"] == {"learner": os.path.getsize(folder.metrics("learner"))}


def test_mlflow_has_the_metrics_by_step_and_the_parameters(folder, monkeypatch):
    pytest.importorskip("mlflow"), pytest.importorskip("alembic")
    from mlflow.tracking import MlflowClient

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    _measure(folder, "learner", [64, 128], objective=0.5)
    folder.write_status("learner", {"outcome": "finished"})
    assert _forward(folder, ["mlflow"]) == []
    _measure(folder, "learner", [192], objective=0.25, **{"agents/bus 1?/x": 1.0})
    assert _forward(folder, ["mlflow"]) == []
    client = MlflowClient(f"sqlite:///{folder.path / 'mlflow.db'}")
    known = json.loads((folder.path / "loggers.json").read_text())["mlflow"]
    run = client.get_run(known["run"])
    assert run.info.run_name == "mine" and run.info.status == "FINISHED"
    assert client.get_experiment(run.info.experiment_id).name == "case14"
    assert run.data.params["learner.learning_rate"] == "0.001"
    history = client.get_metric_history(known["run"], "learner/objective")
    assert [(m.step, m.value) for m in history] == [(64, 0.5), (128, 0.5), (192, 0.25)]
    assert run.data.metrics["learner/agents/bus 1_/x"] == 1.0
