"""The frequency of the system within one step of the environment: one mass, all governors alike.

`docs/frequency.md` states the model and where its parameters come from. Functions are of one grid,
every argument a scalar; `jax.vmap` of them is as fast as can be, since arrays `[lanes]` are what
the substeps then work on.

    state, outcome = frequency.step(state, system, disturbance, options)
"""

from __future__ import annotations

from typing import NamedTuple

import chex
import flax.struct
import jax
import jax.numpy as jnp

from envs.frequency_options import FrequencyOptions

WINDOW_S = 0.5  # over which the rate of change of frequency is taken, as relays do
_TRANSIENT_S = 30.0  # solved in fine substeps: the nadir comes within it
_FINE_S = 0.25  # one substep there: what a relay and a breaker take to shed load
_COARSE_S = 5.0  # one substep afterwards: a cycle of secondary control
_UNROLL = 8  # substeps that a device runs as one piece
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
    up_mw: chex.Array  # headroom of units that follow frequency, not negative
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
    shed_mwh: chex.Array  # energy not served because of under-frequency relays
    shed_share: chex.Array  # still disconnected at the end
    collapsed: chex.Array  # bool, whether frequency reached what units do not ride through


def initial() -> FrequencyState:
    """Returns the state of a balanced system at nominal frequency."""
    return FrequencyState(*[jnp.zeros(())] * 5)


def rescheduled(state: FrequencyState) -> FrequencyState:
    """Returns the state once schedules have taken over what secondary control delivers.

    The unit powers do not move: they are called scheduled, and secondary control is free again.
    """
    return state.replace(
        deficit_mw=state.deficit_mw - state.agc_mw, agc_mw=jnp.zeros_like(state.agc_mw)
    )


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

    It is the reheat model of Anderson and Mirheydar (IEEE Trans. Power Systems 5, 1990) with limits,
    secondary control and load shedding. A stage of shedding that Δf has reached acts from the next
    substep on. Where Δf reaches what units do not ride through it is held there.

    Args:
      state: at the start of the step.
      system: constant within the step.
      disturbance: the change of the balance in the step.
      options: of the model.
      seconds: length of the step, not less than `WINDOW_S`.
    """
    chex.assert_rank([*jax.tree.leaves(state), *system, *disturbance], 0)
    if not seconds >= WINDOW_S:
        raise ValueError(f"seconds={seconds}: a step lasts at least {WINDOW_S} s")
    fine = min(seconds, _TRANSIENT_S) - WINDOW_S
    model = _Model.of(system, disturbance.drift_mw / seconds, options)
    zero = jnp.zeros_like(state.deviation_hz)
    start = state.replace(deficit_mw=state.deficit_mw + disturbance.sudden_mw)
    record = _Record(start.deviation_hz, start.deviation_hz, zero, zero)
    first, record = _run(model, (start, record), WINDOW_S, _FINE_S, parabolic=True)
    last, record = _run(model, (first, record), fine, _FINE_S, parabolic=True)
    rest = seconds - _TRANSIENT_S
    last, record = _run(model, (last, record), rest, _COARSE_S, parabolic=False)
    return last, Outcome(
        nadir_hz=options.nominal_hz + record.lowest,
        peak_hz=options.nominal_hz + record.highest,
        rocof_hz_per_s=(first.deviation_hz - start.deviation_hz) / WINDOW_S,
        outside_s=record.outside_s,
        shed_mwh=record.shed_s * system.load_mw / 3600.0,
        shed_share=last.shed_share,
        collapsed=(record.lowest <= -options.collapse_low_hz)
        | (record.highest >= options.collapse_high_hz),
    )


class _Model(NamedTuple):
    """The coefficients of a step, MW, Hz and s."""

    inertia: chex.Array  # M, MW s/Hz
    damping: chex.Array  # D, MW/Hz
    system: System
    drift_mw_per_s: chex.Array
    options: FrequencyOptions

    @classmethod
    def of(cls, system: System, drift_mw_per_s, options: FrequencyOptions) -> _Model:
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
    model: _Model,
    carry: tuple[FrequencyState, _Record],
    seconds: float,
    substep_s: float,
    *,
    parabolic: bool,
) -> tuple[FrequencyState, _Record]:
    """Returns the carry after `seconds` in substeps of about `substep_s`.

    Args:
      model: the coefficients.
      carry: state and record.
      seconds: none pass where not positive.
      substep_s: the whole number of substeps that comes nearest is taken.
      parabolic: whether extremes between the ends of substeps are sought, on a parabola.
    """
    if seconds <= 0:
        return carry
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
        state, record = carry
        f, g, s = state.deviation_hz, state.governor_mw, state.shed_share
        agc = state.agc_mw + h * jnp.clip(-gain * f, -ramp, ramp)
        agc = jnp.clip(agc, -system.down_mw, system.up_mw)
        a = 0.5 * (agc + state.agc_mw)
        wish = -droop * f
        u = jnp.clip(wish, -system.down_mw - a, system.up_mw - a)
        deficit = state.deficit_mw + 0.5 * h * model.drift_mw_per_s
        surplus = fast * u + (1.0 - fast) * g + a + s * system.load_mw - deficit
        f_rate = (surplus - model.damping * f) / model.inertia
        g_rate = rate_g * (g - u)
        within = u == wish
        agc, f_rate, g_rate, within = jax.lax.optimization_barrier((agc, f_rate, g_rate, within))
        w = _Propagator(*(jnp.where(within, x, y) for x, y in zip(free, limited)))
        f_next = f + w.ff * f_rate + w.fg * g_rate
        f_next = jnp.clip(f_next, -options.collapse_low_hz, options.collapse_high_hz)
        f_next = jax.lax.optimization_barrier(f_next)
        lowest, highest = jnp.minimum(record.lowest, f_next), jnp.maximum(record.highest, f_next)
        if parabolic:
            turn = _turning_point(f, f_rate, f_next, h)
            lowest, highest = jnp.minimum(lowest, turn), jnp.maximum(highest, turn)
        reached = jnp.floor((-f_next - options.shed_first_hz) / options.shed_step_hz) + 1.0
        reached = jnp.clip(reached, 0.0, options.shed_stages)
        left = s - jnp.where(f_next > -options.restore_within_hz, restored, 0.0)
        state = FrequencyState(
            deviation_hz=f_next,
            governor_mw=g + w.gf * f_rate + w.gg * g_rate,
            agc_mw=agc,
            shed_share=jnp.maximum(jnp.maximum(left, 0.0), options.shed_stage_share * reached),
            deficit_mw=state.deficit_mw + h * model.drift_mw_per_s,
        )
        outside = jnp.abs(0.5 * (f + f_next)) > options.band_hz
        record = _Record(
            lowest, highest, record.outside_s + jnp.where(outside, h, 0.0), record.shed_s + h * s
        )
        return (state, record), None

    return jax.lax.scan(substep, carry, None, length=count, unroll=min(count, _UNROLL))[0]


def _turning_point(start, rate, end, h: float):
    """Returns the extreme within a substep of the parabola with these ends and initial rate."""
    bend = (end - start) / h - rate
    t = jnp.clip(-0.5 * h * rate / jnp.where(bend == 0, 1.0, bend), 0.0, h)
    return start + t * (rate + bend * t / h)
