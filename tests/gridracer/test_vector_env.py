import subprocess
import sys
import tempfile

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from gridracer import gymnasium_env, vector_env

STEPS = 5


def _make(count, **options):
    return vector_env.make("case14", count, horizon_steps=STEPS, **options)


@pytest.fixture(scope="module")
def actions():
    env = _make(18)
    rng = np.random.default_rng(0)
    return rng.uniform(-1, 1, (STEPS + 3, *env.action_space.shape)).astype(np.float32)


def test_make_vec_makes_it():
    env = gymnasium.make_vec("gridracer/case14-v0", num_envs=2, horizon_steps=STEPS)
    assert isinstance(env.unwrapped, vector_env.GridVectorEnv)
    assert env.metadata["autoreset_mode"] == AutoresetMode.NEXT_STEP
    observations, infos = env.reset(seed=0)
    assert observations in env.observation_space and infos["_day_of_year"].all()


def test_each_grid_is_what_it_would_be_by_itself(actions):
    together, alone = _make(18), gymnasium_env.make("case14", horizon_steps=STEPS)
    rows = [together.reset(options={"day": 0})[0]]
    rewards = []
    for action in actions[:STEPS]:
        observations, reward, _, truncated, infos = together.step(action)
        rows.append(observations)
        rewards.append(reward)
    assert truncated.all()
    for grid in (0, 17):  # 16 begin together
        observation, _ = alone.reset(options={"day": grid})
        np.testing.assert_allclose(rows[0][grid], observation, rtol=1e-4, atol=1e-4)
        for step in range(STEPS):
            observation, reward, *_, info = alone.step(actions[step, grid])
            np.testing.assert_allclose(rows[step + 1][grid], observation, rtol=1e-3, atol=1e-4)
            np.testing.assert_allclose(rewards[step][grid], reward, rtol=1e-3, atol=1e-4)
        for name in ("generation_cost", "rho_max", "vm_min_pu"):
            np.testing.assert_allclose(infos["day"][name][grid], info["day"][name], rtol=1e-3)
        assert infos["reason"][grid] == info["reason"]


def test_a_day_that_is_over_is_followed_by_another_in_the_next_step(actions):
    env = _make(18)
    env.reset(seed=0)
    for action in actions[:STEPS]:
        last, _, _, truncated, infos = env.step(action)
    assert truncated.all() and infos["_day"].all()
    assert "day_of_year" not in infos
    first, rewards, terminated, truncated, begun = env.step(actions[STEPS])
    assert begun["_day_of_year"].all() and (begun["day_of_year"] == env._grids.days.day).all()
    assert (rewards == 0).all() and not (terminated | truncated).any()
    assert "day" not in begun and not begun["_losses"].any()
    assert (np.asarray(env.states.t) == 0).all() and np.abs(first - last).max() > 1e-3
    following, *_, infos = env.step(actions[STEPS + 1])
    assert (np.asarray(env.states.t) == 1).all() and infos["_losses"].all()
    assert np.abs(following - first).max() > 1e-3
    assert "day_of_year" not in infos


def test_infos_that_are_kept_stay_as_they_were(actions):
    env = _make(18)
    env.reset(seed=0)
    for action in actions[:STEPS]:
        *_, infos = env.step(action)
    day = infos["day"]["generation_cost"].copy()
    env.reset(seed=1)
    env.step(actions[0])
    assert infos["_day"].all() and infos["day"]["_reward"].all() and infos["_reason"].all()
    np.testing.assert_array_equal(infos["day"]["generation_cost"], day)


def test_or_at_once_with_the_last_observation_told(actions):
    waits, goes_on = _make(18), _make(18, autoreset="same_step")
    assert goes_on.metadata["autoreset_mode"] == AutoresetMode.SAME_STEP
    for env in (waits, goes_on):
        env.reset(seed=0)
    for action in actions[:STEPS]:
        last, *_ = waits.step(action)
        now, _, _, truncated, infos = goes_on.step(action)
    assert truncated.all() and infos["_final_obs"].all()
    np.testing.assert_array_equal(np.stack(infos["final_obs"]), last)
    first, *_ = waits.step(actions[STEPS])
    np.testing.assert_array_equal(now, first)  # the same days, drawn by the same seed
    *_, infos = goes_on.step(actions[STEPS])
    assert infos["_losses"].all() and "final_obs" not in infos


def test_only_who_is_done_begins_anew():
    env = vector_env.make(
        "case14", 3, layout="full", horizon_steps=40, autoreset="same_step", observations="named"
    )
    env.reset(seed=0)
    nothing = np.zeros(env.action_space.shape, np.float32)
    split = nothing.copy()
    split[1, env.functional.layout.action["switch"]] = -1.0  # opens a branch in every step
    step = 0
    while step < 40:
        step += 1
        *_, terminated, truncated, infos = env.step(split)
        if terminated.any():
            break
    assert terminated.tolist() == [False, True, False] and not truncated.any()
    assert infos["_day"].tolist() == [False, True, False]
    assert infos["reason"][1] != "NONE" and infos["final_obs"][0] is None
    assert infos["final_obs"][1].keys() == env.single_observation_space.keys()
    assert np.asarray(env.states.t).tolist() == [step, 0, step]
    assert np.asarray(env.states.branch.closed)[1].all()


def test_a_day_is_played_from_observations():
    env = _make(3, split="validation")
    moved = env.play(lambda seen: np.clip(0.01 * seen[:, : env.action_space.shape[1]], -1, 1), 4)
    one = gymnasium_env.make("case14", horizon_steps=STEPS, split="validation")
    for number, earned in enumerate(moved):
        seen, _ = one.reset(options={"day": 4 + number})
        rewards = []
        for _ in range(STEPS):
            action = np.clip(0.01 * seen[: one.action_space.shape[0]], -1, 1)
            seen, reward, *_ = one.step(action)
            rewards.append(reward)
        assert earned == pytest.approx(sum(rewards), abs=1e-4)
    assert (env.play(None, 4) != moved).all()


def test_a_policy_plays_in_the_units_that_it_takes():
    def act(seen):
        return np.zeros((len(seen), 23))

    act.units = "physical"
    with pytest.raises(ValueError, match="units='per_unit': the policy takes .* physical units"):
        _make(3).play(act)
    assert _make(3, units="physical").play(act) == pytest.approx(_make(3).play(None))


def test_actions_that_are_none_are_refused():
    env = _make(2)
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"actions of shape \(23,\): must be of shape \(2, 23\)"):
        env.step(np.zeros(23))
    with pytest.raises(ValueError, match=r"actions: inf at \[1, 0\]"):
        env.step(np.array([[0.0], [np.inf]]) * np.ones(23))


def test_diagrams_are_drawn_of_every_grid():
    env = _make(2, render_mode="rgb_array")
    env.reset(seed=0)
    pictures = env.render()
    assert len(pictures) == 2 and pictures[0].shape == (560, 800, 3)
    assert (pictures[0] != pictures[1]).any()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"num_envs": 0}, "num_envs=0: must be a whole number"),
        ({"num_envs": True}, "num_envs=True: must be a whole number"),
        ({"autoreset": "never"}, "autoreset='never': .*must be one of next_step, same_step"),
        ({"render_mode": "human"}, "render_mode='human': .*must be one of rgb_array"),
    ],
)
def test_what_is_not_accepted_is_named(given, message):
    with pytest.raises(ValueError, match=message):
        vector_env.make(**{"case": "case14", "num_envs": 2, **given})


def test_a_step_before_a_day_is_refused(actions):
    env = _make(np.int64(18), render_mode="rgb_array")
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(actions[0])
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.render()
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.states  # noqa: B018


def test_an_option_that_is_not_known_is_told():
    with pytest.warns(UserWarning, match="reset: options dag: not known; there is day"):
        _make(2).reset(options={"dag": 3})


def test_processes_that_were_forked_are_refused_and_new_ones_work():
    program = """
import gymnasium, gridracer, sys
if __name__ == "__main__":
    given = {"vectorization_mode": "async", "horizon_steps": 5, "num_envs": 1}
    env = gymnasium.make_vec("gridracer/case14-v0", vector_kwargs={"context": sys.argv[1]}, **given)
    print(env.reset(seed=0)[0].shape)
    env.close()
"""
    run = lambda path, context: subprocess.run(
        [sys.executable, path, context], capture_output=True, text=True, timeout=300
    )
    with tempfile.NamedTemporaryFile("w", suffix=".py") as script:
        script.write(program)
        script.flush()
        forked, anew = (run(script.name, context) for context in ("fork", "spawn"))
    assert forked.returncode == 1 and "this process was forked from one" in forked.stderr
    assert anew.returncode == 0 and anew.stdout.startswith("(1, "), anew.stderr


@pytest.mark.parametrize("day", ["3", None, True, -1, 0.5, 2**32, [1, 2]])
def test_a_day_that_is_none_is_refused(day):
    with pytest.raises(ValueError, match=r"reset: options\['day'\]=.*: must be a whole number"):
        _make(2).reset(options={"day": day})
