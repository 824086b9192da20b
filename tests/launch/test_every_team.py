"""Every team: the service and one process learn the same, go on from a checkpoint, and are judged.

One test of all that, so that a new team has it all.
"""

import json
import shutil

import jax
import numpy as np
import pytest
from support import run_process

from agents import teams
from envs import grid_env
from launch.run import parts, run_folder

SMALL = (
    "--config.actor.batch=8", "--config.actor.unroll_length=16", "--config.learner.minibatches=2",
    "--config.seed=3", "--config.evaluator.episodes=1", "--config.env.horizon_steps=48",
    "--config.team.policy_layers=16,16", "--config.team.value_layers=16",
)  # fmt: skip
REGIONS = ("--config=case14", "--config.env.case=case30")
BOTH = ("--config.learner.objective=both", "--config.learner.window=2")
# What each is trained with: a grid that it is for, and an objective that has something to teach it.
HOW = {
    "centralised": ("--config=case14",),
    "mappo": ("--config=case14_ppo", "--config.env.case=case30", "--config.team.own_reward=0.3"),
    "ippo": (*REGIONS, *BOTH, "--config.team.effective_horizon=5"),
    "hierarchical": (*REGIONS, *BOTH, "--config.team.decision_steps=5"),
    "nodes": (
        "--config=case14_ppo",
        "--config.env.layout=nodes",
        "--config.team.node_parameters=type",
        "--config.team.own_reward=0.3",
    ),
    "microgrids": (
        "--config=case14_ppo", "--config.env.case=ieee13_mg", "--config.env.layout=microgrids",
        "--config.env.islands=all", "--config.env.blackout_share=1", "--config.team.own_reward=0.5",
    ),
}  # fmt: skip


def test_every_team_is_trained_here():
    assert {*HOW} == {*teams.TEAMS}


def _run(module, *flags, cwd):
    done = run_process.done(module, *flags, cwd=cwd)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("kind", HOW)
def test_a_team_learns_goes_on_and_is_judged(kind, tmp_path):
    flags = (*HOW[kind], f"--config.team.kind={kind}", *SMALL)
    start, more = "--config.run.steps=1500", "--config.run.steps=3000"
    _run("launch.fused", *flags, start, "--workdir=fused", cwd=tmp_path)
    _run(
        "launch.local", *flags, start, "--config.run.synchronous", "--workdir=service", cwd=tmp_path
    )
    version, fused = run_process.newest(tmp_path / "fused")
    assert version == 6
    jax.tree.map(np.testing.assert_array_equal, fused, run_process.newest(tmp_path / "service")[1])

    shutil.copytree(tmp_path / "fused", tmp_path / "again", symlinks=True)
    for folder in ("fused", "again"):
        _run("launch.fused", "--resume", f"--workdir={folder}", more, cwd=tmp_path)
    _run("launch.local", "--resume", "--workdir=service", more, cwd=tmp_path)
    version, resumed = run_process.newest(tmp_path / "fused")
    assert version == 12
    for folder in ("again", "service"):
        jax.tree.map(
            np.testing.assert_array_equal, resumed, run_process.newest(tmp_path / folder)[1]
        )
    moved = jax.tree.map(lambda a, b: not np.array_equal(a, b), resumed.params, fused.params)
    assert all(any(jax.tree.leaves(own)) for own in moved["policy"].values())

    row = json.loads((tmp_path / "fused/metrics/learner.jsonl").read_text().splitlines()[-1])
    experiment = run_folder.RunFolder(tmp_path / "fused").experiment()
    team = parts.networks(experiment, grid_env.make(experiment.env)).team
    told = {name.split("/")[1] for name in row if name.startswith("agents/")}
    assert told == ({agent.name for agent in team.agents} if team.size > 1 else set())

    _run(
        "launch.evaluate", "--workdir=fused", "--episodes=2", "--nobound", "--out=judged",
        cwd=tmp_path,
    )  # fmt: skip
    summary = json.loads((tmp_path / "judged/summary.json").read_text())
    assert "learned" in summary["controllers"] and (tmp_path / "judged/report.html").exists()
