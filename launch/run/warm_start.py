"""Where a run begins that does not begin from nothing: the best policy of another run.

It is copied into the run's own folder, so that the run can be resumed before its first checkpoint
whatever becomes of the other one.
"""

import dataclasses
import json
import os
from typing import Any, NamedTuple

from absl import logging

from agents import bundle as bundle_lib, grid_features, networks as networks_lib
from configs.experiment import Experiment
from envs import grid_env
from envs.inputs import bounds
from envs.step.layout import Layout
from evaluation import shared_files
from launch.run import run_folder
from learner import checkpoint

_KIND = "start"  # of checkpoint
# What decides which observations and controls there are.
_SITE = ("case", "fleet", "layout", "time_series")
# Fields of a team that its networks can be used without: what it is after, what it starts with.
_FREE = ("effective_horizon", "own_reward", "initial_std", "initial_switching")


class WarmStart(NamedTuple):
    """The policy, value function and statistics that a run begins with."""

    bundle: bundle_lib.Bundle
    record: dict[str, Any]  # whose they are, JSON

    def write(self, folder: run_folder.RunFolder) -> None:
        """Copies them into the folder of the run; raises OSError where that cannot be written."""
        copy = checkpoint.Checkpoints(folder.path, _KIND)
        copy.save(0, self.bundle, self.record, wait=True)
        text = json.dumps(self.record, indent=2) + "\n"
        shared_files.replace(folder.start, text.encode())

    def __str__(self) -> str:
        record = self.record
        return (
            f"{record['folder']}, {record['experiment']} after {record['update']:,} updates, "
            f"return {record['return']:.2f}"
        )


def read(path: str | os.PathLike, experiment: Experiment) -> WarmStart:
    """Returns the best policy of the run in the folder `path`, for `experiment` to begin with.

    Raises:
      ValueError: there is none, or it does not fit; the message names --start and what differs.
      OSError: what `experiment` names is not there.
    """
    logging.set_verbosity(logging.ERROR)  # Orbax tells every step of a restore, and of the copy.
    folder = run_folder.RunFolder(path)
    try:
        parent = folder.experiment()
        networks = networks_lib.make(
            _fitting_layout(parent, experiment), experiment.team,
            len(experiment.learner.limits_per_day),
        )  # fmt: skip
        best = checkpoint.Checkpoints(folder.path, "best", create=False).read(networks)
    except (run_folder.RunFolderError, checkpoint.CheckpointError, _MisfitError) as error:
        why = str(error).removeprefix(f"--workdir={folder.path}: ")
        raise ValueError(f"--start={path}: {why}") from error
    record = {
        "folder": str(folder.path), "experiment": parent.name, "update": best.version,
        "return": best.run["return"],
    }  # fmt: skip
    return WarmStart(best.bundle, record)


def kept(
    folder: run_folder.RunFolder, networks: networks_lib.TeamNetworks
) -> bundle_lib.Bundle | None:
    """Returns what the run in `folder` began with, or none where it began from nothing.

    Raises:
      checkpoint.CheckpointError: the copy cannot be read.
    """
    if not folder.start.exists():
        return None
    return checkpoint.Checkpoints(folder.path, _KIND, create=False).read(networks).bundle


class _MisfitError(Exception):
    """A policy is of another environment or team; the message says what differs."""


def _fitting_layout(parent: Experiment, experiment: Experiment) -> Layout:
    """Returns the layout of `experiment`; raises a misfit where `parent` has another, or team."""
    for field in dataclasses.fields(experiment.team):
        own, other = (getattr(each.team, field.name) for each in (experiment, parent))
        if own != other and field.name not in _FREE:
            text = ",".join(map(str, other)) if isinstance(other, tuple) else other
            raise _MisfitError(
                f"its networks are of another team than this run's; give team.{field.name}={text}, "
                "as it has"
            )
    ours = _layout(experiment)
    try:
        theirs = _layout(parent)
    except (ValueError, OSError) as error:
        raise _MisfitError(f"what its policy observes is not known any more: {error}") from error
    names = lambda layout: (layout.observation_names, layout.action_names)
    if experiment.team.encoder == "graph":
        if why := grid_features.misfit(theirs, ours):
            raise _MisfitError(
                f"its networks fit other grids, but {why}: {_described(parent.env, _SITE)} there "
                f"and {_described(experiment.env, _SITE)} here"
            )
    elif names(ours) != names(theirs):
        raise _MisfitError(
            f"its policy has {theirs.observation_size} observations and {theirs.action_size} "
            f"actions of {_described(parent.env, _SITE)}, and this run {ours.observation_size} and "
            f"{ours.action_size} of {_described(experiment.env, _SITE)}; they must be the same"
        )
    return ours


def _layout(experiment: Experiment) -> Layout:
    days = {"scenarios": "", "pool": ""}  # which days they are changes nothing
    return grid_env.check(dataclasses.replace(experiment.env, **days)).layout


def _described(options: Any, names: tuple[str, ...]) -> str:
    return ", ".join(f"env.{name}={bounds.as_text(getattr(options, name))}" for name in names)
