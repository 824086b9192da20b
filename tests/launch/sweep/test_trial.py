"""A trial in a process of its own: how it ends, is continued, or begun again."""

import sys
import threading
import time

import pytest

from configs import registry
from evaluation import shared_files
from launch.run import run_folder
from launch.sweep import folder as folder_lib, trial as trial_lib

# Stands in for `launch.fused`: leaves what it leaves, and ends as learner.epochs says.
FINISHES, WAITS, FAILS, IS_KILLED, WAITS_AND_CANNOT_GO_ON, SCORES_NOTHING = range(1, 7)
PROGRAM = """
import json, os, pathlib, signal, sys, time

flags = dict(each.lstrip("-").partition("=")[::2] for each in sys.argv[1:])
root = pathlib.Path(flags["workdir"])
print("flags", *sys.argv[1:], flush=True)
how = int(flags.get("config.learner.epochs") or (root / "how").read_text())
(root / "how").write_text(str(how))
seeds = ["3", "5"]
end = lambda text, code: (print(text, flush=True), os._exit(code))
status = lambda outcome: [
    (root / f"seed_{seed}" / "status" / "learner.json").write_text(json.dumps({"outcome": outcome}))
    for seed in seeds
]
for seed in seeds:
    for name in ("status", "metrics"):
        (root / f"seed_{seed}" / name).mkdir(parents=True, exist_ok=True)
    (root / f"seed_{seed}" / "config.json").write_text("{}")
if how == 3:
    end("error: 10 updates in a row were not finite", 1)
if how == 4:
    os.kill(os.getpid(), signal.SIGKILL)
if how == 5 and "resume" in flags:
    end("error: --workdir: the run has come to its end", 2)
begun = root.parent / "begun"
if how in (2, 5) and not begun.exists():
    begun.touch()
    signal.signal(signal.SIGINT, lambda *_: (status("interrupted"), end("interrupted", 0)))
    print("waiting", flush=True)
    while True:
        time.sleep(0.01)
for seed in seeds:
    rows = [{"step": step, "evaluation/return": int(seed) - abs(step - 2.0)} for step in (1, 2, 3)]
    text = "" if how == 6 else "\\n".join(map(json.dumps, rows))
    (root / f"seed_{seed}" / "metrics" / "evaluator.jsonl").write_text(text)
status("finished")
end("finished", 0)
"""


@pytest.fixture
def train(tmp_path):
    """Trains in `tmp_path/001`: `train(how, stop=…)`; `train.lines` is what was said."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    plan = folder_lib.Plan("case14", registry.load("case14"), (), "tpe", 1, (3, 5), 0)
    folder, lines = tmp_path / "001", []

    def run(how, stop=False):
        trainer = trial_lib.Trainer(plan, lines.append, (sys.executable, str(program)))
        if stop:
            threading.Thread(target=_stop_once_it_waits, args=(trainer, folder)).start()
        outcome = trainer.train(folder, {"learner.epochs": how})
        assert trainer.stopping == outcome.interrupted
        return outcome

    run.folder, run.lines = folder, lines
    return run


def _stop_once_it_waits(trainer, folder):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        log = folder / "train.log"
        if log.exists() and "waiting" in log.read_text():
            break
        time.sleep(0.01)
    trainer.stop()


def _launches(folder):
    lines = (folder / "train.log").read_text().splitlines()
    return [line for line in lines if line.startswith("flags")]


def test_a_trial_returns_the_best_of_each_seed(train):
    assert train(FINISHES) == trial_lib.Outcome((3.0, 5.0))
    (flags,) = _launches(train.folder)
    assert flags == (
        f"flags --config=case14 --config.learner.epochs=1 --seeds=3,5 --workdir={train.folder}"
    )


def test_what_is_finished_is_not_trained_again(train):
    assert train(FINISHES) == train(FINISHES)
    assert len(_launches(train.folder)) == 1


def test_an_interrupted_trial_is_continued(train):
    assert train(WAITS, stop=True) == trial_lib.Outcome(interrupted=True)
    assert train(WAITS) == trial_lib.Outcome((3.0, 5.0))
    assert ["--resume" in flags for flags in _launches(train.folder)] == [False, True]


def test_a_trial_that_cannot_be_continued_is_begun_again_and_said_to_be(train):
    assert train(WAITS_AND_CANNOT_GO_ON, stop=True).interrupted
    assert train(WAITS_AND_CANNOT_GO_ON).returns == (3.0, 5.0)
    assert ["--resume" in flags for flags in _launches(train.folder)] == [False]
    assert train.lines == ["  begun again: error: --workdir: the run has come to its end"]


def test_a_trial_that_ends_by_itself_with_an_error_has_failed_with_its_message(train):
    assert train(FAILS) == trial_lib.Outcome(note="10 updates in a row were not finite")


def test_a_trial_that_is_killed_has_failed(train):
    assert train(IS_KILLED) == trial_lib.Outcome(note="killed by SIGKILL")


def test_a_trial_without_a_finite_return_has_failed(train):
    assert "finite" in train(SCORES_NOTHING).note


def test_a_trial_that_another_process_trains_is_left_to_it(train):
    assert train(WAITS, stop=True).interrupted
    lock = shared_files.FolderLock(train.folder / "seed_5" / "locks" / "launcher")
    lock.acquire()
    with pytest.raises(run_folder.RunFolderError, match="another launch is using it"):
        train(WAITS)
    lock.release()
    assert train(WAITS).returns
