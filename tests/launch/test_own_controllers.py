"""Controllers of the user's own, by file or module, in evaluations."""

import json

import pytest

import gridracer
from agents import controllers
from agents.baselines import simple
from envs import grid_env
from launch import own_controllers

FILE = """
import dataclasses

import jax.numpy as jnp

import beside
from agents import controllers
from envs.step import actions


@dataclasses.dataclass
class Settings:
    share: float = beside.SHARE


def halfway(env):
    def decide(state, series):
        plan = series.at(state.t + 1).plan_p_mw
        unit_mw = Settings().share * (state.gen_p_mw + plan)
        return env.action_for(state, series, actions.Targets(unit_mw=unit_mw))

    act = controllers.per_grid(decide)
    return controllers.Controller("other", "other", controllers.STATE, controllers.stateless, act)


def nothing_returned(env):
    pass


def narrow(env):
    act = lambda state, days, memory: (jnp.zeros((len(days.day), 2)), memory)
    return controllers.Controller("n", "n", controllers.STATE, controllers.stateless, act)


def crashes(env):
    def act(state, days, memory):
        return {}["no such key"]

    start = controllers.stateless
    return controllers.Controller("c", "c", controllers.STATE, start, act, traceable=False)


expert = halfway
number = 3
"""


@pytest.fixture
def mine(tmp_path):
    """A file of a user's controllers, which imports another one that lies beside it."""
    (tmp_path / "beside.py").write_text("SHARE = 0.5\n")
    path = tmp_path / "mine.py"
    path.write_text(FILE)
    return path


@pytest.mark.parametrize(
    "what, message",
    [
        ("halfwy", "did you mean halfway.*mine.py has no 'halfwy'; it has .*narrow"),
        ("number", "is a int; it must be a function of an environment"),
    ],
)
def test_what_is_no_controller_is_refused(mine, what, message):
    with pytest.raises(ValueError, match=message):
        own_controllers.load([f"{mine}:{what}"])


def test_where_there_is_no_file_or_module_the_remedy_is_told(tmp_path):
    with pytest.raises(ValueError, match=r"--controllers=no/file.py:x: there is no file no/file"):
        own_controllers.load(["no/file.py:x"])
    with pytest.raises(ValueError, match=r"no.module:x: cannot be imported.* give FILE.py:NAME"):
        own_controllers.load(["no.module:x"])
    broken = tmp_path / "broken.py"
    broken.write_text("import jax\n1 / 0\n")
    with pytest.raises(ValueError, match="ZeroDivisionError: division by zero"):
        own_controllers.load([f"{broken}:x"])


def test_two_of_one_name_are_refused(mine):
    with pytest.raises(ValueError, match="there is a controller called halfway already"):
        own_controllers.load([f"{mine}:halfway", f"{mine}:halfway"])
    with pytest.raises(ValueError, match="called merit_order already"):
        own_controllers.load([simple.merit_order])


def test_a_module_that_can_be_imported_serves_as_well():
    (one,) = own_controllers.load(["agents.baselines.shield:shielded"])
    assert one.name == "shielded"


def test_own_controllers_stand_in_an_evaluation_and_their_errors_end_no_other(mine, tmp_path):
    config = tmp_path / "short.yaml"
    config.write_text("base: case14\nenv:\n  horizon_steps: 8\n")
    names = ("halfway", "nothing_returned", "narrow", "crashes")
    evaluate = lambda *given: gridracer.evaluate(
        controllers=[*given], days=2, bound=False, config=str(config), out=tmp_path / "out",
        say=said.append,
    )  # fmt: skip
    said: list[str] = []
    done = evaluate(*(f"{mine}:{name}" for name in names))
    assert done.mean("halfway", "survival") == 100.0
    assert set(done.failed) == {"nothing_returned", "narrow", "crashes"}
    assert "must return an agents.controllers.Controller" in done.failed["nothing_returned"]
    assert "returns actions (2, 2); they must be (2, " in done.failed["narrow"]
    assert "KeyError: 'no such key' (mine.py, line " in done.failed["crashes"]
    summary = json.loads((done.folder / "summary.json").read_text())
    assert summary["controllers"] == ["do_nothing", "halfway"]
    assert not said
    with pytest.raises(ValueError, match="--controllers: DoNothingAgent: case case14: agents of"):
        evaluate("grid2op.Agent:DoNothingAgent")

    # Another version of the file is played again, and what was of the first is gone.
    before = done.mean("halfway", "return")
    mine.write_text(FILE.replace("halfway(env):", "halfway(env, share=0.4):").replace(
        "Settings().share", "share"
    ))  # fmt: skip
    again = evaluate(f"{mine}:halfway")
    assert said == ["halfway has changed since it was evaluated here; it is played again"]
    assert again.mean("halfway", "return") != before


def test_a_function_in_memory_is_a_controller_too(tmp_path):
    def follows(env: grid_env.GridEnv) -> controllers.Controller:
        return controllers.do_nothing(env)

    config = tmp_path / "short.yaml"
    config.write_text("base: case14\nenv:\n  horizon_steps: 8\n")
    done = gridracer.evaluate(
        controllers=[follows], days=2, bound=False, config=str(config), out=tmp_path / "out"
    )
    assert done.mean("follows", "return") == done.mean("do_nothing", "return")
