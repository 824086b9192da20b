"""The whole service as a user starts it: it ends cleanly however it ends, and leaves nothing."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import psutil
import pytest

from launch import run_folder, supervisor

ROOT = pathlib.Path(__file__).parents[1]
# A small run on however many cores the machine has.
SMALL = [
    "--config=case14", "--placement=cpu:a0,0-l0", "--config.actor.batch=8",
    "--config.actor.unroll_length=8", "--config.learner.epochs=1", "--config.evaluator.episodes=2",
    "--config.team.policy_layers=16", "--config.team.value_layers=16",
    "--config.evaluator.period_seconds=2",
]  # fmt: skip


def _environment():
    return {k: v for k, v in os.environ.items() if k not in ("XLA_FLAGS", "JAX_PLATFORMS")}


def _start(workdir, *flags):
    return subprocess.Popen(
        [sys.executable, "-m", "launch.local", f"--workdir={workdir}", *SMALL, *flags],
        cwd=ROOT, env=_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip


def _resume(workdir, *flags):
    return subprocess.Popen(
        [sys.executable, "-m", "launch.local", f"--workdir={workdir}", "--resume",
         "--placement=cpu:a0,0-l0", *flags],
        cwd=ROOT, env=_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip


def _command(module, *flags):
    return subprocess.run(
        [sys.executable, "-m", module, *flags], cwd=ROOT, env=_environment(), capture_output=True,
        text=True, check=False, timeout=180,
    )  # fmt: skip


def _wait_for_updates(process, workdir, count=3, seconds=180):
    """Returns the process ids of the run's nodes once the learner has made some updates."""
    folder = run_folder.RunFolder(workdir)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            pytest.fail(f"ended early: {process.communicate()}")
        if folder.status("learner").get("run/updates", 0) >= count:
            return {
                n: folder.status(n)["pid"] for n in ("learner", "actor_0", "actor_1", "evaluator")
            }
        time.sleep(0.2)
    process.kill()
    pytest.fail(f"no updates in time; {supervisor.last_lines(folder, 'learner')}")


def _saved(workdir):
    """Returns the versions of the newest checkpoints."""
    names = (path.name for path in (workdir / "checkpoints" / "newest").iterdir())
    return [int(name) for name in names if name.isdigit()]


def _left_over(pids):
    """Returns which of the processes still run, zombies apart."""
    alive = []
    for pid in pids.values():
        try:
            if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                alive.append(pid)
        except psutil.NoSuchProcess:
            continue
    return alive


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of 16 updates that came to its end: its folder, and what was printed."""
    workdir = tmp_path_factory.mktemp("finished") / "run"
    process = _start(workdir, "--config.run.steps=2048")
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, (out, err)
    assert "Traceback" not in err
    return workdir, out


def test_a_run_finishes(finished):
    workdir, out = finished
    assert "finished after 2,048 steps and 16 updates" in out and "launch.evaluate" in out
    folder = run_folder.RunFolder(workdir)
    rows = [json.loads(line) for line in folder.metrics("learner").read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(128, 2049, 128))
    for name in ("loss/policy", "loss/value", "policy/kl", "policy/clip_share",
                 "value/explained_variance", "loss/gradient_norm", "run/lag_mean",
                 "run/steps_per_second", "run/learner_wait_share"):  # fmt: skip
        assert name in rows[-1]
    assert json.loads((workdir / "versions.json").read_text())["packages"]["jax"]
    assert list((workdir / "tensorboard" / "learner").iterdir())
    changed = _command("launch.local", f"--workdir={workdir}", "--resume", "--config.seed=3")
    assert changed.returncode == 2
    assert "--config.seed cannot be given with --resume" in changed.stderr
    again = _command("launch.local", f"--workdir={workdir}", *SMALL)
    assert again.returncode == 2 and "holds a run already" in again.stderr


@pytest.mark.slow
def test_a_finished_run_is_evaluated_alike_on_any_number_of_devices(finished, tmp_path):
    results = []
    for devices in ("1", "2"):
        environment = {**_environment(), "XLA_FLAGS":
                       f"--xla_force_host_platform_device_count={devices}"}  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-m", "launch.evaluate", f"--workdir={finished[0]}", "--episodes=3",
             "--bound=false", f"--out={tmp_path / devices}"],
            cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=180,
        )  # fmt: skip
        assert done.returncode == 0 and "operating cost" in done.stdout, done.stderr
        results.append((tmp_path / devices / "episodes.csv").read_text())
    assert results[0] == results[1]  # To the last digit.


@pytest.mark.slow
def test_a_finished_run_goes_on_to_more_steps(finished, tmp_path):
    workdir = tmp_path / "run"
    shutil.copytree(finished[0], workdir)
    process = _resume(workdir, "--config.run.steps=2560")
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, (out, err)
    assert "finished after 2,560 steps and 20 updates" in out


def test_control_c_keeps_a_checkpoint_and_resume_goes_on(tmp_path):
    workdir = tmp_path / "run"
    process = _start(workdir, "--config.run.steps=100000000")
    pids = _wait_for_updates(process, workdir)
    started = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)  # What a terminal does: everyone in the group gets it.
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, (out, err)
    assert time.monotonic() - started < 15 and not _left_over(pids)
    assert "interrupted after" in out and "--resume" in out
    saved = _saved(workdir)
    assert saved and max(saved) >= 3

    process = _resume(workdir)
    pids = _wait_for_updates(process, workdir, count=max(saved) + 2)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0 and not _left_over(pids), (out, err)
    rows = run_folder.RunFolder(workdir).metrics("learner").read_text().splitlines()
    steps = [json.loads(row)["step"] for row in rows]
    assert (max(saved) + 1) * 128 in steps
    assert {"learner.0.log", "learner.log"} <= {path.name for path in (workdir / "logs").iterdir()}


@pytest.mark.slow
def test_a_node_that_dies_ends_the_run_and_is_shown(tmp_path):
    workdir = tmp_path / "run"
    process = _start(workdir, "--config.run.steps=100000000", "--noconfig.run.colocate")
    pids = _wait_for_updates(process, workdir)
    started = time.monotonic()
    os.kill(pids["actor_1"], signal.SIGKILL)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1 and not _left_over(pids), (out, err)
    assert time.monotonic() - started < 15
    assert "actor_1 was killed by SIGKILL" in err and "process " in err, err
    saved = _saved(workdir)
    assert saved and max(saved) >= 3


@pytest.mark.slow
def test_a_launcher_that_is_killed_leaves_no_process(tmp_path):
    workdir = tmp_path / "run"
    process = _start(workdir, "--config.run.steps=100000000")
    pids = _wait_for_updates(process, workdir)
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 15
    while _left_over(pids) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not _left_over(pids)


def test_bad_input_ends_before_anything_starts(tmp_path):
    no_case = tmp_path / "no.m"
    no_case.write_text("hello")
    locked = tmp_path / "file"
    locked.write_text("")
    for flags, message in (
        (["--config=case41"], "did you mean --config=case14?"),
        (["--config.actor.batch=-4"], "--config.actor.batch=-4: must be a whole number from 1 to"),
        ([f"--config.env.case={no_case}"], "not a MATPOWER case file"),
        (["--config.env.case=case15"], "no case named 'case15'"),
        ([f"--workdir={locked}/run"], "cannot be written"),
        (["--config.actor.count=3", "--placement=cpu:a0-l0"], "places 1 actors"),
        (["--config.team.kind=centralized"], "did you mean centralised?"),
        (["--config.learner.learning_rat=1"], "Did you mean: config.learner.learning_rate"),
        (["--config.learner.epochs=many"], "--config.learner.epochs=many"),
        (["--resume"], "--resume needs"),
        (["--resume", f"--workdir={tmp_path}"], "no run here"),
    ):
        done = _command("launch.local", *flags)
        assert done.returncode == 2 and message in done.stderr, (flags, done.stderr)
        assert "Traceback" not in done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "no.m"]


@pytest.mark.parametrize("what", ["nothing", "no checkpoint"])
def test_evaluate_names_what_is_missing(tmp_path, what):
    message = "no run here"
    if what == "no checkpoint":
        from configs import shelf

        run_folder.RunFolder(tmp_path).create(shelf.load("case14"))
        message = "checkpoints/newest: no such folder"
    done = _command("launch.evaluate", f"--workdir={tmp_path}")
    assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr
