"""The folder of an evaluation: one small file for each batch of days, so that none is lost.

FOLDER/evaluation.json                          what is evaluated: options, split, seed, policy,
                                                and digests of grid, fleet and parameters
FOLDER/versions.json                            of controllers of the user's own, digests of files
FOLDER/lock                                     which process evaluates, while it does
FOLDER/results/peak-hard/mpc/000-024.json       metrics of 25 days
FOLDER/results/peak-hard/mpc/000-024.npz        what a report draws of them
"""

import io
import json
import os
import pathlib
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, NamedTuple, TypedDict

import numpy as np

from agents.baselines import shield
from envs import options
from envs.inputs import bounds, json_file
from evaluation import l2rpn, latency, metrics, shared_files

FORMAT = 4  # of the files; another one is another evaluation
# What differs in the files of earlier formats, of which only `report.compare` reads any.
_EARLIER = {3: "its files call a day `tape`, energised buses `alive` and PV buses `holds`"}

BOUND = "bound"  # in place of a controller: the least that days cost
_NOTED = ("commit", "platform")  # results may depend on them, but by rounding or on purpose

# How an evaluation differs whose options are the same, by the entry of its identity.
_CONTENT = {
    "grid": "on another grid: what the case file holds has changed since",
    "fleet": "with another fleet: what the fleet's file holds has changed since",
    "time_series": "of other recorded days: what the folder of chronics holds has changed since",
    "policy parameters": "of another policy: the checkpoint's parameters have changed since",
}


class Task(NamedTuple):
    """A controller in a scenario."""

    scenario: str
    level: str
    controller: str

    def __str__(self) -> str:
        """Returns what messages call it."""
        return f"{self.controller} in {self.scenario} ({self.level})"


class _Identity(TypedDict, total=False):
    environment: dict
    seed: Annotated[int, bounds.SEEDS]


class _Manifest(TypedDict):
    identity: _Identity
    about: dict


_Latency = TypedDict("_Latency", dict.fromkeys(latency.Latency._fields, float))


class _FirstBatch(TypedDict, total=False):
    latency: _Latency | None  # only the first batch has it


class _Batch(_FirstBatch):
    metrics: TypedDict("_Metrics", dict.fromkeys(metrics.METRICS, list[float]))
    endings: list[str]
    l2rpn: TypedDict("_Cost", dict.fromkeys(l2rpn.Cost._fields, list[float]))
    seconds: float


class _BoundMetrics(TypedDict):
    total_cost: list[float]
    operating_rows: list[list[float]]
    optimal_rows: list[float]


class _Bound(TypedDict):
    metrics: _BoundMetrics
    seconds: float
    seconds_per_row: float


class FolderError(RuntimeError):
    """The folder is of something else; the message names it and says what to do."""


class Folder:
    """The results of one evaluation."""

    def __init__(self, path: str | os.PathLike, say: Callable[[str], None] = lambda text: None):
        """Takes the folder, and what is called with messages about files that cannot be read."""
        self.path, self._say = pathlib.Path(path), say
        self._manifest = self.path / "evaluation.json"
        self._lock = shared_files.FolderLock(self.path / "lock")

    def hold(self) -> None:
        """Makes the folder, and keeps others from evaluating into it until `release`.

        Raises:
          FolderError: another one does, or the folder cannot be written.
        """
        writable(self.path)
        try:
            self._lock.acquire()
        except shared_files.HeldError as error:
            raise FolderError(
                f"{self.path}: another command is evaluating into it ({error}); wait until it is "
                "done, or give another folder with --out"
            ) from None

    def release(self) -> None:
        """Lets others evaluate into the folder that `hold` made; the end of a process does too."""
        self._lock.release()

    def open(self, identity: Mapping[str, Any], about: Mapping[str, Any]) -> None:
        """Makes the folder, or makes sure that it holds the same evaluation.

        Args:
          identity: what results depend on; a folder holds results of one.
          about: what else a reader wants to know: versions, commit, machine.

        Raises:
          FolderError: it holds another evaluation.
        """
        identity = _updated(json.loads(json.dumps({**identity, "format": FORMAT})))
        if self._manifest.exists():
            there = self.manifest()
            difference = _difference(there["identity"], identity)
            if difference:
                raise FolderError(
                    f"{self.path}: holds an evaluation {difference}; give another folder with "
                    "--out, or remove this one"
                )
            self._note(there["about"], about)
            command = about.get("command", "")
            if there["about"].get("command", "") != command:
                self._say(
                    f"{self.path}: its report becomes that of this command; what was played for "
                    "others before is kept"
                )
                there["about"]["command"] = command
                _write(self._manifest, {name: there[name] for name in ("identity", "about")})
            return
        self.path.mkdir(parents=True, exist_ok=True)
        _write(self._manifest, {"identity": identity, "about": about})

    def renew(self, versions: Mapping[str, str]) -> None:
        """Forgets the results of controllers that are another version than they were.

        `versions` are of the controllers that may change, by name.
        """
        path = self.path / "versions.json"
        try:
            there = dict(json_file.read(path, dict[str, str]))
        except (FileNotFoundError, json_file.JsonError):
            there = {}  # nothing is known of what there is
        for name, version in versions.items():
            shielded = [f"{name}{suffix}" for suffix in ("", shield.SUFFIX)]
            folders = [f for each in shielded for f in self.path.glob(f"results/*/{each}")]
            if there.get(name) != version and folders:
                for folder in folders:
                    shutil.rmtree(folder)
                self._say(f"{name} has changed since it was evaluated here; it is played again")
        if versions:
            _write(path, {**there, **versions})

    def _note(self, there: Mapping[str, Any], about: Mapping[str, Any]) -> None:
        for name in _NOTED:
            a, b = there.get(name), about.get(name)
            if a and b and a != b:
                self._say(f"{self.path}: was begun with {name} {a}, and goes on with {b}")

    def manifest(self) -> dict[str, Any]:
        """Returns what `open` wrote.

        Raises:
          FolderError: there is none, or it cannot be read.
        """
        try:
            manifest = json_file.read(self._manifest, _Manifest)
        except FileNotFoundError:
            raise FolderError(
                f"{self.path}: no evaluation here (no {self._manifest.name}); give a folder that "
                "`python -m launch.evaluate` wrote"
            ) from None
        except json_file.JsonError as error:
            raise FolderError(
                f"{error}; restore it, or evaluate into another folder with --out"
            ) from error
        try:
            return {**manifest, "identity": _updated(manifest["identity"])}
        except ValueError as error:
            raise FolderError(
                f"{self._manifest}: {error}, or evaluate into another folder with --out"
            ) from error

    def batch(self, task: Task, first: int, count: int) -> dict[str, Any] | None:
        """Returns the results of days `first` on, or none where they are yet to be played.

        A file that cannot be read is named, set aside as `….corrupt`, and counts as none.
        """
        path = self._path(task, first, count)
        if not path.exists():
            return None
        try:
            batch = json_file.read(path, _Bound if task.controller == BOUND else _Batch)
            _check(batch, count)
            return batch
        except ValueError as error:
            aside = path.with_suffix(".json.corrupt")
            path.replace(aside)
            self._say(
                f"{error}; set aside as {aside.name}, its {count} days are to be played again"
            )
            return None

    def save(
        self, task: Task, first: int, results: Mapping[str, Any], arrays: Mapping | None = None
    ) -> None:
        """Writes the results of a batch of days, whole or not at all."""
        count = len(next(iter(results["metrics"].values())))
        path = self._path(task, first, count)
        path.parent.mkdir(parents=True, exist_ok=True)
        if arrays is not None:
            packed = io.BytesIO()  # Not into the file: a full disk has zipfile print tracebacks.
            np.savez_compressed(packed, **arrays)
            shared_files.replace(path.with_suffix(".npz"), packed.getvalue())
        _write(path, results)

    def arrays(self, task: Task, first: int, count: int) -> dict[str, np.ndarray] | None:
        """Returns what a report draws of a batch, or none where it is not there or broken."""
        path = self._path(task, first, count).with_suffix(".npz")
        try:
            with np.load(path) as stored:
                return dict(stored)
        except FileNotFoundError:
            return None
        except (
            ValueError, OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error,
        ) as error:  # fmt: skip
            self._say(f"{path}: cannot be read ({error}); the report goes without it")
            return None

    def _path(self, task: Task, first: int, count: int) -> pathlib.Path:
        folder = self.path / "results" / f"{task.scenario}-{task.level}" / task.controller
        return folder / f"{first:03d}-{first + count - 1:03d}.json"


def worst(batches: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray] | None:
    """Returns of the arrays of batches those with the worst episode, or none where there are none.

    That is one that ended, the earliest; otherwise that with the most loaded branch.
    """
    steps = lambda arrays: arrays["counted"].sum() if arrays["reason"].any() else np.inf
    return min(batches, key=lambda a: (steps(a), -a["rho"].max()), default=None)


def _write(path: pathlib.Path, content: Mapping[str, Any]) -> None:
    shared_files.replace(path, (json.dumps(content, indent=1) + "\n").encode())


def writable(path: str | os.PathLike) -> pathlib.Path:
    """Makes a folder, and returns it if files can be written there.

    Raises:
      FolderError: they cannot.
    """
    path = pathlib.Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path).close()
    except OSError as error:
        raise FolderError(
            f"--out={path}: cannot be written ({error.strerror}); give a folder that you may write "
            "to"
        ) from error
    return path


def _check(batch: Mapping[str, Any], count: int) -> None:
    """Raises where the columns of a batch are not as long as it has days."""
    columns = {**batch["metrics"], **batch.get("l2rpn", {}), "endings": batch.get("endings")}
    for name, values in columns.items():
        if values is not None and len(values) != count:
            raise ValueError(f"{len(values)} values of {name} for {count} days")


def _updated(identity: Mapping[str, Any]) -> dict[str, Any]:
    """Returns an identity that this or an earlier version wrote, with the options of this one."""
    if "environment" not in identity:
        return dict(identity)
    return {**identity, "environment": options.of_any_version(identity["environment"])}


def _difference(there: Mapping[str, Any], requested: Mapping[str, Any]) -> str | None:
    """Returns how the identity of what is there differs from what is requested, in a line."""
    if there.get("format") != FORMAT:
        format = there.get("format")
        why = f" ({_EARLIER[format]}; --compare reads them)" if format in _EARLIER else ""
        return f"in format {format}{why}, and this version writes format {FORMAT}"
    names = dict.fromkeys(["environment", "grid", *sorted({*there, *requested})])
    for name in names:
        if there.get(name) != requested.get(name):
            path, a, b = _first(name, there.get(name), requested.get(name))
            return _CONTENT.get(path) or f"with {path} {a!r}, and {b!r} is requested"
    return None


def _first(name: str, there: Any, requested: Any) -> tuple[str, Any, Any]:
    """Returns the name and both values of the first entry in which two values differ."""
    if isinstance(there, dict) and isinstance(requested, dict):
        records = [*there.values(), *requested.values()]
        if there.keys() != requested.keys() and all(isinstance(each, dict) for each in records):
            return name, sorted(there), sorted(requested)
        for inner in sorted({*there, *requested}):
            if there.get(inner) != requested.get(inner):
                return _first(f"{name} {inner}", there.get(inner), requested.get(inner))
    return name, there, requested
