"""The books of a step: what it cost, what it broke, whether it ends the episode."""

from __future__ import annotations

from collections.abc import Mapping

import chex
import jax.numpy as jnp
import numpy as np

from envs import decision, operation, security, switching
from envs import fleet as fleet_lib
from envs import frequency as frequency_lib
from envs import grid as grid_lib
from envs import options as options_lib
from envs import tape as tape_lib
from envs.termination import Reason


class Accounts:
    """What follows from a settled step, for one grid and fleet."""

    def __init__(
        self, grid: grid_lib.Grid, fleet: fleet_lib.Fleet, options: options_lib.EnvOptions
    ):
        as_float = lambda x: jnp.asarray(x, jnp.float32)
        gen, units = grid.gen, fleet.units
        self._options = options
        self._dt_h = options.step_minutes / 60.0
        self._gen_bus, self._load_bus = gen.bus, grid.loads
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
        self._stiffness = as_float(gen.capacity_mw / (units.droop * options.frequency.nominal_hz))
        self._ramp = as_float(units.ramp_mw_per_min)

    def still(self) -> frequency_lib.Outcome:
        """Returns the outcome of a step in which frequency does not move."""
        zero, nominal = jnp.zeros(()), jnp.float32(self._options.frequency.nominal_hz)
        return frequency_lib.Outcome(nominal, nominal, zero, zero, zero, zero, zero > 0)

    def swing(
        self,
        before: frequency_lib.FrequencyState,
        settled: operation.Settled,
        asked: decision.Asked,
        *,
        was_alive: chex.Array,
        gen_on: chex.Array,
        lost_mw: chex.Array,
        surprise_mw: chex.Array,
    ) -> tuple[frequency_lib.FrequencyState, frequency_lib.Outcome]:
        """Returns how frequency swings within the step.

        Args:
          before: frequency at the start of the step.
          settled: the operating point that balancing leads to by its end.
          asked: what the step was asked for.
          was_alive: bool `[n_bus]`, before the step.
          gen_on: bool `[n_gen]`.
          lost_mw: generation, less dispatchable load, that went out of service at the start.
          surprise_mw: what load, less wind and sun, did in the step beyond what was foreseen of it.
        """
        alive = settled.solution.alive
        on = gen_on & alive[self._gen_bus]
        total = lambda values: jnp.where(on, values, 0.0).sum()
        # An island that is cut off takes generation and load away, once; one that comes back brings
        # them.
        change = alive.astype(jnp.float32) - was_alive
        came = (change[self._load_bus] * asked.load_p_mw).sum()
        came -= (change[self._gen_bus] * jnp.where(gen_on, asked.gen_target_mw, 0.0)).sum()
        # Schedules have taken over what was settled by the last step; load that is shed is not
        # scheduled for.
        load_mw = jnp.where(alive[self._load_bus], asked.load_p_mw, 0.0).sum()
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
        disturbance = frequency_lib.Disturbance(lost_mw + came, surprise_mw)
        return frequency_lib.step(
            start, system, disturbance, self._options.frequency, self._dt_h * 3600.0
        )

    def terms(
        self,
        now: tape_lib.Tape,
        asked: decision.Asked,
        settled: operation.Settled,
        before: frequency_lib.FrequencyState,
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
        alive = settled.solution.alive
        v_beyond = jnp.where(alive, above(self._vm_min - vm) + above(vm - self._vm_max), 0.0)
        # What frequency relays shed is counted by the swing, what balance and islands leave here.
        unserved = jnp.maximum((asked.load_p_mw * (1.0 - settled.served)).sum(), 0.0)
        return {
            "generation_cost": dt * self._generation_cost(unit_p),
            "planned_cost": dt * self._generation_cost(now.plan_p_mw),
            "load_control_cost": dt * self._options.load_control_price * asked.moved_load_mw,
            "energy_not_served": dt * unserved * (1.0 - before.shed_share) + swing.shed_mwh,
            "surplus": dt * settled.surplus_mw,
            "curtailment": dt * (now.renewable_mw.sum() - settled.renewable_mw.sum()),
            "storage_throughput": dt * jnp.abs(asked.storage_mw).sum(),
            "switching": operations.astype(jnp.float32),
            "trips": tripped.sum().astype(jnp.float32),
            "overload": dt * (above(rho - 1.0) * self._rate).sum(),
            "voltage_violation": dt * v_beyond.sum(),
            "reactive_violation": dt * q_beyond.sum(),
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
        settled: operation.Settled,
        swing: frequency_lib.Outcome,
    ) -> chex.Array:
        """Returns why the episode ends (`termination.Reason`), the most telling reason first."""
        lost = terms["energy_not_served"] > self._options.blackout_share * terms["load"]
        reason = jnp.where(lost, Reason.LOAD_LOST, Reason.NONE)
        reason = jnp.where(swing.collapsed, Reason.FREQUENCY, reason)
        reason = jnp.where(settled.unstable, Reason.CASCADE, reason)
        return jnp.where(settled.solution.converged, reason, Reason.DIVERGED)

    def metrics(
        self,
        asked: decision.Asked,
        switched: switching.Switched,
        settled: operation.Settled,
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
                solution.alive.any(), jnp.where(solution.alive, vm, jnp.inf).min(), 0.0
            ),
            "vm_max_pu": vm.max(),
            "projected_mw": asked.cut_unit_mw,
            "projected_storage_mw": asked.cut_storage_mw,
            "projected_voltage_pu": asked.cut_voltage_pu,
            "balancing_mw": jnp.abs(settled.shift_mw),
            "refused_switches": switched.refused.astype(jnp.float32),
            "cascade_rounds": settled.rounds,
            "dead_buses": (~solution.alive).sum(),
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
        asked: decision.Asked,
        settled: operation.Settled,
        gen_on: chex.Array,
        connected: chex.Array,
    ) -> chex.Array:
        """Returns Q of each generator `[n_gen]` MVAr; generators at a bus share it evenly.

        `connected` is the share of load that frequency relays have not shed.
        """
        alive = settled.solution.alive[self._gen_bus]
        on = (gen_on & alive).astype(bus_q.dtype)
        given = bus_q.at[self._load_bus].add(asked.load_q_mvar * connected * settled.served)
        count = jnp.zeros(self._n_bus).at[self._gen_bus].add(on)
        return on * (given / jnp.maximum(count, 1.0))[self._gen_bus]

    def condenser_draw(self, gen_q: chex.Array, gen_on: chex.Array) -> chex.Array:
        """Returns what condensers draw `[n_gen]` MW, negative; zero for units."""
        draw = -self._options.condenser_loss * jnp.abs(gen_q)
        return jnp.where(self._is_unit | ~gen_on, 0.0, draw)

    def _generation_cost(self, p_mw: chex.Array) -> chex.Array:
        """Returns the cost of producing `p_mw` `[n_gen]` in $/h."""
        c2, c1, c0 = self._cost
        return (c2 * p_mw * p_mw + c1 * p_mw + c0).sum()
