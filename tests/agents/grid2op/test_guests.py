"""Agents of Grid2Op in Gridracer: what they see is what they would see there, and so they act."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import grid2op_day

from envs import grid_env
from gridracer.grid2op import prepare

pytestmark = grid2op_day.needs_grid2op
LINE = 3  # that is switched
# Single precision, and power flows solved to 1e-5 pu; of any but these, 0.
TOLERANCES = {
    **dict.fromkeys(("gen_p", "gen_q", "load_p", "load_q", "p_or", "q_or", "p_ex", "q_ex"), 5e-3),
    **dict.fromkeys(("gen_v", "load_v", "v_or", "v_ex"), 2e-3),  # kV
    **dict.fromkeys(("a_or", "a_ex"), 0.3),  # of hundreds of ampere
    **dict.fromkeys(("theta_or", "theta_ex", "gen_theta", "load_theta"), 2e-3),
    **dict.fromkeys(("target_dispatch", "gen_p_before_curtail"), 1e-4),
    **dict.fromkeys(("gen_margin_up", "gen_margin_down", "actual_dispatch"), 5e-3),
    "rho": 3e-4, "_shunt_p": 1e-4, "_shunt_q": 1e-3, "_shunt_v": 2e-3,
}  # fmt: skip
EXACT = (
    "month", "day", "hour_of_day", "minute_of_hour", "day_of_week", "line_status", "topo_vect",
    "time_before_cooldown_line", "time_next_maintenance", "duration_next_maintenance",
    "curtailment", "curtailment_limit", "curtailment_limit_effective", "timestep_overflow",
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A prepared environment."""
    out = tmp_path_factory.mktemp("grid2op")
    prepare.prepare(prepare.find(grid2op_day.NAME), out)
    return out


@pytest.fixture(scope="module")
def options(folder):
    """Options with which Gridracer plays as Grid2Op does."""
    made = prepare.options(folder, "chronics/0000")
    return dataclasses.replace(made, tolerance_pu=1e-5, horizon_steps=287)


@pytest.fixture(scope="module")
def env(options):
    """The environment of these options."""
    return grid_env.make(options)


@pytest.fixture(scope="module")
def days(options):
    """Its first day, a batch of one."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf[:1]), grid_env.check(options).recorded)


def _scripted(act):
    """Returns an agent of Grid2Op that does what `act(action_space, step, observation)` says."""
    from grid2op.Agent import BaseAgent

    class Scripted(BaseAgent):
        """Keeps what it has seen."""

        def reset(self, observation):
            self.seen = []

        def act(self, observation, reward, done=False):
            self.seen.append(observation)
            return act(self.action_space, len(self.seen) - 1, observation)

    return Scripted


def _played_there(folder, agent, steps):
    """Returns what an agent sees in Grid2Op, playing from the first midnight of scenario 0000."""
    theirs, observation = grid2op_day.begin()
    guest = agent(theirs.action_space)
    guest.reset(observation)
    for _ in range(steps):
        observation, _, done, info = theirs.step(guest.act(observation, 0.0))
        assert not done and not info["is_illegal"] and not info["is_ambiguous"]
    return guest.seen


@pytest.fixture(scope="module")
def play_here(env, days):
    """Returns what an agent sees in Gridracer, on the same day."""
    from agents.grid2op import controller

    start, step = jax.jit(jax.vmap(env.start)), jax.jit(jax.vmap(env.transition))

    def play(agent, steps):
        made = controller.playing(agent)(env)
        state, guests = start(days), made.start(days, 0)
        for _ in range(steps):
            actions, guests = made.act(state, days, guests)
            state = step(state, jnp.asarray(actions), days)
        made.close()
        return guests[0].agent.seen

    return play


def _same(here, there, *, apart=()):
    assert len(here) == len(there)
    for t, (mine, theirs) in enumerate(zip(here, there)):
        for name in (*EXACT, *TOLERANCES):
            if name in apart:
                continue
            np.testing.assert_allclose(
                getattr(mine, name), getattr(theirs, name), rtol=0,
                atol=TOLERANCES.get(name, 0), err_msg=f"{name}, step {t}",
            )  # fmt: skip


def test_an_agent_sees_what_it_would_see_in_grid2op(play_here, folder):
    """It opens a line and closes it again; another one trips meanwhile, in both."""

    def act(space, step, observation):
        told = {5: -1, 12: 1}.get(step)
        return space({"set_line_status": [(LINE, told)]} if told else {})

    agent = _scripted(act)
    here, there = (
        play_here(agent, 24), _played_there(folder, agent, 24),
    )  # fmt: skip
    # The dates of scenarios are others where they are dealt to splits.
    _same(here, there, apart=("month", "day", "day_of_week"))
    assert sum(not seen.line_status[LINE] for seen in there) == 7
    assert max(seen.timestep_overflow.max() for seen in there) > 0


def test_redispatch_and_curtailment_add_up_as_in_grid2op(play_here, folder):
    def act(space, step, observation):
        if step == 2:
            return space({"redispatch": [(0, 4.0), (5, -4.0)]})
        if step == 4:
            return space({"redispatch": [(0, -1.5), (5, 1.5)]})
        return space({})

    agent = _scripted(act)
    here, there = play_here(agent, 8), _played_there(folder, agent, 8)
    moved = there[-1].target_dispatch
    assert moved[0] == pytest.approx(2.5) and moved[5] == pytest.approx(-2.5)
    for mine, theirs in zip(here, there):
        np.testing.assert_allclose(mine.target_dispatch, theirs.target_dispatch, atol=1e-5)
        np.testing.assert_allclose(mine.gen_p, theirs.gen_p, atol=0.02)
        np.testing.assert_allclose(mine.rho, theirs.rho, atol=1e-3)


def test_a_limit_on_a_plant_stays_until_it_is_changed(play_here):
    wind = 2  # gen_5_2

    def act(space, step, observation):
        return space({"curtail": [(wind, {1: 0.1, 4: 1.0}[step])]} if step in (1, 4) else {})

    seen = play_here(_scripted(act), 7)
    pmax = seen[0].gen_pmax[wind]
    for step, one in enumerate(seen):
        free = one.gen_p_before_curtail[wind]
        limited = 2 <= step <= 4
        assert one.gen_p[wind] == pytest.approx(min(free, 0.1 * pmax) if limited else free)
        assert one.curtailment_limit[wind] == pytest.approx(0.1 if limited else 1.0)
    assert seen[3].gen_p_before_curtail[wind] > 0.1 * pmax, "or nothing was held back"


def test_a_simulation_foresees_what_the_step_then_brings(play_here):
    """On rows that change slowly; opening a line changes the flows by far more.

    Nothing is foreseen beyond that, as Grid2Op says where it has no forecasts.
    """
    from grid2op.Exceptions import NoForecastAvailable

    foreseen = []

    def act(space, step, observation):
        with pytest.raises(NoForecastAvailable, match="time_step=2"):
            observation.simulate(space({}), time_step=2)
        action = space({"set_line_status": [(LINE, -1)]} if step == 3 else {})
        after, _, done, _ = observation.simulate(action)
        assert not done
        foreseen.append(after)
        return action

    seen = play_here(_scripted(act), 8)
    assert not foreseen[3].line_status[LINE] and not seen[4].line_status[LINE]
    jump = np.abs(seen[4].rho - seen[3].rho).max()
    for mine, real in zip(foreseen, seen[1:]):
        assert np.abs(mine.rho - real.rho).max() < 0.1 * jump


def test_buses_within_a_substation_are_left_out_and_told(play_here):
    def act(space, step, observation):
        return space({"set_bus": {"lines_or_id": [(0, 2)]}})

    agent = _scripted(act)
    with pytest.warns(UserWarning, match="Scripted asks for buses within a substation"):
        seen = play_here(agent, 3)
    assert seen[-1].line_status.all()


def test_a_case_that_was_not_made_of_grid2op_is_refused():
    from grid2op.Agent import DoNothingAgent

    from agents.grid2op import controller

    with pytest.raises(ValueError, match="case case14: .*no grid.json.* prepare ENVIRONMENT"):
        controller.playing(DoNothingAgent)(grid_env.make(grid_env.EnvOptions()))
