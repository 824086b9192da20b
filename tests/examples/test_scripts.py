"""The scripts of `examples`, a moment each, those for RLlib in the environment of their own."""

import contextlib
import itertools
import json
import os
import re
import secrets
import subprocess
import sys

import numpy as np
import pytest
from support.documentation import ROOT

import gridracer

_PYTHON = ROOT / os.environ.get("RLLIB", ".venv-rllib") / "bin" / "python"

_ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
# Nobody else on this machine joins the clusters of Ray that tests begin.
_ENVIRONMENT |= {
    "RAY_worker_niceness": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": secrets.token_hex(32),
}
# Begins a Ray cluster of two nodes on this machine, says where, and ends with its input.
_TWO_NODES = """
from ray import cluster_utils
node = {"num_cpus": 1, "object_store_memory": 200 * 2**20}
cluster = cluster_utils.Cluster(initialize_head=True, head_node_args=node)
cluster.add_node(**node)
cluster.wait_for_nodes()
print(cluster.address, flush=True)
input()
cluster.shutdown()
"""

pytestmark = pytest.mark.slow
_needs_rllib = pytest.mark.skipif(
    not _PYTHON.exists(), reason="its environment is missing: make rllib"
)


def _run(script, *arguments, python=_PYTHON):
    """Returns what a script of `examples`, or with -c a text, reports."""
    path = script if script == "-c" else ROOT / "examples" / script
    done = subprocess.run(
        [python, path, *arguments], cwd=ROOT, env=_ENVIRONMENT,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.strip().splitlines()[-1])


def _curve(folder):
    """Returns the lines of a script's curve."""
    return [json.loads(line) for line in (folder / "curve.jsonl").read_text().splitlines()]


@contextlib.contextmanager
def _two_nodes():
    """Yields the address of a Ray cluster of two nodes of one CPU each."""
    cluster = subprocess.Popen(
        [_PYTHON, "-c", _TWO_NODES], cwd=ROOT, env=_ENVIRONMENT, stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        while ":" not in (line := cluster.stdout.readline()):
            assert line, "the cluster did not begin"
        yield line.strip()
    finally:
        cluster.communicate("\n", timeout=60)


@_needs_rllib
def test_rllib_tunes_shared_policies_of_nodes_and_goes_on_from_the_checkpoint(tmp_path):
    nodes = ("--case=case14", "--team=nodes", "--policies=shared", "--days=1", "--iterations=1")
    tuned = _run("rllib_ppo.py", *nodes, "--lr=1e-4,1e-3", f"--out={tmp_path}")
    assert tuned["runs"] == 2 and tuned["best_lr"] in (1e-4, 1e-3)
    assert "battery_policy" in tuned["policies"] and "business_policy" in tuned["policies"]
    assert len(tuned["policies"]) < 14, "some of the fourteen nodes share one"
    curve = _curve(tmp_path)
    assert {line["trial"] for line in curve} == {"lr=0.0001", "lr=0.001"}
    assert max(line["return"] for line in curve) == pytest.approx(tuned["return"], abs=1e-3)
    tuned_steps = max(line["step"] for line in curve)
    again = _run(
        "rllib_ppo.py", *nodes, f"--restore={tmp_path / 'checkpoint'}", f"--out={tmp_path / 'more'}"
    )
    assert again["steps"] > tuned_steps and again["return"] < 20.0


@_needs_rllib
def test_rllib_steps_grids_on_both_nodes_of_a_cluster(tmp_path):
    with _two_nodes() as address:
        report = _run(
            "rllib_ppo.py", f"--address={address}", "--runners=2", "--envs=1", "--days=1",
            "--iterations=2", f"--out={tmp_path}",
        )  # fmt: skip
    assert len(report["nodes"]) == 2 and report["steps"] == 2 * 2 * 288
    assert np.isfinite(report["return"])


# Prints how much policies, and values, change with what an agent and with what all observe.
_WHO_SEES_WHAT = """
import json, sys, gymnasium, numpy as np, torch
sys.path.insert(0, "examples")
import rllib_ppo
box = lambda size: gymnasium.spaces.Box(-1.0, 1.0, (size,), np.float32)
spaces = {"own": box(3), "state": box(7)}
module = rllib_ppo.ActorCritic(
    observation_space=gymnasium.spaces.Dict(spaces), action_space=box(2),
    model_config={"initial_std": 0.1},
)
def read(**moved):
    seen = {name: torch.zeros(1, *space.shape) + moved.get(name, 0.0)
            for name, space in spaces.items()}
    batch = {"obs": seen}
    return module.forward_inference(batch)["action_dist_inputs"], module.compute_values(batch)
differs = lambda one, other: float((one - other).abs().max())
base = read()
print(json.dumps({name: [differs(a, b) for a, b in zip(base, read(**{name: 1.0}))]
                  for name in spaces}))
"""


@_needs_rllib
def test_policies_of_mappo_see_their_own_and_critics_all():
    changed = _run("-c", _WHO_SEES_WHAT)
    assert changed["own"][0] > 0.0 and changed["own"][1] > 0.0
    assert changed["state"][0] == 0.0 and changed["state"][1] > 0.0


@_needs_rllib
def test_rllib_trains_with_a_central_critic_and_goes_on_in_its_folder(tmp_path):
    again = ("--critic=central", "--iterations=2", "--every=0", "--days=1", f"--out={tmp_path}")
    first = _run("rllib_ppo.py", *again)
    second = _run("rllib_ppo.py", *again, f"--restore={tmp_path / 'checkpoint'}")
    assert (first["steps"], second["steps"]) == (2 * 1152, 4 * 1152)
    curve = _curve(tmp_path)
    assert [line["step"] for line in curve] == [1152, 2304, 3456, 4608]
    assert all(a["seconds"] <= b["seconds"] for a, b in itertools.pairwise(curve))
    assert {line["name"] for line in curve} == {"RLlib MAPPO, own policies"}


@_needs_rllib
def test_rllib_steps_a_batch_of_one_operator_in_one_call(tmp_path):
    one = ("--case=case14", "--team=centralised", "--envs=64", "--days=4", f"--out={tmp_path}")
    report = _run("rllib_ppo.py", *one, "--iterations=20", "--every=0")
    assert report["steps"] == 20 * 64 * 32 and report["policies"] == ["default_policy"]
    first, *_, last = _curve(tmp_path)
    assert first["do_nothing"] < last["return"], "it has learned something"


@_needs_rllib
def test_the_how_to_of_rllib_runs_as_it_stands(tmp_path):
    text = (ROOT / "docs/howto/rllib.md").read_text()
    blocks = re.findall(r"```py\n(.*?)```", text, re.DOTALL)
    told = [
        subprocess.run(
            [_PYTHON, "-c", block], cwd=tmp_path, env=_ENVIRONMENT, check=True,
            capture_output=True, text=True,
        ).stdout for block in blocks
    ]  # fmt: skip
    steps, earned = told[0].splitlines()[8].split()
    assert float(steps) == 9 * 2048 and float(earned) < 0.0, "days end in the ninth round"
    assert "battery_9" in told[1]
    assert -40.0 < float(told[2]) < 0.0, "what a policy that knows nothing earns"


@_needs_rllib
def test_stable_baselines_learns_more_than_doing_nothing(tmp_path):
    report = _run(
        "sb3_ppo.py", "--id=gridracer/case14-v0", "--envs=32", "--minutes=0.5", "--days=4",
        f"--out={tmp_path}",
    )  # fmt: skip
    first, *_, last = _curve(tmp_path)
    assert first["do_nothing"] < -10.0 < report["return"], "doing nothing has -14.6"
    assert last["return"] == report["return"] and last["step"] == report["steps"]


def test_the_trainer_is_scored_on_the_days_of_the_other_scripts(tmp_path):
    report = _run(
        "trainer.py", "--config=case14", "--layout=setpoints", "--steps=100000", "--days=4",
        f"--out={tmp_path}", python=sys.executable,
    )  # fmt: skip
    first, *_, last = _curve(tmp_path)
    assert first["step"] < last["step"] and last["return"] == report["return"] > 8.0
    evaluation = gridracer.evaluate(
        tmp_path, ["learned"], ["normal"], days=4, split="validation", bound=False,
        checkpoint="newest",
    )  # fmt: skip
    assert evaluation.mean("learned", "return") == pytest.approx(report["return"], abs=0.01)
    assert evaluation.mean("do_nothing", "return") == pytest.approx(last["do_nothing"], abs=0.01)
