"""Commands on runs as processes of their own, and what they leave."""

import os
import subprocess
import sys

from envs import grid_env
from launch.run import parts, run_folder
from learner import checkpoint


def done(module, *flags, cwd):
    """Returns the ended `python -m module`, on devices of its own choice."""
    environment = {k: v for k, v in os.environ.items() if k not in ("XLA_FLAGS", "JAX_PLATFORMS")}
    return subprocess.run(
        [sys.executable, "-m", module, *flags], capture_output=True, text=True, check=False,
        cwd=cwd, env=environment,
    )  # fmt: skip


def newest(folder):
    """Returns the version of the newest checkpoint of a run, and every array of its bundle."""
    experiment = run_folder.RunFolder(folder).experiment()
    networks = parts.networks(experiment, grid_env.make(experiment.env))
    restored, notes = checkpoint.Checkpoints(folder, "newest").recover(networks)
    assert not notes
    return restored.version, restored.bundle
