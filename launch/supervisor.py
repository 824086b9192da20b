"""Starts a program's processes, watches them, and ends them all."""

from __future__ import annotations

import atexit
import contextlib
import io
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from launch import run_folder, storage

_POLL_S = 0.2
# From the request to stop until what still runs is killed. Left alone, Launchpad's processes kill
# themselves after ten seconds, without a word.
STOP_SECONDS = 9.0


class Outcome(NamedTuple):
    """How a run ended."""

    kind: str  # "finished", "interrupted" or "failed"
    node: str = ""  # the node that failed first
    how: str = ""  # what became of it
    killed: tuple[str, ...] = ()  # nodes that did not stop in time
    storage_error: int | None = None  # the system's number, where a node could not write


class Supervisor:
    """The processes of one program. Use it as a context; leaving it leaves no process behind."""

    def __init__(self, folder: run_folder.RunFolder):
        self._folder = folder
        self._processes: dict[str, subprocess.Popen] = {}
        self._interrupted = threading.Event()

    def __enter__(self) -> Supervisor:
        return self

    def __exit__(self, *_) -> None:
        self.stop()
        self._folder.clear()

    def start(self, program, resources: Mapping) -> None:
        """Has Launchpad start the program, each process logging to its own file."""
        # Where Launchpad and Reverb make temporary folders, which they leave behind when killed.
        self._folder.temporary.mkdir(exist_ok=True)
        tempfile.tempdir = os.environ["TMPDIR"] = str(self._folder.temporary)
        # Launchpad reads this variable when it is first imported.
        os.environ["LAUNCHPAD_LOGGING_DIR"] = str(self._folder.logs)
        import launchpad as lp
        from launchpad.launch.run_locally import launch_local_output_to_files as to_files

        to_files._LOGGING_DIR = str(self._folder.logs)
        with contextlib.redirect_stdout(io.StringIO()):  # It lists the log files.
            manager = lp.launch(
                program,
                launch_type=lp.LaunchType.LOCAL_MULTI_PROCESSING,
                terminal="output_to_files",
                local_resources=dict(resources),
            )
        # Launchpad's manager says neither which node failed nor how, so the processes are watched
        # here; its own handlers and its wait at exit step aside.
        atexit.unregister(manager.wait)
        for name in resources:
            self._processes[name] = manager._active_workers[f"{name}/0"][0]
            (self._folder.logs / name / "0").rename(self._folder.log(name))
            (self._folder.logs / name).rmdir()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: self._interrupted.set())

    def watch(self, refresh: Callable[[], None]) -> Outcome:
        """Returns when the run has ended and every process is gone.

        Args:
          refresh: called a few times a second, to show progress.
        """
        outcome = None
        while outcome is None:
            refresh()
            self._interrupted.wait(_POLL_S)
            outcome = self._check()
        killed = self.stop(refresh)
        refresh()
        for name, process in self._processes.items():
            number = storage.error_number(process.returncode)
            if number is not None:
                return Outcome("failed", name, killed=killed, storage_error=number)
        return outcome._replace(killed=killed)

    def stop(self, refresh: Callable[[], None] = lambda: None) -> tuple[str, ...]:
        """Asks every process to stop, kills those that do not in time, and returns their names."""
        for process in self._running().values():
            process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while self._running() and time.monotonic() < deadline:
            refresh()
            time.sleep(_POLL_S)
        late = self._running()
        for process in late.values():
            process.kill()
            process.wait()
        return tuple(late)

    def _running(self) -> dict[str, subprocess.Popen]:
        return {name: p for name, p in self._processes.items() if p.poll() is None}

    def _check(self) -> Outcome | None:
        """Returns how the run ended, or nothing while it goes on."""
        if self._folder.status("learner").get("outcome") == "finished":
            return Outcome("finished")
        if self._interrupted.is_set():
            return Outcome("interrupted")
        for name, process in self._processes.items():
            code = process.poll()
            if code is not None:
                return Outcome("failed", name, _describe(code))
        return None


def _describe(code: int) -> str:
    if code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"


def last_lines(folder: run_folder.RunFolder, node: str, count: int = 25) -> str:
    """Returns the end of a node's log."""
    try:
        lines = folder.log(node).read_text(errors="replace").splitlines()
    except OSError as error:
        return f"({error})"
    return "\n".join(lines[-count:])
