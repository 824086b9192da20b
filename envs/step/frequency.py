"""The frequency of the system within one step of the environment: one mass, all governors alike.

`docs/frequency.md` states the model and where its parameters come from. Functions are of one grid,
every argument a scalar; `jax.vmap` of them is as fast as can be, since arrays `[lanes]` are what
the substeps then work on.

    state, outcome = frequency.step(state, system, disturbance, options)
"""

from __future__ import annotations

import math
from typing import NamedTuple

import chex
import flax.struct
import jax
import jax.numpy as jnp

from envs.step.frequency_options import FrequencyOptions

WINDOW_S = 0.5  # over which the rate of change of frequency is taken, as relays do
# Until when (s) substeps have which length (s). Relays and breakers take about the first to shed
# load; the last is a cycle of secondary control, as long as NERC BAL-005 allows.
_SUBSTEPS = ((WINDOW_S, 0.25), (5.0, 0.25), (15.0, 0.5), (30.0, 1.0), (math.inf, 6.0))
_SMOOTH_S = 2.0  # shorter substeps are close to parabolas
_LEAST_INERTIA_MWS = 1e-3  # of a grid without load: keeps divisions finite


@flax.struct.dataclass
class FrequencyState:
    """What lasts from one step to the next, scalars."""

    deviation_hz: chex.Array  # frequency less nominal
    governor_mw: chex.Array  # slow part of what governors add to the schedule
    agc_mw: chex.Array  # what secondary control adds to the schedule
    shed_share: chex.Array  # of the load, disconnected by under-frequency relays
    deficit_mw: chex.Array  # load less scheduled generation, shed load included


class System(NamedTuple):
    """The units in service, scalars. Headroom is that of units against their schedule."""

    inertia_mws: chex.Array  # Σ H S
    droop_mw_per_hz: chex.Array  # Σ Pmax / (droop · nominal frequency)
    up_mw: chex.Array  # headroom of units with a governor, not negative
    down_mw: chex.Array  # not negative
    ramp_mw_per_min: chex.Array  # of secondary control
    load_mw: chex.Array  # connected load, shed load included


class Disturbance(NamedTuple):
    """What happens to the balance in a step, scalars; positive is a deficit of generation."""

    sudden_mw: chex.Array  # at the start
    drift_mw: chex.Array  # evenly over the step


class Outcome(NamedTuple):
    """What the step brought, scalars."""

    nadir_hz: chex.Array  # lowest frequency
    peak_hz: chex.Array  # highest
    rocof_hz_per_s: chex.Array  # mean rate of change in the first `WINDOW_S`
    outside_s: chex.Array  # time farther than `band_hz` from nominal
    mean_shed_share: chex.Array  # of the load that relays held off, mean over the step
    shed_share: chex.Array  # still disconnected at the end
    collapsed: chex.Array  # bool, whether frequency reached what units do not ride through


def initial() -> FrequencyState:
    """Returns the state of a balanced system at nominal frequency."""
    return FrequencyState(*[jnp.zeros(())] * 5)


def step(
    state: FrequencyState,
    system: System,
    disturbance: Disturbance,
    options: FrequencyOptions,
    seconds: float = 300.0,
) -> tuple[FrequencyState, Outcome]:
    """Returns the state after `seconds`, and what happened until then.

    With Δf the deviation, g the slow part of governors, a secondary control, s the share shed:

        M dΔf/dt = F u + (1 − F) g + a + s L − deficit(t) − D Δf      M = 2 Σ H S / f₀
        T dg/dt  = u − g            u = clip(−K Δf, −down − a, up − a)
        da/dt    = clip(−(K + D) Δf / T_agc, ±ramp)                   within −down … up

    It is the reheat model of Anderson and Mirheydar (IEEE Trans. Power Systems 5, 1990), with
    limits, secondary control and load shedding. A stage that Δf has reached sheds from the next
    substep on. Beyond the limits that units ride through the model says nothing but `collapsed`.
    The system is constant within the step, which lasts at least `WINDOW_S`.
    """
    chex.assert_rank([*jax.tree.leaves(state), *system, *disturbance], 0)
    if not seconds >= WINDOW_S:
        raise ValueError(f"seconds={seconds}: a step lasts at least {WINDOW_S} s")
    model = _Model.of_step(system, disturbance.drift_mw / seconds, options)
    start = state.replace(deficit_mw=state.deficit_mw + disturbance.sudden_mw)
    zero = jnp.zeros_like(start.deviation_hz)
    record = _Record(start.deviation_hz, start.deviation_hz, zero, zero)
    now, begin, runs = start, 0.0, []
    for until, substep_s in _SUBSTEPS:
        end = min(until, seconds)
        if end > begin:
            now, record = _run(model, now, record, end - begin, substep_s)
            runs.append(now)
        begin = end
    low, high = -options.collapse_low_hz, options.collapse_high_hz
    now = now.replace(deviation_hz=_clip(now.deviation_hz, low, high))
    return now, Outcome(
        nadir_hz=options.nominal_hz + _at_least(record.lowest, low),
        peak_hz=options.nominal_hz + _at_most(record.highest, high),
        rocof_hz_per_s=(runs[0].deviation_hz - start.deviation_hz) / WINDOW_S,
        outside_s=record.outside_s,
        mean_shed_share=record.shed_s / seconds,
        shed_share=now.shed_share,
        collapsed=(record.lowest <= low) | (record.highest >= high),
    )


class _Model(NamedTuple):
    """The coefficients of a step, MW, Hz and s."""

    inertia: chex.Array  # M, MW s/Hz
    damping: chex.Array  # D, MW/Hz
    system: System
    drift_mw_per_s: chex.Array
    options: FrequencyOptions

    @classmethod
    def of_step(cls, system: System, drift_mw_per_s, options: FrequencyOptions) -> _Model:
        """Returns the model of a step."""
        least = jnp.maximum(options.least_inertia_s * system.load_mw, _LEAST_INERTIA_MWS)
        return cls(
            inertia=2.0 * jnp.maximum(system.inertia_mws, least) / options.nominal_hz,
            damping=options.damping * system.load_mw / options.nominal_hz,
            system=system,
            drift_mw_per_s=drift_mw_per_s,
            options=options,
        )


class _Record(NamedTuple):
    """What is kept of the substeps."""

    lowest: chex.Array  # Hz from nominal
    highest: chex.Array
    outside_s: chex.Array
    shed_s: chex.Array  # ∫ s dt


class _Propagator(NamedTuple):
    """W of x(h) = x(0) + W x'(0) for x = (Δf, g)."""

    ff: chex.Array
    fg: chex.Array
    gf: chex.Array
    gg: chex.Array


def _propagator(ff, fg, gf, gg, h: float) -> _Propagator:
    """Returns W of the linear system with matrix A = [[ff, fg], [gf, gg]] and a constant input.

    The two-stage Radau IIA method, of third order and without ringing however long the substep
    (Hairer and Wanner, Solving Ordinary Differential Equations II, section IV.5):

        W = h (I − 2/3 hA + 1/6 h²A²)⁻¹ (I − 1/6 hA)

    written as h (α I + β A) / δ by A² = tr A · A − det A · I.
    """
    trace, det = ff + gg, ff * gg - fg * gf
    p, q = 1.0 - det * h * h / 6.0, trace * h * h / 6.0 - 2.0 * h / 3.0
    delta = p * p + p * q * trace + q * q * det
    alpha = h * (p + q * trace - q * h * det / 6.0) / delta
    beta = h * (-q - h * p / 6.0) / delta
    return _Propagator(alpha + beta * ff, beta * fg, beta * gf, alpha + beta * gg)


def _run(
    model: _Model, state: FrequencyState, record: _Record, seconds: float, substep_s: float
) -> tuple[FrequencyState, _Record]:
    """Returns state and record after `seconds`, in equal substeps of about `substep_s`."""
    count = max(1, round(seconds / substep_s))
    h = seconds / count
    options, system = model.options, model.system
    fast, droop = options.governor_fast_share, system.droop_mw_per_hz
    rate_g = -1.0 / options.governor_seconds
    to_g = (1.0 - fast) / model.inertia
    free = _propagator(
        -(model.damping + fast * droop) / model.inertia, to_g, rate_g * droop, rate_g, h
    )
    limited = _propagator(-model.damping / model.inertia, to_g, 0.0 * droop, rate_g, h)
    gain = (droop + model.damping) / options.agc_seconds
    ramp = system.ramp_mw_per_min / 60.0
    restored = options.restore_share_per_min / 60.0 * h

    def substep(carry, _):
        state, record, before = carry
        f, g = state.deviation_hz, state.governor_mw
        shed = _shed(options, state.shed_share, f, restored)
        agc = state.agc_mw + h * _clip(-gain * f, -ramp, ramp)
        agc = _clip(agc, -system.down_mw, system.up_mw)
        wish, low, high = -droop * f, -system.down_mw - agc, system.up_mw - agc
        u = _clip(wish, low, high)
        deficit = state.deficit_mw + 0.5 * h * model.drift_mw_per_s
        surplus = fast * u + (1.0 - fast) * g + agc + shed * system.load_mw - deficit
        # A division is not computed twice: the compiler keeps its result for all that follows.
        f_rate = (surplus - model.damping * f) / model.inertia
        g_rate = rate_g * (g - u)
        within = (wish > low) & (wish < high)
        w = _Propagator(*(jnp.where(within, x, y) for x, y in zip(free, limited)))
        state = FrequencyState(
            deviation_hz=f + w.ff * f_rate + w.fg * g_rate,
            governor_mw=g + w.gf * f_rate + w.gg * g_rate,
            agc_mw=agc,
            shed_share=shed,
            deficit_mw=state.deficit_mw + h * model.drift_mw_per_s,
        )
        # Of the last substep, not this one: it is at hand, and need not be repeated.
        turn = _turning_point(*before, f, h) if h < _SMOOTH_S else f
        record = _Record(
            lowest=_at_most(_at_most(record.lowest, f), turn),
            highest=_at_least(_at_least(record.highest, f), turn),
            outside_s=record.outside_s + jnp.where(jnp.abs(f) > options.band_hz, h, 0.0),
            shed_s=record.shed_s + h * shed,
        )
        return (state, record, (f, f_rate)), None

    still = (state.deviation_hz, jnp.zeros_like(state.deviation_hz))
    (state, record, _), _ = jax.lax.scan(substep, (state, record, still), None, length=count)
    return state, record._replace(
        lowest=_at_most(record.lowest, state.deviation_hz),
        highest=_at_least(record.highest, state.deviation_hz),
    )


def _shed(options: FrequencyOptions, share, deviation_hz, restored):
    """Returns the share of load shed: stages that are reached, and what has not come back."""
    first, between = options.shed_first_hz, options.shed_step_hz
    stages = jnp.floor((between - first - deviation_hz) / between)
    staged = options.shed_stage_share * _at_most(stages, options.shed_stages)
    left = share - jnp.where(deviation_hz > -options.restore_within_hz, restored, 0.0)
    return _at_least(_at_least(left, 0.0), staged)


def _turning_point(start, rate, end, h: float):
    """Returns the extreme within a substep of the parabola with these ends and initial rate."""
    bend = (end - start) / h - rate
    t = _clip(-0.5 * h * rate / jnp.where(bend == 0, 1.0, bend), 0.0, h)
    return start + t * (rate + bend * t / h)


# Plainer than `jnp.clip`, whose care for numbers that are none costs more than the rest.


def _at_least(x, low):
    return jnp.where(x < low, low, x)


def _at_most(x, high):
    return jnp.where(x > high, high, x)


def _clip(x, low, high):
    return _at_least(_at_most(x, high), low)
