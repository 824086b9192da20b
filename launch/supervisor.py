"""Starts a program's processes, watches them, and ends them all."""

import atexit
import contextlib
import errno
import io
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from launch import silence as silence_lib
from launch.host import interrupt
from launch.run import run_folder, storage

_POLL_S = 0.2
# From the request to stop until what still runs is killed. Left alone, Launchpad's processes kill
# themselves after ten seconds, without a word.
STOP_SECONDS = 9.0
# The same for a node that has nothing to keep: it may be compiling, and then it does not answer.
_STOP_SECONDS_AT_START = 1.0
_LAST_LINES = 25  # of a log, that tell why a node failed
_TRACEBACK_S = 0.5  # what a hung node may take to write where it stands


class Outcome(NamedTuple):
    """How a run ended."""

    kind: str  # "finished", "interrupted" or "failed"
    node: str = ""  # the node that failed first
    how: str = ""  # what became of it
    killed: tuple[str, ...] = ()  # nodes that had something to keep and did not stop in time
    storage_error: int | None = None  # the system's number, where a node could not write


class Supervisor:
    """The processes of one program. Use it as a context; leaving it leaves no process behind."""

    def __init__(self, folder: run_folder.RunFolder, watch: silence_lib.Watch):
        self._folder, self._watch = folder, watch
        self._processes: dict[str, subprocess.Popen] = {}
        self._interrupted = threading.Event()

    def __enter__(self) -> "Supervisor":
        interrupt.call(self._interrupted.set)
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
        from launchpad.launch import worker_manager
        from launchpad.launch.run_locally import launch_local_output_to_files as to_files

        to_files._LOGGING_DIR = str(self._folder.logs)
        # Launchpad takes the signals over unless it finds that it has. They stay ours.
        numbers = (signal.SIGTERM, signal.SIGQUIT, signal.SIGINT, signal.SIGALRM, signal.SIGUSR1)
        worker_manager._SIGNAL_HANDLERS = {number: set() for number in numbers}
        with contextlib.redirect_stdout(io.StringIO()):  # It lists the log files.
            manager = lp.launch(
                program,
                launch_type=lp.LaunchType.LOCAL_MULTI_PROCESSING,
                terminal="output_to_files",
                local_resources=dict(resources),
            )
        # Launchpad's manager says neither which node failed nor how, so the processes are watched
        # here; its own wait at exit steps aside.
        atexit.unregister(manager.wait)
        for name in resources:
            self._processes[name] = manager._active_workers[f"{name}/0"][0]
            (self._folder.logs / name / "0").rename(self._folder.log(name))
            (self._folder.logs / name).rmdir()

    def watch(self, refresh: Callable[[], None]) -> Outcome:
        """Returns when the run has ended and every process is gone.

        `refresh` is called a few times a second, to show progress.
        """
        outcome = None
        while outcome is None:
            self._watch.look(self._folder.status)
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
        """Asks every process to stop and kills those that do not in time.

        Returns:
          Names of those that were killed although they may have had something to keep.
        """
        for process in self._running().values():
            process.send_signal(signal.SIGTERM)
        killed = []
        began = time.monotonic()
        while running := self._running():
            self._watch.look(self._folder.status)
            refresh()
            waited = time.monotonic() - began
            for name, process in running.items():
                keeps = self._keeps_something(name)
                if waited >= (STOP_SECONDS if keeps else _STOP_SECONDS_AT_START):
                    process.kill()
                    process.wait()
                    if keeps:
                        killed.append(name)
            time.sleep(_POLL_S)
        return tuple(killed)

    def _keeps_something(self, name: str) -> bool:
        """Returns whether a node may still have work to keep, as none has before an update."""
        if not self._folder.status("learner").get("run/updates"):
            return False
        return bool(self._folder.status(name).get("limited"))

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
        if not self._folder.exists():
            return Outcome("failed", storage_error=errno.ENOENT)
        for silence in self._watch.silences():
            if silence.seconds >= silence.limit_s:
                return self._end_silent(silence)
        return None

    def _end_silent(self, silence: silence_lib.Silence) -> Outcome:
        """Kills a silent node: what is stopped cannot hear, what hangs does not listen."""
        process = self._processes[silence.node]
        if silence.runs:
            process.send_signal(signal.SIGUSR2)  # It writes to its log where it stands.
            time.sleep(_TRACEBACK_S)
        process.kill()
        process.wait()
        what = str(silence).removeprefix(f"{silence.node} ")
        how = f"{what}; the limit is {silence.limit_s:.0f} s (--silence_limit_s)"
        return Outcome("failed", silence.node, how)


def _describe(code: int) -> str:
    if code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"


def last_lines(folder: run_folder.RunFolder, node: str) -> str:
    """Returns the end of a node's log."""
    try:
        lines = folder.log(node).read_text(errors="replace").splitlines()
    except OSError as error:
        return f"({error})"
    return "\n".join(lines[-_LAST_LINES:])
