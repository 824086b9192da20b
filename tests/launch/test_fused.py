"""Training in one process: the service's numbers to the last bit, and several seeds at once."""

import json

import jax
import numpy as np
import pytest
from support import run_process

from configs import registry
from launch.run import run_folder

SMALL = (
    "--config=case14_ppo", "--config.run.steps=3000", "--config.actor.batch=8",
    "--config.actor.unroll_length=16", "--config.learner.minibatches=2", "--config.seed=3",
    "--config.evaluator.episodes=1", "--config.env.horizon_steps=48",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    "objective",
    [
        (),
        ("--config.learner.objective=both", "--config.learner.window=2"),
        (
            "--config.learner.objective=both",
            "--config.learner.window=1",
            "--config.env.layout=full",
        ),
        (
            "--config.learner.correction=vtrace",
            "--config.learner.value_clip=0.2",
            "--config.learner.final_entropy_cost=0.1",
            "--config.team.activation=silu",
            "--config.learner.limits=reactive_violation=50,trips=1",
            "--config.env.branch_faults_per_day=5",
            "--config.env.curriculum=branch_faults_per_day=0..1,protection.enabled=0..1",
        ),
    ],
    ids=["ppo", "both", "breakers", "choices"],
)
def test_it_learns_what_the_service_learns_in_synchronous_mode(objective, tmp_path):
    flags = (*SMALL, *objective)
    done = run_process.done("launch.fused", *flags, "--workdir=fused", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    done = run_process.done(
        "launch.local", *flags, "--config.run.synchronous", "--workdir=service", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    (version, fused), (as_many, service) = (
        run_process.newest(tmp_path / name) for name in ("fused", "service")
    )
    assert version == as_many == 12
    jax.tree.map(np.testing.assert_array_equal, fused, service)


@pytest.mark.slow
def test_seeds_at_once_learn_what_each_learns_alone_and_go_on_where_they_were_left(tmp_path):
    done = run_process.done("launch.fused", *SMALL, "--seeds=3,4", "--workdir=both", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    done = run_process.done("launch.fused", *SMALL, "--workdir=alone", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    _, together = run_process.newest(tmp_path / "both" / "seed_3")
    _, other = run_process.newest(tmp_path / "both" / "seed_4")
    version, alone = run_process.newest(tmp_path / "alone")
    # A batch of another size is rounded differently.
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-2, atol=2e-3)
    jax.tree.map(close, together.params, alone.params)
    assert not np.allclose(together.statistics.mean, other.statistics.mean)

    resume = lambda folder, steps: run_process.done(
        "launch.fused", "--resume", f"--workdir={folder}", f"--config.run.steps={steps}",
        cwd=tmp_path,
    )  # fmt: skip
    done = resume("both", 4000)
    assert done.returncode == 0, done.stderr
    assert f"evaluate them  python -m launch.evaluate --workdir={tmp_path}/both" in done.stdout
    for seed in ("seed_3", "seed_4"):
        assert run_process.newest(tmp_path / "both" / seed)[0] > version
        rows = (tmp_path / "both" / seed / "metrics" / "learner.jsonl").read_text().splitlines()
        steps = [json.loads(row)["step"] for row in rows]
        assert steps == sorted(set(steps)) and len(steps) == 16

    done = resume("both/seed_3", 5000)
    assert done.returncode == 0 and "seed_3" in done.stdout.splitlines()[-1], done.stderr
    done = resume("both", 6000)
    assert done.returncode == 2
    assert "options of seed_4 are not those of seed_3; give the folder of one" in done.stderr
    config = (tmp_path / "both" / "seed_3" / "config.json").read_text()
    other = config.replace('"seed": 3', '"seed": 4')
    (tmp_path / "both" / "seed_4" / "config.json").write_text(other)
    done = resume("both", 6000)
    assert done.returncode == 2 and "seed_3 at 20, seed_4 at 16" in done.stderr


def test_seeds_of_different_experiments_are_not_resumed_together(tmp_path):
    for seed, name in enumerate(("case14", "case14_ppo")):
        run_folder.of_seed(tmp_path / "both", seed).create(registry.load(name))
    done = run_process.done("launch.fused", "--resume", "--workdir=both", cwd=tmp_path)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "options of seed_1 are not those of seed_0;" in done.stderr


@pytest.mark.parametrize(
    "flags, message",
    [
        (("--seeds=1,one",), "--seeds=1,one: must be whole numbers"),
        (("--seeds=1,1",), "--seeds=1,1: name one or more, each once"),
        (("--seeds=-1",), "seed=-1: must be a whole number from 0"),
        (("--resume",), "--resume needs the folder of the run"),
        (("--resume", "--workdir=nothing"), "no run here"),
        (("--resume", "--workdir=runs", "--seeds=1"), "--seeds=1: cannot be given with --resume"),
        (("--config.actor.count=3",), "must divide it"),
        (("--loggers=wandbb",), "--loggers='wandbb': did you mean wandb?"),
    ],
)
def test_what_cannot_be_trained_is_refused_in_a_line(flags, message, tmp_path):
    done = run_process.done("launch.fused", *flags, cwd=tmp_path)
    assert done.returncode == 2 and message in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "runs").exists()
