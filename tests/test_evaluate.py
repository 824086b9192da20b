"""`python -m launch.evaluate` as a user types it: what it writes, refuses and goes on from."""

import json
import pathlib
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest

from agents import bundle as bundle_lib
from agents import networks
from configs import shelf
from envs import grid_env
from launch import run_folder
from learner import checkpoint

ROOT = pathlib.Path(__file__).parents[1]


def evaluate(*arguments, cwd=ROOT):
    return subprocess.run(
        [sys.executable, "-m", "launch.evaluate", *map(str, arguments)],
        cwd=cwd, capture_output=True, text=True, timeout=400, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of two-hour days whose policy was never trained."""
    folder = run_folder.RunFolder(tmp_path_factory.mktemp("run") / "mine")
    text = shelf.to_json(shelf.load("case14"))
    experiment = shelf.from_json(
        text.replace('"horizon_steps": 288', '"horizon_steps": 24').replace(
            '"unroll_length": 32', '"unroll_length": 8'
        )
    )
    folder.create(experiment)
    env = grid_env.make(experiment.env)
    bundle = bundle_lib.initial(networks.make(env.layout, experiment.team), jax.random.PRNGKey(0))
    checkpoints = checkpoint.Checkpoints(folder.path, "best")
    checkpoints.save(7, jax.tree.map(np.asarray, bundle), {"return": 0.0})
    checkpoints.wait()
    return folder.path


@pytest.fixture(scope="module")
def evaluated(run):
    done = evaluate(f"--workdir={run}", "--checkpoint=best", "--episodes=3")
    assert done.returncode == 0, done.stderr
    return done


def test_a_checkpoint_is_evaluated_beside_doing_nothing_and_ac_opf(run, evaluated):
    folder = run / "evaluation" / "best-7-test-seed0"
    found = json.loads((folder / "summary.json").read_text())
    rows = {row["controller"]: row["metrics"] for row in found["rows"]}
    assert set(rows) == {"do_nothing", "learned"}
    assert rows["learned"]["gap"]["mean"] > 0 and "less_do_nothing" in rows["learned"]["cost"]
    assert found["bound"]["normal-easy"]["optimal_rows"] == 100.0
    assert found["identity"]["policy"]["update"] == 7 and found["knows"]["learned"]
    assert len((folder / "episodes.csv").read_text().splitlines()) == 1 + 2 * 3
    page = (folder / "report.html").read_text()
    assert "learned" in page and "do nothing" in page
    assert max(map(len, evaluated.stdout.splitlines()[:-1])) <= 80
    assert "operating cost" in evaluated.stdout


def test_what_is_there_is_not_played_again_and_what_is_broken_is_named(run, evaluated):
    folder = run / "evaluation" / "best-7-test-seed0"
    results = folder / "results" / "normal-easy"
    before = {p: p.stat().st_mtime_ns for p in results.rglob("*.json")}
    broken = results / "learned" / "000-002.json"
    broken.write_text("{")
    done = evaluate(f"--workdir={run}", "--checkpoint=best", "--episodes=3")
    assert done.returncode == 0, done.stderr
    assert "000-002.json" in done.stdout and "cannot be read" in done.stdout
    after = {p: p.stat().st_mtime_ns for p in results.rglob("*.json")}
    assert {p for p in before if after[p] != before[p]} == {broken}
    # The console folds long lines.
    assert (
        evaluated.stdout.splitlines()[2:8]
        == [line for line in done.stdout.splitlines() if line in evaluated.stdout.splitlines()][2:8]
    )


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("--case=case118",), "is of case case14"),
        (("--layout=full",), "is of layout operator"),
        (("--team=hierarchical",), "is of a team centralised"),
        (("--checkpoint=newest",), "newest"),
        (("--controllers=learnt",), "did you mean learned?"),
        (("--scenarios=peek",), "did you mean peak?"),
        (("--level=harder",), "did you mean hard?"),
    ],
)
def test_what_cannot_be_is_refused_with_both_names(run, arguments, message):
    done = evaluate(f"--workdir={run}", "--checkpoint=best", *arguments)
    assert done.returncode == 2 and message in done.stderr, done.stderr
    assert arguments[0].split("=")[1] in done.stderr
    assert "Traceback" not in done.stderr


def test_mistakes_without_a_run_are_refused(tmp_path):
    for arguments, message in (
        (("--controllers=learned",), "needs --workdir"),
        (("--case=case15",), "case15"),
        (("--case=case57", "--scenarios=intermittency", "--fleet=plain"), "neither wind nor sun"),
        (("--compare", str(tmp_path), str(tmp_path)), "no evaluation here"),
        (("--compare", str(tmp_path)), "give two folders"),
    ):
        done = evaluate(*arguments, "--out", tmp_path / "out")
        assert done.returncode == 2 and message in done.stderr, done.stderr
        assert "Traceback" not in done.stderr
        assert not (tmp_path / "out").exists()


def test_a_folder_of_something_else_is_refused(run, evaluated, tmp_path):
    out = tmp_path / "copy"
    shutil.copytree(run / "evaluation" / "best-7-test-seed0", out)
    done = evaluate(f"--workdir={run}", "--checkpoint=best", "--seed=1", f"--out={out}")
    assert done.returncode == 2 and "seed 0, and 1 is asked for" in done.stderr


def test_two_evaluations_are_compared(run, evaluated, tmp_path):
    one = run / "evaluation" / "best-7-test-seed0"
    done = evaluate("--compare", one, one, "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "compare.html").is_file() and "same" in done.stdout
