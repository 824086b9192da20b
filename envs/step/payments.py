"""Who is paid what for electricity in a step, element by element."""

import chex
import jax.numpy as jnp

from envs.case.fleet import Fleet
from envs.case.grid import Grid
from envs.step import prosumers, tariff
from envs.step.options import StepOptions
from envs.step.step_result import StepResult


class Payments:
    """What is sold and bought on one grid.

    Units, plants and batteries with a connection of their own sell at the wholesale price, and buy
    at it what they draw. Loads buy at the retail price; what the connection of a load feeds in, as
    that of a prosumer may, it sells at the feed-in price.
    """

    def __init__(self, grid: Grid, fleet: Fleet, options: StepOptions):
        self._grid, self._fleet = grid, fleet
        self._connections = prosumers.Connections(grid, fleet)
        self._market = tariff.Market(grid, options)

    def __call__(
        self, t: chex.Array, unit_p_mw: chex.Array, result: StepResult
    ) -> dict[str, tuple[str, chex.Array]]:
        """Returns the terms of a step as `RewardTerms.by_element` does, rates an hour.

        Args:
          t: number of the row that the step applied.
          unit_p_mw: `[n_gen]`, zero for condensers.
          result: of the step.
        """
        fleet, links = self._fleet, self._connections
        price = self._market(result.now, t)
        sold = jnp.zeros(self._grid.n_bus).at[self._grid.gen.bus].add(unit_p_mw)
        plants = jnp.where(links.plant_sells, result.point.renewable_mw, 0.0)
        batteries = jnp.where(links.storage_sells, result.feasible.storage_mw, 0.0)
        sold = sold.at[fleet.renewables.bus].add(plants).at[fleet.storage.bus].add(batteries)
        net = links.net_mw(result)
        drawn, fed_in = jnp.maximum(net, 0.0), jnp.maximum(-net, 0.0)
        bill = price.retail * drawn - price.feed_in * fed_in
        own = lambda values: ("load", jnp.where(links.is_prosumer, values, 0.0))
        return {
            "wholesale_revenue": ("bus", price.wholesale * sold),
            "retail_bill": ("load", bill),
            "prosumer_bill": own(bill),
            "prosumer_import": own(drawn),
            "prosumer_export": own(fed_in),
        }
