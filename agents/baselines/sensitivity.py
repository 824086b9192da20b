"""Branch flows, and what moves them: loadings and distribution factors of the grid as it is now.

Pure functions of one grid's voltages and switches, to be vmapped.
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from envs.case import grid as grid_lib
from envs.powerflow import matrices, network

_HALVINGS = 24


class Flows(NamedTuple):
    """Branches at their more loaded ends, `[n_branch]` MW, MVAr, MVA."""

    p_mw: chex.Array  # positive from the from side to the to side
    q_mvar: chex.Array  # without sign
    rate_mva: chex.Array  # at the voltage of now, where currents are limited

    @property
    def rho(self) -> chex.Array:
        """Loading over limit."""
        return jnp.hypot(self.p_mw, self.q_mvar) / self.rate_mva

    def room(self, rho: float) -> chex.Array:
        """Returns the active flow, without sign, at which each branch is loaded to `rho`."""
        return jnp.sqrt(jnp.maximum((rho * self.rate_mva) ** 2 - self.q_mvar**2, 0.0))


class Meter:
    """Reads flows off voltages."""

    def __init__(self, grid: grid_lib.Grid):
        y = matrices.branch_admittance(grid)
        self._y = matrices.BranchAdmittance(*(jnp.asarray(part, jnp.complex64) for part in y))
        self._rated = grid.rated
        self._ends = grid.branch.from_bus, grid.branch.to_bus
        self._base_mva = grid.base_mva
        self._rate = jnp.asarray(grid.branch.rate_mva, jnp.float32)

    def __call__(self, vm_pu: chex.Array, va_rad: chex.Array, closed: chex.Array) -> Flows:
        """Returns the flows at voltages `[n_bus]`, of the branches `closed` (bool `[n_branch]`).

        MATPOWER manual, section 3.2.
        """
        voltage = vm_pu * jnp.exp(1j * va_rad)
        at_from, at_to = self._y.powers(*(voltage[end] for end in self._ends), self._base_mva)
        # What a limit of 1 MVA lets through: of current, as many MVA as there is voltage.
        by_power = self._rated == grid_lib.APPARENT_POWER
        each = tuple(1.0 if by_power else vm_pu[end] for end in self._ends)
        from_more = jnp.abs(at_from) * each[1] >= jnp.abs(at_to) * each[0]
        from_more |= self._rated == grid_lib.CURRENT_AT_FROM
        p = jnp.where(from_more, at_from.real, -at_to.real)
        q = jnp.abs(jnp.where(from_more, at_from.imag, at_to.imag))
        rate = self._rate * jnp.where(from_more, *each)
        return Flows(jnp.where(closed, p, 0.0), jnp.where(closed, q, 0.0), rate)


class Factors(NamedTuple):
    """Distribution factors of one topology, as the factors of its B matrix."""

    lu: tuple[chex.Array, chex.Array]
    weight: chex.Array  # `[n_branch]` 1 / (x · tap), zero for what carries nothing

    def transfer_factors(self, grid: grid_lib.Grid, branch: chex.Array) -> chex.Array:
        """Returns the flow of `branch` per MW injected at each bus `[n_bus]`."""
        end = jnp.zeros(grid.n_bus)
        end = end.at[jnp.asarray(grid.branch.from_bus)[branch]].add(1.0)
        end = end.at[jnp.asarray(grid.branch.to_bus)[branch]].add(-1.0)
        return self.weight[branch] * jax.scipy.linalg.lu_solve(self.lu, end)

    def flows(self, grid: grid_lib.Grid, injection_mw: chex.Array) -> chex.Array:
        """Returns what injections `[n_bus]` that sum to zero make flow `[n_branch]`, MW."""
        angle = jax.scipy.linalg.lu_solve(self.lu, injection_mw)
        return self.weight * (angle[grid.branch.from_bus] - angle[grid.branch.to_bus])


def factors(grid: grid_lib.Grid, closed: chex.Array, energised: chex.Array) -> Factors:
    """Returns the factors with branches `closed` `[n_branch]`, buses `energised` `[n_bus]`, bool.

    B = Aᵀ diag(1 / (x · tap)) A is factorised anew, dense, 2/3 n³ operations.
    """
    branch, n = grid.branch, grid.n_bus
    f, t = branch.from_bus, branch.to_bus
    susceptance = jnp.asarray(matrices.susceptance(branch), jnp.float32)
    weight = jnp.where(closed & energised[f] & energised[t], susceptance, 0.0)
    # De-energised buses, and one that is energised, are tied to an angle of zero.
    tied = ~energised | (jnp.arange(n) == energised.argmax())
    matrix = jnp.diag(network.GROUND_PU * tied)
    matrix = matrix.at[f, f].add(weight).at[t, t].add(weight)
    matrix = matrix.at[f, t].add(-weight).at[t, f].add(-weight)
    return Factors(jax.scipy.linalg.lu_factor(matrix), weight)


def relief(
    factor: chex.Array, up: chex.Array, down: chex.Array, need: chex.Array, least: float
) -> chex.Array:
    """Returns the smallest shift of devices, summing to zero, that lowers a flow by `need`.

    What raises the flow most goes down and what raises it least goes up, MW for MW, each as far
    as it can: the optimum of min Σ|δ| with Σ δ = 0, Σ factor δ = −need and −down ≤ δ ≤ up. It
    ends, short of `need`, where a pair would change the flow by less than `least` per MW. `factor`
    is flow per MW injected by each device; `up` and `down` are MW that each can move, `[n]` all.
    """
    rising, falling = jnp.argsort(factor), jnp.argsort(-factor)

    def moved(total):
        """Returns the shift that moves `total` MW, and what the last of it brings per MW."""
        fill = lambda room: jnp.clip(total - (jnp.cumsum(room) - room), 0.0, room)
        risen, fallen = fill(up[rising]), fill(down[falling])
        shift = jnp.zeros_like(factor).at[rising].add(risen).at[falling].add(-fallen)
        # The device that would take one MW more, or the one that took the last.
        last = lambda room: jnp.minimum((jnp.cumsum(room) < total).sum(), room.size - 1)
        gain = factor[falling[last(down[falling])]] - factor[rising[last(up[rising])]]
        return shift, gain

    def halve(_, bounds):
        low, high = bounds
        middle = 0.5 * (low + high)
        shift, gain = moved(middle)
        further = (-(factor * shift).sum() < need) & (gain >= least)
        return jnp.where(further, middle, low), jnp.where(further, high, middle)

    most = jnp.minimum(up.sum(), down.sum())
    low, _ = jax.lax.fori_loop(0, _HALVINGS, halve, (jnp.zeros_like(need), most))
    return moved(low)[0]
