"""Power and loading of every branch at a solved operating point."""

from __future__ import annotations

from typing import NamedTuple

import chex
import jax.numpy as jnp
import numpy as np

from envs import grid as grid_lib
from envs.powerflow import admittance


class BranchModel(NamedTuple):
    """Branch two-ports and limits, arrays `[n_branch]`."""

    from_bus: np.ndarray
    to_bus: np.ndarray
    two_port: tuple[chex.Array, ...]  # yff, yft, ytf, ytt as (real, imaginary) pairs
    rate_pu: chex.Array


class Flows(NamedTuple):
    """Complex power entering each branch, `[n_branch]` pu."""

    p_from: chex.Array
    q_from: chex.Array
    p_to: chex.Array
    q_to: chex.Array
    rho: chex.Array  # apparent power of the fuller end over the limit


def branch_model(grid: grid_lib.Grid, dtype=jnp.float32) -> BranchModel:
    """Returns what `branch_flows` needs of `grid`."""
    y = admittance.branch_admittance(grid)
    pairs = tuple((jnp.asarray(v.real, dtype), jnp.asarray(v.imag, dtype)) for v in y)
    rate = jnp.asarray(grid.branch.rate_mva / grid.base_mva, dtype)
    return BranchModel(grid.branch.from_bus, grid.branch.to_bus, pairs, rate)


def branch_flows(model: BranchModel, vm_pu: chex.Array, va_rad: chex.Array) -> Flows:
    """Returns the flows at the given bus voltages, each `[n_bus]`."""
    e, f = vm_pu * jnp.cos(va_rad), vm_pu * jnp.sin(va_rad)
    ends = ((e[model.from_bus], f[model.from_bus]), (e[model.to_bus], f[model.to_bus]))

    def power(end: int, y_own, y_other):
        (own_e, own_f), (other_e, other_f) = ends[end], ends[1 - end]
        current_re = y_own[0] * own_e - y_own[1] * own_f + y_other[0] * other_e
        current_re = current_re - y_other[1] * other_f
        current_im = y_own[0] * own_f + y_own[1] * own_e + y_other[0] * other_f
        current_im = current_im + y_other[1] * other_e
        p = own_e * current_re + own_f * current_im
        return p, own_f * current_re - own_e * current_im

    yff, yft, ytf, ytt = model.two_port
    p_from, q_from = power(0, yff, yft)
    p_to, q_to = power(1, ytt, ytf)
    apparent = jnp.maximum(jnp.hypot(p_from, q_from), jnp.hypot(p_to, q_to))
    return Flows(p_from, q_from, p_to, q_to, apparent / model.rate_pu)
