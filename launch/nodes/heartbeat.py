"""What a node says of itself twice a second: what its loop does, and its newest figures."""

import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from absl import logging

from launch.run import run_folder

_PERIOD_S = 0.5


class Heartbeat:
    """Writes a node's status from a thread of its own, so that it goes on while the loop works.

    Who reads the status (`launch.silence`) tells two things from it: whether the process runs, as
    `time` changes, and whether its loop moves, as `progress` does.
    """

    def __init__(
        self, folder: run_folder.RunFolder, node: str, stop_requested: Callable[[], bool],
        loop: bool = True,
    ):  # fmt: skip
        """Writes the first status and starts the thread.

        A node without a `loop` of its own, which tells of its progress, only serves others, and
        moves as long as its process does.
        """
        self._folder, self._node, self._loop = folder, node, loop
        self._stop_requested = stop_requested
        self._doing, self._limited = ("starting", False) if loop else ("serving", True)
        self._since, self._progress = time.time(), 0
        self._figures: dict[str, Any] = {}
        self._stopped = threading.Event()
        self._write("running")
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self._thread.start()

    def progress(self, doing: str, limited: bool = True) -> None:
        """Says that the loop moves, and what it does now.

        Args:
          doing: what it does, as in "waiting for data".
          limited: whether it may be taken for hung if this goes on for long. Compilation may not.
        """
        self._progress += 1
        self._limited = limited
        if doing != self._doing:
            self._doing, self._since = doing, time.time()

    def beat(self) -> None:
        """Says that the loop moves, and does what it did."""
        self._progress += 1

    def stopping(self) -> bool:
        """Returns whether to stop. A loop that asks again and again moves, even where it waits."""
        self.beat()
        return self._stop_requested()

    def report(self, figures: Mapping[str, Any]) -> None:
        """Replaces the node's figures."""
        self._figures = {**figures, "reported": time.time()}

    def end(self, **figures) -> None:
        """Says that the node's work is done, with last figures; nothing is written any more."""
        self._stopped.set()
        self._thread.join()
        self._figures = {**self._figures, **figures}
        self._write("ended")

    def _run(self) -> None:
        complaint = ""
        while not self._stopped.wait(_PERIOD_S):
            if not self._loop:
                self.beat()
            try:
                self._write("running")
            except OSError as error:  # A full disk, perhaps for a moment.
                if str(error) != complaint:
                    complaint = str(error)
                    logging.error("%s: its status cannot be written: %s", self._node, error)

    def _write(self, state: str) -> None:
        self._folder.write_status(
            self._node,
            {
                **self._figures, "state": state, "pid": os.getpid(), "time": time.time(),
                "doing": self._doing, "since": self._since, "limited": self._limited,
                "progress": self._progress,
            },
        )  # fmt: skip
