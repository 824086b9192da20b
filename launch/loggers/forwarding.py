"""Starts and ends the processes that send metrics to experiment trackers, for whoever trains.

One process follows one run folder, and nothing of a tracker is loaded where training goes on: its
threads, its network and its failures are that process's own.
"""

import subprocess
import sys
from collections.abc import Callable, Sequence

from launch.loggers import choice, forward
from launch.run import run_folder

_WAIT_S = 60.0  # for what is left to be sent, when the run has ended


class Forwarding:
    """What sends the metrics of some runs; of none, where no tracker is named."""

    def __init__(
        self,
        folders: Sequence[run_folder.RunFolder],
        names: Sequence[str],
        say: Callable[[str], None],
    ):
        """Starts the processes, which then wait for `begin`: the folders need not be there yet.

        A launcher that enters a network of its own starts them before, as trackers are outside.

        Raises:
          ValueError: there is no such tracker, or it is not installed.
        """
        names = choice.check(names)
        self._say, self._folders = say, list(folders) if names else []
        command = [sys.executable, "-m", forward.__name__]
        self._processes = [
            subprocess.Popen(
                [*command, str(folder.path), ",".join(names)], stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
            )
            for folder in self._folders
        ]  # fmt: skip

    def begin(self) -> None:
        """Has the folders followed, which are there now."""
        for process in self._processes:
            process.stdin.write(b"\n")
            process.stdin.flush()

    def close(self) -> None:
        """Waits for what is left to be sent, up to a minute, and says what could not be."""
        for process in self._processes:
            process.stdin.close()
        for folder, process in zip(self._folders, self._processes):
            log = folder.log(forward.LOG)
            try:
                code = process.wait(_WAIT_S)
            except subprocess.TimeoutExpired:
                self._say(f"metrics are still being sent, by process {process.pid}; see {log}")
                continue
            if code:
                self._say(
                    f"not every metric could be sent; {log} says why, and what is missing is sent "
                    "by --resume with the same --loggers"
                )
        self._processes = []
