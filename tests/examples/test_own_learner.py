"""The example of a learner of one's own, in the environment that commands have."""

import json
import subprocess
import sys

import pytest
from support.documentation import ROOT


@pytest.mark.slow
def test_the_example_learns_in_minutes():
    done = subprocess.run(
        [sys.executable, "examples/own_learner.py", "--updates=60"], cwd=ROOT,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    report = json.loads(done.stdout.strip().splitlines()[-1])
    assert report["return_before"] < -10.0, "it begins by following the plan"
    assert report["return_after"] > 5.0  # 9.39 were measured after 50 updates
