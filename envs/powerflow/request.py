"""What a power flow is requested of and returns, in the case's order and in the solvers'."""

from typing import NamedTuple

import chex
import jax.numpy as jnp

from envs.powerflow import balance
from envs.powerflow.balance import Voltages
from envs.powerflow.islands import Islands
from envs.powerflow.iteration import MethodResult, first_iterate
from envs.powerflow.network import Network


class Request(NamedTuple):
    """One operating point to solve for, case order of buses; `[…, batch]` where batched."""

    p_pu: chex.Array  # `[n_bus]` scheduled net active injection
    q_pu: chex.Array  # `[n_bus]` net reactive injection, used at PQ buses
    vm_setpoint_pu: chex.Array  # `[n_bus]`, used at PV buses
    participation: chex.Array  # `[n_bus]` shares of the slack, summing to one
    # `[n_bus]` first iterate: a neighbouring solution saves iterations, zero stands for the base's.
    vm_start_pu: chex.Array
    va_start_rad: chex.Array  # `[n_bus]`
    closed: chex.Array  # `[n_branch]` 1 for a branch in service, 0 for one that is not
    pv: chex.Array  # `[n_bus]` 1 where a generator in service holds the voltage
    # `[n_bus]` Pmax of the units in service, and what loads draw, which `p_pu` has in it: they
    # decide which island is energised.
    capacity: chex.Array
    load_pu: chex.Array
    # What the generators of a PV bus can give, `[n_bus]`; only `reactive_limits` looks at it.
    q_min_pu: chex.Array | None = None
    q_max_pu: chex.Array | None = None


class Solution(NamedTuple):
    """A solved operating point, case order.

    De-energised buses have voltage zero, de-energised branches no flow.
    """

    vm_pu: chex.Array  # `[n_bus]`
    va_rad: chex.Array  # `[n_bus]`
    p_pu: chex.Array  # `[n_bus]` what flows from each bus into the network
    q_pu: chex.Array  # `[n_bus]`
    p_from_pu: chex.Array  # `[n_branch]`
    q_from_pu: chex.Array
    p_to_pu: chex.Array
    q_to_pu: chex.Array
    rho: chex.Array  # `[n_branch]` `balance.loading`, of the more loaded end over the limit
    # Total imbalance that the participating units took; `[n_bus]` with `every_island`, that of the
    # bus's island.
    slack_pu: chex.Array
    energised: chex.Array  # bool `[n_bus]`, on what was solved
    converged: chex.Array  # bool
    mismatch_pu: chex.Array  # largest absolute power mismatch left; infinite beyond a quarter turn
    iterations: chex.Array  # of the method that solved it
    fell_back: chex.Array  # bool, whether Newton had to solve it
    # What to add to `net.base` in double precision: single precision cannot tell voltages from each
    # other that differ by a mismatch of 1e-3 pu on 1354 buses, but it can tell small changes.
    vm_change_pu: chex.Array  # `[n_bus]`
    va_change_rad: chex.Array  # `[n_bus]`
    # What rounding left out of these, where admittances are large (`Network.compensated`).
    vm_change_low_pu: chex.Array | None = None  # `[n_bus]`
    va_change_low_rad: chex.Array | None = None  # `[n_bus]`
    # int8 `[n_bus]`, 1 where generators are at q_max_pu and −1 at q_min_pu; with `reactive_limits`.
    at_limit: chex.Array | None = None


class OrderedRequest(NamedTuple):
    """A request in the solvers' order of buses, leaves `[…, batch]`."""

    p: chex.Array
    q: chex.Array
    participation: chex.Array
    closed: chex.Array
    pv_to_pq: chex.Array  # `[n_pv, batch]` 1 for PV buses turned PQ
    capacity: chex.Array
    load: chex.Array
    start: Voltages
    changed: chex.Array  # bool `[batch]`, whether anything is out of service
    islands: Islands | None  # where known


def in_solver_order(
    net: Network, request: Request, islands: Islands | None, *, every_island: bool = False
) -> OrderedRequest:
    """Returns `request` in the solvers' order."""
    chex.assert_equal_shape([leaf for name, leaf in request._asdict().items()
                             if name != "closed" and leaf is not None])  # fmt: skip
    chex.assert_shape(request.closed, (net.n_branch, ...))
    p, q, setpoint, share, vm, va, pv, capacity, load = (
        leaf[net.order].astype(net.dtype)
        for leaf in (
            request.p_pu, request.q_pu, request.vm_setpoint_pu, request.participation,
            request.vm_start_pu, request.va_start_rad, request.pv, request.capacity,
            request.load_pu,
        )
    )  # fmt: skip
    # What was de-energised has no voltage to start from, or to hold.
    vm = jnp.where(vm > 0, vm, net.vm_base)
    setpoint = jnp.where(setpoint > 0, setpoint, net.vm_base)
    closed, n_pq = request.closed.astype(net.dtype), net.n_pq
    pv_to_pq = 1.0 - pv[n_pq:]
    vm_pv = jnp.where(pv_to_pq > 0, vm[n_pq:], setpoint[n_pq:])
    start = first_iterate(
        net,
        jnp.concatenate([vm[:n_pq], vm_pv]) - net.vm_base,
        va - va[net.reference] - net.va_base + net.va_base[net.reference],
        every_island=every_island,
    )
    changed = (closed < 0.5).any(0) | (pv_to_pq > 0.5).any(0)
    return OrderedRequest(p, q, share, closed, pv_to_pq, capacity, load, start, changed, islands)


def in_case_order(net: Network, result: MethodResult, tolerance_pu: float) -> Solution:
    """Returns `result` as a solution; one whose mismatch is within `tolerance_pu` converged."""
    x, powers, at, worst = result.last
    va = net.va_base + x.va
    # Angles count from the reference bus; where it is de-energised, from the base point's.
    if result.root is None:
        va = va - jnp.where(result.energised[net.reference], va[net.reference], 0.0)
    else:
        va = va - jnp.take_along_axis(va, result.root, 0)
    at_bus = lambda leaf: jnp.where(result.energised, leaf, 0.0)[net.position]
    return Solution(
        vm_pu=at_bus(net.vm_base + x.vm),
        va_rad=at_bus(va),
        p_pu=at_bus(at.p),
        q_pu=at_bus(at.q),
        p_from_pu=powers.p_from,
        q_from_pu=powers.q_from,
        p_to_pu=powers.p_to,
        q_to_pu=powers.q_to,
        rho=balance.loading(net, x, powers),
        slack_pu=x.slack if result.root is None else at_bus(x.slack),
        energised=result.energised[net.position],
        converged=worst <= tolerance_pu,
        mismatch_pu=worst,
        iterations=result.iterations,
        fell_back=result.fell_back,
        vm_change_pu=at_bus(x.vm),
        va_change_rad=at_bus(x.va),
        vm_change_low_pu=None if x.vm_low is None else at_bus(x.vm_low),
        va_change_low_rad=None if x.va_low is None else at_bus(x.va_low),
    )
