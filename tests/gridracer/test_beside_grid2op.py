"""The same grid, day and decisions in Gridracer and Grid2Op, and a policy of one in the other."""

import dataclasses
import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import grid2op_day
from support.grid2op_day import NAME, needs_grid2op

from agents import bundle as bundle_lib, distributions, networks as networks_lib
from agents.options import TeamOptions
from configs.experiment import Experiment
from envs import grid_env
from envs.step import layouts
from gridracer.grid2op import prepare, score
from launch.run import run_folder
from learner import checkpoint

needs_files = pytest.mark.skipif(
    importlib.util.find_spec("grid2op") is None, reason="grid2op is not installed"
)
LINE = 3  # that is switched


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A prepared environment."""
    out = tmp_path_factory.mktemp("grid2op")
    prepare.prepare(prepare.find(NAME), out)
    return out


@needs_files
def test_days_of_one_date_are_dealt_to_every_split_and_no_value_changes(folder):
    options = dataclasses.replace(prepare.options(folder), horizon_steps=287)
    env = grid_env.make(options)
    assert {name: len(days.day) for name, days in env.recorded_days.items()} == {
        "train": 4, "validation": 1, "test": 1,
    }  # fmt: skip
    for name in ("load_p.csv.bz2", "prod_p.csv.bz2"):
        copies = [root / "chronics" / "0001" / name for root in (folder, prepare.find(NAME))]
        assert copies[0].read_bytes() == copies[1].read_bytes()


@needs_files
def test_a_folder_that_is_prepared_keeps_what_somebody_changed(tmp_path):
    environment, out = prepare.find("rte_case5_example"), tmp_path / "mine"
    prepare.prepare(environment, out)
    prepare.prepare(environment, out)
    case = (out / "case.json").stat().st_mtime_ns
    with pytest.raises(ValueError, match=f"--out={out}: is the environment's own folder"):
        prepare.prepare(out, out)
    (out / prepare.EXPERIMENT).write_text("name: mine\n")
    with pytest.raises(ValueError, match="experiment.yaml: was changed since it was made"):
        prepare.prepare(environment, out)
    assert (out / prepare.EXPERIMENT).read_text() == "name: mine\n"
    assert (out / "case.json").stat().st_mtime_ns == case


@needs_files
def test_an_environment_that_does_not_exist_is_refused_with_those_that_do():
    with pytest.raises(FileNotFoundError, match=f"mars: .*{NAME}"):
        prepare.find("mars")


def test_episodes_are_spread_over_scenarios_and_end_within_them():
    planned = score.episodes([575, 575, 575], 50, 287)
    assert len(planned) == 50
    assert {e.scenario for e in planned} == {0, 1, 2}
    assert max(e.row for e in planned) + 287 <= 574
    with pytest.raises(ValueError, match="--steps=287: a scenario has 200 rows"):
        score.episodes([575, 200], 50, 287)


@needs_grid2op
def test_observations_agree_block_by_block_where_a_line_is_switched(folder):
    """Both play what a policy decides: nothing, but that it opens a line and closes it again."""
    from agents.grid2op.action_to_grid2op import Converter
    from agents.grid2op.observation_from_grid2op import Observer

    # Single precision, and power flows solved to 1e-5 pu; loadings are shares of 1.
    tolerances = {
        "bus_vm": 1e-5, "bus_va": 1e-5, "unit_p": 5e-3, "gen_q": 5e-3, "load_p": 1e-4,
        "renewable_p": 1e-4, "storage_energy": 1e-4, "branch_rho": 3e-4, "branch_closed": 0.0,
        "branch_cooldown": 0.0, "clock": 1e-5,
    }  # fmt: skip
    options = dataclasses.replace(
        prepare.options(folder, "chronics/0000"), tolerance_pu=1e-5, horizon_steps=287
    )
    env = grid_env.make(options)
    assert set(tolerances) == set(layouts.LAYOUTS["grid2op"].observation)
    series = jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), grid_env.check(options).recorded)
    theirs, observation = grid2op_day.begin()  # Another line trips meanwhile, in both.
    observe = Observer(env.layout, theirs.observation_space)
    convert = Converter(env.layout, options, theirs.action_space)
    assert convert.not_allowed == ()
    state = jax.jit(env.start)(series)
    step = jax.jit(lambda state, action: env.transition(state, action, series))
    switch = env.layout.action["switch"].start + LINE
    opened = 0
    for t in range(24):
        mine, made = np.asarray(state.observation), observe(observation)
        for name, part in env.layout.observation.items():
            np.testing.assert_allclose(
                made[part], mine[part], rtol=0, atol=tolerances[name], err_msg=f"{name}, step {t}"
            )
        opened += not observation.line_status[LINE]
        action = np.zeros(env.layout.action_size, np.float32)
        action[switch] = {5: -1.0, 12: 1.0}.get(t, 0.0)
        observation, _, done, _ = theirs.step(convert(action, observation))
        state = step(state, jnp.asarray(action))
        assert not done
    assert opened == 7


@needs_grid2op
def test_redispatch_of_a_policy_goes_where_it_goes_here(folder):
    """One step of moved units; the recorded plan changes by less than the tolerance meanwhile."""
    from agents.grid2op import play
    from agents.grid2op.action_to_grid2op import Converter

    options = dataclasses.replace(prepare.options(folder, "chronics/0000"), horizon_steps=287)
    layout = grid_env.check(options).layout
    theirs = play.make(prepare.find(NAME))
    observation = play.reset(theirs, 0, 1)
    plan = observation.gen_p.copy()
    convert = Converter(layout, options, theirs.action_space)
    action = np.zeros(layout.action_size, np.float32)
    action[layout.action["unit_power"].start] = 0.05  # of the way from the plan to Pmax
    change = convert(action, observation).redispatch
    moved = 0.05 * (140.0 - plan[0])
    np.testing.assert_allclose(change, [moved, 0, 0, 0, 0, -moved], atol=1e-3)
    observation, _, _, info = theirs.step(convert(action, observation))
    assert not info["exception"]
    np.testing.assert_allclose(observation.actual_dispatch, change, atol=1e-2)
    # Where nothing more is asked for, it is taken back.
    back = convert(np.zeros_like(action), observation).redispatch
    np.testing.assert_allclose(back, -change, atol=1e-2)


@pytest.fixture(scope="module")
def untrained(folder, tmp_path_factory):
    """The folder of a run, its networks and their parameters, which nobody trained."""
    options = dataclasses.replace(prepare.options(folder), horizon_steps=287)
    experiment = Experiment("untrained", env=options, team=TeamOptions(policy_layers=(8,)))
    workdir = tmp_path_factory.mktemp("untrained")
    run_folder.RunFolder(workdir).create(experiment)
    networks = networks_lib.make(grid_env.check(options).layout, experiment.team)
    bundle = bundle_lib.initial(networks, jax.random.PRNGKey(0))
    checkpoint.Checkpoints(workdir, "best").save(0, bundle, {"return": 0.0}, wait=True)
    return workdir, networks, bundle


@needs_grid2op
def test_an_agent_plays_what_the_policy_of_a_run_decides(untrained):
    from agents.grid2op import play
    from gridracer.grid2op.agent import GridracerAgent

    workdir, networks, bundle = untrained
    theirs = play.make(prepare.find(NAME))
    agent = GridracerAgent(theirs, workdir)
    assert {"load", "unit_voltage"} <= {*agent.without_counterpart} and agent.never_used
    observation = play.reset(theirs, 0, 1)
    agent.reset(observation)
    for _ in range(5):
        seen = agent._observe(observation)
        raw = networks.mode(networks.policy(bundle.params, bundle.statistics, seen[None]))
        np.testing.assert_allclose(agent.decide(seen), distributions.squash(raw)[0], atol=1e-6)
        observation, _, done, info = theirs.step(agent.act(observation, 0.0))
        assert not done and not info["is_illegal"] and not info["is_ambiguous"]


@needs_grid2op
def test_an_agent_does_nothing_where_its_action_would_end_the_episode(untrained, monkeypatch):
    from agents.grid2op import play
    from gridracer.grid2op.agent import GridracerAgent

    theirs = play.make(prepare.find(NAME))
    agent = GridracerAgent(theirs, untrained[0])
    observation = play.reset(theirs, 0, 1)
    switch = agent._convert._layout.action["switch"]
    acted = {}
    for line in range(theirs.n_line):
        opens = np.zeros(agent._convert._layout.action_size, np.float32)
        opens[switch.start + line] = -1.0
        monkeypatch.setattr(agent, "decide", lambda _, opens=opens: opens)
        ends = observation.simulate(agent._convert(opens, observation))[2]
        acted[line] = not ends
        assert (agent.act(observation, 0.0) == theirs.action_space()) == ends
    assert 0 < sum(acted.values()) < theirs.n_line, "some lines are a generator's only one"


@needs_files
def test_units_reach_their_recorded_plan_whatever_their_ramps(folder):
    options = dataclasses.replace(prepare.options(folder, "chronics/0000"), horizon_steps=287)
    env = grid_env.make(options)
    series = jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), grid_env.check(options).recorded)
    # As a unit that starts: 5 MW a step is the ramp of gen_1_0.
    plan = series.plan_p_mw.at[1:, 0].add(12.0)
    state = jax.jit(env.start)(series)
    state = jax.jit(env.transition)(
        state, jnp.zeros(env.layout.action_size), series.replace(plan_p_mw=plan)
    )
    assert float(state.gen_p_mw[0]) == pytest.approx(float(plan[1, 0]), abs=1e-3)
    # What is too much then, the unit at the reference bus gives up.
    assert float(state.gen_p_mw[5]) < float(plan[1, 5]) - 10.0


@needs_grid2op
def test_curtailment_is_a_limit_on_what_the_weather_allows(folder):
    from agents.grid2op import play
    from agents.grid2op.action_to_grid2op import Converter

    options = prepare.options(folder, "chronics/0000")
    layout = grid_env.check(options).layout
    theirs = play.make(prepare.find(NAME))
    observation = play.reset(theirs, 0, 1)
    action = np.zeros(layout.action_size, np.float32)
    action[layout.action["curtailment"].start] = -0.25
    limits = Converter(layout, options, theirs.action_space)(action, observation).curtail
    wind = 2  # gen_5_2
    assert limits[wind] == pytest.approx(0.75 * observation.gen_p[wind] / 70.0, abs=1e-3)
    assert (limits[[0, 1, 5]] == -1).all()


@needs_grid2op
def test_what_grid2op_has_no_counterpart_of_is_named(folder):
    from agents.grid2op import play
    from agents.grid2op.action_to_grid2op import Converter
    from agents.grid2op.observation_from_grid2op import Observer
    from gridracer.grid2op.agent import layout_of

    theirs = play.make(prepare.find(NAME))
    options = dataclasses.replace(prepare.options(folder), layout="full")
    with pytest.raises(ValueError, match="observation blocks .*unit_plan.* env.layout=grid2op"):
        Observer(layout_of(options), theirs.observation_space)
    with pytest.raises(ValueError, match="action blocks generator, load, .*load control"):
        Converter(layout_of(options), options, theirs.action_space)
    other = dataclasses.replace(options, case="case14", fleet="plain", layout="grid2op")
    with pytest.raises(ValueError, match="case14: was not made of .*generators"):
        Observer(layout_of(other), theirs.observation_space)


@pytest.mark.slow
@needs_grid2op
@pytest.mark.parametrize("name", [NAME, "rte_case14_realistic"])
def test_loadings_agree_on_recorded_days(name):
    from gridracer.grid2op import agreement

    report = agreement.measure(prepare.find(name), 2, 1, 287, "lightsim2grid", False)
    assert report["steps_compared"] == 2 * 287
    assert report["reference"]["rho"]["largest"] < 3e-4  # 3.3e-5 and 7.5e-5 were measured
    assert report["shared"]["rho"]["largest"] > 1e-2, "the slack is what explains the rest"


@pytest.mark.slow
@needs_grid2op
def test_lines_trip_in_the_same_steps():
    from gridracer.grid2op import agreement

    report = agreement.measure(
        prepare.find("rte_case14_realistic"), 2, 28, 287, "lightsim2grid", True
    )
    lasted = report["steps_in_grid2op"]
    assert len(lasted) == 56 and sum(steps < 280 for steps in lasted) > 20, "days that are lost"
    assert sum(report["lines_opened_in_grid2op"]) > 10
    assert report["steps_compared"] == sum(lasted) and report["steps_with_other_lines"] == 0
    assert report["reference"]["rho"]["largest"] < 3e-4  # 1e-4 was measured
