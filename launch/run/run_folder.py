"""The folder of a run: its configuration, versions, logs, metrics, status and checkpoints.

One launcher at a time works in it. `locks/launcher` says which, `locks/NODE` which processes it has
started; the system frees a lock with the process that holds it.
"""

import contextlib
import dataclasses
import datetime
import importlib.metadata
import json
import os
import pathlib
import platform
import secrets
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from configs import registry
from configs.experiment import Experiment
from envs.inputs import json_file
from evaluation import shared_files

_LAUNCHES = "launches.json"
_SEED = "seed_"  # and its number: the folder of one of several seeds
_PACKAGES = (
    "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "dm-launchpad-nightly", "dm-reverb",
    "tensorflow-cpu", "numpy",
)  # fmt: skip

_LAUNCHER = "launcher"
_POLL_S = 0.2
# A node whose launcher has gone is asked to stop, and Launchpad kills it after ten seconds, which
# take twice as long while it compiles on a busy machine.
ENDING_SECONDS = 30.0


class RunFolderError(RuntimeError):
    """The folder cannot be used; the message names it and says what to do."""


class RunFolder:
    """Paths and small files of one run."""

    def __init__(self, path: str | os.PathLike):
        self.path = pathlib.Path(path).absolute()
        self.config = self.path / "config.json"
        self.start = self.path / "start.json"  # whose policy it began with, if anybody's
        self.logs = self.path / "logs"
        self.tensorboard = self.path / "tensorboard"
        self.evaluation = self.path / "evaluation"
        self.temporary = self.path / "tmp"  # of the launch that is going on
        self._metrics = self.path / "metrics"
        self._status = self.path / "status"
        self._locks = self.path / "locks"
        self._token = self.path / "token"
        self._lock: shared_files.FolderLock | None = None  # while this process holds it

    def log(self, node: str) -> pathlib.Path:
        """Returns the file that `node` logs to."""
        return self.logs / f"{node}.log"

    def metrics(self, node: str) -> pathlib.Path:
        """Returns the file of `node`'s metrics, one JSON object a line."""
        return self._metrics / f"{node}.jsonl"

    def hold(self, say: Callable[[str], None]) -> None:
        """Keeps other launchers out of this folder, which it makes, until `release`.

        Nodes of an earlier launch that are still ending may be writing a checkpoint: they are
        waited for, and `say` is told so in a line.

        Raises:
          RunFolderError: another launcher works in it, nodes do not end in time, or it cannot be
            written.
        """
        lock = self._acquired()
        deadline = time.monotonic() + ENDING_SECONDS
        said = False
        while running := self._held_by_nodes():
            if time.monotonic() > deadline:
                lock.release()
                raise RunFolderError(
                    f"--workdir={self.path}: still in use by an earlier launch, whose launcher has "
                    f"gone: {running}; end them with kill -9 PROCESS, or give another folder"
                )
            if not said:
                say(f"waiting for an earlier launch to end: {running}")
            said = True
            time.sleep(_POLL_S)
        self._lock = lock

    def release(self) -> None:
        """Lets others into the folder that this process holds; the end of a process does too."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def check_free(self) -> None:
        """Raises RunFolderError if another launcher works in this folder, which there is."""
        self._acquired().release()

    def _acquired(self) -> shared_files.FolderLock:
        lock = shared_files.FolderLock(self._locks / _LAUNCHER)
        try:
            lock.acquire()
        except shared_files.HeldError as error:
            raise RunFolderError(
                f"--workdir={self.path}: another launch is using it ({error}); end that one first "
                "(Ctrl-C, or kill PROCESS), or give another folder"
            ) from None
        except OSError as error:
            raise self._unwritable(error) from error
        return lock

    def hold_node(self, node: str) -> None:
        """Lets the next launcher see that `node` runs in this process, while it does.

        Raises:
          RunFolderError: there is a next launcher already.
        """
        try:
            shared_files.FolderLock(self._locks / node).acquire()
        except shared_files.HeldError as error:
            raise RunFolderError(f"{self.path}: another launch is using it ({error})") from None

    def _held_by_nodes(self) -> str:
        """Returns the nodes that run, each with its process, or nothing if none does."""
        held = []
        for file in sorted(self._locks.iterdir()):
            if file.name == _LAUNCHER:
                continue
            lock = shared_files.FolderLock(file)
            try:
                lock.acquire()
                lock.release()
            except shared_files.HeldError as error:
                held.append(f"{file.name} ({error})")
        return ", ".join(held)

    def exists(self) -> bool:
        """Returns whether there is a run in the folder; one that was removed is none."""
        return os.path.exists(self.config)  # Not of pathlib, which fails where a name is too long.

    def require_empty(self) -> None:
        """Raises a RunFolderError if there is a run in the folder."""
        if self.exists():
            raise RunFolderError(
                f"--workdir={self.path}: holds a run already; give another folder, or --resume to "
                "continue it"
            )

    def create(
        self, experiment: Experiment, fill: Callable[["RunFolder"], None] = lambda folder: None
    ) -> None:
        """Makes the folder and writes what determines the run; `fill` writes what else does.

        Raises:
          RunFolderError: it already holds a run, or it cannot be written.
        """
        self.require_empty()
        try:
            for folder in (self.path, self.logs, self.tensorboard, self._metrics, self._status):
                folder.mkdir(parents=True, exist_ok=True)
            self._write_token()
            self._write_versions()
            self.start.unlink(missing_ok=True)  # of a launch that was killed here
            fill(self)
            # Last, since it is what makes the folder a run's.
            shared_files.replace(self.config, registry.to_json(experiment).encode())
        except OSError as error:
            raise self._unwritable(error) from error

    def experiment(self) -> Experiment:
        """Returns the experiment of the run in this folder.

        Raises:
          RunFolderError: there is none, or its configuration cannot be read.
        """
        if not os.path.isfile(self.config):
            raise RunFolderError(
                f"--workdir={self.path}: no run here (no {self.config.name}); give the folder that "
                "`python -m launch.local` printed"
            )
        try:
            return registry.build(json_file.contents(self.config))
        except (ValueError, OSError) as error:
            raise RunFolderError(f"{self.config}: cannot be read: {error}") from error

    def begin_again(self, experiment: Experiment) -> None:
        """Makes room for another launch; what nodes learned, measured and logged stays.

        Raises:
          JsonError: it is not known how often the run was launched; nothing has changed then.
          OSError: a file cannot be written.
        """
        self._launches()
        self.clear()
        shared_files.replace(self.config, registry.to_json(experiment).encode())
        for file in self._status.glob("*.json"):
            file.unlink()
        former = len(list(self.logs.glob("learner*.log"))) - 1
        for file in [path for path in self.logs.glob("*.log") if path.suffixes == [".log"]]:
            file.rename(file.with_suffix(f".{former}.log"))
        self._write_token()
        self._write_versions()

    def clear(self) -> None:
        """Removes what a launch needs only while it goes on; one that was killed leaves it."""
        shutil.rmtree(self.temporary, ignore_errors=True)

    def incarnation(self) -> int:
        """Returns how often the run was launched before this time, and counts this time."""
        launches = [*self._launches(), datetime.datetime.now().isoformat(timespec="seconds")]
        self._write_json(_LAUNCHES, launches)
        return len(launches) - 1

    def _launches(self) -> list[str]:
        file = self.path / _LAUNCHES
        return json_file.read(file, list[str]) if file.exists() else []

    def token(self) -> str:
        """Returns what every call to this launch's variable server carries."""
        return self._token.read_text().strip()

    def write_status(self, node: str, status: Mapping[str, Any]) -> None:
        """Replaces what `node` says of itself; a reader sees the old or the new, never half."""
        shared_files.replace(self._status / f"{node}.json", json.dumps(dict(status)).encode())

    def status(self, node: str) -> dict[str, Any]:
        """Returns what `node` last said of itself, empty if it has not spoken.

        Raises:
          JsonError: the file holds something else.
        """
        try:
            return json_file.read(self._status / f"{node}.json", dict)
        except FileNotFoundError:
            return {}

    def _write_token(self) -> None:
        self._token.unlink(missing_ok=True)
        # Readable by this user alone from its first moment.
        descriptor = os.open(self._token, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(32) + "\n")

    def _unwritable(self, error: OSError) -> RunFolderError:
        return RunFolderError(
            f"--workdir={self.path}: cannot be written ({error.strerror}); give a folder that you "
            "may write to, on a disk with space left"
        )

    def _write_versions(self) -> None:
        versions = {}
        for name in _PACKAGES:
            # The library alone has no Launchpad, Reverb or TensorFlow.
            with contextlib.suppress(importlib.metadata.PackageNotFoundError):
                versions[name] = importlib.metadata.version(name)
        machine = {
            "python": sys.version.split()[0],
            "platform": platform.platform(),
            "cores": os.cpu_count(),
        }
        self._write_json("versions.json", {**machine, "packages": versions})

    def _write_json(self, name: str, content: Any) -> None:
        shared_files.replace(self.path / name, (json.dumps(content, indent=2) + "\n").encode())


def of_seed(root: pathlib.Path, seed: int) -> RunFolder:
    """Returns the folder of one of several seeds that are trained at once in `root`."""
    return RunFolder(root / f"{_SEED}{seed}")


def trained_in(root: str | os.PathLike) -> list[RunFolder]:
    """Returns the run in `root`, or those of all seeds that were trained at once there.

    Raises:
      RunFolderError: there is none, one cannot be read, or they differ by more than the seed.
    """
    root = pathlib.Path(root)
    folders = [RunFolder(root)]
    if not folders[0].exists():
        numbers = (path.name.removeprefix(_SEED) for path in root.glob(f"{_SEED}*"))
        seeds = sorted(int(number) for number in numbers if number.isdecimal())
        there = (of_seed(root, seed) for seed in seeds)
        folders = [folder for folder in there if folder.exists()] or folders
    first, *others = (folder.experiment() for folder in folders)
    for folder, experiment in zip(folders[1:], others):
        if dataclasses.replace(experiment, seed=first.seed) != first:
            raise RunFolderError(
                f"--workdir={root}: the options of {folder.path.name} are not those of "
                f"{folders[0].path.name}; give the folder of one of them"
            )
    return folders
