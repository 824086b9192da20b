"""Trains the trials of a sweep, each by `launch.fused` in a process of its own."""

import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from envs.inputs import exit_codes
from evaluation.report import curve
from launch.run import run_folder
from launch.sweep import folder as folder_lib

_FUSED = (sys.executable, "-m", "launch.fused")
_LOG = "train.log"
_POLL_S = 0.2
_TAIL = 4096  # bytes


class Outcome(NamedTuple):
    """What became of a trial."""

    returns: tuple[float, ...] = ()  # each seed's best on validation days; none unless it finished
    note: str = ""  # why it failed
    interrupted: bool = False  # it can be continued


class Trainer:
    """Trains one trial after another; `stop` ends the one that is going on."""

    def __init__(
        self, plan: folder_lib.Plan, say: Callable[[str], None], command: Sequence[str] = _FUSED
    ):
        """Takes what is held, what is told lines of progress, and what takes a trial's flags."""
        self._plan, self._say, self._fused = plan, say, command
        self.watch: Callable[[str], None] = lambda line: None  # told the newest line of a trial
        self.stopping = False

    def stop(self) -> None:
        """Has the trial that is going on keep a checkpoint and end, and no other begin."""
        self.stopping = True

    def train(self, folder: pathlib.Path, values: Mapping[str, Any]) -> Outcome:
        """Trains with `values` by field, or goes on with what is in `folder`.

        Raises:
          RunFolderError: another process trains there.
          OSError: the folder cannot be written.
        """
        runs = [run_folder.of_seed(folder, seed) for seed in self._plan.seeds]
        if not all(map(_finished, runs)):
            code = self._train(folder, runs, values)
            if code == exit_codes.OK and not all(map(_finished, runs)):
                code = exit_codes.INTERRUPTED
            if code != exit_codes.OK and (self.stopping or code == exit_codes.INTERRUPTED):
                self.stopping = True  # Whoever ended the trial meant the sweep.
                return Outcome(interrupted=True)
            if code != exit_codes.OK:
                return Outcome(note=_failure(folder / _LOG, code))
        curves = [curve.read(run.path) for run in runs]
        if None in curves:
            return Outcome(note="no return on validation days was a finite number")
        return Outcome(tuple(max(points["return"]) for points in curves))

    def _train(self, folder: pathlib.Path, runs: list[run_folder.RunFolder], values) -> int:
        if all(run.exists() for run in runs):
            for run in runs:
                run.check_free()
            code = self._run(folder, "--resume")
            if code != exit_codes.USAGE:
                return code
            self._say(f"  begun again: {_last_line(folder / _LOG)}")
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
        seeds = ",".join(map(str, self._plan.seeds))
        return self._run(folder, *self._plan.flags(values), f"--seeds={seeds}")

    def _run(self, folder: pathlib.Path, *flags: str) -> int:
        """Runs `launch.fused` until it ends, or is told to; returns its exit code."""
        command = [*self._fused, *flags, f"--workdir={folder}"]
        with (folder / _LOG).open("ab") as log:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        told = False
        while process.poll() is None:
            if self.stopping and not told:
                process.send_signal(signal.SIGINT)
                told = True
            self.watch(_last_line(folder / _LOG))
            time.sleep(_POLL_S)
        return process.returncode


def _finished(run: run_folder.RunFolder) -> bool:
    return run.exists() and run.status("learner").get("outcome") == "finished"


def _failure(log: pathlib.Path, code: int) -> str:
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return _last_line(log).removeprefix("error: ") or f"exit code {code}"


def _last_line(path: pathlib.Path) -> str:
    """Returns the last line of a log that says something; nothing where there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:  # The folder was removed; the process in it ends by itself.
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
