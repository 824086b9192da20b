"""Episodes: whole days, honest sums, the same for one grid as for many."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agents import controllers
from envs.case import fleet as fleet_lib
from envs.step.termination import Reason
from evaluation import episodes, l2rpn, metrics
from evaluation.episodes import EpisodeOutcomes


@pytest.fixture(scope="module")
def idle(env):
    return controllers.do_nothing(env)


@pytest.fixture(scope="module")
def player(env):
    return episodes.Player(env, record=True)


@pytest.fixture(scope="module")
def days(env):
    return episodes.held_out(env, "test", 2, seed=1)


@pytest.fixture(scope="module")
def played(player, idle, days):
    return player.play(idle, days)


def test_sums_equal_a_loop_by_hand(env, idle, days, played):
    series = jax.tree.map(lambda x: x[1], days)
    state = jax.jit(env.start)(series)
    nothing = jnp.zeros(env.layout.action_size)
    step = jax.jit(lambda s: env.transition(s, nothing, series))
    reward = losses = 0.0
    for _ in range(env.horizon):
        state = step(state)
        reward, losses = reward + float(state.reward), losses + float(state.terms["losses"])
    measured = metrics.compute(played.outcomes, env)
    assert measured["return"][1] == pytest.approx(reward, rel=1e-4)
    assert measured["losses"][1] == pytest.approx(losses, rel=1e-4)
    np.testing.assert_array_equal(measured["survival"], 100.0)
    np.testing.assert_allclose(played.recording.vm_pu[-1, 1], state.vm_pu, atol=1e-5)


def test_nothing_is_counted_after_the_end(env, player, idle, days):
    surge = days.replace(load_p_mw=days.load_p_mw.at[:, 51:].multiply(2.5))
    decisions, progress = [], []
    outcomes = player.play(idle, surge, progress=progress.append, watch=decisions.append).outcomes
    # Once all have ended nothing is computed any more.
    assert len(decisions) == 52 and len(outcomes.counted) == sum(progress) == env.horizon
    assert metrics.endings(outcomes) == ["LOAD_LOST"] * 2
    np.testing.assert_array_equal(outcomes.counted.sum(0), 51)
    measured = metrics.compute(outcomes, env)
    np.testing.assert_allclose(measured["survival"], 100 * 50 / 288)
    # A day cut short is not a cheap day: its cost is that of a whole one.
    assert (measured["cost"] > 30_000).all() and (measured["cost"] < 90_000).all()
    blackout = 4.0 * np.asarray(surge.load_p_mw)[:, 51].sum(1)
    np.testing.assert_allclose(measured["energy_not_served"], blackout, rtol=1e-4)
    # The blackout is paid for once, whatever the part of the day that was played.
    np.testing.assert_array_less(env.options.lost_load_price * blackout, measured["total_cost"])
    np.testing.assert_array_less(
        measured["total_cost"], env.options.lost_load_price * blackout * 1.2
    )
    np.testing.assert_array_equal(measured["restored"], 0.0)


def test_who_goes_on_does_not_notice_who_has_ended(player, idle, days, played):
    surge = days.replace(load_p_mw=days.load_p_mw.at[0, 51:].multiply(2.5))
    outcomes = player.play(idle, surge).outcomes
    np.testing.assert_array_equal(outcomes.counted.sum(0), [51, 288])
    second = lambda results: jax.tree.map(lambda leaf: leaf[:, 1], results)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5),
        second(outcomes), second(played.outcomes),
    )  # fmt: skip


def test_controllers_meet_the_same_days(env):
    first, second = (episodes.held_out(env, "test", 3, seed=0) for _ in range(2))
    jax.tree.map(np.testing.assert_array_equal, first, second)
    other = episodes.held_out(env, "validation", 3, seed=0)
    assert not np.array_equal(first.load_p_mw, other.load_p_mw)


def test_a_host_controller_plays_as_a_compiled_one(env, player, days, played):
    nothing = np.zeros((2, env.layout.action_size), np.float32)
    host = controllers.Controller(
        "host", "host", "nothing", controllers.stateless, lambda s, t, m: (nothing, m),
        traceable=False,
    )  # fmt: skip
    hosted = player.play(host, days)
    np.testing.assert_array_equal(hosted.outcomes.reward, played.outcomes.reward)


def test_memory_and_progress_go_through_every_step(env, player, days):
    def act(state, series, memory):
        return jnp.full((2, env.layout.action_size), 0.1), memory + 1

    seen, progress = [], []
    counting = controllers.Controller("count", "count", "nothing", lambda t, s: jnp.int32(s), act)
    player.play(
        counting, days, 5, progress=progress.append, watch=lambda s: seen.append(int(s.t[0]))
    )
    assert sum(progress) == env.horizon and seen == list(range(env.horizon))


def test_actions_that_save_money_cost_less(env, player, days, played):
    cheap = jnp.zeros(env.layout.action_size).at[0].set(1.0).at[1].set(-1.0)
    controller = controllers.Controller(
        "cheap", "cheap", "nothing", controllers.stateless,
        controllers.per_grid(lambda state, series: cheap),
    )  # fmt: skip
    measured = metrics.compute(player.play(controller, days).outcomes, env)
    assert (measured["cost"] < metrics.compute(played.outcomes, env)["cost"]).all()


def _outcomes(env, steps=6, batch=2, **changes):
    """A day of nothing but zeros, with changes: terms, metrics or fields by name."""
    zero = lambda: np.zeros((steps, batch))
    from envs.step import rewards

    terms = {name: changes.pop(name, zero()) for name in rewards.TERM_UNITS}
    measured = {
        name: changes.pop(name, zero())
        for name in ("nadir_hz", "rocof_hz_per_s", "seconds_off_nominal")
    }
    nominal = env.frequency.nominal_hz
    measured["nadir_hz"] = measured["nadir_hz"] + nominal
    fields = {
        "counted": np.ones((steps, batch), bool), "reward": zero(), "shed_share": zero(),
        "terminated": np.zeros((steps, batch), bool), "reason": np.zeros((steps, batch), int),
        "frequency_hz": np.full((steps, batch), nominal),
        "overridden": np.zeros((steps, batch), bool),
        "held_back": np.zeros((steps, batch), bool), "foreseen": zero(), "averted": zero(),
    }  # fmt: skip
    return EpisodeOutcomes(terms=terms, metrics=measured, **{**fields, **changes})


@pytest.fixture(scope="module")
def short(env):
    """The environment as metrics see it, with six steps."""

    class Short:
        options, fleet, grid, dt_h, horizon = env.options, env.fleet, env.grid, env.dt_h, 6
        frequency = env.frequency
        assesses = True

    return Short


def test_cost_counts_generation_and_load_control_per_day_played(short):
    counted = np.ones((6, 2), bool)
    counted[3:, 1] = False
    cost = np.full((6, 2), 10.0)
    measured = metrics.compute(
        _outcomes(short, generation_cost=cost, load_control_cost=cost, counted=counted), short
    )
    np.testing.assert_allclose(measured["cost"], [120.0, 120.0])


def test_prosumers_are_told_of_per_day_played_where_there_are_some(short, env):
    counted = np.ones((6, 2), bool)
    counted[3:, 1] = False
    names = ("prosumer_bill", "prosumer_import", "prosumer_export")
    terms = {name: np.full((6, 2), size) for name, size in zip(names, (-2.0, 3.0, 5.0))}
    outcomes = _outcomes(short, counted=counted, **terms)
    measured = metrics.compute(outcomes, short)
    for name, size in zip(names, (-12.0, 18.0, 30.0)):
        np.testing.assert_allclose(measured[name], [size, size])

    class Without(short):
        fleet = fleet_lib.plain(env.grid)

    measured = metrics.compute(outcomes, Without)
    assert all(np.isnan(measured[name]).all() for name in names)


def test_a_step_is_feasible_only_where_every_limit_is_kept(short):
    overload, unserved = np.zeros((6, 2)), np.zeros((6, 2))
    overload[2, 0], unserved[4:, 1] = 0.1, 0.1
    insecure = np.zeros((6, 2))
    insecure[:3, 1] = 1.0
    measured = metrics.compute(
        _outcomes(short, overload=overload, energy_not_served=unserved, insecurity=insecure), short
    )
    np.testing.assert_allclose(measured["feasible"], [100 * 5 / 6, 100 * 4 / 6])
    np.testing.assert_allclose(measured["secure"], [100.0, 50.0])


def test_what_single_precision_cannot_tell_breaks_no_limit(short):
    reactive, voltage = np.zeros((6, 2)), np.zeros((6, 2))
    reactive[:, 0], voltage[:, 0] = 0.05 * short.dt_h, 5e-4 * short.dt_h  # MVAr and pu
    reactive[:2, 1], voltage[4:, 1] = 0.2 * short.dt_h, 2e-3 * short.dt_h
    angle = np.zeros((6, 2))
    angle[:, 0], angle[2, 1] = 5e-4 * short.dt_h, 2e-3 * short.dt_h  # rad
    measured = metrics.compute(
        _outcomes(
            short, reactive_violation=reactive, voltage_violation=voltage, angle_violation=angle
        ),
        short,
    )
    np.testing.assert_allclose(measured["feasible"], [100.0, 100 * 1 / 6])
    np.testing.assert_allclose(measured["angle_violation"], angle.sum(0))


def test_the_longest_emergency_is_one_run_of_steps_out_of_band_or_with_load_off(short):
    hertz, shed = np.full((6, 2), 60.0), np.zeros((6, 2))
    hertz[[0, 2, 3], 0] = 59.5  # one step, then two
    shed[3:, 1] = 0.05
    measured = metrics.compute(_outcomes(short, frequency_hz=hertz, shed_share=shed), short)
    np.testing.assert_allclose(measured["restored_after"], [10.0, 15.0])
    np.testing.assert_allclose(measured["restored"], 100.0)


def test_storage_cycles_and_overrides(short):
    energy = short.fleet.storage.energy_mwh.sum()
    through = np.zeros((6, 2))
    through[0] = 2.0 * energy  # once full and once empty
    overridden = np.zeros((6, 2), bool)
    overridden[:3] = True
    held_back = np.arange(6)[:, None] == [4, 5]
    outcomes = _outcomes(
        short, storage_throughput=through, overridden=overridden, held_back=held_back
    )
    measured = metrics.compute(outcomes, short)
    np.testing.assert_allclose(measured["storage_cycles"], 1.0)
    np.testing.assert_allclose(measured["override"], 50.0)
    np.testing.assert_allclose(measured["held_back"], 100 / 6)


def test_a_day_that_cannot_begin_is_an_error(short):
    counted = np.ones((6, 2), bool)
    counted[:, 1] = False
    with pytest.raises(ValueError, match="1 of 2 days have no power flow solution"):
        metrics.compute(_outcomes(short, counted=counted), short)


def test_the_l2rpn_score_is_linear_between_its_four_costs():
    cost = lambda operation, losses=100.0, blackout=1000.0: l2rpn.Cost(
        *(np.array([float(x)]) for x in (operation, losses, blackout))
    )
    nothing, untripped = cost(600), cost(200)
    score = lambda operation: float(
        l2rpn.score(np.array([float(operation)]), nothing, untripped)[0]
    )
    assert [score(x) for x in (80, 200, 600, 1000)] == [100, 80, 0, -100]
    assert score(400) == 40 and score(800) == -50 and score(0) == 100
    # Doing nothing that survives untripped: no step at 80.
    assert float(l2rpn.score(np.array([140.0]), cost(200), cost(200))[0]) == 50


def test_l2rpn_charges_all_load_after_an_end(short):
    counted = np.ones((6, 1), bool)
    counted[4:] = False
    ended = np.zeros((6, 1), bool)
    ended[3] = True
    losses = np.full((6, 1), 2.0)
    outcomes = _outcomes(short, batch=1, losses=losses, counted=counted, terminated=ended)
    load = np.full((6, 1), 50.0)
    gen = short.grid.gen
    price = float((gen.cost_c1 + 2 * gen.cost_c2 * gen.p_max_mw)[short.grid.units].max())
    cost = l2rpn.cost(outcomes, load, short.grid)
    assert cost.operation[0] == pytest.approx(price * (3 * 2.0 + 3 * 50.0))
    assert cost.losses[0] == pytest.approx(price * 6.0)
    assert cost.blackout[0] == pytest.approx(price * 300.0)


def test_reasons_are_named(short):
    reason, ended = np.zeros((6, 2), int), np.zeros((6, 2), bool)
    reason[3, 1], ended[3, 1] = Reason.CASCADE, True
    outcomes = _outcomes(short, reason=reason, terminated=ended)
    assert metrics.endings(outcomes) == ["NONE", "CASCADE"]
