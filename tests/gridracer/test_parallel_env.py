import gymnasium
import jax
import numpy as np
import pettingzoo.test
import pytest

from agents.options import TeamOptions
from gridracer import parallel_env

STEPS = 14
TEAMS = {
    "centralised": "case14",
    "nodes": "case14",
    "microgrids": "ieee13_mg",
    "mappo": "case30",
    "ippo": "case30",
    "hierarchical": "case30",
}


def _make(kind, **options):
    team = TeamOptions(kind=kind, own_reward=0.5)
    return parallel_env.make(TEAMS[kind], team, horizon_steps=STEPS, **options)


def _random(env, rng):
    return {
        name: rng.uniform(-1, 1, env.action_space(name).shape).astype(np.float32)
        for name in env.agents
    }


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=pytest.mark.slow if kind == "ippo" else ()) for kind in TEAMS]
)
def test_pettingzoos_checkers_accept_every_team(kind, capsys):
    pettingzoo.test.parallel_api_test(_make(kind), num_cycles=3 * STEPS)
    assert "Passed Parallel API test" in capsys.readouterr().out
    pettingzoo.test.parallel_seed_test(lambda: _make(kind))


@pytest.mark.parametrize(
    "kind",
    ["microgrids", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("nodes", "mappo"))],
)
def test_agents_move_the_grid_together(kind):
    env, rng = _make(kind, units="physical"), np.random.default_rng(0)
    env.reset(options={"day": 2})
    functional = env.functional
    state = functional.reset(jax.random.fold_in(jax.random.PRNGKey(0), 2))
    step = jax.jit(functional.step)
    for _ in range(3):
        actions = _random(env, rng)
        joint = np.zeros(functional.layout.action_size, np.float32)
        for agent in env._team.agents:
            joint[agent.action] = actions[agent.name]
        state = step(state, joint)
        observations, *_, infos = env.step(actions)
        np.testing.assert_allclose(env.state(), state.observation, rtol=1e-3, atol=1e-2)
        for agent in env._team.agents:
            own = np.asarray(state.observation)[agent.observation]
            np.testing.assert_allclose(observations[agent.name], own, rtol=1e-3, atol=1e-2)
        info = infos[env.agents[0]]
        np.testing.assert_allclose(info["generation_cost"], state.terms["generation_cost"],
                                   rtol=1e-4)  # fmt: skip


@pytest.mark.parametrize("kind", ["microgrids", "mappo"])  # whose agents have every bus
def test_what_agents_have_of_their_own_adds_up_to_the_grids(kind):
    env, rng = _make(kind), np.random.default_rng(1)
    env.reset(seed=1)
    infos = env.step(_random(env, rng))[-1]
    options, info = env.functional.options, infos[env.agents[0]]
    energy = (
        info["generation_cost"] + info["load_control_cost"]
        + options.curtailment_price * info["curtailment"]
        + options.storage_price * info["storage_throughput"]
    )  # fmt: skip
    own = [each["own"] for each in infos.values()]
    np.testing.assert_allclose(sum(each["energy_cost"] for each in own), energy, rtol=1e-4)
    assert sum(each["voltage_violations"] for each in own) == info["voltage_violations"]


def test_rewards_mix_the_grids_with_an_agents_own():
    env, rng = _make("microgrids"), np.random.default_rng(1)
    env.reset(seed=1)
    _, rewards, *_, infos = env.step(_random(env, rng))
    whole = 1e-3 * (infos["MG1"]["planned_cost"] - infos["MG1"]["operating_cost"])
    terms = env._members["MG1"].own_terms
    own = 1e-3 * sum(infos["MG1"]["own"][f"earned_{name}"] for name in terms)
    np.testing.assert_allclose(rewards["MG1"], 0.5 * whole + 0.5 * own, rtol=1e-3, atol=1e-6)


def test_a_decision_that_lasts_is_held():
    first, second, rng = _make("hierarchical"), _make("hierarchical"), np.random.default_rng(2)
    infos = [env.reset(options={"day": 0})[1] for env in (first, second)]
    assert infos[0]["strategic"]["decides"] and infos[0]["area_1"]["decides"]
    for step in range(STEPS - 1):
        actions = _random(first, rng)
        other = {**actions}
        if not infos[0]["strategic"]["decides"]:  # Nothing that it says now is heard.
            other["strategic"] = -actions["strategic"]
        results = [env.step(each) for env, each in ((first, actions), (second, other))]
        infos = [result[-1] for result in results]
        assert infos[0]["strategic"]["decides"] == ((step + 1) % 12 == 0)
        np.testing.assert_array_equal(first.state(), second.state())
    first.reset(options={"day": 0})
    second.reset(options={"day": 0})
    actions = _random(first, rng)
    first.step(actions)
    second.step({**actions, "strategic": -actions["strategic"]})
    assert np.abs(first.state() - second.state()).max() > 1e-3


def test_actions_that_are_missing_or_of_another_shape_are_refused():
    env = _make("microgrids")
    for early in (lambda: env.step({}), env.state):
        with pytest.raises(gymnasium.error.ResetNeeded):
            early()
    env.reset(seed=0)
    actions = _random(env, np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"no action of MG2: every one"):
        env.step({name: action for name, action in actions.items() if name != "MG2"})
    with pytest.raises(ValueError, match=r"action of MG2 of shape \(1,\): must be of shape"):
        env.step({**actions, "MG2": np.zeros(1)})


def test_a_team_that_the_grid_cannot_have_is_refused():
    with pytest.raises(ValueError, match="team.kind=microgrids: .*case14"):
        parallel_env.make("case14", "microgrids")
    with pytest.raises(ValueError, match="team.kind='regions': .*must be one of centralised"):
        parallel_env.make("case14", "regions")
    with pytest.raises(ValueError, match="team=None: must be the name of a kind"):
        parallel_env.make("case14", None)
