"""The folder of a sweep: what is searched and how, Optuna's study, and the folder of each trial."""

import dataclasses
import importlib.metadata
import json
import os
import pathlib
import sys
from collections.abc import Mapping
from typing import Annotated, Any, TypedDict

from configs import registry
from configs.experiment import Experiment
from envs.inputs import bounds, json_file
from evaluation import shared_files
from launch import option_fields

_FORMAT = 1
_PACKAGES = ("optuna", "jax", "jaxlib", "numpy")
SEARCHES = ("tpe", "random", "grid")
TRIALS = bounds.Range(1, 100_000)


class FolderError(RuntimeError):
    """The folder cannot be used; the message names it and says what to do."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a sweep does; all but `trials` stays as it was begun."""

    config: str  # name of the experiment that flags were applied to
    experiment: Experiment  # what is held
    vary: tuple[str, ...]  # as `launch.sweep.space` reads it
    search: str  # one of SEARCHES
    trials: int
    seeds: tuple[int, ...]  # that every trial is trained with
    search_seed: int

    def flags(self, values: Mapping[str, Any]) -> list[str]:
        """Returns the flags of a trial with `values` by field, without its seeds."""
        held = option_fields.changed(registry.load(self.config), self.experiment)
        texts = {path: option_fields.as_text(value) for path, value in {**held, **values}.items()}
        return [f"--config={self.config}", *(f"--config.{p}={t}" for p, t in texts.items())]


class _File(TypedDict):
    format: int
    config: str
    experiment: dict
    vary: list[str]
    search: str
    trials: Annotated[int, TRIALS]
    seeds: Annotated[list[int], bounds.SEEDS]
    search_seed: Annotated[int, bounds.SEEDS]
    versions: dict[str, str]


class SweepFolder:
    """Paths and small files of one sweep."""

    def __init__(self, path: str | os.PathLike):
        self.path = pathlib.Path(path).absolute()
        self.study = self.path / "study.journal"
        self.table = self.path / "trials.csv"
        self._config = self.path / "sweep.json"

    def trial(self, number: int) -> pathlib.Path:
        """Returns the folder of a trial, whose first is 0; those of its seeds are in it."""
        return self.path / "trials" / f"{number + 1:03d}"

    def hold(self) -> None:
        """Keeps other sweeps out of this folder, which it makes, while this process lives.

        Raises:
          FolderError: another sweep works in it.
          OSError: it cannot be written.
        """
        try:
            shared_files.FolderLock(self.path / "locks" / "sweep").acquire()
        except shared_files.HeldError as error:
            raise FolderError(
                f"--workdir={self.path}: another sweep is using it ({error}); end that one first, "
                "or give another folder"
            ) from None

    def check_empty(self) -> None:
        """Raises FolderError if it holds a sweep already, or a run."""
        for file, what, remedy in (
            (self._config, "a sweep", ", or --resume to continue it"),
            (self.path / "config.json", "a run", ""),
        ):
            if os.path.exists(file):  # Not of pathlib, which fails where a name is too long.
                raise FolderError(
                    f"--workdir={self.path}: holds {what} already; give another folder{remedy}"
                )

    def write(self, plan: Plan) -> None:
        """Writes what the sweep does, and the versions that do it."""
        content = dataclasses.asdict(plan) | {
            "format": _FORMAT,
            "experiment": json.loads(registry.to_json(plan.experiment)),
            "versions": self._versions(),
        }
        shared_files.replace(self._config, (json.dumps(content, indent=2) + "\n").encode())

    def plan(self) -> Plan:
        """Returns what the sweep in this folder does.

        Raises:
          FolderError: there is none, or it cannot be read.
        """
        if not os.path.isfile(self._config):
            raise FolderError(
                f"--workdir={self.path}: no sweep here (no {self._config.name}); give the folder "
                "that `python -m launch.sweep` printed"
            )
        try:
            content: dict[str, Any] = json_file.read(self._config, _File)
            if content["format"] != _FORMAT or content["search"] not in SEARCHES:
                raise ValueError("another version wrote it")
            if not content["seeds"]:
                raise ValueError("seeds: names none")
            registry.load(content["config"])  # Its trials are begun from there.
            return Plan(
                content["config"], registry.build(content["experiment"]), tuple(content["vary"]),
                content["search"], content["trials"], tuple(content["seeds"]),
                content["search_seed"],
            )  # fmt: skip
        except (ValueError, OSError) as error:
            raise FolderError(f"{self._config}: cannot be read: {error}") from error

    @staticmethod
    def _versions() -> dict[str, str]:
        installed = {name: importlib.metadata.version(name) for name in _PACKAGES}
        return {"python": sys.version.split()[0], **installed}


def as_typed(path: pathlib.Path) -> str:
    """Returns a path as a user would type it."""
    here = pathlib.Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
