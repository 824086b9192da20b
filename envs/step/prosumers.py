"""Prosumers: what a load and its own plant and battery draw together, behind one connection."""

import chex
import jax.numpy as jnp
import numpy as np

from envs.case.fleet import Fleet
from envs.case.grid import Grid
from envs.step.step_result import StepResult, served_load_mw


class Connections:
    """The connections of the loads of one grid, and what stands behind those of prosumers."""

    def __init__(self, grid: Grid, fleet: Fleet):
        owners = fleet.prosumers
        rows = owners.loads(grid)
        self.is_prosumer = np.zeros(grid.loads.size, bool)  # `[n_load]`
        self.is_prosumer[rows] = True
        owned = lambda which: (which[which >= 0], rows[which >= 0])
        self._plants, self._plants_at = owned(owners.renewable)
        self._storage, self._storage_at = owned(owners.storage)
        self.plant_sells = np.ones(fleet.n_renewable, bool)  # whether it has a connection itself
        self.plant_sells[self._plants] = False
        self.storage_sells = np.ones(fleet.n_storage, bool)
        self.storage_sells[self._storage] = False

    def net_mw(self, result: StepResult) -> chex.Array:
        """Returns what each load's connection draws of the grid, MW `[n_load]`.

        That is what is served of the load, less what its own plant and battery give: below zero
        where the connection feeds in.
        """
        net = jnp.asarray(served_load_mw(result))
        net = net.at[self._plants_at].add(-result.point.renewable_mw[self._plants])
        return net.at[self._storage_at].add(-result.feasible.storage_mw[self._storage])
