"""Checkpoints: what a policy needs, what a learner needs besides, and what the run was."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from typing import Annotated, Any, TypedDict

import flax.serialization
import flax.traverse_util
import jax
import numpy as np
import orbax.checkpoint as ocp

from agents import bundle as bundle_lib
from agents import networks as networks_lib
from envs import bounds
from envs.bounds import Range

# What is read of the record of a run: how long it has learned, or how well it does.
_RECORDS = {
    "newest": TypedDict("Learned", {"seconds": Annotated[float, Range(0, 1e12)]}),
    "best": TypedDict("Scored", {"return": Annotated[float, Range(-1e30, 1e30)]}),
}
KINDS = ("newest", "best")  # Kept apart, so that keeping the best never costs the newest.


class CheckpointError(RuntimeError):
    """A checkpoint that is missing or cannot be read; the message names the folder."""


class Checkpoints:
    """Checkpoints of one kind in a run folder, by update."""

    def __init__(self, workdir: str | pathlib.Path, kind: str, keep: int = 2, create: bool = True):
        self._kind = kind
        self.folder = pathlib.Path(workdir).absolute() / "checkpoints" / kind
        if not create and not self.folder.is_dir():
            raise CheckpointError(
                f"{self.folder}: no such folder; is --workdir the folder of a run that wrote a "
                f"{kind} checkpoint?"
            )
        self._manager = ocp.CheckpointManager(
            self.folder,
            options=ocp.CheckpointManagerOptions(max_to_keep=keep, create=create),
            item_handlers={
                "policy": ocp.StandardCheckpointHandler(),
                "learner": ocp.StandardCheckpointHandler(),
                "run": ocp.JsonCheckpointHandler(),
            },
        )

    def save(
        self,
        version: int,
        bundle: bundle_lib.Bundle,
        run: Mapping[str, Any],
        learner: Any | None = None,
        wait: bool = False,
    ) -> None:
        """Writes a checkpoint, in the background unless `wait`.

        Args:
          version: updates made.
          bundle: what acts.
          run: how far the run is, as JSON.
          learner: what learning needs besides the bundle; only learners have it.
          wait: return only when it is on the disk.
        """
        if version in self._manager.all_steps():
            # A resumed run has come to it by another way, or it is the last and was just begun.
            self.wait()
            self._manager.delete(version)
        items = {
            "policy": ocp.args.StandardSave(_to_host(bundle)),
            "run": ocp.args.JsonSave(dict(run)),
        }
        if learner is not None:
            items["learner"] = ocp.args.StandardSave(_to_host(learner))
        self._manager.save(version, args=ocp.args.Composite(**items), force=True)
        if wait:
            self.wait()

    def wait(self) -> None:
        """Returns when every checkpoint is on the disk."""
        self._manager.wait_until_finished()

    def any(self) -> bool:
        """Returns whether there is a checkpoint."""
        return self._manager.latest_step() is not None

    def version(self) -> int:
        """Returns the version to restore: the newest, or of the best the one of highest return.

        Raises:
          CheckpointError: there is none.
        """
        versions = self._manager.all_steps()
        if not versions:
            raise CheckpointError(f"{self.folder}: holds no finished checkpoint")
        if self._kind == "best":
            return max(versions, key=lambda version: self.run(version)["return"])
        return max(versions)

    def run(self, version: int) -> dict[str, Any]:
        """Returns what was written of the run.

        Raises:
          CheckpointError: it cannot be read, or is no such record.
        """
        record = self._restore(version, run=ocp.args.JsonRestore())["run"]
        try:
            bounds.accept("", record, _RECORDS[self._kind])
        except ValueError as error:
            raise self._unreadable(version, error) from error
        return record

    def policy(self, version: int, networks: networks_lib.TeamNetworks) -> bundle_lib.Bundle:
        """Returns the bundle as host arrays, whatever devices it was trained on.

        Raises:
          CheckpointError: it cannot be read, or is of another network than `networks`.
        """
        key = jax.random.PRNGKey(0)
        shape = jax.eval_shape(lambda: bundle_lib.initial(networks, key))
        self._check_shapes(version, shape)
        return self._restore(version, policy=ocp.args.StandardRestore(_host_like(shape)))["policy"]

    def learner(self, version: int, like: Any) -> Any:
        """Returns the learner's part, shaped like `like`."""
        shape = jax.eval_shape(lambda: like)
        return self._restore(version, learner=ocp.args.StandardRestore(_host_like(shape)))[
            "learner"
        ]

    def _check_shapes(self, version: int, wanted: Any) -> None:
        """Raises if the saved policy has other shapes: Orbax would cut or fill it silently."""
        try:
            found = self._manager.item_metadata(version)["policy"].tree
        except Exception as error:  # The folder is there, its description is not.
            raise self._unreadable(version, error) from error
        found = {path: leaf.shape for path, leaf in _by_path(found).items()}
        wanted = {path: leaf.shape for path, leaf in _by_path(wanted).items()}
        for path in sorted(found.keys() | wanted.keys()):
            if found.get(path) != wanted.get(path):
                raise CheckpointError(
                    f"{self.folder / str(version)}: was made for another case, layout or network: "
                    f"{path} is {_shape(found, path)} there and {_shape(wanted, path)} here"
                )

    def _unreadable(self, version: int, error: Exception) -> CheckpointError:
        return CheckpointError(
            f"{self.folder / str(version)}: cannot be read, its files may be damaged: "
            f"{_first_line(error)}"
        )

    def _restore(self, version: int, **items) -> Mapping[str, Any]:
        try:
            return self._manager.restore(version, args=ocp.args.Composite(**items))
        except Exception as error:  # Orbax raises many kinds; all mean that this cannot be read.
            raise self._unreadable(version, error) from error


def _to_host(tree: Any) -> Any:
    return jax.tree.map(np.array, tree)


def _host_like(shape: Any) -> Any:
    return jax.tree.map(lambda leaf: np.empty(leaf.shape, leaf.dtype), shape)


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else ''}"[
        :300
    ]


def _by_path(tree: Any) -> dict[str, Any]:
    state = flax.serialization.to_state_dict(tree)
    return flax.traverse_util.flatten_dict(state, sep="/")


def _shape(shapes: Mapping[str, tuple], path: str) -> str:
    return f"of shape {tuple(shapes[path])}" if path in shapes else "missing"
