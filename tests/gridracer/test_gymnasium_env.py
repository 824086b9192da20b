import dataclasses
import re

import gymnasium
import jax
import numpy as np
import pytest
from gymnasium.utils import env_checker
from support import documentation

from envs.step import rewards
from envs.step.options import ProtectionOptions
from evaluation.scenarios import suite
from gridracer import gymnasium_env, ids, metrics

STEPS = 5


def _make(**options):
    return gymnasium_env.make("case14", horizon_steps=STEPS, **options)


def _play(env, actions, **reset):
    """Returns observations, rewards and the last info of a day."""
    observation, _ = env.reset(**reset)
    observations, earned = [observation], []
    for action in actions:
        observation, reward, terminated, truncated, info = env.step(action)
        observations.append(observation)
        earned.append(reward)
        if terminated or truncated:
            break
    return np.array(observations), np.array(earned), info


@pytest.fixture(scope="module")
def env():
    return _make()


@pytest.fixture(scope="module")
def actions(env):
    rng = np.random.default_rng(0)
    return rng.uniform(-1, 1, (STEPS, *env.action_space.shape)).astype(np.float32)


@pytest.mark.filterwarnings("ignore:.*A Box observation space.*")
@pytest.mark.parametrize("observations", ["flat", "named"])
def test_gymnasiums_checker_accepts_it(observations):
    env = _make(observations=observations, render_mode="rgb_array")
    env.spec = gymnasium.spec("gridracer/case14-v0")
    env_checker.check_env(env, skip_render_check=False)


def test_ids_are_those_of_the_cases_and_scenarios():
    assert ids.SCENARIOS == tuple(suite.SCENARIOS) and ids.LEVELS == suite.LEVELS
    for name, named in ids.tasks():
        assert gymnasium.spec(name).kwargs == named
    assert gymnasium.spec("gridracer/case118-cascade-hard-v0").vector_entry_point


def test_an_id_makes_an_environment_with_options():
    env = gymnasium.make("gridracer/case14-v0", horizon_steps=STEPS, reward="economic")
    assert env.unwrapped.functional.options.reward == "economic"
    assert env.unwrapped.functional.layout.action.keys() == {
        "generator", "load", "curtailment", "storage", "unit_voltage",
    }  # fmt: skip


def test_it_steps_as_the_functions_it_wraps(env, actions):
    observations, earned, _ = _play(env, actions, options={"day": 3})
    functional = env.functional
    key = jax.random.fold_in(jax.random.PRNGKey(0), 3)
    state, step = functional.reset(key), jax.jit(functional.step)
    for action, observation, reward in zip(actions, observations[1:], earned):
        state = step(state, action)
        scale = env._simulator.ratings
        np.testing.assert_allclose(observation * scale, state.observation, rtol=1e-4, atol=1e-3)
        np.testing.assert_allclose(reward, state.reward, rtol=1e-4, atol=1e-5)


def test_days_of_a_scenario_are_those_that_an_evaluation_plays():
    env = gymnasium_env.make("case14", "failure", "hard", split="test", horizon_steps=60)
    env.reset(options={"day": 1})
    played = suite.draw(env.functional, "failure", "hard", "test", 2, seed=0)
    for name, values in vars(env._grids.days).items():
        np.testing.assert_allclose(values[0], getattr(played, name)[1], rtol=1e-5, err_msg=name)


def test_a_seed_gives_the_same_day_and_another_another(env, actions):
    first, second, other = (_play(env, actions, seed=seed)[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, second)
    assert np.abs(first - other).max() > 1e-3
    _play(env, actions, seed=1)
    following = _play(env, actions)[0]
    assert np.abs(following - first).max() > 1e-3


def test_a_step_outside_a_day_is_refused(env, actions):
    with pytest.raises(gymnasium.error.ResetNeeded):
        _make().step(actions[0])
    _play(env, actions)
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(actions[0])


def test_infos_name_the_terms_of_a_step_and_the_day_sums_them(env, actions):
    env.reset(seed=0)
    infos = [env.step(action)[-1] for action in actions]
    assert rewards.TERM_UNITS.keys() <= infos[0].keys() and "day" not in infos[0]
    day = infos[-1]["day"]
    for name in ("generation_cost", "voltage_violation", "operating_cost", "voltage_violations"):
        np.testing.assert_allclose(day[name], sum(info[name] for info in infos), rtol=1e-6)
    np.testing.assert_allclose(day["rho_max"], max(info["rho_max"] for info in infos))
    np.testing.assert_allclose(day["vm_min_pu"], min(info["vm_min_pu"] for info in infos))
    np.testing.assert_allclose(day["losses"], sum(info["losses"] for info in infos), rtol=1e-6)
    np.testing.assert_allclose(
        day["balancing_mw"], np.mean([info["balancing_mw"] for info in infos]), rtol=1e-6
    )
    assert infos[-1]["reason"] == "NONE"


def test_the_how_to_has_what_infos_tell(env, actions):
    env.reset(seed=0)
    info = env.step(actions[0])[-1]
    page = (documentation.ROOT / "docs/howto/environments.md").read_text()
    table = page.split("| info | what it is | of a day |")[1].split("\n\n")[0]
    told = dict(re.findall(r"^\| `(\w+)` \|.*\| (\w+) \|$", table, re.MULTILINE))
    names = metrics.Metrics(env.functional)
    assert info.keys() - rewards.TERM_UNITS.keys() == told.keys() | {"reason"}
    assert told == {name: names.of_day(name) for name in told}
    assert {names.of_day(name) for name in rewards.TERM_UNITS} == {"sum"}


def test_metrics_of_the_users_own_reach_infos_and_the_day(actions):
    own = {
        "first_bus_pu": lambda state, detail: state.vm_pu[0],
        "losses_peak": metrics.Metric(lambda state, detail: state.losses_mw, "max"),
    }
    env = _make(metrics=own)
    env.reset(seed=0)
    steps = []
    for action in actions:
        info = env.step(action)[-1]
        np.testing.assert_allclose(info["first_bus_pu"], env.state.vm_pu[0], rtol=1e-6)
        np.testing.assert_allclose(info["losses_peak"], env.state.losses_mw, rtol=1e-6)
        steps.append(info)
    day = info["day"]
    np.testing.assert_allclose(day["first_bus_pu"], np.mean([s["first_bus_pu"] for s in steps]))
    np.testing.assert_allclose(day["losses_peak"], max(s["losses_peak"] for s in steps))


def test_observations_come_in_units_and_by_name_as_asked(env, actions):
    flat = _play(env, actions, options={"day": 0})[0]
    physical = _play(_make(units="physical"), actions, options={"day": 0})[0]
    scale = env._simulator.ratings
    np.testing.assert_allclose(flat * scale, physical, rtol=1e-5, atol=1e-5)
    named = _make(observations="named")
    observation, _ = named.reset(options={"day": 0})
    layout = named.functional.layout
    assert observation.keys() == named.observation_space.keys()
    for name, part in layout.observation.items():
        np.testing.assert_array_equal(observation[name], flat[0][part], err_msg=name)


def test_the_diagram_shows_what_is_out_of_service():
    env = gymnasium_env.make("case14", horizon_steps=STEPS, layout="full", render_mode="rgb_array")
    env.reset(options={"day": 0})
    action = np.zeros(env.action_space.shape, np.float32)
    env.step(action)
    before = env.render()
    assert before.dtype == np.uint8 and before.shape == (560, 800, 3)
    action[env.functional.layout.action["switch"].start] = -1.0  # branch 1–2
    env.step(action)
    assert not np.asarray(env.state.branch.closed)[0]
    changed = (before != env.render()).any(-1)
    at = env._screen._at
    assert 100 < changed.sum() < 0.05 * changed.size, at  # the branch and the title, nothing else


def test_loadings_of_the_diagram_are_those_of_the_step():
    env = gymnasium_env.make(
        "case14", horizon_steps=STEPS, units="physical", render_mode="rgb_array"
    )
    env.reset(options={"day": 0})
    observation = env.step(np.zeros(env.action_space.shape, np.float32))[0]
    env.render()
    state = jax.device_get(env.state)
    drawn = env._screen._loading(state.vm_pu, state.va_rad, state.branch.closed)
    part = env.functional.layout.observation["branch_rho"]
    np.testing.assert_allclose(drawn, observation[part], rtol=2e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"case": "case15"}, "no case named 'case15'"),
        ({"units": "pu"}, "units='pu': .*it must be one of per_unit, physical"),
        ({"observations": "dict"}, "observations='dict': .*it must be one of flat, named"),
        ({"render_mode": "ansi"}, "render_mode='ansi': .*it must be one of human, rgb_array"),
        ({"rewrad": "savings"}, "rewrad: no such argument or option .*; did you mean reward?"),
        ({"unit": "physical"}, "unit: .* did you mean units. .* observations, metrics"),
        ({"horizon_steps": 0}, "env.horizon_steps=0"),
        ({"scenario": "cascade"}, "scenario='cascade', level='': give both"),
        ({"scenario": "storm", "level": "hard"}, "scenario='storm': .*it must be one of normal"),
        ({"split": "tests"}, "split 'tests': must be one of train"),
        (
            {"metrics": {"x": metrics.Metric(lambda s, d: s.reward, "median")}},
            "metrics: x='median': .*it must be one of sum",
        ),
        ({"metrics": {"x": 3}}, "metrics: x=3: must be a function"),
        ({"metrics": ["x"]}, r"metrics=\['x'\]: must be functions by name"),
        ({"reward": {"losses": 1.0}}, "reward={'losses': 1.0}: must be the name of one; enter"),
        ({"protection": {"enable": False}}, "env.protection.enable: .*did you mean .*enabled"),
        ({"protection": {"enabled": 1}}, "env.protection.enabled=1: must be true or false"),
    ],
)
def test_what_is_not_accepted_is_named(given, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        gymnasium_env.make(**{"case": "case14", **given})


def test_options_that_are_groups_are_given_by_their_fields():
    options = gymnasium_env.make("case14", protection={"enabled": False}).functional.options
    assert not options.protection.enabled
    assert options.protection == dataclasses.replace(ProtectionOptions(), enabled=False)


@pytest.mark.parametrize(
    ("name", "metric", "message"),
    [
        ("vm", lambda state, detail: state.vm_pu, r"metrics: vm: has shape \(14,\)"),
        ("reward", lambda state, detail: state.vm_pu[0], "metrics: reward: the environment has"),
    ],
)
def test_a_metric_that_cannot_be_told_is_named(actions, name, metric, message):
    env = _make(metrics={name: metric})
    env.reset(seed=0)
    with pytest.raises(ValueError, match=message):
        env.step(actions[0])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda action: action[:3], r"action of shape \(3,\): must be of shape \(23,\)"),
        (lambda action: np.where(np.arange(23) == 4, np.nan, action), r"action: nan at \[4\]"),
    ],
)
def test_an_action_that_is_none_is_refused_and_the_day_goes_on(actions, spoil, message):
    env = _make()
    env.reset(seed=0)
    with pytest.raises(ValueError, match=message):
        env.step(spoil(actions[0]))
    assert env.step(actions[0])[-1]["reason"] == "NONE"
