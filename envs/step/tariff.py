"""Prices of electricity: the wholesale price of a day, and what a tariff makes of it.

What is paid at these prices goes from one who is connected to the grid to another. It is no part
of the operating cost, which counts what operating the grid takes.
"""

import dataclasses
from typing import NamedTuple

import chex
import jax.numpy as jnp
import numpy as np

from envs.case.grid import Grid
from envs.step.options import StepOptions
from envs.time_series.series import TimeSeries


@dataclasses.dataclass(frozen=True)
class Tariff:
    """What a connection pays and earns, shares of the wholesale price."""

    retail: tuple[float, ...]  # for what it draws, in each of the 24 hours of the day
    feed_in: float  # for what it feeds in


# Choices, not data of a market. The peak from 16 to 21 h is that of California's time-of-use rates;
# retail prices are a few times wholesale ones, as networks, taxes and supply are paid by them too.
# What is fed in earns a little less than it is worth, as where it is paid at avoided cost.
PRESETS = {
    "time_of_use": Tariff((2.0,) * 7 + (3.0,) * 9 + (4.0,) * 5 + (2.0,) * 3, 0.9),
    "flat": Tariff((3.0,) * 24, 0.9),
}


class Prices(NamedTuple):
    """Prices of one step, $/MWh."""

    wholesale: chex.Array
    retail: chex.Array
    feed_in: chex.Array


class Market:
    """The prices of one grid; no action moves them, and the day before all of them are known."""

    def __init__(self, grid: Grid, options: StepOptions):
        as_float = lambda x: jnp.asarray(x, jnp.float32)
        gen, tariff = grid.gen, PRESETS[options.tariff]
        self._cost = tuple(as_float(c) for c in (gen.cost_c2, gen.cost_c1, gen.cost_c0))
        self._is_unit = jnp.asarray(gen.is_unit)
        minutes = np.arange(options.horizon_steps + 1) * options.step_minutes
        hours = np.floor(minutes / 60.0 + 1e-9).astype(int) % 24
        self._retail = as_float(np.array(tariff.retail)[hours])
        self._feed_in = tariff.feed_in

    def __call__(self, row: TimeSeries, t: chex.Array) -> Prices:
        """Returns the prices of a row of the time series, whose number is `t`.

        The wholesale price is that of the day ahead: what generation costs on the plan for each
        MWh of the load that the plan is made for. Where that is none or costs nothing it is zero.
        """
        c2, c1, c0 = self._cost
        plan = row.plan_p_mw
        cost = jnp.where(self._is_unit, c2 * plan * plan + c1 * plan + c0, 0.0).sum()
        load = row.day_ahead_load_mw
        drawn = load > 1e-3
        wholesale = jnp.where(drawn, jnp.maximum(cost, 0.0) / jnp.where(drawn, load, 1.0), 0.0)
        hour = jnp.minimum(t, self._retail.size - 1)
        return Prices(wholesale, self._retail[hour] * wholesale, self._feed_in * wholesale)
