"""Evaluation: whole episodes, honest sums, intervals that cover."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rich.console

from agents import controllers
from envs.termination import Reason
from evaluation import comparison, episodes, intervals, metrics


@pytest.fixture(scope="module")
def idle(env):
    return controllers.do_nothing(env.layout.action_size)


def test_sums_equal_a_loop_by_hand(env, idle):
    tapes = episodes.held_out(env, "test", 2, seed=1)
    found = jax.jit(lambda: episodes.play(env, idle, tapes))()
    tape = jax.tree.map(lambda x: x[1], tapes)
    state = env.start(tape)
    step = jax.jit(lambda s: env.transition(s, idle(s.observation), tape))
    reward = losses = 0.0
    for _ in range(env.horizon):
        state = step(state)
        reward, losses = reward + float(state.reward), losses + float(state.terms["losses"])
    assert float(found["return"][1]) == pytest.approx(reward, rel=1e-4)
    assert float(found["losses"][1]) == pytest.approx(losses, rel=1e-4)
    np.testing.assert_allclose(found["survived"], 1.0, rtol=1e-4)
    np.testing.assert_allclose(found["played"], 1.0, rtol=1e-4)


def test_nothing_is_counted_after_the_end(env, idle):
    tapes = episodes.held_out(env, "test", 1, seed=1)
    tapes = tapes.replace(load_p_mw=tapes.load_p_mw.at[:, 51:].multiply(2.5))
    found = jax.jit(lambda t: episodes.play(env, idle, t))(tapes)
    assert int(found["reason"][0]) == Reason.LOAD_LOST
    assert float(found["played"][0]) == pytest.approx(51 / 288, rel=1e-4)
    assert float(found["survived"][0]) == pytest.approx(50 / 288, rel=1e-4)
    measured = metrics.compute(found)
    # A day cut short is not a cheap day: its cost is that of a whole one.
    assert 30_000 < measured["cost"][0] < 90_000
    assert metrics.endings(found) == {"LOAD_LOST": 1}
    blackout = 4.0 * float(tapes.load_p_mw[0, 51].sum())
    assert float(found["energy_not_served"][0]) == pytest.approx(blackout, rel=1e-4)


def test_controllers_meet_the_same_days(env):
    first, second = (episodes.held_out(env, "test", 3, seed=0) for _ in range(2))
    jax.tree.map(np.testing.assert_array_equal, first, second)
    other = episodes.held_out(env, "validation", 3, seed=0)
    assert not np.array_equal(first.load_p_mw, other.load_p_mw)


def test_intervals_cover_the_mean_as_often_as_they_say():
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(120):
        interval = intervals.of_mean(rng.exponential(2.0, 50), seed=trial)
        covered += interval.low <= 2.0 <= interval.high
    assert 0.85 < covered / 120 < 1.0


def test_constant_samples_have_an_interval_of_no_width():
    assert intervals.of_mean(np.array([3.0, 3.0, 3.0])) == (3.0, 3.0, 3.0)
    assert intervals.of_mean(np.array([3.0])) == (3.0, 3.0, 3.0)


def test_verdicts_follow_the_direction_of_each_metric():
    cost, survival = metrics.METRICS["cost"], metrics.METRICS["survival"]
    fell = {"low": -3.0, "high": -1.0}
    assert comparison.verdict(cost, fell) == "better"
    assert comparison.verdict(survival, fell) == "worse"
    assert comparison.verdict(cost, {"low": -1.0, "high": 2.0}) == "same"


def test_every_metric_is_in_the_table(env, idle):
    tapes = episodes.held_out(env, "test", 3, seed=0)
    played = metrics.compute(jax.tree.map(np.asarray, episodes.play(env, idle, tapes)))
    console = rich.console.Console(width=80, record=True)
    console.print(comparison.table(comparison.compare(played, played)))
    text = console.export_text()
    for metric in metrics.METRICS.values():
        assert metric.title in text and metric.unit in text
    assert max(map(len, text.splitlines())) <= 80


def _sums(**changes):
    names = ("return", "losses", "overload", "voltage_violation", "energy_not_served", "survived",
             "reactive_violation", "played", "generation_cost", "load_control_cost")  # fmt: skip
    return {**{name: np.ones(2) for name in names}, **changes}


def test_large_numbers_fit_the_table():
    row = lambda mean, half: {"mean": mean, "low": mean - half, "high": mean + half}
    compared = {
        "cost": {
            "do_nothing": row(1_957_762.0, 58_115.0),
            "learned": row(1_669_849.0, 52_000.0),
            "difference": row(-287_913.0, 6_300.0),
        },
        # The longest name and, below it, the widest intervals, of what columns share.
        "voltage_violation": dict.fromkeys(
            ("do_nothing", "learned", "difference"), row(0.0010, 0.0009)
        ),
        "return": {
            "do_nothing": row(-119.47, 10.3),
            "learned": row(189.29, 8.9),
            "difference": row(308.76, 9.8),
        },
    }
    console = rich.console.Console(width=80, record=True)
    console.print(comparison.table(compared))
    text = console.export_text()
    assert "…" not in text and "1,900k to 2,016k" in text and "-294,213 to -281,613" in text
    assert "-129.8 to -109.2" in text and "+299.0 to +318.6" in text


def test_cost_counts_generation_and_load_control_per_day_played():
    sums = _sums(generation_cost=np.array([10.0, 20.0]), played=np.array([1.0, 0.5]))
    np.testing.assert_array_equal(metrics.compute(sums)["cost"], [11.0, 42.0])


def test_a_day_that_cannot_begin_is_an_error():
    with pytest.raises(ValueError, match="1 of 2 days have no power flow solution"):
        metrics.compute(_sums(played=np.array([1.0, 0.0])))


def test_actions_that_save_money_show_as_better(env, idle):
    tapes = episodes.held_out(env, "test", 6, seed=0)
    cheap = jnp.zeros(env.layout.action_size).at[0].set(1.0).at[1].set(-1.0)
    play = lambda act: metrics.compute(jax.tree.map(np.asarray, episodes.play(env, act, tapes)))
    compared = comparison.compare(play(lambda o: cheap), play(idle))
    assert comparison.verdict(metrics.METRICS["cost"], compared["cost"]["difference"]) == "better"
    assert compared["cost"]["learned"]["high"] < compared["cost"]["do_nothing"]["low"]
