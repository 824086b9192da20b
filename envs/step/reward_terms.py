"""What a step cost and what it broke, in physical units; `rewards.TERM_UNITS` says which."""

import chex
import jax.numpy as jnp
import numpy as np

from envs.case.fleet import Fleet
from envs.case.grid import Grid
from envs.step import payments
from envs.step.options import StepOptions
from envs.step.security import Security
from envs.step.state import State
from envs.step.step_result import StepResult

CLEAN_PU = 1e-3  # or rad: violations up to this, summed, are rounding of single precision
# Ten-minute operating reserve, as markets of North America procure it.
RESERVE_MINUTES = 10.0


class RewardTerms:
    """The reward terms of one grid and fleet."""

    def __init__(self, grid: Grid, fleet: Fleet, options: StepOptions):
        as_float = lambda x: jnp.asarray(x, jnp.float32)
        gen = grid.gen
        self._load_control_price = options.load_control_price
        self._dt_h = options.step_minutes / 60.0
        self._is_unit = jnp.asarray(gen.is_unit)
        self._cost = tuple(as_float(c) for c in (gen.cost_c2, gen.cost_c1, gen.cost_c0))
        self._q_min, self._q_max = as_float(gen.q_min_mvar), as_float(gen.q_max_mvar)
        self._vm_min, self._vm_max = as_float(grid.bus.vm_min_pu), as_float(grid.bus.vm_max_pu)
        self._rate = as_float(np.where(np.isfinite(grid.branch.rate_mva), grid.branch.rate_mva, 0))
        self._co2 = as_float(fleet.units.co2_t_per_mwh)
        self._base_mva = grid.base_mva
        self._capacity = as_float(gen.capacity_mw)
        self._reserve_ramp = as_float(RESERVE_MINUTES * fleet.units.ramp_mw_per_min)
        self._payments = payments.Payments(grid, fleet, options)

    def __call__(self, after: State, result: StepResult, secure: Security) -> dict[str, chex.Array]:
        """Returns the terms of a step, before any charge for its ending the episode."""
        point, dt, by_element = result.point, self._dt_h, self.by_element(after, result)
        total = {name: values.sum() for name, (_, values) in by_element.items()}
        angle = jnp.where(point.solution.converged, point.beyond_angle_rad, 0.0)
        outside_s = result.frequency.outside_s
        powers = jnp.maximum(total["overload"], total["reactive_violation"]) / self._base_mva
        broken = jnp.maximum(powers, jnp.maximum(total["voltage_violation"], angle)) > CLEAN_PU
        return {
            **{name: dt * value for name, value in total.items()},
            "surplus": dt * point.surplus_mw,
            "switching": result.switched.operations.astype(jnp.float32),
            "trips": point.tripped.sum().astype(jnp.float32),
            "angle_violation": dt * angle,
            "frequency_excursion": outside_s / 3600.0,
            "steps_in_violation": (broken | (outside_s > 0)).astype(jnp.float32),
            "insecurity": dt * secure.insecure,
            "reserve_shortfall": dt * self._reserve_shortfall(
                jnp.where(self._is_unit, after.gen_p_mw, 0.0), after.gen_on
            ),
            "losses": dt * after.losses_mw,
        }  # fmt: skip

    def by_element(self, after: State, result: StepResult) -> dict[str, tuple[str, chex.Array]]:
        """Returns the terms that single elements have: their kind (`layout.ENDS`), and rates.

        Rates are an hour's, `[n]` of that kind; their sum over elements, times the hours of a step,
        is the term.
        """
        now, feasible, point = result.now, result.feasible, result.point
        above = lambda x: jnp.maximum(x, 0.0)
        unit_p = jnp.where(self._is_unit, after.gen_p_mw, 0.0)
        gen_q, vm = result.gen_q_mvar, after.vm_pu
        v_beyond = above(self._vm_min - vm) + above(vm - self._vm_max)
        # Of what islands and balance serve, relays hold a share off; of the rest there is nothing
        # to hold off. What feeds in where loads are is no load.
        supplied = point.served * (1.0 - result.frequency.mean_shed_share)
        return {
            "generation_cost": ("gen", self._generation_cost(unit_p)),
            "planned_cost": ("gen", self._generation_cost(now.plan_p_mw)),
            "load_control_cost": (
                "load", self._load_control_price * jnp.abs(feasible.load_p_mw - now.load_p_mw)
            ),
            "energy_not_served": ("load", above(feasible.load_p_mw) * (1.0 - supplied)),
            "curtailment": ("renewable", now.renewable_mw - point.renewable_mw),
            "storage_throughput": ("storage", jnp.abs(feasible.storage_mw)),
            "overload": ("branch", above(result.rho - 1.0) * self._rate),
            "voltage_violation": ("bus", jnp.where(point.solution.energised, v_beyond, 0.0)),
            "reactive_violation": ("gen", above(gen_q - self._q_max) + above(self._q_min - gen_q)),
            "load": ("load", now.load_p_mw),
            "redispatch": ("gen", jnp.abs(unit_p - now.plan_p_mw)),
            "co2": ("gen", self._co2 * above(unit_p)),
            **self._payments(after.t, unit_p, result),
        }  # fmt: skip

    def _generation_cost(self, p_mw: chex.Array) -> chex.Array:
        """Returns the cost of producing `p_mw` in $/h, `[n_gen]` each."""
        c2, c1, c0 = self._cost
        return c2 * p_mw * p_mw + c1 * p_mw + c0

    def _reserve_shortfall(self, p_mw: chex.Array, gen_on: chex.Array) -> chex.Array:
        """Returns by how much the other units cannot replace the worst unit to lose, MW.

        What a unit in service can add in `RESERVE_MINUTES` is within its ramp and its Pmax.
        """
        spare = jnp.clip(self._capacity - p_mw, 0.0, self._reserve_ramp)
        spare = jnp.where(gen_on & (self._capacity > 0), spare, 0.0)
        return jnp.maximum((p_mw + spare).max() - spare.sum(), 0.0)
