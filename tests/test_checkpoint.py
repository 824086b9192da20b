"""Checkpoints: what was saved comes back, and what cannot be read is named."""

import jax
import numpy as np
import pytest

from agents import bundle as bundle_lib
from agents import networks as networks_lib
from agents.options import TeamOptions
from learner import checkpoint


@pytest.fixture
def saved(tmp_path, networks, key):
    bundle = bundle_lib.initial(networks, key)
    bundle = bundle.replace(version=np.int32(7))
    checkpoints = checkpoint.Checkpoints(tmp_path, "newest")
    learner = {"key": np.arange(2, dtype=np.uint32), "bad_updates": np.int32(1)}
    checkpoints.save(7, bundle, {"steps": 3_000_000_000, "seconds": 1.0}, learner, wait=True)
    return tmp_path, bundle, learner


def test_round_trip(saved, networks):
    folder, bundle, learner = saved
    again = checkpoint.Checkpoints(folder, "newest", create=False)
    assert again.version() == 7 and again.run(7) == {"steps": 3_000_000_000, "seconds": 1.0}
    jax.tree.map(np.testing.assert_array_equal, again.policy(7, networks), bundle)
    jax.tree.map(np.testing.assert_array_equal, again.learner(7, learner), learner)


def test_kinds_are_apart_and_the_newest_are_kept(tmp_path, networks, key):
    bundle = bundle_lib.initial(networks, key)
    newest = checkpoint.Checkpoints(tmp_path, "newest", keep=2)
    best = checkpoint.Checkpoints(tmp_path, "best", keep=1)
    best.save(1, bundle, {"return": 5.0}, wait=True)
    for version in range(1, 5):
        newest.save(version, bundle, {"seconds": 1.0}, wait=True)
    assert sorted(p.name for p in newest.folder.iterdir() if p.name.isdigit()) == ["3", "4"]
    assert best.version() == 1


def test_the_best_is_the_one_of_highest_return_not_of_highest_version(tmp_path, networks, key):
    bundle = bundle_lib.initial(networks, key)
    best = checkpoint.Checkpoints(tmp_path, "best")
    for version, score in ((500, -5.0), (490, -1.0)):
        best.save(version, bundle, {"return": score}, wait=True)
    again = checkpoint.Checkpoints(tmp_path, "best", create=False)
    assert again.version() == 490
    best.save(490, bundle, {"return": -0.5}, wait=True)
    assert checkpoint.Checkpoints(tmp_path, "best", create=False).run(490) == {"return": -0.5}


def test_a_version_that_is_still_being_written_can_be_written_again(tmp_path, networks, key):
    bundle = bundle_lib.initial(networks, key)
    newest = checkpoint.Checkpoints(tmp_path, "newest")
    for version in range(3):
        newest.save(version, bundle, {"seconds": 1.0})
        newest.save(version, bundle, {"seconds": 2.0}, wait=True)
        again = checkpoint.Checkpoints(tmp_path, "newest", create=False)
        assert again.version() == version and again.run(version) == {"seconds": 2.0}


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(checkpoint.CheckpointError, match="checkpoints/newest: no such folder"):
        checkpoint.Checkpoints(tmp_path, "newest", create=False)


def test_an_empty_folder_is_named(tmp_path):
    checkpoints = checkpoint.Checkpoints(tmp_path, "newest")
    assert not checkpoints.any()
    with pytest.raises(checkpoint.CheckpointError, match="holds no finished checkpoint"):
        checkpoints.version()


def test_damage_is_named(saved, networks):
    folder, *_ = saved
    step = folder / "checkpoints" / "newest" / "7" / "policy"
    for file in step.rglob("*"):
        if file.is_file():
            file.write_bytes(b"not what was written")
    with pytest.raises(checkpoint.CheckpointError, match="newest/7: cannot be read"):
        checkpoint.Checkpoints(folder, "newest", create=False).policy(7, networks)


def test_another_network_is_refused(saved, env):
    folder, *_ = saved
    wider = networks_lib.make(env.layout, TeamOptions(policy_layers=(32,), value_layers=(32,)))
    with pytest.raises(checkpoint.CheckpointError, match="another case, layout or network"):
        checkpoint.Checkpoints(folder, "newest", create=False).policy(7, wider)
