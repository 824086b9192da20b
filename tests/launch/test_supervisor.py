"""A supervisor ends what hangs, and what will not stop, and says so."""

import signal
import subprocess
import sys
import time

import pytest

from configs import registry
from launch import silence, supervisor
from launch.run import run_folder

NODE = """
import faulthandler, signal, sys, time
from launch.nodes import heartbeat
from launch.run import run_folder
signal.signal(signal.SIGTERM, signal.SIG_IGN if "deaf" in sys.argv[3] else signal.SIG_DFL)
faulthandler.register(signal.SIGUSR2)
heart = heartbeat.Heartbeat(run_folder.RunFolder(sys.argv[1]), sys.argv[2], lambda: False)
heart.report({"run/updates": 7})
if "compiles" in sys.argv[3]:
    heart.progress("compiling", limited=False)
    time.sleep(1000)
for _ in range(4):
    heart.progress("updating")
    time.sleep(0.5)
def stand_still():
    time.sleep(1000)
while True:
    heart.progress("updating")
    stand_still() if sys.argv[3] == "hang" else time.sleep(0.1)
"""


def _supervised(folder, watch, does):
    """Returns a supervisor of processes that do as their node's text in `does` says."""
    supervised = supervisor.Supervisor(folder, watch)
    for name, text in does.items():
        with folder.log(name).open("w") as log:
            supervised._processes[name] = subprocess.Popen(
                [sys.executable, "-c", NODE, str(folder.path), name, text], stderr=log
            )
    return supervised


@pytest.mark.parametrize("how", ["stop", pytest.param("hang", marks=pytest.mark.slow)])
def test_a_silent_process_is_killed_and_what_it_did_last_is_told(tmp_path, how):
    folder = run_folder.RunFolder(tmp_path)
    folder.create(registry.load("case14_ppo"))
    watch = silence.Watch(["learner", "actor_0"], 5.0)
    supervised = _supervised(folder, watch, {"learner": how, "actor_0": "work"})
    stop_at = time.monotonic() + 3
    stopped = False

    def refresh():
        nonlocal stopped
        if how == "stop" and not stopped and time.monotonic() > stop_at:
            supervised._processes["learner"].send_signal(signal.SIGSTOP)
            stopped = True

    try:
        began = time.monotonic()
        outcome = supervised.watch(refresh)
        assert time.monotonic() - began < 20
    finally:
        supervised.stop()
    assert (outcome.kind, outcome.node, outcome.killed) == ("failed", "learner", ())
    said = "silent" if how == "stop" else "stood still"
    assert said in outcome.how and "last updating; the limit is" in outcome.how
    assert not supervised._running()
    assert ("in stand_still" in folder.log("learner").read_text()) == (how == "hang")


def test_only_who_has_something_to_keep_is_waited_for_and_complained_about(tmp_path):
    folder = run_folder.RunFolder(tmp_path)
    folder.create(registry.load("case14_ppo"))
    does = {"learner": "works", "actor_0": "is deaf", "evaluator": "is deaf and compiles"}
    supervised = _supervised(folder, silence.Watch(does, 60.0), does)
    while not all(folder.status(name) for name in does) or (
        folder.status("evaluator")["doing"] != "compiling"
        or "run/updates" not in folder.status("learner")
    ):
        time.sleep(0.1)
    ended = {}
    began = time.monotonic()

    def refresh():
        for name in does.keys() - supervised._running().keys() - ended.keys():
            ended[name] = time.monotonic() - began

    assert supervised.stop(refresh) == ("actor_0",)
    assert not supervised._running()
    assert ended["evaluator"] < 5 and time.monotonic() - began >= supervisor.STOP_SECONDS
