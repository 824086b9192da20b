"""Checkpoints: what was saved comes back, and what cannot be read is named."""

import dataclasses
import shutil

import jax
import numpy as np
import pytest

from agents import breakers, bundle as bundle_lib, networks as networks_lib, teams
from agents.options import TeamOptions
from envs import grid_env
from envs.options import EnvOptions
from learner import checkpoint

RUN = {"steps": 3_000_000_000, "seconds": 1.0}


@pytest.fixture
def saved(tmp_path, networks, key):
    bundle = bundle_lib.initial(networks, key)
    bundle = bundle.replace(version=np.int32(7))
    checkpoints = checkpoint.Checkpoints(tmp_path, "newest")
    moments = jax.random.normal(key, (64, 16))
    learner = {"key": np.arange(2, dtype=np.uint32), "optimiser": (np.asarray(moments), None)}
    checkpoints.save(7, bundle, RUN, learner, wait=True)
    return tmp_path, bundle, learner


def _same(a, b):
    return jax.tree.structure(a) == jax.tree.structure(b) and all(
        x.dtype == y.dtype and np.array_equal(x, y)
        for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b))
    )


def test_round_trip(saved, networks):
    folder, bundle, learner = saved
    again = checkpoint.Checkpoints(folder, "newest", create=False).read(networks, learner)
    assert again.version == 7 and again.run == RUN
    assert _same(again.bundle, bundle) and _same(again.learner, learner)


@pytest.mark.parametrize("flips", [3, pytest.param(40, marks=pytest.mark.slow)])
def test_a_flipped_bit_anywhere_is_named_or_changes_nothing(saved, networks, flips):
    folder, bundle, learner = saved
    rng = np.random.default_rng(0)
    outcomes = {"same": 0, "refused": 0, "other numbers": []}
    for file in (path for path in sorted(folder.rglob("*")) if path.is_file()):
        content = file.read_bytes()
        for position in rng.integers(len(content), size=flips):
            damaged = bytearray(content)
            damaged[position] ^= 1 << int(rng.integers(8))
            file.write_bytes(damaged)
            try:
                restored = checkpoint.Checkpoints(folder, "newest", create=False).read(
                    networks, learner
                )
            except checkpoint.CheckpointError as error:
                assert "newest/7: " in str(error) and "\n" not in str(error)
                outcomes["refused"] += 1
                continue
            same = _same((restored.bundle, restored.learner), (bundle, learner))
            if same and restored.run == RUN:
                outcomes["same"] += 1
            else:
                outcomes["other numbers"].append((str(file), int(position)))
        file.write_bytes(content)
    assert not outcomes["other numbers"] and outcomes["refused"] > outcomes["same"] / 4, outcomes


def test_a_checkpoint_of_an_earlier_version_has_no_checksums_and_is_read(saved, networks):
    folder, bundle, learner = saved
    shutil.rmtree(folder / "checkpoints" / "newest" / "7" / "checksums")
    again = checkpoint.Checkpoints(folder, "newest", create=False).read(networks, learner)
    assert _same(again.bundle, bundle) and again.run == RUN


def _damage(step):
    for file in step.rglob("*"):
        if file.is_file():
            file.write_bytes(b"not what was written")


def test_a_learner_goes_on_from_the_checkpoint_before_a_damaged_one(saved, networks):
    folder, bundle, learner = saved
    writer = checkpoint.Checkpoints(folder, "newest")
    writer.save(9, bundle.replace(version=np.int32(9)), RUN, learner, wait=True)
    _damage(writer.folder / "9" / "policy")
    writer = checkpoint.Checkpoints(folder, "newest")
    restored, notes = writer.recover(networks, learner)
    assert restored.version == 7 and restored.bundle.version == 7 and len(notes) == 1
    assert "newest/9: cannot be read" in notes[0] and "checkpoints/damaged/newest-9" in notes[0]
    assert (folder / "checkpoints" / "damaged" / "newest-9" / "policy").is_dir()
    # Otherwise the damaged one would stay the newest, and be kept in place of what follows.
    writer.save(8, bundle.replace(version=np.int32(8)), RUN, learner, wait=True)
    assert checkpoint.Checkpoints(folder, "newest", create=False).read(networks).version == 8


def test_checkpoints_that_are_all_damaged_stay_and_are_named(saved, networks):
    folder, *_ = saved
    _damage(folder / "checkpoints" / "newest" / "7" / "policy")
    with pytest.raises(checkpoint.CheckpointError, match="newest/7: cannot be read"):
        checkpoint.Checkpoints(folder, "newest").recover(networks)
    assert (folder / "checkpoints" / "newest" / "7").is_dir()


@pytest.mark.parametrize("kind", checkpoint.KINDS)
@pytest.mark.parametrize("successor", [2, 1])  # another version, or the same written again
def test_one_that_is_replaced_while_it_is_read_is_left_for_the_next(
    tmp_path, networks, key, monkeypatch, kind, successor
):
    bundle = bundle_lib.initial(networks, key)
    writer = checkpoint.Checkpoints(tmp_path, kind, keep=1)
    writer.save(1, bundle.replace(version=np.int32(1)), {**RUN, "return": 1.0}, wait=True)
    reader = checkpoint.Checkpoints(tmp_path, kind, create=False)
    before = reader._check_shapes

    def replaced_here(version, expected):
        before(version, expected)
        monkeypatch.undo()
        next_one = bundle.replace(version=np.int32(successor + 10))
        writer.save(successor, next_one, {**RUN, "return": 2.0}, wait=True)

    monkeypatch.setattr(reader, "_check_shapes", replaced_here)
    restored = reader.read(networks)
    assert restored.version == successor and restored.run == {**RUN, "return": 2.0}
    assert restored.bundle.version == successor + 10


def test_one_that_is_replaced_again_and_again_is_given_up(saved, networks, monkeypatch):
    folder, bundle, learner = saved
    writer = checkpoint.Checkpoints(folder, "newest")
    reader = checkpoint.Checkpoints(folder, "newest", create=False)
    before = reader._check_shapes

    def replaced(version, expected):
        before(version, expected)
        writer.save(version, bundle, RUN, learner, wait=True)

    monkeypatch.setattr(reader, "_check_shapes", replaced)
    with pytest.raises(checkpoint.CheckpointError, match="replaced 10 times .* run has ended"):
        reader.read(networks)


def test_what_a_killed_save_left_is_cleared_by_the_next_writer_alone(saved, networks):
    folder, bundle, learner = saved
    newest = folder / "checkpoints" / "newest"
    left = newest / "9.orbax-checkpoint-tmp"
    shutil.copytree(newest / "7", left)
    assert checkpoint.Checkpoints(folder, "newest", create=False).read(networks).version == 7
    assert left.is_dir()
    checkpoint.Checkpoints(folder, "newest").save(8, bundle, RUN, learner, wait=True)
    assert sorted(path.name for path in newest.iterdir()) == ["7", "8"]


def test_kinds_are_apart_and_the_newest_are_kept(tmp_path, networks, key):
    bundle = bundle_lib.initial(networks, key)
    newest = checkpoint.Checkpoints(tmp_path, "newest", keep=2)
    best = checkpoint.Checkpoints(tmp_path, "best", keep=1)
    best.save(1, bundle, {"return": 5.0}, wait=True)
    for version in range(1, 5):
        newest.save(version, bundle, RUN, wait=True)
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
        newest.save(version, bundle, RUN)
        newest.save(version, bundle, {**RUN, "seconds": 2.0}, wait=True)
        again = checkpoint.Checkpoints(tmp_path, "newest", create=False)
        assert again.version() == version and again.run(version) == {**RUN, "seconds": 2.0}


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
    _damage(folder / "checkpoints" / "newest" / "7" / "policy")
    with pytest.raises(checkpoint.CheckpointError, match="newest/7: cannot be read"):
        checkpoint.Checkpoints(folder, "newest", create=False).read(networks)


@pytest.mark.parametrize(
    "change, part",
    [
        (
            {"policy_layers": (32,)},
            r"policy/operator/Torso_0/Dense_0/bias is of shape \(16,\)",
        ),
        ({"value_layers": (16, 16)}, "value/operator/Torso_0/Dense_1/bias is missing there"),
        ({"activation": "silu"}, "policy/operator/SiluTorso/Dense_0/bias is missing there"),
        ({"activation": "relu"}, "policy/operator/ReluTorso/Dense_0/bias is missing there"),
        ({"layer_norm": True}, "policy/operator/Torso_0/LayerNorm_0/bias is missing there"),
    ],
)
def test_another_network_is_refused_by_what_differs(saved, env, change, part):
    folder, *_ = saved
    options = dataclasses.replace(TeamOptions(policy_layers=(16,), value_layers=(16,)), **change)
    other = networks_lib.make(env.layout, options)
    with pytest.raises(checkpoint.CheckpointError, match=f"another case, .* network: .*{part}"):
        checkpoint.Checkpoints(folder, "newest", create=False).read(other)


def test_another_team_is_refused_by_name(tmp_path, key):
    layout = grid_env.check(EnvOptions(case="case30", layout="operator")).layout
    layers = TeamOptions(policy_layers=(4,), value_layers=(4,))
    nets = {
        kind: networks_lib.make(layout, dataclasses.replace(layers, kind=kind))
        for kind in ("centralised", "mappo", "ippo")
    }
    checkpoint.Checkpoints(tmp_path, "newest").save(
        7, bundle_lib.initial(nets["ippo"], key), RUN, wait=True
    )
    opened = checkpoint.Checkpoints(tmp_path, "newest", create=False)
    assert opened.read(nets["ippo"]).version == 7
    for kind, own in (("centralised", "operator"), ("mappo", "regions")):
        message = f"newest/7: is of another team: .* of area_1, area_2, and this one .* of {own};"
        with pytest.raises(checkpoint.CheckpointError, match=message):
            opened.read(nets[kind])


def test_a_policy_that_moved_breakers_by_normals_is_refused_by_what_it_lacks(tmp_path, key):
    layers = TeamOptions(policy_layers=(4,), value_layers=(4,))
    team = teams.make(grid_env.check(EnvOptions(layout="full")).layout, layers)
    former = dataclasses.replace(team, breakers=breakers.NONE)  # all its actions are normal
    then, now = (networks_lib.TeamNetworks(each, layers) for each in (former, team))
    bundle = bundle_lib.initial(then, key)
    checkpoint.Checkpoints(tmp_path, "newest").save(7, bundle, RUN, wait=True)
    opened = checkpoint.Checkpoints(tmp_path, "newest", create=False)
    assert _same(opened.read(then).bundle, jax.tree.map(np.asarray, bundle))
    lacks = r"no probabilities of operating breakers \(params/policy/operator/breaker/bias"
    with pytest.raises(checkpoint.CheckpointError, match=f"newest/7: .*{lacks} is missing"):
        opened.read(now)
