"""The folder of a run: its configuration, versions, logs, metrics, status and checkpoints."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import pathlib
import platform
import sys
from collections.abc import Mapping
from typing import Any

from configs import shelf
from configs.experiment import Experiment
from envs import json_file

_LAUNCHES = "launches.json"
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
        self._metrics = self.path / "metrics"
        self._status = self.path / "status"

    def log(self, node: str) -> pathlib.Path:
        """Returns the file that `node` logs to."""
        return self.logs / f"{node}.log"

    def metrics(self, node: str) -> pathlib.Path:
        """Returns the file of `node`'s metrics, one JSON object a line."""
        return self._metrics / f"{node}.jsonl"

    def create(self, experiment: Experiment) -> None:
        """Makes the folder and writes what determines the run.

        Raises:
          RunFolderError: it already holds a run, or it cannot be written.
        """
        if os.path.exists(self.config):  # Not of pathlib, which fails where a name is too long.
            raise RunFolderError(
                f"--workdir={self.path}: holds a run already; give another folder, or --resume to "
                "continue it"
            )
        try:
            for folder in (self.path, self.logs, self.tensorboard, self._metrics, self._status):
                folder.mkdir(parents=True, exist_ok=True)
            self.config.write_text(shelf.to_json(experiment))
            self._write_versions()
        except OSError as error:
            raise RunFolderError(
                f"--workdir={self.path}: cannot be written ({error.strerror}); give a folder that "
                "you may write to"
            ) from error

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
            return shelf.build(json_file.contents(self.config))
        except (ValueError, OSError) as error:
            raise RunFolderError(f"{self.config}: cannot be read: {error}") from error

    def begin_again(self, experiment: Experiment) -> None:
        """Makes room for another launch; what nodes learned, measured and logged stays.

        Raises:
          JsonError: it is not known how often the run was launched; nothing has changed then.
          OSError: a file cannot be written.
        """
        self._launches()
        self.config.write_text(shelf.to_json(experiment))
        for file in self._status.glob("*.json"):
            file.unlink()
        former = len(list(self.logs.glob("learner*.log"))) - 1
        for file in [path for path in self.logs.glob("*.log") if path.suffixes == [".log"]]:
            file.rename(file.with_suffix(f".{former}.log"))
        self._write_versions()

    def incarnation(self) -> int:
        """Returns how often the run was launched before this time, and counts this time."""
        launches = [*self._launches(), datetime.datetime.now().isoformat(timespec="seconds")]
        (self.path / _LAUNCHES).write_text(json.dumps(launches, indent=2) + "\n")
        return len(launches) - 1

    def _launches(self) -> list[str]:
        file = self.path / _LAUNCHES
        return json_file.read(file, list[str]) if file.exists() else []

    def write_status(self, node: str, status: Mapping[str, Any]) -> None:
        """Replaces what `node` says of itself; a reader sees the old or the new, never half."""
        _replace(self._status / f"{node}.json", json.dumps(dict(status)))

    def status(self, node: str) -> dict[str, Any]:
        """Returns what `node` last said of itself, empty if it has not spoken.

        Raises:
          JsonError: the file holds something else.
        """
        try:
            return json_file.read(self._status / f"{node}.json", dict)
        except FileNotFoundError:
            return {}

    def _write_versions(self) -> None:
        versions = {name: importlib.metadata.version(name) for name in _PACKAGES}
        machine = {
            "python": sys.version.split()[0],
            "platform": platform.platform(),
            "cores": os.cpu_count(),
        }
        (self.path / "versions.json").write_text(
            json.dumps({**machine, "packages": versions}, indent=2) + "\n"
        )


def _replace(path: pathlib.Path, text: str) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(text)
    partial.replace(path)
