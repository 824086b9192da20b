"""The frequency model against an independent integration, formulas, and what it must never do."""

import dataclasses
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from envs.step import frequency
from envs.step.frequency import Disturbance, FrequencyState, System
from envs.step.frequency_options import PRESETS, FrequencyOptions

LOAD_MW = 4000.0
NO_AGC = 0.0


def _system(inertia_s=4.0, droop=0.05, up=0.2, down=0.3, ramp=0.03, f0=60.0) -> System:
    """A system whose units are rated at the load; headroom and ramp are shares of the load."""
    shares = (inertia_s, 1.0 / (droop * f0), up, down, ramp, 1.0)
    return System(*(jnp.float32(LOAD_MW * share) for share in shares))


def _lost(share, drift=0.0) -> Disturbance:
    return Disturbance(jnp.float32(LOAD_MW * share), jnp.float32(LOAD_MW * drift))


_STEPS = {}


def _step(system, disturbance, options=None, state=None, seconds=300.0):
    options = options or FrequencyOptions()
    if (options, seconds) not in _STEPS:
        _STEPS[options, seconds] = jax.jit(
            lambda *args: frequency.step(*args, options=options, seconds=seconds)
        )
    run = _STEPS[options, seconds]
    return run(frequency.initial() if state is None else state, system, disturbance)


def _independent(system, disturbance, options, seconds=300.0):
    """Returns scipy's lowest and highest frequency and its final (Δf, g, a); no load is shed."""
    inertia, droop, up, down, ramp, load = (float(x) for x in system)
    sudden, drift = (float(x) for x in disturbance)
    mass, damping = 2 * inertia / options.nominal_hz, options.damping * load / options.nominal_hz
    share = options.governor_fast_share

    def rates(t, y):
        f, g, a = y
        u = np.clip(-droop * f, -down - a, up - a)
        power = share * u + (1 - share) * g + a - sudden - drift * t / seconds - damping * f
        move = np.clip(-(droop + damping) * f / options.agc_seconds, -ramp / 60, ramp / 60)
        move = 0.0 if (a >= up and move > 0) or (a <= -down and move < 0) else move
        return power / mass, (u - g) / options.governor_seconds, move

    solution = solve_ivp(rates, (0, seconds), (0.0, 0.0, 0.0), max_step=0.1, rtol=1e-8, atol=1e-8)
    low, high = solution.y[0].min(), solution.y[0].max()
    return options.nominal_hz + low, options.nominal_hz + high, solution.y[:, -1]


@pytest.mark.parametrize(
    "system, disturbance",
    [
        (_system(), _lost(0.05)),
        (_system(), _lost(0.05, drift=0.05)),
        (_system(), _lost(-0.08)),
        (_system(inertia_s=1.5), _lost(0.04)),
        (_system(inertia_s=0.6, droop=0.08), _lost(0.03)),
        (_system(inertia_s=6.0, droop=0.04), _lost(0.1)),
        (_system(up=0.03), _lost(0.035)),  # governors run into their limit
        (_system(up=0.01, down=0.02), _lost(-0.025)),
        (_system(), _lost(0.0, drift=-0.1)),
    ],
)
def test_extremes_agree_with_an_independent_integration_within_5_mhz(system, disturbance):
    never = FrequencyOptions(shed_stages=0)
    state, outcome = _step(system, disturbance, never)
    low, high, last = _independent(system, disturbance, never)
    assert float(outcome.nadir_hz) == pytest.approx(low, abs=5e-3)
    assert float(outcome.peak_hz) == pytest.approx(high, abs=5e-3)
    assert float(state.deviation_hz) == pytest.approx(last[0], abs=5e-3)
    assert float(state.agc_mw) == pytest.approx(last[2], rel=0.02)


def test_secondary_control_brings_frequency_back_after_a_loss_within_reserves():
    state, outcome = _step(_system(), _lost(0.05))
    assert float(outcome.nadir_hz) < 59.85
    assert abs(float(state.deviation_hz)) < 0.01
    assert float(state.agc_mw) == pytest.approx(0.05 * LOAD_MW, rel=0.05)
    assert float(outcome.mean_shed_share) == 0.0
    # Schedules take over what secondary control delivers; no unit moves.
    state = state.replace(deficit_mw=state.deficit_mw - state.agc_mw, agc_mw=jnp.zeros(()))
    state, outcome = _step(_system(), _lost(0.0), state=state)
    assert abs(float(state.deviation_hz)) < 1e-3
    assert float(outcome.nadir_hz) > 59.99 and float(outcome.peak_hz) < 60.01


def test_secondary_control_heeds_its_ramp_and_its_reserves():
    state, _ = _step(_system(ramp=0.004), _lost(0.05))
    assert float(state.agc_mw) == pytest.approx(5 * 0.004 * LOAD_MW, rel=1e-3)
    state, _ = _step(_system(up=0.02), _lost(0.025))
    assert float(state.agc_mw) == pytest.approx(0.02 * LOAD_MW, rel=1e-4)
    assert float(state.agc_mw + state.governor_mw) < 1.01 * 0.02 * LOAD_MW


def test_the_nadir_deepens_with_less_inertia_and_with_less_droop():
    nadir = lambda **changes: float(_step(_system(**changes), _lost(0.05))[1].nadir_hz)
    by_inertia = [nadir(inertia_s=h) for h in (8.0, 4.0, 2.0, 1.0)]
    by_droop = [nadir(droop=r) for r in (0.03, 0.05, 0.08, 0.12)]
    assert np.all(np.diff(by_inertia) < 0), by_inertia
    assert np.all(np.diff(by_droop) < 0), by_droop


@pytest.mark.parametrize("share", [0.03, -0.05])
def test_without_secondary_control_the_deviation_is_the_loss_over_droop_and_damping(share):
    system = _system(ramp=NO_AGC)
    state, _ = _step(system, _lost(share))
    stiffness = float(system.droop_mw_per_hz) + LOAD_MW / 60.0
    assert float(state.deviation_hz) == pytest.approx(-share * LOAD_MW / stiffness, rel=1e-4)


def test_the_initial_rate_of_change_is_the_loss_over_the_inertia():
    # Without governors and damping there is nothing else in the first half second.
    alone = FrequencyOptions(damping=0.0)
    system = _system()._replace(droop_mw_per_hz=jnp.float32(0))
    _, outcome = _step(system, _lost(0.02), alone)
    exact = -0.02 * LOAD_MW * 60.0 / (2 * 4.0 * LOAD_MW)
    assert float(outcome.rocof_hz_per_s) == pytest.approx(exact, rel=1e-4)
    _, outcome = _step(_system(), _lost(0.02))
    assert float(outcome.rocof_hz_per_s) == pytest.approx(exact, rel=0.25)


def test_load_is_shed_by_stages_and_only_when_needed():
    options = FrequencyOptions(restore_share_per_min=0.0)
    _, small = _step(_system(), _lost(0.08), options)
    assert float(small.nadir_hz) > 59.5 and float(small.mean_shed_share) == 0.0
    shares = []
    for lost in (0.12, 0.2, 0.28):
        _, outcome = _step(_system(up=0.02, ramp=NO_AGC), _lost(lost), options)
        shares.append(float(outcome.shed_share))
        stages = shares[-1] / options.shed_stage_share
        assert stages == pytest.approx(round(stages), abs=1e-4)
        assert round(stages) >= 1 and not bool(outcome.collapsed)
    assert np.all(np.diff(shares) >= 0) and shares[-1] > shares[0]


def test_shed_load_comes_back_once_reserves_have_taken_over():
    system, state = _system(up=0.3, ramp=0.2, inertia_s=2.0), frequency.initial()
    state, outcome = _step(system, _lost(0.2), state=state)
    shed = [float(outcome.mean_shed_share)]
    assert float(outcome.nadir_hz) < 59.5 and shed[0] > 0
    for _ in range(4):
        state, outcome = _step(system, _lost(0.0), state=state)
        shed.append(float(outcome.mean_shed_share))
    assert shed[-1] == 0.0 and float(state.shed_share) == 0.0
    assert abs(float(state.deviation_hz)) < 0.02


def test_shed_load_stays_off_where_reserves_are_spent():
    system = _system(up=0.01, ramp=0.01)
    state, _ = _step(system, _lost(0.1))
    for _ in range(10):
        state, outcome = _step(system, _lost(0.0), state=state)
    assert float(state.shed_share) >= 0.05
    assert float(outcome.nadir_hz) > 59.4
    balance = state.shed_share * LOAD_MW + state.governor_mw + state.agc_mw - state.deficit_mw
    assert abs(float(balance)) < 0.01 * LOAD_MW


def test_the_mean_share_shed_is_its_integral_over_the_step():
    options = FrequencyOptions(restore_share_per_min=0.0)
    system = _system(up=0.05, ramp=NO_AGC)
    _, outcome = _step(system, _lost(0.2), options, seconds=300.0)
    # All stages come within the first seconds.
    assert float(outcome.mean_shed_share) == pytest.approx(float(outcome.shed_share), rel=0.02)
    # While load comes back evenly the integral is that of a triangle.
    state = frequency.initial().replace(
        shed_share=jnp.float32(0.05), deficit_mw=jnp.float32(0.05 * LOAD_MW)
    )
    state, outcome = _step(_system(ramp=0.1), _lost(0.0), state=state)
    minutes = 0.05 / FrequencyOptions().restore_share_per_min
    assert float(state.shed_share) == 0.0
    assert float(outcome.mean_shed_share) == pytest.approx(0.5 * 0.05 * minutes / 5, rel=0.05)


def test_a_loss_beyond_all_reserves_and_shedding_is_a_collapse_in_finite_numbers():
    state, outcome = _step(_system(inertia_s=1.0), _lost(0.9))
    assert bool(outcome.collapsed)
    assert float(outcome.nadir_hz) == pytest.approx(60 - FrequencyOptions().collapse_low_hz)
    _, outcome = _step(_system(inertia_s=1.0, down=0.0), _lost(-0.5))
    assert bool(outcome.collapsed)
    assert float(outcome.peak_hz) == pytest.approx(60 + FrequencyOptions().collapse_high_hz)
    assert all(np.isfinite(x) for x in jax.tree.leaves((state, outcome)))


@pytest.mark.parametrize("what", ["inertia_mws", "droop_mw_per_hz", "load_mw", "everything"])
def test_a_system_without_inertia_governors_or_load_gives_finite_numbers(what):
    system = _system()
    zero = jnp.float32(0)
    system = System(*[zero] * 6) if what == "everything" else system._replace(**{what: zero})
    state, outcome = _step(system, _lost(0.0 if what == "everything" else 0.02))
    assert all(np.isfinite(x) for x in jax.tree.leaves((state, outcome)))
    if what == "everything":
        assert float(outcome.nadir_hz) == 60.0
    if what == "inertia_mws":  # It is taken for half a second of the load.
        _, least = _step(_system(inertia_s=0.5), _lost(0.02))
        assert float(outcome.nadir_hz) == pytest.approx(float(least.nadir_hz))


def test_time_outside_the_band_is_counted():
    _, inside = _step(_system(), _lost(0.02))
    assert float(inside.outside_s) == 0.0
    system = _system(ramp=NO_AGC)
    stiffness = float(system.droop_mw_per_hz) + LOAD_MW / 60.0
    share = 0.3 * stiffness / LOAD_MW  # settles 0.3 Hz from nominal
    _, outcome = _step(system, _lost(share), FrequencyOptions(shed_stages=0))
    assert 297 < float(outcome.outside_s) <= 300


def test_a_batch_equals_its_members():
    rng = np.random.default_rng(0)
    draw = lambda low, high: jnp.asarray(LOAD_MW * rng.uniform(low, high, 6), jnp.float32)
    system = System(
        draw(0.3, 6), draw(0.1, 0.5), draw(0, 0.2), draw(0, 0.2), draw(0, 0.1), draw(0.5, 1)
    )
    disturbance = Disturbance(draw(-0.2, 0.4), draw(-0.05, 0.05))
    states = FrequencyState(
        *[jnp.asarray(rng.normal(0, 0.05, 6), jnp.float32) * s for s in (1, 10, 10, 0, 10)]
    )
    run = lambda *args: frequency.step(*args, options=FrequencyOptions())
    together = jax.jit(jax.vmap(run))(states, system, disturbance)
    for lane in range(6):
        alone = _step(
            System(*(x[lane] for x in system)),
            Disturbance(*(x[lane] for x in disturbance)),
            state=jax.tree.map(lambda x, lane=lane: x[lane], states),
        )
        for one, many in zip(jax.tree.leaves(alone), jax.tree.leaves(together)):
            np.testing.assert_allclose(one, many[lane], rtol=1e-4, atol=1e-3)


def test_fifty_hertz_sheds_at_european_thresholds():
    options = PRESETS["europe"]
    system = _system(f0=50.0, up=0.0, ramp=NO_AGC)
    _, kept = _step(system, _lost(0.018), options)
    assert 49.0 < float(kept.nadir_hz) < 49.2 and float(kept.shed_share) == 0.0
    _, shed = _step(system, _lost(0.05), options)
    assert float(shed.shed_share) > 0.0 and float(shed.nadir_hz) > 48.8


@pytest.mark.parametrize(
    "change, message",
    [
        ({"nominal_hz": 55.0}, "frequency.nominal_hz=55.0: must be 50 or 60"),
        ({"governor_seconds": 0.0}, "frequency.governor_seconds=0.0: must be a number above 0"),
        ({"damping": -1.0}, "frequency.damping=-1.0: must be a number from 0 to 1000"),
        ({"damping": float("nan")}, "frequency.damping=nan"),
        ({"governor_fast_share": 1.5}, "frequency.governor_fast_share=1.5: must be a number"),
        ({"shed_stages": 2.5}, "frequency.shed_stages=2.5: must be a whole number"),
        ({"shed_stage_share": 0.3}, "frequency.shed_stage_share=0.3: times"),
        ({"collapse_low_hz": 1.0}, "frequency.collapse_low_hz=1.0: must be more than"),
        ({"restore_within_hz": 0.6}, "frequency.restore_within_hz=0.6: must be less than"),
    ],
)
def test_what_does_not_make_sense_is_refused_by_name(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(FrequencyOptions(), **change)


def test_a_step_shorter_than_the_window_of_the_rate_of_change_is_refused():
    with pytest.raises(ValueError, match="seconds=0.1: a step lasts at least 0.5 s"):
        _step(_system(), _lost(0.0), seconds=0.1)


def test_a_step_costs_microseconds_per_lane():
    lanes = 1024
    spread = lambda tree: jax.tree.map(lambda x: jnp.broadcast_to(x, (lanes,)), tree)
    args = spread((frequency.initial(), _system(), _lost(0.1)))
    run = jax.jit(jax.vmap(lambda *args: frequency.step(*args, options=FrequencyOptions())))
    jax.block_until_ready(run(*args))
    seconds = []
    for _ in range(20):
        begin = time.perf_counter()
        jax.block_until_ready(run(*args))
        seconds.append(time.perf_counter() - begin)
    # About 1.2 where nothing else runs; the bound is for a busy machine.
    assert 1e6 * min(seconds) / lanes < 8.0
