"""The whole service as a user starts it: it ends cleanly however it ends, and leaves nothing."""

import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from typing import NamedTuple

import psutil
import pytest
from support import small_disk

from agents import networks as networks_lib
from envs import grid_env
from launch import supervisor
from launch.run import run_folder
from learner import checkpoint

ROOT = pathlib.Path(__file__).parents[2]
# A small run on however many cores the machine has.
SMALL = [
    "--config=case14_ppo", "--placement=cpu:a0,0-l0", "--config.actor.batch=8",
    "--config.actor.unroll_length=8", "--config.learner.epochs=1", "--config.evaluator.episodes=2",
    "--config.team.policy_layers=16", "--config.team.value_layers=16",
    "--config.evaluator.period_seconds=2",
]  # fmt: skip


def _environment():
    return {k: v for k, v in os.environ.items() if k not in ("XLA_FLAGS", "JAX_PLATFORMS")}


def _start(workdir, *flags, before=lambda command: command, **environment):
    command = [sys.executable, "-m", "launch.local", f"--workdir={workdir}", *SMALL, *flags]
    return subprocess.Popen(
        before(command), cwd=ROOT, env={**_environment(), **environment}, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, start_new_session=True,
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
    temporary = workdir.parent / "temporary"
    temporary.mkdir()
    process = _start(workdir, "--config.run.steps=2048", TMPDIR=str(temporary))
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, (out, err)
    assert "Traceback" not in err
    assert not list(temporary.iterdir()) and not (workdir / "tmp").exists()
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


def test_the_clock_of_a_run_starts_when_everything_is_compiled(finished):
    folder = run_folder.RunFolder(finished[0])
    rows = [json.loads(line) for line in folder.metrics("learner").read_text().splitlines()]
    seconds = [row["run/seconds"] for row in rows]
    assert seconds[0] == 0.0 and seconds == sorted(seconds) and seconds[-1] > 0.0


def test_a_run_that_has_spent_its_budget_is_not_started_again(finished):
    workdir = finished[0]
    contents = lambda: {
        path: (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else None)
        for path in workdir.rglob("*")
        if "locks" not in path.parts
    }
    before = contents()
    for flags, remedy in (
        ([], "2,048 of 2,048 steps"),
        ([], "to go on, add --config.run.steps=4096\n"),
        (["--config.run.max_minutes=1e-6"], "--config.run.steps=4096 --config.run.max_minutes=1\n"),
        (["--config.run.steps=9999", "--config.run.max_minutes=1e-6"],
         "to go on, add --config.run.max_minutes=1\n"),
    ):  # fmt: skip
        done = _command("launch.local", f"--workdir={workdir}", "--resume", *flags)
        assert done.returncode == 2 and remedy in done.stderr, done.stderr
        assert done.stderr.count("\n") == 1 and not done.stdout
    assert contents() == before


@pytest.mark.slow
@pytest.mark.parametrize("node", ["learner", "variables"])
def test_a_node_that_hangs_ends_the_run_and_is_named(tmp_path, node):
    workdir = tmp_path / "run"
    apart = ["--noconfig.run.colocate"] if node == "variables" else []
    process = _start(
        workdir, "--config.run.steps=100000000", "--silence_limit_s=20",
        "--config.run.checkpoint_seconds=1", *apart,
    )  # fmt: skip
    pids = _wait_for_updates(process, workdir)
    deadline = time.monotonic() + 60
    while not _saved(workdir) and time.monotonic() < deadline:
        time.sleep(0.2)
    silent = run_folder.RunFolder(workdir).status(node)["pid"]
    stopped = time.monotonic()
    os.kill(silent, signal.SIGSTOP)
    lines = []
    for line in process.stdout:
        lines.append((time.monotonic() - stopped, line))
        print(f"{lines[-1][0]:6.1f}  {line.rstrip()}")
    err = process.stderr.read()
    print(f"{time.monotonic() - stopped:6.1f}  {err.splitlines()[0]}")
    assert process.wait(10) == 1 and not _left_over({**pids, node: silent}), err
    assert 20 <= time.monotonic() - stopped < 40
    assert f"error: {node} has been silent for 20 s, last " in err and "Traceback" not in err
    warnings = [seconds for seconds, line in lines if f"{node} has been silent for" in line]
    assert warnings and 9 < warnings[0] < 16
    if node == "learner":
        assert any("s ago" in line for seconds, line in lines if seconds > 9)
        assert not any("steps/s" in line for seconds, line in lines if seconds > 9)
    before, saved = run_folder.RunFolder(workdir).status("learner")["run/updates"], _saved(workdir)
    assert saved and max(saved) <= before
    process = _resume(workdir)
    _wait_for_updates(process, workdir, count=before + 1)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0


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
def test_a_finished_run_goes_on_to_more_steps_once_though_told_to_twice(finished, tmp_path):
    workdir = tmp_path / "run"
    shutil.copytree(finished[0], workdir)
    processes = [_resume(workdir, "--config.run.steps=2560") for _ in range(2)]
    ended = [(process, *process.communicate(timeout=240)) for process in processes]
    (process, out, err), (refused, _, message) = sorted(ended, key=lambda e: e[0].returncode)
    assert process.returncode == 0, (out, err)
    assert "finished after 2,560 steps and 20 updates" in out
    assert refused.returncode == 2 and f"(process {process.pid})" in message, message
    assert len(json.loads((workdir / "launches.json").read_text())) == 2


class Interrupted(NamedTuple):
    """A run that was looked at while it went on, and then interrupted."""

    workdir: pathlib.Path
    launcher: int  # its process
    refused: subprocess.CompletedProcess  # a second launch beside it
    listening: set[tuple[str, int]]  # addresses and ports, in the run's own network
    reached: set[tuple[str, int]]  # those of them that take a connection from outside of it
    has_own_network: bool
    returncode: int
    out: str
    err: str
    seconds: float  # from the interrupt to the end
    left_over: list[int]


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("interrupted") / "run"
    process = _start(workdir, "--config.run.steps=100000000")
    try:
        pids = _wait_for_updates(process, workdir)
        refused = _command("launch.local", f"--workdir={workdir}", "--resume")
        listening = _listening(pids)
        reached = {(host, port) for host, port in listening if _connects(host, port)}
        network = lambda pid: os.readlink(f"/proc/{pid}/ns/net")
        has_own_network = network(pids["learner"]) != network("self")
        started = time.monotonic()
        os.killpg(process.pid, signal.SIGINT)  # What a terminal does: all in the group get it.
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    return Interrupted(
        workdir, process.pid, refused, listening, reached, has_own_network, process.returncode,
        out, err, time.monotonic() - started, _left_over(pids),
    )  # fmt: skip


def _listening(pids):
    """Returns address and port of every socket of the processes that takes connections."""
    listening = set()
    for pid in pids.values():
        sockets = set()
        for descriptor in pathlib.Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # It was closed since.
                sockets.add(os.readlink(descriptor))
        # Not by psutil, which reads them of the network that this process is in.
        for family, file in ((socket.AF_INET, "tcp"), (socket.AF_INET6, "tcp6")):
            for line in pathlib.Path(f"/proc/{pid}/net/{file}").read_text().splitlines()[1:]:
                _, local, _, state, *rest = line.split()
                if state == "0A" and f"socket:[{rest[5]}]" in sockets:  # LISTEN; its inode
                    address, port = local.split(":")
                    words = [int(address[i : i + 8], 16) for i in range(0, len(address), 8)]
                    packed = struct.pack(f"={len(words)}I", *words)
                    listening.add((socket.inet_ntop(family, packed), int(port, 16)))
    return listening


def _connects(host, port):
    """Returns whether a connection from here is taken, at the address or at any of this machine."""
    anywhere = host in ("::", "0.0.0.0")
    try:
        socket.create_connection(("127.0.0.1" if anywhere else host, port), 5.0).close()
        return True
    except ConnectionRefusedError:
        return False


@pytest.mark.slow
def test_what_a_run_listens_on_cannot_be_reached_from_outside(interrupted):
    variable_server, *others = sorted(
        interrupted.listening, key=lambda s: s[0] in ("::", "0.0.0.0")
    )
    assert variable_server[0] in ("127.0.0.1", "::ffff:127.0.0.1"), interrupted.listening
    assert len(others) == 1, interrupted.listening  # Reverb's
    if interrupted.has_own_network:
        assert "network     private" in interrupted.out and not interrupted.reached
    else:  # As the system allows none; the start says what is open.
        assert "network     open: Reverb's port" in interrupted.out


def test_a_second_launch_beside_a_live_run_is_refused(interrupted):
    refused = interrupted.refused
    assert refused.returncode == 2, (refused.stdout, refused.stderr)
    assert f"(process {interrupted.launcher})" in refused.stderr, refused.stderr
    assert str(interrupted.workdir) in refused.stderr and "Traceback" not in refused.stderr
    launches = json.loads((interrupted.workdir / "launches.json").read_text())
    logs = [path.name for path in (interrupted.workdir / "logs").iterdir()]
    assert len(launches) == 1 and "learner.0.log" not in logs


def test_control_c_keeps_a_checkpoint(interrupted):
    assert interrupted.returncode == 0, (interrupted.out, interrupted.err)
    assert interrupted.seconds < 15 and not interrupted.left_over
    assert "interrupted after" in interrupted.out and "--resume" in interrupted.out
    saved = _saved(interrupted.workdir)
    assert saved and max(saved) >= 3


@pytest.mark.slow
def test_an_interrupted_run_is_resumed_where_it_was(interrupted, tmp_path):
    workdir = tmp_path / "run"
    shutil.copytree(interrupted.workdir, workdir)
    saved = _saved(workdir)
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
def test_a_launcher_that_is_killed_leaves_no_process_and_its_folder_free(tmp_path):
    workdir = tmp_path / "run"
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    process = _start(workdir, "--config.run.steps=100000000", TMPDIR=str(temporary))
    pids = _wait_for_updates(process, workdir)
    process.kill()
    process.communicate()
    said = []
    run_folder.RunFolder(workdir).hold(said.append)
    # Whichever have not ended by now.
    assert re.match(r"waiting for an earlier launch to end: \w+ \(process \d+", said[0]), said
    assert not _left_over(pids)
    assert max(_saved(workdir)) >= 3  # Written while this process waited.
    # What it could not remove lies in the run's folder, where the next launch clears it.
    assert not list(temporary.iterdir()) and list((workdir / "tmp").iterdir())
    folder = run_folder.RunFolder(workdir)
    folder.begin_again(folder.experiment())
    assert not (workdir / "tmp").exists()


@pytest.mark.slow
def test_a_removed_folder_ends_the_run_with_a_line(tmp_path):
    workdir = tmp_path / "run"
    process = _start(workdir, "--config.run.steps=100000000")
    pids = _wait_for_updates(process, workdir)
    shutil.rmtree(workdir, ignore_errors=True)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1 and not _left_over(pids), (out, err)
    message = f"error: {workdir}: the folder of the run was removed, and the run was ended\n"
    assert err == message, err


@pytest.mark.slow
def test_a_full_disk_ends_the_run_with_a_line_and_costs_no_checkpoint(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    workdir = disk / "run"
    process = _start(
        workdir, "--config.run.steps=100000000", "--config.run.checkpoint_seconds=1",
        before=lambda command: small_disk.command(disk, 32, command),
    )  # fmt: skip
    while not small_disk.mounted(process, disk):
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    with small_disk.seen_from_outside(process, disk) as seen:
        pids = _wait_for_updates(process, seen / "run", count=20)
        while not _saved(seen / "run"):
            time.sleep(0.2)
        filler = small_disk.fill(seen)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 1 and not _left_over(pids), (out, err)
        assert err.startswith(f"error: {workdir}: No space left on device (") and "--resume" in err
        assert err.count("\n") == 1, err
        filler.unlink()
        experiment = run_folder.RunFolder(seen / "run").experiment()
        networks = networks_lib.make(grid_env.make(experiment.env).layout, experiment.team)
        restored, notes = checkpoint.Checkpoints(seen / "run", "newest").recover(networks)
        assert restored.version == restored.bundle.version == max(_saved(seen / "run"))
        assert not notes


def test_bad_input_ends_before_anything_starts(tmp_path, refusal):
    no_case = tmp_path / "no.m"
    no_case.write_text("hello")
    locked = tmp_path / "file"
    locked.write_text("")
    for flags, message in (
        (["--config=case41"], "did you mean --config=case14?"),
        (["--config.actor.batch=-4"], "--config.actor.batch=-4: must be a whole number from 1 to"),
        ([f"--config.env.case={no_case}"], "not a MATPOWER case file"),
        (["--config.env.case=case15"], "no case named 'case15'"),
        (["--config.env.time_series=chronic"], "--config.env.time_series=chronic: no such folder"),
        ([f"--workdir={locked}/run"], "cannot be written"),
        (["--config.actor.count=3", "--placement=cpu:a0-l0"], "places 1 actors"),
        (["--config.team.kind=centralized"], "did you mean centralised?"),
        (["--config.learner.learning_rat=1"], "Did you mean: config.learner.learning_rate"),
        (["--config.learner.epochs=many"], "--config.learner.epochs=many"),
        (["--bind=198.51.100.7"], "--bind=198.51.100.7: cannot be used"),
        (["--bind=0.0.0.0", "--private_network=true"], "--private_network=true: cannot be had"),
        (["--silence_limit_s=1"], "must be a number from 5 to 86400"),
        (["--resume"], "--resume needs"),
        (["--resume", f"--workdir={tmp_path}"], "no run here"),
    ):
        assert message in refusal("local", *flags)[1], flags
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "no.m"]


@pytest.mark.parametrize("what", ["nothing", "no checkpoint"])
def test_evaluate_names_what_is_missing(tmp_path, refusal, what):
    message = "no run here"
    if what == "no checkpoint":
        from configs import registry

        run_folder.RunFolder(tmp_path).create(registry.load("case14_ppo"))
        message = "checkpoints/newest: no such folder"
    assert message in refusal("evaluate", f"--workdir={tmp_path}")[1]
