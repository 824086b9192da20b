"""How frequency answers what a step loses at once and what comes unforeseen.

`frequency.py` has the model; here are the units of a grid that answer, and what disturbs them.
"""

import chex
import jax.numpy as jnp
import numpy as np

from envs.case.fleet import Fleet
from envs.case.grid import Grid
from envs.step import frequency as frequency_lib, frequency_options
from envs.step.actions import FeasibleAction
from envs.step.options import StepOptions
from envs.step.state import State
from envs.time_series.series import LEAD_STEPS, Series

# MWs. Load that comes back, the only thing left to move it, does so by 8 µHz a GW in five minutes.
_INFINITE_MWS = 1e12


class FrequencyResponse:
    """The frequency response of one grid and fleet."""

    def __init__(self, grid: Grid, fleet: Fleet, options: StepOptions):
        as_float = lambda x: jnp.asarray(x, jnp.float32)
        gen, units = grid.gen, fleet.units
        self.options = frequency_options.PRESETS[options.frequency]
        self._seconds = options.step_minutes / 60.0 * 3600.0
        self._gen_bus, self._load_bus = gen.bus, grid.loads
        self._p_min, self._p_max = as_float(gen.p_min_mw), as_float(gen.p_max_mw)
        infinite = np.isinf(units.inertia_s)
        self._infinite = infinite if infinite.any() else None
        inertia_s = np.where(infinite, 0.0, units.inertia_s)
        self._inertia = as_float(inertia_s * units.rating_mva)  # MWs, of the others
        # Has a governor, and what it could open.
        self._follows = jnp.asarray(np.isfinite(units.droop) & ~gen.is_dispatchable_load)
        # MW/Hz, zero where droop is infinite.
        self._stiffness = as_float(gen.capacity_mw / (units.droop * self.options.nominal_hz))
        self._ramp = as_float(units.ramp_mw_per_min)

    def none(self) -> frequency_lib.Outcome:
        """Returns the outcome of a step in which frequency does not move."""
        zero, nominal = jnp.zeros(()), jnp.float32(self.options.nominal_hz)
        return frequency_lib.Outcome(nominal, nominal, zero, zero, zero, zero, zero > 0)

    def __call__(
        self,
        before: frequency_lib.FrequencyState,
        feasible: FeasibleAction,
        gen_on: chex.Array,
        energised: chex.Array,
        disturbance: frequency_lib.Disturbance,
    ) -> tuple[frequency_lib.FrequencyState, frequency_lib.Outcome]:
        """Returns frequency after the step, and what happened within it.

        Balancing leads to the feasible action by the end of the step. In the disturbance
        dispatchable loads count as what they draw. As long as a unit of infinite inertia is
        connected frequency is nominal, and nothing disturbs it.
        """
        on = gen_on & energised[self._gen_bus]
        total = lambda values: jnp.where(on, values, 0.0).sum()
        # Schedules have taken over what was balanced by the last step; load that is shed is not
        # scheduled for.
        load_mw = jnp.where(energised[self._load_bus], feasible.load_p_mw, 0.0).sum()
        governed = lambda values: total(jnp.where(self._follows, values, 0.0))
        start = before.replace(
            agc_mw=jnp.zeros_like(before.agc_mw), deficit_mw=before.shed_share * load_mw
        )
        system = frequency_lib.System(
            inertia_mws=total(self._inertia),
            droop_mw_per_hz=total(self._stiffness),
            up_mw=governed(jnp.maximum(self._p_max - feasible.gen_target_mw, 0.0)),
            down_mw=governed(jnp.maximum(feasible.gen_target_mw - self._p_min, 0.0)),
            ramp_mw_per_min=governed(self._ramp),
            load_mw=load_mw,
        )
        if self._infinite is not None:
            held = (on & self._infinite).any()
            undisturbed = lambda value: jnp.where(held, 0.0, value)
            disturbance = frequency_lib.Disturbance(*map(undisturbed, disturbance))
            start = start.replace(
                deviation_hz=undisturbed(start.deviation_hz),
                governor_mw=undisturbed(start.governor_mw),
            )
            inertia = jnp.where(held, _INFINITE_MWS, system.inertia_mws)
            system = system._replace(inertia_mws=inertia)
        return frequency_lib.step(start, system, disturbance, self.options, self._seconds)


def disturbance(
    grid: Grid, before: State, gen_on: chex.Array, series: Series
) -> frequency_lib.Disturbance:
    """Returns what disturbs frequency in a step with `gen_on` bool `[n_gen]`, islands left out."""
    draws = jnp.asarray(grid.gen.is_dispatchable_load)
    lost_mw = jnp.where(draws, before.gen_p_mw, jnp.maximum(before.gen_p_mw, 0.0))
    lost_mw = jnp.where(before.gen_on & ~gen_on, lost_mw, 0.0).sum()
    return frequency_lib.Disturbance(lost_mw, unforeseen_mw(series, before.t))


def unforeseen_mw(series: Series, t: chex.Array) -> chex.Array:
    """Returns what load, less wind and sun, does unforeseen in the step after row `t`, MW.

    Units are balanced with what was there at row t, however wrong it had been foreseen, and follow
    the slope of the newest forecast. Its level does not matter: a forecast that takes an error of
    its own back disturbs nobody.
    """
    before, now = series.at(jnp.maximum(t, 0)), series.at(t + 1)
    net_load = lambda row: row.load_p_mw.sum() - row.renewable_mw.sum()
    foreseen = before.load_forecast_mw - before.renewable_forecast_mw
    slope = (foreseen[1] - foreseen[0]) / (LEAD_STEPS[1] - LEAD_STEPS[0])
    return jnp.where(t < 0, 0.0, net_load(now) - net_load(before) - slope)
