"""Checkpoints: what a policy needs, what a learner needs as well, and what the run was.

A checkpoint carries a digest of each of its parts, taken before they are written and compared when
they are read: a byte that a disk changes would otherwise give other parameters without a word.
"""

import contextlib
import errno
import itertools
import json
import os
import pathlib
import re
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, NamedTuple, TypedDict

import flax.serialization
import flax.traverse_util
import jax
import numpy as np
import orbax.checkpoint as ocp

from agents import bundle as bundle_lib, heads, networks as networks_lib
from envs.case import digest
from envs.inputs import bounds
from envs.inputs.bounds import Range

# What is read of the record of a run: how long it has learned, or how well it does.
_SCORED = TypedDict("Scored", {"return": Annotated[float, Range(-1e30, 1e30)]})
_RECORDS = {
    "newest": TypedDict(
        "Learned",
        {"steps": Annotated[int, Range(0, 1e18)], "seconds": Annotated[float, Range(0, 1e12)]},
    ),
    "best": _SCORED,
    "start": _SCORED,
}
# The newest, the best, and what a run began with; apart, so that keeping one costs no other.
KINDS = tuple(_RECORDS)
_CHECKSUMS = "checksums"  # the item that holds them; earlier versions wrote none
# A checkpoint may be replaced while it is read, by a run that goes on; then the next one is read.
_ATTEMPTS, _PAUSE_S = 10, 0.2


class CheckpointError(RuntimeError):
    """A checkpoint that is missing or cannot be read; the message names the folder."""


class Checkpoint(NamedTuple):
    """What was read of a checkpoint; every part is of the same version."""

    version: int
    bundle: bundle_lib.Bundle
    run: dict[str, Any]
    learner: Any | None


class Checkpoints:
    """Checkpoints of one kind in a run folder, by update."""

    def __init__(self, workdir: str | pathlib.Path, kind: str, keep: int = 2, create: bool = True):
        """Opens the folder.

        Args:
          workdir: folder of the run.
          kind: one of `KINDS`.
          keep: how many are kept.
          create: whether this process writes them: it makes the folder, and clears what saves that
            were killed have left. Other processes may only read.

        Raises:
          CheckpointError: the folder is not there, and is not to be made.
        """
        self._kind = kind
        self.folder = pathlib.Path(workdir).absolute() / "checkpoints" / kind
        if not create and not self.folder.is_dir():
            raise CheckpointError(
                f"{self.folder}: no such folder; give that of a run that has written a {kind} "
                "checkpoint"
            )
        self._manager = ocp.CheckpointManager(
            self.folder,
            options=ocp.CheckpointManagerOptions(
                max_to_keep=keep, create=create, cleanup_tmp_directories=create
            ),
            item_handlers={
                **{name: ocp.StandardCheckpointHandler() for name in ("policy", "learner")},
                **{name: ocp.JsonCheckpointHandler() for name in ("run", _CHECKSUMS)},
            },
        )
        self._writes = create

    def save(
        self,
        version: int,
        bundle: bundle_lib.Bundle,
        run: Mapping[str, Any],
        learner: Any | None = None,
        wait: bool = False,
    ) -> None:
        """Writes a checkpoint of `version` updates, in the background unless `wait`.

        `run` says how far the run is, as JSON; `learner` is what learning needs except the bundle.

        Raises:
          OSError: this checkpoint, or the one before it, cannot be written.
        """
        parts = {"policy": _to_host(bundle), "run": dict(run)}
        if learner is not None:
            parts["learner"] = _to_host(learner)
        items = {
            name: ocp.args.JsonSave(part) if name == "run" else ocp.args.StandardSave(part)
            for name, part in parts.items()
        }
        items[_CHECKSUMS] = ocp.args.JsonSave({n: _digest(n, part) for n, part in parts.items()})
        if not self.folder.is_dir():  # Orbax would make it again.
            raise FileNotFoundError(errno.ENOENT, "the folder was removed", str(self.folder))
        with self._writing():
            if version in self._manager.all_steps():
                # A resumed run has come to it by another way, or it is the last and was just begun.
                self._manager.wait_until_finished()
                self._manager.delete(version)
            self._manager.save(version, args=ocp.args.Composite(**items), force=True)
        if wait:
            self.wait()

    def wait(self) -> None:
        """Returns when every checkpoint is on the disk.

        Raises:
          OSError: one cannot be written.
        """
        with self._writing():
            self._manager.wait_until_finished()

    def any(self) -> bool:
        """Returns whether there is a checkpoint."""
        return self._manager.latest_step() is not None

    def version(self) -> int:
        """Returns the version to restore: the newest, or of the best the one of highest return.

        Raises:
          CheckpointError: there is none.
        """
        if not self._writes:
            self._manager.reload()
        versions = self._versions()
        if self._kind == "best":
            return max(versions, key=lambda version: self.run(version)["return"])
        return versions[-1]

    def _versions(self) -> list[int]:
        """Returns the versions that are there, the newest last.

        Raises:
          CheckpointError: there is none.
        """
        if versions := sorted(self._manager.all_steps()):
            return versions
        raise CheckpointError(f"{self.folder}: holds no finished checkpoint")

    def run(self, version: int) -> dict[str, Any]:
        """Returns what was written of the run.

        Raises:
          CheckpointError: it cannot be read, or is no such record.
        """
        return self._restore(version)["run"]

    def newest_run(self) -> dict[str, Any]:
        """Returns what was written of the run in the newest checkpoint whose record is sound.

        Raises:
          CheckpointError: there is none.
        """
        errors = []
        for version in reversed(self._versions()):
            try:
                return self.run(version)
            except CheckpointError as error:
                errors.append(error)
        raise errors[0]

    def read(self, networks: networks_lib.TeamNetworks, learner: Any | None = None) -> Checkpoint:
        """Returns the checkpoint that `version` tells, as host arrays.

        One that is replaced or removed meanwhile, by a run that goes on, is left for the next one.
        The learner's part is shaped like `learner`; without it, that part is not read.

        Raises:
          CheckpointError: it cannot be read, or is of another network than `networks`.
        """
        for _ in range(_ATTEMPTS):
            before = self._files()
            try:
                version = self.version()
                restored = self._read(version, networks, learner)
            except CheckpointError:
                if self._files() == before:
                    raise
            else:
                if self._files().get(version) == before.get(version):
                    return restored
            time.sleep(_PAUSE_S)
        raise CheckpointError(
            f"{self.folder}: its checkpoints were replaced {_ATTEMPTS} times while they were read; "
            "try again when the run has ended"
        )

    def recover(
        self, networks: networks_lib.TeamNetworks, learner: Any | None = None
    ) -> tuple[Checkpoint, list[str]]:
        """Returns the newest or best checkpoint that can be read, and what is wrong with others.

        Those are moved out of the way, into the folder `damaged` beside this one: only the process
        that writes checkpoints may call this. See `read` for the arguments.

        Raises:
          CheckpointError: none can be read; all stay where they are.
        """
        sound, damaged = {}, {}
        for version in reversed(self._versions()):
            try:
                sound[version] = self._read(version, networks, learner)
            except CheckpointError as error:
                damaged[version] = error
            else:
                if self._kind == "newest":
                    break
        if not sound:
            raise next(iter(damaged.values()))
        notes = [f"{error}; set aside as {self._set_aside(v)}" for v, error in damaged.items()]
        self._manager.reload()
        return sound[self.version()], notes

    def _read(self, version: int, networks, learner: Any | None) -> Checkpoint:
        like = bundle_lib.blank(networks)
        self._check_shapes(version, like)
        items = {"policy": ocp.args.StandardRestore(like)}
        if learner is not None:
            items["learner"] = ocp.args.StandardRestore(_to_host(learner))
        restored = self._restore(version, **items)
        return Checkpoint(version, restored["policy"], restored["run"], restored.get("learner"))

    def _set_aside(self, version: int) -> pathlib.Path:
        """Moves a checkpoint to where nobody reads it, and returns that place."""
        name = f"{self._kind}-{version}"
        names = itertools.chain([name], (f"{name}-{n}" for n in itertools.count(2)))
        places = (self.folder.parent / "damaged" / name for name in names)
        aside = next(place for place in places if not place.exists())
        aside.parent.mkdir(exist_ok=True)
        return (self.folder / str(version)).rename(aside)

    def _files(self) -> dict[int, dict[str, tuple[int, int]]]:
        """Returns which files each checkpoint consists of, to tell whether it was replaced."""
        names = os.listdir(self.folder) if self.folder.is_dir() else []
        return {
            int(name): {
                os.path.join(parent, file): _identity(os.path.join(parent, file))
                for parent, _, files in os.walk(self.folder / name)
                for file in (".", *files)
            }
            for name in names
            if name.isdigit()
        }

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Raises what the system said where a write fails: TensorStore only tells it in words."""
        try:
            yield
        except Exception as error:
            code = re.search(r"\[OS error (\d+):", str(error))
            if isinstance(error, OSError) or code is None:
                raise
            number = int(code[1])
            raise OSError(number, os.strerror(number), str(self.folder)) from error

    def _check_shapes(self, version: int, expected: Any) -> None:
        """Raises if the saved policy has other shapes: Orbax would cut or fill it silently."""
        try:
            with _late_reads_ignored():
                saved = self._manager.item_metadata(version)["policy"].tree
        except Exception as error:  # The folder is there, its description is not.
            raise self._unreadable(version, error) from error
        saved = {path: leaf.shape for path, leaf in _by_path(saved).items()}
        expected = {path: leaf.shape for path, leaf in _by_path(expected).items()}
        choice, known = (
            {path for path in paths if f"/{heads.BREAKER}/" in path} for paths in (expected, saved)
        )
        if choice and not known:
            raise CheckpointError(
                f"{self.folder / str(version)}: its policy has no probabilities of operating "
                f"breakers ({min(choice)} is missing): it is of a layout without the action block "
                "switch, or of a version that moved breakers by normal distributions, which this "
                "one does not read; train anew, or use the version that wrote it"
            )
        had, have = (_policies(paths) for paths in (saved, expected))
        if had != have:
            raise CheckpointError(
                f"{self.folder / str(version)}: is of another team: it has policies of "
                f"{', '.join(had) or 'nobody'}, and this one has those of {', '.join(have)}; give "
                "team.kind, case and fleet as the run had them"
            )
        for path in sorted(saved.keys() | expected.keys()):
            if saved.get(path) != expected.get(path):
                raise CheckpointError(
                    f"{self.folder / str(version)}: was made for another case, layout or network: "
                    f"{path} is {_shape(saved, path)} there and {_shape(expected, path)} here"
                )

    def _unreadable(self, version: int, error: Exception) -> CheckpointError:
        first_line = next(iter(str(error).strip().splitlines()), "")
        return CheckpointError(
            f"{self.folder / str(version)}: cannot be read, its files may be damaged: "
            + f"{type(error).__name__}: {first_line}"[:300]
        )

    def _restore(self, version: int, **items) -> dict[str, Any]:
        """Returns the run's record and `items`, once they are known to be what was written."""
        items["run"] = ocp.args.JsonRestore()
        if (self.folder / str(version) / _CHECKSUMS).is_dir():
            items[_CHECKSUMS] = ocp.args.JsonRestore()
        try:
            with _late_reads_ignored():
                restored = dict(self._manager.restore(version, args=ocp.args.Composite(**items)))
        except Exception as error:  # Orbax raises many kinds; all mean that this cannot be read.
            raise self._unreadable(version, error) from error
        if _CHECKSUMS in items:
            checksums = restored.pop(_CHECKSUMS)
            for name, part in restored.items():
                if checksums.get(name) != _digest(name, part):
                    raise CheckpointError(
                        f"{self.folder / str(version)}: its {name} is not what was saved (the "
                        "checksum differs): files there are damaged; use a copy, or another "
                        "checkpoint of the run"
                    )
        try:
            bounds.accept("", restored["run"], _RECORDS[self._kind])
        except ValueError as error:
            raise self._unreadable(version, error) from error
        return restored


@contextlib.contextmanager
def _late_reads_ignored() -> Iterator[None]:
    """Keeps the reads that are under way when one fails from printing a traceback each.

    They find that Orbax has closed the event loop. They may do so later, so the hook then stays.
    """
    former = sys.unraisablehook

    def hook(event) -> None:
        if str(event.exc_value) != "Event loop is closed":
            former(event)

    sys.unraisablehook = hook
    yield
    sys.unraisablehook = former


def _digest(name: str, part: Any) -> str:
    # Text counts in the run's record, which is JSON.
    return digest.hexdigest(np.array(json.dumps(part, sort_keys=True)) if name == "run" else part)


def _identity(path: str) -> tuple[int, int]:
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return 0, 0
    return status.st_ino, status.st_ctime_ns


def _to_host(tree: Any) -> Any:
    return jax.tree.map(np.array, tree)


def _by_path(tree: Any) -> dict[str, Any]:
    state = flax.serialization.to_state_dict(tree)
    return flax.traverse_util.flatten_dict(state, sep="/")


def _policies(paths: Iterable[str]) -> list[str]:
    """Returns whose policies there are among parameters."""
    parts = (path.split("/") for path in paths)
    return sorted({part[2] for part in parts if part[:2] == ["params", "policy"]})


def _shape(shapes: Mapping[str, tuple], path: str) -> str:
    return f"of shape {tuple(shapes[path])}" if path in shapes else "missing"
