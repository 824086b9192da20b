"""The architecture: a package imports only from those below it; physics needs no launcher."""

import ast
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
LAYERS = {
    "envs": 1, "agents": 2, "replay": 2, "actors": 3, "learner": 3, "evaluation": 3, "configs": 4,
    "benchmarks": 4, "launch": 5, "gridracer": 6,
}  # fmt: skip
# Of the packages inside one, from the bottom up; its own files are named by ".".
INSIDE = {
    "envs": ("inputs", "case", "powerflow", "contingency", "schedule", "time_series", "step", "."),
    "agents": (".", "baselines", "grid2op"),
    "evaluation": ("scenarios", ".", "report"),
    "benchmarks": ("peers", "."),
    "launch": ("host", "run", "nodes", "loggers", ".", "sweep"),
    "gridracer": (".", "grid2op"),
}
HEAVY = ("launchpad", "reverb", "tensorflow", "courier")


def _imports(path: pathlib.Path):
    """Yields the modules that a file imports; a name may be one of a module."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _inner(name: str) -> str:
    """Returns the inner package that a module is in, "." for the outer one itself."""
    parts = name.split(".")
    return parts[1] if (ROOT / parts[0] / parts[1]).is_dir() else "."


@pytest.mark.parametrize("package", LAYERS)
def test_a_package_imports_only_from_packages_below(package):
    for path in (ROOT / package).rglob("*.py"):
        for name in _imports(path):
            other = name.split(".")[0]
            if other in LAYERS and other != package:
                assert LAYERS[other] < LAYERS[package], f"{path.relative_to(ROOT)} imports {name}"


@pytest.mark.parametrize("package", INSIDE)
def test_inner_packages_import_only_from_those_below(package):
    order = INSIDE[package]
    folders = {path.parent.name for path in (ROOT / package).glob("*/__init__.py")}
    assert folders == {*order} - {"."}, "each has a place in the order"
    for path in (ROOT / package).rglob("*.py"):
        here = _inner(".".join(path.relative_to(ROOT).with_suffix("").parts))
        for name in _imports(path):
            if name.split(".")[0] == package and (there := _inner(name)) != here:
                shown = f"{path.relative_to(ROOT)} imports {name}"
                assert order.index(there) < order.index(here), shown


def test_physics_agents_and_update_run_without_launchpad_reverb_or_tensorflow():
    program = f"""
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in {HEAVY!r}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
for name in {HEAVY!r}:
    try:
        __import__(name)
    except ModuleNotFoundError:
        continue
    sys.exit(name + ' could be imported, so this test proves nothing')
import jax
from actors import unroll
from agents import networks, options, bundle
from envs import grid_env, options as env_options
from learner import ppo, options as learner_options
env = grid_env.make(env_options.EnvOptions())
nets = networks.make(env.layout, options.TeamOptions(policy_layers=(4,), value_layers=(4,)))
algorithm = ppo.PPO(nets, learner_options.LearnerOptions(epochs=1, minibatches=1))
spec = unroll.Unroller(env, nets, 2, 2).spec()
state = jax.eval_shape(algorithm.init, jax.random.PRNGKey(0))
jax.eval_shape(lambda s, u: jax.vmap(algorithm.update, axis_name=ppo.AXIS)(s, u),
    *jax.tree.map(lambda x: jax.ShapeDtypeStruct((1,) + x.shape, x.dtype), (state, spec)))
print('done')
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 and done.stdout.strip() == "done", done.stderr


def test_no_folder_or_file_is_a_drawer():
    drawers = {"utils", "helpers", "common", "misc", "manager"}
    for package in LAYERS:
        for path in (ROOT / package).rglob("*.py"):
            inside = path.relative_to(ROOT)
            assert not drawers & {*inside.parent.parts, inside.stem}, inside
