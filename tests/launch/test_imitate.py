"""Warm starts: a policy is imitated, a run begins with it, and neither begins with what misfits."""

import copy
import dataclasses
import functools
import json
import os
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest

from agents import networks as networks_lib
from agents.options import TeamOptions
from configs import registry
from envs import grid_env
from launch import fused_run, imitation_run
from launch.run import run_folder, warm_start
from learner import checkpoint, imitation

ROOT = pathlib.Path(__file__).parents[2]
SHORT = ("--config.env.horizon_steps=24", "--config.evaluator.episodes=2")
SMALL = registry.load("case14_ppo")
SMALL = dataclasses.replace(
    SMALL,
    env=dataclasses.replace(SMALL.env, horizon_steps=12),
    team=TeamOptions(policy_layers=(16,), value_layers=(16,)),
    actor=dataclasses.replace(SMALL.actor, batch=4, unroll_length=4),
    learner=dataclasses.replace(SMALL.learner, minibatches=1, epochs=1),
    evaluator=dataclasses.replace(SMALL.evaluator, episodes=2),
    run=dataclasses.replace(SMALL.run, steps=64),
)


def _command(module, *flags, cwd=ROOT):
    environment = {k: v for k, v in os.environ.items() if k not in ("XLA_FLAGS", "JAX_PLATFORMS")}
    return subprocess.run(
        [sys.executable, "-m", module, *flags], capture_output=True, text=True, check=False,
        cwd=cwd, env={**environment, "PYTHONPATH": os.environ.get("PYTHONPATH", str(ROOT))},
        timeout=900,
    )  # fmt: skip


def _policy(folder, kind):
    """Returns policy, value function and statistics of a checkpoint."""
    experiment = run_folder.RunFolder(folder).experiment()
    networks = networks_lib.make(grid_env.check(experiment.env).layout, experiment.team)
    bundle = checkpoint.Checkpoints(folder, kind, create=False).read(networks).bundle
    return bundle.params, bundle.statistics, bundle.value_statistics


def _same(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.fixture(scope="module", autouse=True)
def shorter():
    """Fits that take a second."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(imitation, "fit", functools.partial(imitation.fit, steps=400))
        yield


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """What imitates in two rounds."""
    root = tmp_path_factory.mktemp("imitated")
    plan = imitation_run.Plan("merit_order", days=2, rounds=2)
    folder = run_folder.RunFolder(root / "run")
    return imitation_run.Imitation(folder, SMALL, plan, root / "store")


@pytest.fixture(scope="module")
def imitated(work):
    """The folder of the run, and what was said."""
    said = []
    work.run(said.append)
    return work._folder, said


@pytest.mark.slow
def test_rounds_add_up_and_the_best_is_kept(work, imitated):
    folder, said = imitated
    about = json.loads((folder.path / "imitation.json").read_text())
    first, second = about["made"]
    assert (about["expert"], about["days"], about["rounds"]) == ("merit_order", 2, 2)
    assert (first["decisions"], second["decisions"]) == (24, 48)
    # The second round is of other days, and of states that the first policy led to.
    folders = {pathlib.Path(each["demonstrations"]) for each in about["made"]}
    assert len(folders) == 2 and {each.parent.name for each in folders} == {"store"}
    names = {file.name for each in folders for file in each.glob("*.npz")}
    assert names == {"00000-2.npz", "00002-2.npz"}
    kept = max(about["made"], key=lambda each: each["return"])
    assert about["kept"] == kept["round"]
    rows = [json.loads(line) for line in folder.metrics("evaluator").read_text().splitlines()]
    assert [row["step"] for row in rows] == [0]
    assert rows[0]["evaluation/return"] == kept["return"]
    assert "round 2: 48 decisions, held-out error 0." in "\n".join(said)
    assert set(first["error_of"]) == set(grid_env.check(SMALL.env).layout.action)
    _same(_policy(folder.path, "newest"), _policy(folder.path, "best"))


def test_days_that_are_kept_make_the_same_run(work, imitated, tmp_path, monkeypatch):
    again = copy.copy(work)
    again._folder = run_folder.RunFolder(tmp_path / "run")
    monkeypatch.setattr(work._demonstrator, "_ask", lambda *_: pytest.fail("asked again"))
    again.run(lambda line: None)
    _same(_policy(tmp_path / "run", "best"), _policy(imitated[0].path, "best"))


@pytest.mark.slow
def test_a_run_begins_exactly_with_its_parent_also_when_resumed_before_a_checkpoint(
    work, imitated, tmp_path
):
    parent = _policy(imitated[0].path, "best")
    start = warm_start.read(imitated[0].path, SMALL)
    experiments = [dataclasses.replace(SMALL, seed=seed) for seed in (3, 4)]
    folders = [run_folder.RunFolder(tmp_path / str(each.seed)) for each in experiments]
    for folder, experiment in zip(folders, experiments):
        folder.create(experiment, start.write)
    parts = (work._env, work._networks, work._unroller)
    begun = [0, 1, 0]  # Nothing is saved, and the first is launched once more.
    learners = [fused_run._Seed(folders[i], experiments[i], *parts).learner for i in begun]
    for learner in learners:
        bundle = learner.bundle()
        _same((bundle.params, bundle.statistics, bundle.value_statistics), parent)
        assert learner.version == bundle.version == 0
        assert int(learner.state.optimiser.count[0]) == 0
    assert len({bytes(learner.state.key[0]) for learner in learners}) == 2  # Seeds stay apart.
    told = json.loads((folders[0].path / "start.json").read_text())
    assert told["folder"] == str(imitated[0].path) and told["experiment"] == SMALL.name
    assert told["update"] == 0 and told["return"] == start.record["return"]


@pytest.mark.slow
def test_a_warm_run_learns_from_its_first_update_and_never_falls_behind(imitated, tmp_path):
    folder = run_folder.RunFolder(tmp_path / "run")
    folder.create(SMALL, warm_start.read(imitated[0].path, SMALL).write)
    training = fused_run.Training([folder], [SMALL])
    before = training._first.bundle()
    said = []
    assert training.run(said.append) == "finished"
    after = training._first.bundle()
    assert after.statistics.count == before.statistics.count + 64
    assert not np.array_equal(*(
        np.concatenate([leaf.ravel() for leaf in jax.tree.leaves(each.params["policy"])])
        for each in (before, after)
    ))  # fmt: skip
    rows = [json.loads(line) for line in folder.metrics("evaluator").read_text().splitlines()]
    told = json.loads(folder.start.read_text())
    assert rows[0]["step"] == 0
    assert rows[0]["evaluation/return"] == pytest.approx(told["return"], rel=1e-5)
    assert rows[-1]["evaluation/best_return"] >= rows[0]["evaluation/return"]


def test_a_folder_that_was_left_half_made_lends_nobody_its_start(imitated, tmp_path):
    folder = run_folder.RunFolder(tmp_path / "run")
    folder.create(SMALL, warm_start.read(imitated[0].path, SMALL).write)
    folder.config.unlink()
    folder.create(SMALL)
    networks = networks_lib.make(grid_env.check(SMALL.env).layout, SMALL.team)
    assert warm_start.kept(folder, networks) is None


def _with(part, **fields):
    return dataclasses.replace(SMALL, **{part: dataclasses.replace(getattr(SMALL, part), **fields)})


def test_what_looks_further_on_other_days_may_begin_with_it(imitated):
    other = _with("team", effective_horizon=7.0, initial_std=0.1)
    other = dataclasses.replace(other, env=dataclasses.replace(other.env, reward="economic"))
    warm_start.read(imitated[0].path, other)


@pytest.mark.parametrize(
    "part, fields, message",
    [
        ("env", {"layout": "full"}, "env.layout='operator'"),
        ("env", {"case": "case30"}, "env.case='case14'"),
        ("team", {"policy_layers": (8, 8)}, "give team.policy_layers=16, as it has"),
        ("team", {"value_layers": (8,)}, "give team.value_layers=16, as it has"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_differs(imitated, part, fields, message):
    with pytest.raises(ValueError) as refused:
        warm_start.read(imitated[0].path, _with(part, **fields))
    assert str(refused.value).startswith(f"--start={imitated[0].path}: ")
    assert message in str(refused.value)


def test_what_is_no_run_or_has_no_policy_is_refused(imitated, tmp_path):
    with pytest.raises(ValueError, match=r"^--start=.*/nothing: no run here"):
        warm_start.read(tmp_path / "nothing", SMALL)
    folder = run_folder.RunFolder(tmp_path / "young")
    folder.create(SMALL)
    with pytest.raises(ValueError, match=r"^--start=.*/best: no such folder; give that of a run"):
        warm_start.read(folder.path, SMALL)
    folder.config.write_text("{}")
    with pytest.raises(ValueError, match=r"^--start=.*config.json: cannot be read"):
        warm_start.read(folder.path, SMALL)


@pytest.mark.parametrize("command", ["launch.local", "launch.fused"])
def test_commands_refuse_a_start_that_is_none(command, tmp_path):
    done = _command(command, "--start=nothing", cwd=tmp_path)
    assert done.returncode == 2 and done.stderr.startswith("error: --start=nothing: no run here")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    "flags, message",
    [
        (("--expert=acpf",), "--expert='acpf': did you mean acopf? it must be one of"),
        (("--rounds=2", "--expert=expert"), "--rounds=2: expert takes for granted that its"),
        (("--days=1",), "--days=1: must be a whole number from 2"),
        (("--workdir=/proc/none",), "--workdir=/proc/none: cannot be written"),
        (("--store=/proc/none",), "/proc/none"),
    ],
)
def test_what_cannot_be_imitated_is_refused_in_a_line(flags, message, tmp_path):
    done = _command("launch.imitate", *flags, cwd=tmp_path)
    assert done.returncode == 2 and message in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.slow
def test_ac_optimal_power_flow_is_imitated_and_learned_from(tmp_path):
    """The policy of 64 hours of AC-OPF beats the plan, evaluates, and goes on learning."""
    done = _command(
        "launch.imitate", "--config=case14", "--days=32", "--rounds=2", "--workdir=imitated",
        "--store=store", *SHORT, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (row,) = (tmp_path / "imitated/metrics/evaluator.jsonl").read_text().splitlines()
    row = json.loads(row)
    assert row["evaluation/return"] > 0 > row["evaluation/do_nothing_return"]
    again = _command("launch.imitate", "--config=case14", "--workdir=imitated", cwd=tmp_path)
    assert again.returncode == 2 and "holds a run already" in again.stderr
    flags = (*SHORT, "--config=case14", "--config.run.steps=4096")
    for name, more in (("cold", ()), ("warm", ("--start=imitated",))):
        done = _command("launch.fused", *flags, *more, f"--workdir={name}", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    best = lambda name: json.loads(
        (tmp_path / name / "metrics/evaluator.jsonl").read_text().splitlines()[-1]
    )["evaluation/best_return"]
    assert best("warm") >= row["evaluation/return"] > best("cold")
    # A run that was imitated goes on by itself, too.
    done = _command(
        "launch.fused", "--resume", "--workdir=imitated", "--config.run.steps=2048", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_service_begins_as_one_process_does(imitated, tmp_path):
    flags = [
        "--config=case14_ppo", f"--start={imitated[0].path}", "--config.env.horizon_steps=12",
        "--config.team.policy_layers=16", "--config.team.value_layers=16", "--config.actor.batch=4",
        "--config.actor.unroll_length=4", "--config.learner.minibatches=1",
        "--config.evaluator.episodes=2", "--config.run.steps=64",
    ]  # fmt: skip
    for name, module, more in (
        ("fused", "launch.fused", ()), ("service", "launch.local", ("--config.run.synchronous",)),
    ):  # fmt: skip
        done = _command(module, *flags, *more, f"--workdir={name}", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    _same(_policy(tmp_path / "fused", "newest"), _policy(tmp_path / "service", "newest"))
    done = _command("launch.fused", "--resume", "--workdir=fused", "--start=service", cwd=tmp_path)
    assert done.returncode == 2 and "--start cannot be given with --resume" in done.stderr
