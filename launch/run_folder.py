"""The folder of a run: its configuration, versions, logs, metrics, status and checkpoints."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import pathlib
import platform
import shutil
import sys
from collections.abc import Mapping
from typing import Any

from configs import shelf
from configs.experiment import Experiment

_PACKAGES = (
    "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "dm-launchpad-nightly", "dm-reverb",
    "tensorflow-cpu", "numpy",
)  # fmt: skip


class RunFolderError(RuntimeError):
    """The folder cannot be used; the message names it and says what to do."""


class RunFolder:
    """Paths and small files of one run."""

    def __init__(self, path: str | os.PathLike):
        self.path = pathlib.Path(path).absolute()
        self.config = self.path / "config.json"
        self.logs = self.path / "logs"
        self.tensorboard = self.path / "tensorboard"
        self.evaluation = self.path / "evaluation"
        self.temporary = self.path / "tmp"  # of the launch that is going on
        self._metrics = self.path / "metrics"
        self._status = self.path / "status"

    def log(self, node: str) -> pathlib.Path:
        """Returns the file that `node` logs to."""
        return self.logs / f"{node}.log"

    def metrics(self, node: str) -> pathlib.Path:
        """Returns the file of `node`'s metrics, one JSON object a line."""
        return self._metrics / f"{node}.jsonl"

    def exists(self) -> bool:
        """Returns whether there is a run in the folder; one that was removed is none."""
        return os.path.exists(self.config)

    def create(self, experiment: Experiment) -> None:
        """Makes the folder and writes what determines the run.

        Raises:
          RunFolderError: it already holds a run, or it cannot be written.
        """
        if self.config.exists():
            raise RunFolderError(
                f"--workdir={self.path}: holds a run already; give another folder, or --resume to "
                "continue it"
            )
        try:
            for folder in (self.path, self.logs, self.tensorboard, self._metrics, self._status):
                folder.mkdir(parents=True, exist_ok=True)
            self._write_versions()
            # Last, since it is what makes the folder a run's.
            _replace(self.config, shelf.to_json(experiment))
        except OSError as error:
            raise RunFolderError(
                f"--workdir={self.path}: cannot be written ({error.strerror}); give a folder that "
                "you may write to, on a disk with space left"
            ) from error

    def experiment(self) -> Experiment:
        """Returns the experiment of the run in this folder.

        Raises:
          RunFolderError: there is none, or its configuration cannot be read.
        """
        if not self.config.is_file():
            raise RunFolderError(
                f"--workdir={self.path}: no run here (no {self.config.name}); give the folder that "
                "`python -m launch.local` printed"
            )
        try:
            return shelf.from_json(self.config.read_text())
        except (TypeError, ValueError, OSError) as error:
            raise RunFolderError(f"{self.config}: cannot be read: {error}") from error

    def begin_again(self, experiment: Experiment) -> None:
        """Makes room for another launch; what nodes learned, measured and logged stays."""
        self.clear()
        _replace(self.config, shelf.to_json(experiment))
        for file in self._status.glob("*.json"):
            file.unlink()
        former = len(list(self.logs.glob("learner*.log"))) - 1
        for file in [path for path in self.logs.glob("*.log") if path.suffixes == [".log"]]:
            file.rename(file.with_suffix(f".{former}.log"))
        self._write_versions()

    def clear(self) -> None:
        """Removes what a launch needs only while it goes on; one that was killed leaves it."""
        shutil.rmtree(self.temporary, ignore_errors=True)

    def incarnation(self) -> int:
        """Returns how often the run was launched before this time, and counts this time."""
        file = self.path / "launches.json"
        launches = json.loads(file.read_text()) if file.is_file() else []
        launches.append(datetime.datetime.now().isoformat(timespec="seconds"))
        _replace(file, json.dumps(launches, indent=2) + "\n")
        return len(launches) - 1

    def write_status(self, node: str, status: Mapping[str, Any]) -> None:
        """Replaces what `node` says of itself; a reader sees the old or the new, never half."""
        _replace(self._status / f"{node}.json", json.dumps(dict(status)))

    def status(self, node: str) -> dict[str, Any]:
        """Returns what `node` last said of itself, empty if it has not spoken."""
        try:
            return json.loads((self._status / f"{node}.json").read_text())
        except FileNotFoundError:
            return {}

    def _write_versions(self) -> None:
        versions = {name: importlib.metadata.version(name) for name in _PACKAGES}
        machine = {
            "python": sys.version.split()[0],
            "platform": platform.platform(),
            "cores": os.cpu_count(),
        }
        _replace(
            self.path / "versions.json",
            json.dumps({**machine, "packages": versions}, indent=2) + "\n",
        )


def _replace(path: pathlib.Path, text: str) -> None:
    partial = path.with_suffix(".partial")
    try:
        partial.write_text(text)
    except OSError as error:  # It does not always name the file.
        raise OSError(error.errno, error.strerror, str(path)) from error
    partial.replace(path)
