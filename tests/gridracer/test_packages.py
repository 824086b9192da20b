"""What environments of standards say where Gymnasium or PettingZoo is not installed."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "module, missing",
    [
        ("gymnasium_env", "gymnasium"),
        ("vector_env", "gymnasium"),
        ("parallel_env", "gymnasium"),
        ("parallel_env", "pettingzoo"),
        ("sb3", "stable_baselines3"),
    ],
)
def test_without_a_package_the_remedy_is_named(module, missing):
    program = f"""
import sys
sys.modules[{missing!r}] = None
import gridracer
try:
    from gridracer import {module}
except ModuleNotFoundError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{missing} is not installed"), done.stdout
    remedy = "make rllib" if module == "sb3" else "pip install 'gymnasium>=1.1' 'pettingzoo>=1.25'"
    assert remedy in done.stdout


def test_what_a_package_lacks_itself_is_not_taken_for_it(tmp_path):
    (tmp_path / "gymnasium.py").write_text("import nowhere_to_be_found\n")
    program = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
from gridracer import packages
packages.required("gymnasium")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 1 and "nowhere_to_be_found" in done.stderr.splitlines()[-1]
