"""What the elements at each bus earn in a step: the reward `savings`, told apart by place."""

import chex
import jax.numpy as jnp

from envs.case.fleet import Fleet
from envs.case.grid import Grid
from envs.step import layout as layout_lib
from envs.step.options import StepOptions
from envs.step.step_result import StepResult
from envs.step.termination import RESTORATION_HOURS

# What a unit of each term that elements have costs, in $; of the others no place can be told.
_PRICES = {
    "generation_cost": lambda options: 1.0,
    "planned_cost": lambda options: -1.0,
    "load_control_cost": lambda options: 1.0,
    "energy_not_served": lambda options: options.lost_load_price,
    "curtailment": lambda options: options.curtailment_price,
    "storage_throughput": lambda options: options.storage_price,
    "overload": lambda options: options.overload_price,
    "voltage_violation": lambda options: options.voltage_price,
    "reactive_violation": lambda options: options.reactive_price,
}


class Earnings:
    """What is earned at each bus of one grid."""

    def __init__(self, grid: Grid, fleet: Fleet, options: StepOptions):
        self._n_bus, self._dt_h = grid.n_bus, options.step_minutes / 60.0
        site = layout_lib.Site(grid, fleet, grid.loads)
        self._ends = {kind: ends(site) for kind, ends in layout_lib.ENDS.items()}
        self._prices = {name: float(price(options)) for name, price in _PRICES.items()}

    def __call__(
        self,
        by_element: dict[str, tuple[str, chex.Array]],
        terminated: chex.Array,
        result: StepResult,
    ) -> chex.Array:
        """Returns what each bus has earned in the step, in thousand $ `[n_bus]`.

        A branch is half at either end. What no place can be told of is in no bus's: switching,
        surplus, insecurity, limits of angles and frequency, and steps in violation. Where the
        episode ends, each load is charged for as long as all are without power.

        Args:
          by_element: of `RewardTerms.by_element`.
          terminated: whether the episode ends.
          result: of the step.
        """
        cost = jnp.zeros(self._n_bus)
        for name, price in self._prices.items():
            kind, rates = by_element[name]
            if name == "energy_not_served":
                blackout = RESTORATION_HOURS / self._dt_h * result.now.load_p_mw
                rates = jnp.where(terminated, blackout, rates)
            ends = self._ends[kind]
            for bus in ends:
                cost = cost.at[bus].add(price / len(ends) * rates)
        return -1e-3 * self._dt_h * cost
