"""What an expert does: asked once, in the states that it or another leads to."""

import copy
import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from agents import controllers
from envs import grid_env
from envs.options import EnvOptions
from evaluation import demonstrations

OPTIONS = EnvOptions(
    horizon_steps=6, maintenance_per_day=0.0, branch_faults_per_day=0.0, gen_faults_per_day=0.0
)


@pytest.fixture(scope="module")
def env():
    return grid_env.make(OPTIONS)


def _decided(env, observation):
    """What the expert does, a function of the observation alone."""
    return 0.2 * np.tanh(observation[..., : env.layout.action_size])


class Expert:
    """Counts how often it is asked."""

    def __init__(self, env, name="counting"):
        self.asked = 0
        self.controller = controllers.Controller(
            name, name, controllers.OBSERVATIONS, lambda days, seed: 0, self._act, traceable=False
        )
        self._env = env

    def _act(self, state, days, memory):
        assert memory == self.asked % self._env.horizon  # It gets its own memory back.
        self.asked += 1
        return _decided(self._env, np.asarray(state.observation)), memory + 1


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return tmp_path_factory.mktemp("store")


def _again(demonstrator, expert, root):
    """Returns a demonstrator of its own, with what another has compiled."""
    again = copy.copy(demonstrator)
    again._expert = expert.controller
    again._root = root
    return again


@pytest.fixture(scope="module")
def asked(env, store):
    """The days 0 to 2 as an expert plays them, and who asked it."""
    expert = Expert(env)
    demonstrator = demonstrations.Demonstrator(env, expert.controller, store)
    answers = demonstrator.days(0, 3)
    assert expert.asked == env.horizon
    return answers, demonstrator, expert


def test_every_decision_of_its_own_days_is_there(env, asked):
    answers, *_ = asked
    assert sorted(answers.day.tolist()) == np.repeat([0, 1, 2], env.horizon).tolist()
    assert answers.observations.shape == (18, env.layout.observation_size)
    np.testing.assert_array_equal(answers.actions, _decided(env, answers.observations))
    assert len(np.unique(answers.observations, axis=0)) == 18
    assert answers.returns.shape == (3,) and np.isfinite(answers.returns).all()


def test_nobody_is_asked_twice(env, store, asked):
    answers, demonstrator, _ = asked
    expert = Expert(env)
    again = _again(demonstrator, expert, store)
    for kept, made in zip(again.days(0, 3), answers):
        np.testing.assert_array_equal(kept, made)
    assert expert.asked == 0 and again.folder() == demonstrator.folder()
    # A day depends on its number alone.
    alone = again.days(2, 1)
    np.testing.assert_array_equal(alone.observations, answers.observations[answers.day == 2])


def test_what_answers_depend_on_names_their_folder(env, store, asked):
    _, demonstrator, expert = asked
    other = grid_env.make(dataclasses.replace(OPTIONS, load_control_share=0.3))
    for environment, who in ((env, Expert(env, "another")), (other, expert)):
        elsewhere = demonstrations.Demonstrator(environment, who.controller, store)
        assert elsewhere.folder() != demonstrator.folder()
    # Where a pool of the same days lies does not count.
    moved = grid_env.make(OPTIONS)
    moved.options = dataclasses.replace(OPTIONS, pool="elsewhere")
    same = demonstrations.Demonstrator(moved, expert.controller, store)
    assert same.folder() == demonstrator.folder()


@pytest.mark.parametrize("damage", ["cut", "changed"])
def test_what_is_damaged_is_asked_again(env, tmp_path, asked, damage):
    first, second = Expert(env), Expert(env)
    demonstrator = _again(asked[1], first, tmp_path)
    answers = demonstrator.days(0, 2)
    file = demonstrator.folder() / "00000-2.npz"
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:500])
    else:
        with np.load(file) as arrays:
            changed = {name: arrays[name] for name in arrays.files}
        changed["actions"][0, 0] += 1.0
        np.savez(file, **changed)
    again = _again(demonstrator, second, tmp_path).days(0, 2)
    assert second.asked == env.horizon
    np.testing.assert_array_equal(again.actions, answers.actions)


def test_in_later_rounds_another_acts_and_the_expert_is_only_asked(env, store, asked):
    answers, demonstrator, _ = asked
    expert = Expert(env)
    bold = controllers.per_grid(lambda state, series: jnp.full(env.layout.action_size, 0.5))
    actor = controllers.Controller(
        "bold", "bold", "nothing", controllers.stateless, bold, assumes_control=True
    )
    learning, led = _again(demonstrator, expert, store), demonstrations.Actor(actor, "bold")
    met = learning.days(0, 3, led)
    others = [learning.folder(led._replace(digest=name)) for name in ("bold", "shy")]
    assert len({demonstrator.folder(), *others}) == 3 and others[0].is_dir()
    assert expert.asked == env.horizon
    np.testing.assert_array_equal(met.actions, _decided(env, met.observations))
    first = np.arange(3)  # of each day: nothing was decided before
    np.testing.assert_array_equal(met.observations[first], answers.observations[first])
    later = np.abs(met.observations[3:] - answers.observations[3:]).max(1)
    assert (later > 0.05).all()


def test_nothing_is_asked_after_an_end(env, tmp_path, asked):
    demonstrator = _again(asked[1], Expert(env), tmp_path)
    sample = demonstrator._days

    def collapsing(numbers):
        days = sample(numbers)
        return days.replace(load_p_mw=days.load_p_mw.at[1, 3:].multiply(5.0))

    demonstrator._days = collapsing
    answers = demonstrator.days(0, 2)
    assert np.bincount(answers.day).tolist() == [6, 3]
