"""The network of a grid and what stands on it, as the power flow of a step needs it."""

from typing import NamedTuple

import chex
import jax.numpy as jnp
import numpy as np

from envs.case.fleet import Fleet
from envs.case.grid import Grid
from envs.powerflow.network import Network


class GridModel(NamedTuple):
    """The network of a grid and what stands on it, all in the case's order."""

    net: Network
    base_mva: float
    gen_bus: np.ndarray
    load_bus: np.ndarray
    renewable_bus: np.ndarray
    weight: chex.Array  # `[n_gen, 1]` participation, zero for what cannot produce
    p_min_mw: chex.Array  # `[n_gen, 1]`
    p_max_mw: chex.Array  # `[n_gen, 1]` zero for what cannot produce
    from_bus: np.ndarray  # `[n_branch]`
    to_bus: np.ndarray  # `[n_branch]`
    shift_rad: chex.Array  # `[n_branch, 1]`
    angle_min_rad: chex.Array  # `[n_branch, 1]` of θ_from − θ_to
    angle_max_rad: chex.Array  # `[n_branch, 1]`
    tolerance_pu: float
    flows: bool  # whether the powers of branches are needed, beyond their loading
    # Buses of units, where each island that has one in service is live; none where one island is.
    live_from: np.ndarray | None
    # `[n_gen, 1]` of those that take up changes before the others; none: all take them up.
    first_weight: chex.Array | None
    load_weight: chex.Array | None  # `[n_gen, 1]` sizes of dispatchable loads; none: there are none


def grid_model(
    grid: Grid,
    fleet: Fleet,
    net: Network,
    tolerance_pu: float,
    *,
    flows: bool = False,
    every_island: bool = False,
    reference_first: bool = False,
) -> GridModel:
    """Returns the model of `grid`; `flows` says whether the powers of branches are needed.

    With `every_island` each island that has a unit in service is live, else the one that serves
    most load. With `reference_first` units at the reference bus balance before the others.
    """
    column = lambda x: jnp.asarray(x[:, None], net.dtype)
    p_max, draws = grid.gen.capacity_mw, grid.gen.is_dispatchable_load
    branch, first = grid.branch, np.where(grid.gen.bus == grid.reference_bus, p_max, 0.0)
    return GridModel(
        net, grid.base_mva, grid.gen.bus, grid.loads, fleet.renewables.bus,
        column(p_max / p_max.sum()), column(grid.gen.p_min_mw), column(p_max),
        branch.from_bus, branch.to_bus, column(branch.shift_rad),
        column(branch.angle_min_rad), column(branch.angle_max_rad),
        max(tolerance_pu, net.tolerance_pu), flows,
        np.unique(grid.gen.bus[p_max > 0]) if every_island else None,
        column(first / p_max.sum()) if reference_first and first.any() else None,
        column(np.where(draws, -grid.gen.p_min_mw, 0.0)) if draws.any() else None,
    )  # fmt: skip
