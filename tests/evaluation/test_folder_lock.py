"""One launcher at a time works in a run folder, and none beside nodes of an earlier one."""

import os
import pathlib
import subprocess
import sys
import time

import pytest

from launch.run import run_folder

ROOT = pathlib.Path(__file__).parents[2]
HOLD = "run_folder.RunFolder(sys.argv[1]).hold(print)"
HOLD_NODE = "run_folder.RunFolder(sys.argv[1]).hold_node('learner')"


@pytest.fixture
def start(tmp_path):
    """Starts a process that does something to the folder, says so, and stays for some seconds."""
    processes = []

    def start(program, seconds=60.0):
        process = subprocess.Popen(
            [sys.executable, "-c", "import sys, time; from launch.run import run_folder; "
             f"{program}; print('done', flush=True); time.sleep({seconds})", str(tmp_path)],
            cwd=ROOT, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.wait()


def test_a_second_launcher_is_refused_with_the_process_of_the_first(start, tmp_path):
    first = start(HOLD)
    assert first.stdout.readline() == "done\n"
    with pytest.raises(run_folder.RunFolderError) as refused:
        run_folder.RunFolder(tmp_path).hold(pytest.fail)
    message = str(refused.value)
    assert f"--workdir={tmp_path}" in message and f"(process {first.pid})" in message


def test_of_two_launchers_that_start_at_once_one_goes_on(start, tmp_path):
    program = f"""
import sys, time
from launch.run import run_folder
while time.time() < float(sys.argv[2]): pass
try: {HOLD}
except run_folder.RunFolderError as error: print(error, flush=True)
else: print('held', flush=True); time.sleep(60)
"""
    at = str(time.time() + 3.0)
    command = [sys.executable, "-c", program, str(tmp_path), at]
    both = [
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    try:
        said = {process.stdout.readline().strip(): process.pid for process in both}
    finally:
        for process in both:
            process.kill()
            process.wait()
    holder = said.pop("held")
    (message,) = said
    assert f"(process {holder})" in message or "(a process that is just starting)" in message


def test_the_folder_is_free_once_the_launcher_was_killed(start, tmp_path):
    first = start(HOLD)
    assert first.stdout.readline() == "done\n"
    first.kill()
    first.wait()
    run_folder.RunFolder(tmp_path).hold(pytest.fail)


def test_a_launcher_waits_for_nodes_of_an_earlier_launch(start, tmp_path):
    node = start(HOLD_NODE, seconds=2.0)
    assert node.stdout.readline() == "done\n"
    said = []
    run_folder.RunFolder(tmp_path).hold(said.append)
    assert node.wait(5) == 0
    assert said == [f"waiting for an earlier launch to end: learner (process {node.pid})"]


def test_nodes_that_do_not_end_are_named_and_the_folder_is_let_go(start, tmp_path, monkeypatch):
    monkeypatch.setattr(run_folder, "ENDING_SECONDS", 0.5)
    node = start(HOLD_NODE)
    assert node.stdout.readline() == "done\n"
    with pytest.raises(run_folder.RunFolderError, match=rf"learner \(process {node.pid}\); end"):
        run_folder.RunFolder(tmp_path).hold(lambda text: None)
    node.kill()
    node.wait()
    run_folder.RunFolder(tmp_path).hold(pytest.fail)


def test_a_node_does_not_begin_beside_another_of_its_name(start, tmp_path):
    node = start(HOLD_NODE)
    assert node.stdout.readline() == "done\n"
    with pytest.raises(run_folder.RunFolderError, match=f"process {node.pid}"):
        run_folder.RunFolder(tmp_path).hold_node("learner")
    run_folder.RunFolder(tmp_path).hold_node("actor_0")


def test_the_token_is_new_at_every_launch_and_for_its_user_alone(tmp_path):
    from configs import registry

    folder, experiment = run_folder.RunFolder(tmp_path), registry.load("case14_ppo")
    folder.create(experiment)
    first = folder.token()
    folder.begin_again(experiment)
    assert len(first) == len(folder.token()) == 64 and folder.token() != first
    assert os.stat(tmp_path / "token").st_mode & 0o777 == 0o600
