"""What the elements at each bus earn in a step, term by term."""

from collections.abc import Callable

import chex
import jax.numpy as jnp

from envs.case.fleet import Fleet
from envs.case.grid import Grid
from envs.step import layout as layout_lib
from envs.step.options import StepOptions
from envs.step.step_result import StepResult
from envs.step.termination import RESTORATION_HOURS

# What a unit of each term that elements have earns, in $; of the others no place can be told.
TERMS: dict[str, Callable[[StepOptions], float]] = {
    "generation_cost": lambda options: -1.0,
    "planned_cost": lambda options: 1.0,
    "load_control_cost": lambda options: -1.0,
    "energy_not_served": lambda options: -options.lost_load_price,
    "curtailment": lambda options: -options.curtailment_price,
    "storage_throughput": lambda options: -options.storage_price,
    "overload": lambda options: -options.overload_price,
    "voltage_violation": lambda options: -options.voltage_price,
    "reactive_violation": lambda options: -options.reactive_price,
    "wholesale_revenue": lambda options: 1.0,
    "retail_bill": lambda options: -1.0,
}
PAYMENTS = ("wholesale_revenue", "retail_bill")  # which some pay to others
# Together, at all buses, these are the reward `savings` but for what has no place.
SAVINGS = tuple(name for name in TERMS if name not in PAYMENTS)


class Earnings:
    """What is earned at each bus of one grid."""

    def __init__(self, grid: Grid, fleet: Fleet, options: StepOptions):
        self._n_bus, self._dt_h = grid.n_bus, options.step_minutes / 60.0
        site = layout_lib.Site(grid, fleet, grid.loads)
        self._ends = {kind: ends(site) for kind, ends in layout_lib.ENDS.items()}
        self._prices = {name: float(price(options)) for name, price in TERMS.items()}

    def __call__(
        self,
        by_element: dict[str, tuple[str, chex.Array]],
        terminated: chex.Array,
        result: StepResult,
    ) -> dict[str, chex.Array]:
        """Returns what each bus has earned in the step by each of `TERMS`, thousand $ `[n_bus]`.

        A branch is half at either end. What no place can be told of is in no bus's: switching,
        surplus, insecurity, limits of angles and frequency, and steps in violation. Where the
        episode ends, each load is charged for as long as all are without power.

        Args:
          by_element: of `RewardTerms.by_element`.
          terminated: whether the episode ends.
          result: of the step.
        """
        earned = {}
        for name, price in self._prices.items():
            kind, rates = by_element[name]
            if name == "energy_not_served":
                blackout = RESTORATION_HOURS / self._dt_h * result.now.load_p_mw
                rates = jnp.where(terminated, blackout, rates)
            ends, at_bus = self._ends[kind], jnp.zeros(self._n_bus)
            for bus in ends:
                at_bus = at_bus.at[bus].add(price / len(ends) * rates)
            earned[name] = 1e-3 * self._dt_h * at_bus
        return earned
