"""Reactive limits of generators: PV buses that reach one become PQ buses.

The usual outer loop around a power flow (MATPOWER manual, section 4.1; PV-PQ switching): a bus
whose generators would have to give more reactive power than they can gives its limit instead, and
its voltage floats. It becomes a PV bus again when the floating voltage shows that less than the
limit would do. Grids without a violation are left alone. Programs that never let a bus return,
pandapower among them, may end with voltages above the set-point at a maximum.
"""

from collections.abc import Callable

import chex
import jax
import jax.numpy as jnp
import numpy as np

from envs.case.grid import Grid
from envs.powerflow import lanes
from envs.powerflow.request import Request, Solution

_MAX_ROUNDS = 12  # solutions of a grid before one that still switches counts as not converged
_MARGIN = 2.0  # tolerances by which a limit may be passed: a solution is no more exact


def limits(grid: Grid) -> dict[str, np.ndarray]:
    """Returns `q_min_pu` and `q_max_pu` `[n_bus]` of a grid, the sums over a bus's generators."""
    at_bus = lambda q_mvar: np.bincount(grid.gen.bus, q_mvar / grid.base_mva, grid.n_bus)
    return {"q_min_pu": at_bus(grid.gen.q_min_mvar), "q_max_pu": at_bus(grid.gen.q_max_mvar)}


def solve(
    plain: Callable[[Request], Solution], request: Request, *, tolerance_pu: float
) -> Solution:
    """Returns the solution of `request` within its `q_min_pu` and `q_max_pu`, leaves `[…, batch]`.

    `plain` solves requests without limits, to `tolerance_pu`.
    """
    dtype = request.p_pu.dtype
    at_limit = jnp.zeros(request.p_pu.shape, jnp.int8)
    first = plain(request)._replace(at_limit=at_limit)
    margin = _MARGIN * tolerance_pu
    # Grids in which some bus has yet to switch, bool `[batch]`.
    busy = (_switched(request, at_limit, first, margin) != at_limit).any(0) & first.converged

    def again(request, at_limit, last):
        """Solves anew with the buses at a limit turned PQ, from the last voltages."""
        pv_to_pq = at_limit != 0
        limit = jnp.where(at_limit > 0, request.q_max_pu, request.q_min_pu)
        changed = request._replace(
            q_pu=jnp.where(pv_to_pq, request.q_pu + limit, request.q_pu).astype(dtype),
            pv=jnp.where(pv_to_pq, 0.0, request.pv).astype(dtype),
            vm_start_pu=jnp.where(last.energised, last.vm_pu, request.vm_start_pu).astype(dtype),
            va_start_rad=jnp.where(last.energised, last.va_rad, request.va_start_rad).astype(dtype),
        )
        solution = plain(changed)
        return solution._replace(at_limit=at_limit, fell_back=solution.fell_back | last.fell_back)

    def body(carry):
        at_limit, last, busy, count = carry
        at_limit = jnp.where(busy, _switched(request, at_limit, last, margin), at_limit)
        solution = lanes.on_selected(again, busy, (request, at_limit, last), last)
        moves = (_switched(request, at_limit, solution, margin) != at_limit).any(0)
        return at_limit, solution, busy & moves & solution.converged, count + 1

    more = lambda carry: carry[2].any() & (carry[3] < _MAX_ROUNDS)
    start = (at_limit, first, busy, jnp.int32(0))
    _, solution, busy, _ = jax.lax.while_loop(more, body, start)
    return solution._replace(converged=solution.converged & ~busy)


def _switched(
    request: Request, at_limit: chex.Array, solution: Solution, margin: float
) -> chex.Array:
    """Returns which limit each bus should be at, by a solution: int8, `[n_bus, batch]`."""
    pv = (request.pv > 0) & solution.energised
    generated = solution.q_pu - request.q_pu
    over = pv & (at_limit == 0)
    to_max = over & (generated > request.q_max_pu + margin)
    to_min = over & (generated < request.q_min_pu - margin)
    # A bus whose voltage does not need its limit any more is PV again.
    higher = solution.vm_pu > request.vm_setpoint_pu + margin
    lower = solution.vm_pu < request.vm_setpoint_pu - margin
    back = ((at_limit > 0) & higher) | ((at_limit < 0) & lower) | ~pv
    kept = jnp.where(back, 0, at_limit)
    return jnp.where(to_max, 1, jnp.where(to_min, -1, kept)).astype(jnp.int8)
