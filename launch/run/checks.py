"""What is looked at before a run begins or goes on; nothing is built or changed."""

import math

from absl import logging

from agents import teams
from configs.experiment import Experiment
from envs import grid_env
from envs.time_series import recorded
from launch.run import run_folder
from learner import checkpoint


def check_names(experiment: Experiment) -> None:
    """Raises ValueError or OSError where the experiment names what is not there."""
    environment = grid_env.check(experiment.env)
    recorded.require(environment.recorded, ("train", "validation"))
    teams.make(environment.layout, experiment.team)


def check_budget(folder: run_folder.RunFolder, experiment: Experiment) -> None:
    """Raises a ValueError if the run to continue has spent its budget; changes nothing."""
    if not (folder.path / "checkpoints" / "newest").is_dir():
        return  # It was ended before its first.
    logging.set_verbosity(logging.ERROR)  # Orbax tells every step of a restore.
    checkpoints = checkpoint.Checkpoints(folder.path, "newest", create=False)
    if not checkpoints.any():
        return
    try:
        former, run = checkpoints.newest_run(), experiment.run
    except checkpoint.CheckpointError as error:
        raise ValueError(f"--resume: {error}") from error
    steps, minutes = former["steps"], former["seconds"] / 60.0
    more = []
    if steps >= run.steps:
        more.append(f"--config.run.steps={steps + run.steps}")
    if minutes >= run.max_minutes:
        more.append(f"--config.run.max_minutes={math.ceil(minutes + run.max_minutes)}")
    if more:
        raise ValueError(
            f"--workdir={folder.path}: the run has come to its end, after {steps:,} of "
            f"{run.steps:,} steps and {minutes:.1f} of {run.max_minutes:g} minutes; to go on, add "
            f"{' '.join(more)}"
        )
