"""The policies that ship can be read, and do what they are there to show."""

import pathlib
import types

import jax
import numpy as np
import pytest

from evaluation import episodes
from launch import evaluation_request
from launch.run import run_folder

FOLDERS = sorted(pathlib.Path(__file__).parents[2].glob("configs/trained/*"))


def request(folder, *controllers):
    flags = types.SimpleNamespace(
        controllers=list(controllers), scenarios=["normal"], level=["easy"], episodes=2,
        split="test", seed=0, bound=False, case=None, fleet=None, layout=None, env=[], team=None,
        checkpoint=None, out=None,
    )  # fmt: skip
    return evaluation_request.from_flags(flags, [run_folder.RunFolder(folder)])


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_policies_that_ship_are_small_and_read(folder):
    files = [path for path in folder.rglob("*") if "evaluation" not in path.parts]
    assert sum(path.stat().st_size for path in files) < 2_000_000
    asked = request(folder, "learned")
    assert asked.identity["policy"]["update"] > 0 and "the best checkpoint" in asked.restored


@pytest.mark.slow
@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_policies_that_ship_are_cheaper_than_dispatch_without_voltages(folder):
    asked = request(folder, "learned", "dcopf")
    days = episodes.held_out(asked.env, "test", 2, 0)
    player = episodes.Player(asked.env)
    rewards = {}
    for name in ("learned", "dcopf"):
        controller = asked.make(name)
        rewards[name] = np.asarray(player.play(controller, days).outcomes.reward).sum(0)
        controller.close()
    assert (rewards["learned"] > rewards["dcopf"]).all(), jax.tree.map(list, rewards)
