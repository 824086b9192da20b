"""The scripts of `examples`, a moment each, those for RLlib in the environment of their own."""

import contextlib
import json
import os
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
_ENVIRONMENT |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
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
    """Returns what a script reports."""
    done = subprocess.run(
        [python, ROOT / "examples" / script, *arguments], cwd=ROOT, env=_ENVIRONMENT,
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
