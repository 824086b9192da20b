"""The scripts for RLlib and Stable-Baselines3, a moment each, in the environment of their own."""

import json
import os
import subprocess

import pytest
from support.documentation import ROOT

_PYTHON = ROOT / os.environ.get("RLLIB", ".venv-rllib") / "bin" / "python"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not _PYTHON.exists(), reason="its environment is missing: make rllib"),
]


def _run(script, *arguments):
    """Returns what a script reports."""
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    done = subprocess.run(
        [_PYTHON, ROOT / "examples" / script, *arguments], cwd=ROOT, env=environment,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.strip().splitlines()[-1])


def test_rllib_tunes_shared_policies_of_nodes_and_goes_on_from_the_checkpoint(tmp_path):
    nodes = ("--case=case14", "--team=nodes", "--policies=shared", "--days=1", "--iterations=1")
    tuned = _run("rllib_ppo.py", *nodes, "--lr=1e-4,1e-3", f"--out={tmp_path}")
    assert tuned["runs"] == 2 and tuned["best_lr"] in (1e-4, 1e-3)
    assert "battery_policy" in tuned["policies"] and "business_policy" in tuned["policies"]
    assert len(tuned["policies"]) < 14, "some of the fourteen nodes share one"
    again = _run(
        "rllib_ppo.py", *nodes, f"--restore={tmp_path / 'checkpoint'}", f"--out={tmp_path / 'more'}"
    )
    assert again["steps"] > 288 and again["return"] < 20.0


def test_stable_baselines_learns_more_than_doing_nothing():
    report = _run(
        "sb3_ppo.py", "--id=gridracer/case14-v0", "--envs=32", "--minutes=0.5", "--days=4"
    )
    assert report["return"] > -10.0, "doing nothing has -14.6"
