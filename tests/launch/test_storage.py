"""A folder that cannot be written ends what writes to it with its cause, and no traceback."""

import os
import pathlib
import subprocess
import sys
import textwrap

import pytest
from support import small_disk

ROOT = pathlib.Path(__file__).parents[2]
NO_SPACE, NO_FOLDER = 100 + 28, 100 + 2  # exit codes of nodes: ENOSPC and ENOENT
# A node like those of a run, without the work.
NODE = """
import pathlib, shutil, sys, types
sys.path.insert(0, {tests!r})
from support import small_disk
from configs import registry
from launch.run import metrics_log, run_folder, storage

folder = run_folder.RunFolder({folder!r})
folder.create(registry.load("case14_ppo"))

@storage.reported()
def node(settings):
    log = metrics_log.MetricsLog(folder, "learner")
    for step in range(100_000):
        {writes}
        if step == 100:
            {trouble}
    print("nothing was noticed")

node(types.SimpleNamespace(name="learner", workdir={folder!r}))
"""
METRICS = "log.write(step, {f'loss/{i}': 1.0 for i in range(40)})"
STATUS = "folder.write_status('learner', {'steps': step})"
FULL = "small_disk.fill(folder.path)"


def run(tmp_path, program, **fields):
    folder = tmp_path / "disk"
    folder.mkdir()
    text = textwrap.dedent(program).format(
        tests=str(ROOT / "tests"), folder=str(folder / "run"), **fields
    )
    return subprocess.run(
        small_disk.command(folder, 4, [sys.executable, "-c", text]), cwd=ROOT,
        capture_output=True, text=True, check=False, timeout=100,
    )  # fmt: skip


@pytest.mark.parametrize(
    "writes, trouble, code",
    [
        (METRICS, FULL, NO_SPACE),
        (STATUS, FULL, NO_SPACE),
        (STATUS, "shutil.rmtree(folder.path)", NO_FOLDER),
    ],
)
def test_a_node_that_cannot_write_says_so_in_a_line_and_by_its_exit_code(
    tmp_path, writes, trouble, code
):
    done = run(tmp_path, NODE, writes=writes, trouble=trouble)
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr and "learner cannot go on" in done.stderr
    assert "nothing was noticed" not in done.stdout


CHECKPOINTS = """
import sys
sys.path.insert(0, {tests!r})
from support import small_disk
import jax, numpy as np
from agents import networks as networks_lib, bundle as bundle_lib
from agents.options import TeamOptions
from envs import grid_env
from envs.options import EnvOptions
from learner import checkpoint

networks = networks_lib.make(
    grid_env.make(EnvOptions()).layout, TeamOptions(policy_layers=(16,), value_layers=(16,))
)
bundle = bundle_lib.initial(networks, jax.random.PRNGKey(0))
checkpoints = checkpoint.Checkpoints({folder!r}, "newest")
checkpoints.save(1, bundle, {{"steps": 1, "seconds": 1.0}}, wait=True)
filler = small_disk.fill(checkpoints.folder)
for wait in (True, False):
    try:
        checkpoints.save(2, bundle, {{"steps": 2, "seconds": 1.0}}, wait=wait)
        checkpoints.wait()
    except OSError as error:
        print(error)
    assert checkpoint.Checkpoints({folder!r}, "newest", create=False).read(networks).version == 1
filler.unlink()
again = checkpoint.Checkpoints({folder!r}, "newest")
again.save(2, bundle, {{"steps": 2, "seconds": 1.0}}, wait=True)
assert again.read(networks).version == 2
print(sorted(path.name for path in again.folder.iterdir()))
"""


def test_a_full_disk_costs_no_checkpoint_and_what_was_begun_is_cleared(tmp_path):
    done = run(tmp_path, CHECKPOINTS)
    assert done.returncode == 0, done.stderr
    *errors, names = done.stdout.splitlines()
    assert len(errors) == 2 and all("No space left on device" in line for line in errors), errors
    assert names == "['1', '2']"


def test_a_disk_that_is_full_from_the_start_is_told_and_keeps_nothing_that_looks_like_a_run(
    tmp_path,
):
    folder = tmp_path / "disk"
    folder.mkdir()
    script = (
        f"{sys.executable} -c 'import pathlib; from support import small_disk; "
        f'small_disk.fill(pathlib.Path("{folder}"))\' && '
        f"{sys.executable} -m launch.local --config=case14_ppo --workdir={folder}/run; "
        f"code=$?; test ! -e {folder}/run/config.json || echo A RUN; exit $code"
    )
    done = subprocess.run(
        small_disk.command(folder, 1, ["sh", "-c", script]), cwd=ROOT, capture_output=True,
        text=True, check=False, timeout=100,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"},
    )  # fmt: skip
    assert done.returncode == 2 and "A RUN" not in done.stdout, (done.stdout, done.stderr)
    assert "cannot be written (No space left on device)" in done.stderr
    assert "Traceback" not in done.stderr


RESULTS = """
import sys
sys.path.insert(0, {tests!r})
import numpy as np
from support import small_disk
from evaluation import results

folder = results.Folder({folder!r})
folder.hold()
folder.open({{"seed": 0}}, {{}})
task = results.Task("normal", "easy", "mpc")
batch = {{"metrics": {{"cost": [1.0]}}, "endings": [0], "l2rpn": {{}}, "seconds": 1.0}}
arrays = {{"rho": np.random.default_rng(0).random(100_000)}}
folder.save(task, 0, batch, arrays)
filler = small_disk.fill(folder.path)
for first in (1, 2):
    try:
        folder.save(task, first, batch, arrays if first == 1 else None)
    except OSError as error:
        print(error)
filler.unlink()
print(sorted(path.name for path in folder.path.rglob("*.*")))
"""


def test_an_evaluation_names_the_file_that_a_full_disk_does_not_take_and_leaves_no_half(tmp_path):
    done = run(tmp_path, RESULTS)
    assert done.returncode == 0 and not done.stderr, done.stderr
    arrays, batch, names = done.stdout.splitlines()
    assert "No space left on device" in arrays and "001-001.npz" in arrays
    assert "No space left on device" in batch and "002-002.json" in batch
    assert names == "['000-000.json', '000-000.npz', 'evaluation.json']"
