"""The process that sends a run's metrics on: `python -m launch.loggers.forward FOLDER NAMES`.

It waits for a byte on its standard input, which says that the run begins, follows the metrics files
of the folder, and ends when the input is closed: by who started it, or by the end of that process,
however it ends. What was sent, and as which run, is in `loggers.json`: --resume goes on with it.
"""

import json
import os
import select
import signal
import sys
import time
import traceback
from typing import Any

from envs.inputs import json_file
from evaluation import shared_files
from launch.loggers import follow, trackers
from launch.run import run_folder

NOTES, LOG = "loggers.json", "loggers"

_POLL_S, _PATIENCE_S = 2.0, 30.0  # between two looks; after an error
_LAST_TRIES = 3
_ROWS = 200  # that are sent at once


def main(argv: list[str]) -> int:
    """Follows a run until its launcher ends; returns the exit code."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the launcher's, who then ends.
    path, names = argv[1:]
    if not os.read(0, 1):
        return 0  # There will be no run.
    folder = run_folder.RunFolder(path)
    log = os.open(folder.log(LOG), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, 1), os.dup2(log, 2)
    every = [_Sender(folder, name) for name in names.split(",")]
    going_on, wait_until = True, 0.0
    while going_on:
        ready, _, _ = select.select([0], [], [], _POLL_S)
        going_on = not (ready and not os.read(0, 1))
        if going_on and time.monotonic() >= wait_until and not all([e.send() for e in every]):
            wait_until = time.monotonic() + _PATIENCE_S
    outcome = folder.status("learner").get("outcome", "failed") if folder.exists() else "failed"
    return int(not all([each.end(outcome) for each in every]))


class _Sender:
    """Sends what is new to one tracker, and remembers what was sent."""

    def __init__(self, folder: run_folder.RunFolder, name: str):
        self._folder, self._name = folder, name
        self._file = folder.path / NOTES
        note = self._notes().get(name, {})
        self._known: str | None = note.get("run")
        self._read: dict[str, int] = dict(note.get("read", {}))
        self._tracker: trackers.Tracker | None = None

    def send(self) -> bool:
        """Sends what is new; returns whether it could."""
        try:
            for rows, read in follow.batches(self._folder, self._read, _ROWS):
                self._send(rows, read)
            return True
        except Exception:  # Whatever a tracker raises, the run goes on, and it is tried again.
            traceback.print_exc()
            sys.stderr.flush()
            return False

    def end(self, outcome: str) -> bool:
        """Sends what is left, trying a few times, and ends the tracker's run."""
        for attempt in range(_LAST_TRIES):
            time.sleep(attempt)
            if not self.send():
                continue
            try:
                if self._tracker is not None:
                    self._tracker.end(outcome)
                return True
            except Exception:
                traceback.print_exc()
        return False

    def _send(self, rows: list[follow.Row], read: dict[str, int]) -> None:
        if self._tracker is None:
            make = trackers.KINDS[self._name]
            self._tracker = make(self._folder, self._folder.experiment(), self._known)
            self._known = self._tracker.id
            self._note()
        self._tracker.send(rows)
        self._read = read
        self._note()

    def _note(self) -> None:
        notes = self._notes()
        notes[self._name] = {"run": self._known, "read": self._read}
        shared_files.replace(self._file, (json.dumps(notes, indent=2) + "\n").encode())

    def _notes(self) -> dict[str, Any]:
        return json_file.read(self._file, dict) if self._file.exists() else {}


if __name__ == "__main__":
    sys.exit(main(sys.argv))
