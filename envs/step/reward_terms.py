"""The books of a step: what it cost, what it broke, whether it ends the episode."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import chex
import jax.numpy as jnp
import numpy as np

from envs.case import fleet as fleet_lib
from envs.case import grid as grid_lib
from envs.step import actions as actions_lib
from envs.step import frequency as frequency_lib
from envs.step import frequency_options, security, solve_and_protect, switching
from envs.step.options import StepOptions
from envs.step.termination import Reason
from envs.time_series import series as series_lib

BLACKOUT_SHARE = 0.30  # of load unserved in a step, beyond which the episode ends; a choice
RESTORATION_HOURS = 4.0  # of all load lost when an episode ends early; a choice
CONDENSER_LOSS = 0.015  # MW per MVAr; a choice


class Islanded(NamedTuple):
    """What is cut off from the island that lives, MW."""

    load_mw: chex.Array  # on de-energised buses
    generation_mw: chex.Array  # that units, plants and batteries on them were to give
    sudden_mw: chex.Array  # deficit by what this step cuts off and brings back, signed


class Accounts:
    """What follows from a settled step, for one grid and fleet."""

    def __init__(self, grid: grid_lib.Grid, fleet: fleet_lib.Fleet, options: StepOptions):
        as_float = lambda x: jnp.asarray(x, jnp.float32)
        gen, units = grid.gen, fleet.units
        self._options, self._frequency = options, frequency_options.PRESETS[options.frequency]
        self._dt_h = options.step_minutes / 60.0
        self._gen_bus, self._load_bus = gen.bus, grid.loads
        self._renewable_bus, self._storage_bus = fleet.renewables.bus, fleet.storage.bus
        self._n_bus = grid.n_bus
        self._is_unit = jnp.asarray(gen.is_unit)
        self._cost = tuple(as_float(c) for c in (gen.cost_c2, gen.cost_c1, gen.cost_c0))
        self._p_min = as_float(gen.p_min_mw)
        self._p_max = as_float(gen.p_max_mw)
        self._q_min, self._q_max = as_float(gen.q_min_mvar), as_float(gen.q_max_mvar)
        self._vm_min, self._vm_max = as_float(grid.bus.vm_min_pu), as_float(grid.bus.vm_max_pu)
        self._rate = as_float(np.where(np.isfinite(grid.branch.rate_mva), grid.branch.rate_mva, 0))
        self._co2 = as_float(units.co2_t_per_mwh)
        self._inertia = as_float(units.inertia_s * units.rating_mva)  # MWs
        # Has a governor, and what it could open.
        self._follows = jnp.asarray(np.isfinite(units.droop) & ~gen.is_dispatchable_load)
        # MW/Hz, zero where droop is infinite.
        self._stiffness = as_float(gen.capacity_mw / (units.droop * self._frequency.nominal_hz))
        self._ramp = as_float(units.ramp_mw_per_min)

    def still(self) -> frequency_lib.Outcome:
        """Returns the outcome of a step in which frequency does not move."""
        zero, nominal = jnp.zeros(()), jnp.float32(self._frequency.nominal_hz)
        return frequency_lib.Outcome(nominal, nominal, zero, zero, zero, zero, zero > 0)

    def islanded(
        self,
        energised: chex.Array,
        was_energised: chex.Array,
        asked: actions_lib.Asked,
        gen_on: chex.Array,
        connected: chex.Array,
    ) -> Islanded:
        """Returns what islands take from the grid, and what they bring back.

        Args:
          energised: bool `[n_bus]`, in this step.
          was_energised: bool `[n_bus]`, before it.
          asked: what the step was asked for.
          gen_on: bool `[n_gen]`.
          connected: share of load that frequency relays have not shed.
        """

        def parts(bus, mw):
            """Returns what of `mw` at the buses `bus` is cut off, and what comes less what goes."""
            now, was = energised[bus], was_energised[bus]
            change = jnp.where(now == was, 0.0, jnp.where(now, mw, -mw))
            return jnp.where(now, 0.0, mw).sum(), change.sum()

        load, came = parts(self._load_bus, asked.load_p_mw * connected)
        units, plants, batteries = (
            parts(self._gen_bus, jnp.where(gen_on, asked.gen_target_mw, 0.0)),
            parts(self._renewable_bus, asked.renewable_mw),
            parts(self._storage_bus, asked.storage_mw),
        )
        given, came_with = (sum(part) for part in zip(units, plants, batteries))
        return Islanded(load, given, came - came_with)

    def swing(
        self,
        before: frequency_lib.FrequencyState,
        settled: solve_and_protect.Settled,
        asked: actions_lib.Asked,
        *,
        gen_on: chex.Array,
        sudden_mw: chex.Array,
        surprise_mw: chex.Array,
    ) -> tuple[frequency_lib.FrequencyState, frequency_lib.Outcome]:
        """Returns how frequency swings within the step.

        Args:
          before: frequency at the start of the step.
          settled: the operating point that balancing leads to by its end.
          asked: what the step was asked for.
          gen_on: bool `[n_gen]`.
          sudden_mw: deficit by what went out of service or was cut off at the start; dispatchable
            loads count as what they draw.
          surprise_mw: what load, less wind and sun, did in the step beyond what was foreseen of it.
        """
        energised = settled.solution.energised
        on = gen_on & energised[self._gen_bus]
        total = lambda values: jnp.where(on, values, 0.0).sum()
        # Schedules have taken over what was settled by the last step; load that is shed is not
        # scheduled for.
        load_mw = jnp.where(energised[self._load_bus], asked.load_p_mw, 0.0).sum()
        governed = lambda values: total(jnp.where(self._follows, values, 0.0))
        start = before.replace(
            agc_mw=jnp.zeros_like(before.agc_mw), deficit_mw=before.shed_share * load_mw
        )
        system = frequency_lib.System(
            inertia_mws=total(self._inertia),
            droop_mw_per_hz=total(self._stiffness),
            up_mw=governed(jnp.maximum(self._p_max - asked.gen_target_mw, 0.0)),
            down_mw=governed(jnp.maximum(asked.gen_target_mw - self._p_min, 0.0)),
            ramp_mw_per_min=governed(self._ramp),
            load_mw=load_mw,
        )
        disturbance = frequency_lib.Disturbance(sudden_mw, surprise_mw)
        return frequency_lib.step(start, system, disturbance, self._frequency, self._dt_h * 3600.0)

    def terms(
        self,
        now: series_lib.TimeSeries,
        asked: actions_lib.Asked,
        settled: solve_and_protect.Settled,
        swing: frequency_lib.Outcome,
        *,
        gen_p: chex.Array,
        gen_q: chex.Array,
        vm: chex.Array,
        rho: chex.Array,
        losses: chex.Array,
        operations: chex.Array,
        tripped: chex.Array,
        insecure: chex.Array,
    ) -> dict[str, chex.Array]:
        """Returns the terms of `rewards.UNITS`."""
        dt, above = self._dt_h, lambda x: jnp.maximum(x, 0.0)
        unit_p = jnp.where(self._is_unit, gen_p, 0.0)
        q_beyond = above(gen_q - self._q_max) + above(self._q_min - gen_q)
        energised, converged = settled.solution.energised, settled.solution.converged
        v_beyond = jnp.where(energised, above(self._vm_min - vm) + above(vm - self._vm_max), 0.0)
        # Of what islands and balance serve, relays hold a share off; of the rest there is nothing
        # to hold off. What feeds in where loads are is no load.
        supplied = settled.served * (1.0 - swing.mean_shed_share)
        unserved = (above(asked.load_p_mw) * (1.0 - supplied)).sum()
        return {
            "generation_cost": dt * self._generation_cost(unit_p),
            "planned_cost": dt * self._generation_cost(now.plan_p_mw),
            "load_control_cost": dt * self._options.load_control_price * asked.moved_load_mw,
            "energy_not_served": dt * unserved,
            "surplus": dt * settled.surplus_mw,
            "curtailment": dt * (now.renewable_mw.sum() - settled.renewable_mw.sum()),
            "storage_throughput": dt * jnp.abs(asked.storage_mw).sum(),
            "switching": operations.astype(jnp.float32),
            "trips": tripped.sum().astype(jnp.float32),
            "overload": dt * (above(rho - 1.0) * self._rate).sum(),
            "voltage_violation": dt * v_beyond.sum(),
            "reactive_violation": dt * q_beyond.sum(),
            "angle_violation": dt * jnp.where(converged, settled.beyond_angle_rad, 0.0),
            "frequency_excursion": swing.outside_s / 3600.0,
            "insecurity": dt * insecure,
            "losses": dt * losses,
            "load": dt * now.load_p_mw.sum(),
            "redispatch": dt * jnp.abs(unit_p - now.plan_p_mw).sum(),
            "co2": dt * (self._co2 * above(unit_p)).sum(),
        }

    def reason(
        self,
        terms: Mapping[str, chex.Array],
        settled: solve_and_protect.Settled,
        swing: frequency_lib.Outcome,
        islanded: Islanded,
        disturbance_mw: chex.Array,
    ) -> chex.Array:
        """Returns why the episode ends (`termination.Reason`), the most telling reason first.

        Args:
          terms: of the step.
          settled: the operating point.
          swing: of frequency.
          islanded: what is cut off.
          disturbance_mw: of frequency in the step, islands left out.
        """
        not_served = terms["energy_not_served"]
        lost = not_served > BLACKOUT_SHARE * terms["load"]
        cut_off = self._dt_h * (islanded.load_mw + islanded.generation_mw) > 0.5 * not_served
        reason = jnp.where(cut_off, Reason.ISLANDING, Reason.LOAD_LOST)
        reason = jnp.where(lost, reason, Reason.NONE)
        cut_off = jnp.abs(islanded.sudden_mw) > jnp.abs(disturbance_mw)
        out_of_range = jnp.where(cut_off, Reason.ISLANDING, Reason.FREQUENCY)
        reason = jnp.where(swing.collapsed, out_of_range, reason)
        reason = jnp.where(settled.unstable, Reason.CASCADE, reason)
        return jnp.where(settled.solution.converged, reason, Reason.DIVERGED)

    def metrics(
        self,
        asked: actions_lib.Asked,
        switched: switching.Switched,
        settled: solve_and_protect.Settled,
        swing: frequency_lib.Outcome,
        secure: security.Security,
        vm: chex.Array,
        rho: chex.Array,
    ) -> dict[str, chex.Array]:
        """Returns what is worth a curve and is no reward term."""
        solution = settled.solution
        return {
            "rho_max": rho.max(),
            "after_outage_rho_max": secure.loading.max(),
            "vm_min_pu": jnp.where(
                solution.energised.any(), jnp.where(solution.energised, vm, jnp.inf).min(), 0.0
            ),
            "vm_max_pu": vm.max(),
            "projected_mw": asked.cut_unit_mw,
            "projected_storage_mw": asked.cut_storage_mw,
            "projected_voltage_pu": asked.cut_voltage_pu,
            "balancing_mw": jnp.abs(settled.shift_mw),
            "refused_switches": switched.refused.astype(jnp.float32),
            "cascade_rounds": settled.rounds,
            "dead_buses": (~solution.energised).sum(),
            "nadir_hz": swing.nadir_hz,
            "rocof_hz_per_s": swing.rocof_hz_per_s,
            "seconds_off_nominal": swing.outside_s,
            "mismatch_pu": jnp.where(solution.converged, solution.mismatch_pu, 0.0),
            "iterations": solution.iterations,
            "fell_back": solution.fell_back,
        }

    def generator_reactive(
        self,
        bus_q: chex.Array,
        asked: actions_lib.Asked,
        settled: solve_and_protect.Settled,
        gen_on: chex.Array,
        connected: chex.Array,
    ) -> chex.Array:
        """Returns Q of each generator `[n_gen]` MVAr; generators at a bus share it evenly.

        `connected` is the share of load that frequency relays have not shed.
        """
        energised = settled.solution.energised[self._gen_bus]
        on = (gen_on & energised).astype(bus_q.dtype)
        given = bus_q.at[self._load_bus].add(asked.load_q_mvar * connected * settled.served)
        count = jnp.zeros(self._n_bus).at[self._gen_bus].add(on)
        return on * (given / jnp.maximum(count, 1.0))[self._gen_bus]

    def condenser_draw(self, gen_q: chex.Array, gen_on: chex.Array) -> chex.Array:
        """Returns what condensers draw `[n_gen]` MW, negative; zero for units."""
        draw = -CONDENSER_LOSS * jnp.abs(gen_q)
        return jnp.where(self._is_unit | ~gen_on, 0.0, draw)

    def _generation_cost(self, p_mw: chex.Array) -> chex.Array:
        """Returns the cost of producing `p_mw` `[n_gen]` in $/h."""
        c2, c1, c0 = self._cost
        return (c2 * p_mw * p_mw + c1 * p_mw + c0).sum()
