"""The policies that ship can be read, and do what they are there to show."""

import pathlib

import jax
import numpy as np
import pytest
from support.evaluation_flags import flags

from evaluation import episodes
from launch import evaluation_request
from launch.run import run_folder

FOLDERS = sorted(pathlib.Path(__file__).parents[2].glob("configs/trained/*"))


def request(folder, *names):
    chosen = flags(controllers=list(names), bound=False)
    return evaluation_request.from_flags(chosen, [run_folder.RunFolder(folder)])


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_policies_that_ship_are_small_and_read(folder):
    files = [path for path in folder.rglob("*") if "evaluation" not in path.parts]
    assert sum(path.stat().st_size for path in files) < 2_000_000
    requested = request(folder, "learned")
    assert (
        requested.identity["policy"]["update"] > 0 and "the best checkpoint" in requested.restored
    )


@pytest.mark.slow
@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_policies_that_ship_are_cheaper_than_dispatch_without_voltages(folder):
    requested = request(folder, "learned", "dcopf")
    days = episodes.held_out(requested.env, "test", 2, 0)
    player = episodes.Player(requested.env)
    rewards = {}
    for name in ("learned", "dcopf"):
        controller = requested.make(name)
        rewards[name] = np.asarray(player.play(controller, days).outcomes.reward).sum(0)
        controller.close()
    assert (rewards["learned"] > rewards["dcopf"]).all(), jax.tree.map(list, rewards)
