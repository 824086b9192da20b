"""Training finds the money that the proportional plan leaves, through the whole service."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]


@pytest.mark.slow
def test_case14_beats_doing_nothing(tmp_path):
    environment = {k: v for k, v in os.environ.items() if k not in ("XLA_FLAGS", "JAX_PLATFORMS")}
    workdir = tmp_path / "run"
    for module, flags in (("launch.local", ["--config=case14"]), ("launch.evaluate", [])):
        subprocess.run(
            [sys.executable, "-m", module, f"--workdir={workdir}", *flags],
            cwd=ROOT, env=environment, check=True, timeout=1800,
        )  # fmt: skip
    (result,) = (workdir / "evaluation").glob("*.json")
    metrics = json.loads(result.read_text())["metrics"]
    learned, idle = (metrics["return"][who] for who in ("learned", "do_nothing"))
    assert learned["low"] > idle["high"], metrics["return"]
    # Two thirds of what the cheapest dispatch saves, at least.
    assert metrics["cost"]["difference"]["mean"] < -7_000, metrics["cost"]
    for name in ("cost", "overload", "voltage_violation", "energy_not_served"):
        assert metrics[name]["learned"]["mean"] <= metrics[name]["do_nothing"]["mean"], name
