"""Parameters that fit any grid: a run of one case begins a run of another."""

import dataclasses
import json
import os
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest

from agents import bundle as bundle_lib, networks as networks_lib
from agents.options import TeamOptions
from configs import registry
from envs import grid_env
from launch.run import run_folder, warm_start
from learner import checkpoint

ROOT = pathlib.Path(__file__).parents[2]
SMALL = dataclasses.replace(
    registry.load("case14"),
    team=TeamOptions(encoder="graph", policy_layers=(8,), value_layers=(8,)),
)


def _on(case="case118", **fields):
    return dataclasses.replace(SMALL, env=dataclasses.replace(SMALL.env, case=case, **fields))


def _with_limits(experiment, limits):
    return dataclasses.replace(
        experiment, learner=dataclasses.replace(experiment.learner, limits=limits)
    )


def _networks(experiment):
    layout = grid_env.check(experiment.env).layout
    return networks_lib.make(layout, experiment.team, len(experiment.learner.limits_per_day))


def _written(path, experiment):
    """Returns the folder of a run of `experiment`, and its best policy, which is nobody's."""
    folder = run_folder.RunFolder(path)
    folder.create(experiment)
    bundle = bundle_lib.blank(_networks(experiment))
    leaves, tree = jax.tree.flatten(bundle)
    numbered = [np.full_like(leaf, number) for number, leaf in enumerate(leaves, 1)]
    bundle = jax.tree.unflatten(tree, numbered)
    checkpoint.Checkpoints(folder.path, "best").save(3, bundle, {"return": 1.0}, wait=True)
    return folder, bundle


@pytest.fixture(scope="module")
def parent(tmp_path_factory):
    return _written(tmp_path_factory.mktemp("parent") / "run", SMALL)


def test_another_grid_begins_with_the_same_parameters_and_statistics(parent, tmp_path):
    folder, bundle = parent
    larger = _on("case118")
    begun = run_folder.RunFolder(tmp_path / "larger")
    begun.create(larger, warm_start.read(folder.path, larger).write)
    kept = warm_start.kept(begun, _networks(larger))
    jax.tree.map(np.testing.assert_array_equal, kept, bundle)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"encoder": "mlp"}, "give team.encoder=graph, as it has"),
        ({"policy_layers": (8, 8)}, "give team.policy_layers=8, as it has"),
    ],
)
def test_another_encoder_is_refused_on_any_grid(parent, change, message):
    folder, _ = parent
    for case in ("case14", "case118"):
        other = dataclasses.replace(_on(case), team=dataclasses.replace(SMALL.team, **change))
        with pytest.raises(ValueError, match=rf"^--start={folder.path}: .*{message}"):
            warm_start.read(folder.path, other)


def test_a_checkpoint_of_another_encoder_is_no_checkpoint(parent):
    folder, _ = parent
    options = dataclasses.replace(SMALL.team, encoder="mlp")
    networks = networks_lib.make(grid_env.check(SMALL.env).layout, options)
    with pytest.raises(
        checkpoint.CheckpointError,
        match="another case, layout or network: .*/operator/TanhGraphTorso/.* missing here",
    ):
        checkpoint.Checkpoints(folder.path, "best", create=False).read(networks)


def test_what_the_other_grid_has_and_this_one_had_not_is_named(parent, tmp_path):
    with pytest.raises(ValueError) as refused:
        warm_start.read(parent[0].path, _on(layout="operator"))
    for part in (
        "fit other grids, but its observation consists of bus_vm, ", ", and this run's of bus_vm, ",
        "env.case='case14', ", "there and env.case='case118', ",
    ):  # fmt: skip
        assert part in str(refused.value)
    lean, _ = _written(tmp_path / "lean", _on("case14", fleet="plain"))
    with pytest.raises(ValueError, match="it has met no renewable_p, .*, storage on case14"):
        warm_start.read(lean.path, _on())


def test_values_of_costs_are_carried_with_their_limits(parent, tmp_path):
    limited = _with_limits(SMALL, "reactive_violation=50")
    folder, bundle = _written(tmp_path / "limited", limited)
    there = warm_start.read(folder.path, _with_limits(_on(), "energy_not_served=1")).bundle
    jax.tree.map(np.testing.assert_array_equal, there, bundle)
    with pytest.raises(ValueError, match="value/operator/head/bias"):
        warm_start.read(parent[0].path, limited)


@pytest.mark.slow
def test_what_was_learned_on_14_buses_goes_on_on_118_in_one_process_and_as_a_service(tmp_path):
    environment = {k: v for k, v in os.environ.items() if k not in ("XLA_FLAGS", "JAX_PLATFORMS")}
    environment["PYTHONPATH"] = os.environ.get("PYTHONPATH", str(ROOT))
    shared = [
        "--config.team.encoder=graph", "--config.team.activation=tanh",
        "--config.team.policy_layers=8", "--config.team.value_layers=8",
        "--config.team.effective_horizon=5",
        "--config.learner.objective=both", "--config.learner.limits=reactive_violation=50",
        "--config.learner.minibatches=2", "--config.learner.devices=1", "--config.actor.batch=8",
        "--config.actor.unroll_length=4", "--config.env.horizon_steps=12",
        "--config.evaluator.episodes=2", "--config.run.steps=96",
    ]  # fmt: skip
    for name, module, more in (
        ("small", "launch.fused", ["--config=case14"]),
        ("large", "launch.fused", ["--config=case118_full", "--start=small"]),
        ("service", "launch.local", ["--config=case118_full", "--start=small"]),
    ):
        done = subprocess.run(
            [sys.executable, "-m", module, *shared, *more, f"--workdir={name}"], cwd=tmp_path,
            capture_output=True, text=True, check=False, env=environment, timeout=900,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        rows = (tmp_path / name / "metrics/learner.jsonl").read_text().splitlines()
        assert json.loads(rows[-1])["run/bad_updates"] == 0
    assert json.loads((tmp_path / "large/start.json").read_text())["experiment"] == "case14"
    first, last = (
        checkpoint.Checkpoints(tmp_path / "large", kind, create=False)
        .read(_networks(run_folder.RunFolder(tmp_path / "large").experiment())).bundle
        for kind in ("start", "newest")
    )  # fmt: skip
    changed = jax.tree.map(lambda a, b: np.any(a != b), first.params, last.params)
    assert any(jax.tree.leaves(changed["policy"])) and any(jax.tree.leaves(changed["value"]))
