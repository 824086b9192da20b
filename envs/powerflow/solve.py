"""The one way to solve a power flow: pick a method, get voltages, flows and a verdict."""

from __future__ import annotations

import functools
from typing import NamedTuple

import chex
import jax.numpy as jnp

from envs.powerflow import (
    balance,
    chord,
    dc,
    fast_decoupled,
    islands,
    iteration,
    lanes,
    newton,
    reactive,
)
from envs.powerflow.balance import Voltages
from envs.powerflow.network import Network

_NEWTON_SHARE = 64  # Newton is slow and rarely needed: few lanes at a time
_DC_ROUNDING = 4.0  # roundings that a DC solution may be off
METHODS = ("dc", "fast_decoupled", "chord", "newton")


class Request(NamedTuple):
    """One operating point to find, case order of buses; `[..., lanes]` where batched."""

    p_pu: chex.Array  # `[n_bus]` scheduled net active injection
    q_pu: chex.Array  # `[n_bus]` net reactive injection, used where no generator holds the voltage
    vm_setpoint_pu: chex.Array  # `[n_bus]`, used where a generator holds the voltage
    participation: chex.Array  # `[n_bus]` shares of the slack, summing to one
    # `[n_bus]` first iterate: a neighbouring solution saves iterations, zero stands for the base's.
    vm_start_pu: chex.Array
    va_start_rad: chex.Array  # `[n_bus]`
    closed: chex.Array  # `[n_branch]` 1 for a branch in service, 0 for one that is not
    pv: chex.Array  # `[n_bus]` 1 where a generator in service holds the voltage
    # `[n_bus]` Pmax of the units in service, and what loads draw, which `p_pu` has in it: they
    # decide which island lives.
    capacity: chex.Array
    load_pu: chex.Array
    # What the generators of a held bus can give, `[n_bus]`; only `reactive_limits` looks at it.
    q_min_pu: chex.Array | None = None
    q_max_pu: chex.Array | None = None


class Solution(NamedTuple):
    """A solved operating point, case order. Dead buses have voltage zero, dead branches no flow."""

    vm_pu: chex.Array  # `[n_bus]`
    va_rad: chex.Array  # `[n_bus]`
    p_pu: chex.Array  # `[n_bus]` what flows from each bus into the network
    q_pu: chex.Array  # `[n_bus]`
    p_from_pu: chex.Array  # `[n_branch]`
    q_from_pu: chex.Array
    p_to_pu: chex.Array
    q_to_pu: chex.Array
    rho: chex.Array  # `[n_branch]` apparent power of the fuller end over the limit
    slack_pu: chex.Array  # total imbalance that the participating units took
    energised: chex.Array  # bool `[n_bus]`, on the island that was solved
    converged: chex.Array  # bool
    mismatch_pu: chex.Array  # largest absolute power mismatch left; infinite beyond a quarter turn
    iterations: chex.Array  # of the method that solved it
    fell_back: chex.Array  # bool, whether Newton had to solve it
    # What to add to `net.base` in double precision: single precision cannot tell voltages from each
    # other that differ by a mismatch of 1e-3 pu on 1354 buses, but it can tell small changes.
    vm_change_pu: chex.Array  # `[n_bus]`
    va_change_rad: chex.Array  # `[n_bus]`
    # What rounding left out of these, on grids as stiff as to need it (`Network.compensated`).
    vm_change_low_pu: chex.Array | None = None  # `[n_bus]`
    va_change_low_rad: chex.Array | None = None  # `[n_bus]`
    # int8 `[n_bus]`, 1 where generators are at q_max_pu and −1 at q_min_pu; with `reactive_limits`.
    at_limit: chex.Array | None = None


def solve_lanes(
    net: Network,
    request: Request,
    *,
    method: str = "chord",
    tolerance_pu: float | None = None,
    max_iterations: int | None = None,
    fallback: bool = True,
    intact: bool | None = None,
    reactive_limits: bool = False,
    found: islands.Islands | None = None,
    freed_slots: int | None = None,
) -> Solution:
    """Solves a batch with the lanes last; see `solver` for one grid and `jax.vmap`.

    Args:
      net: the network.
      request: leaves `[..., lanes]`.
      method: one of METHODS. `chord` solves lanes with outages by `fast_decoupled`.
      tolerance_pu: largest mismatch accepted, by default what the network's type allows.
      max_iterations: of the method before it gives up, by default its own.
      fallback: whether Newton tries where another method gave up.
      intact: true promises that nothing is out of service, and leaves lanes where something is
        unconverged; false spares the attempt to solve lanes as intact; by default each lane is
        solved as it is.
      reactive_limits: whether buses whose generators would pass `request.q_min_pu` or `q_max_pu`
        give up their voltage; see `envs.powerflow.reactive`. Costs nothing where none does.
      found: what `islands.find` says of the request, where that is known already.
      freed_slots: buses in a lane that no generator may hold after all before it takes Newton, by
        default all: fewer, at least one, cost less.

    Returns:
      The solution. Where `converged` is false its numbers are the last iterate's and may not be
      finite: use them only after a check.
    """
    if method not in METHODS:
        raise ValueError(f"method {method!r}: must be one of {', '.join(METHODS)}")
    if freed_slots is not None and freed_slots < 1:
        raise ValueError(f"freed_slots={freed_slots}: must be at least 1")
    tolerance = net.tolerance_pu if tolerance_pu is None else tolerance_pu
    if reactive_limits:
        if method == "dc" or request.q_min_pu is None or request.q_max_pu is None:
            raise ValueError(
                f"reactive_limits with method {method!r}: needs a method with reactive power, and "
                "a request with q_min_pu and q_max_pu, such as `reactive.limits_of(grid)`"
            )
        if intact is not None or found is not None:
            raise ValueError("reactive_limits: free buses, so that neither intact nor found holds")
        plain = functools.partial(
            solve_lanes, net, method=method, tolerance_pu=tolerance_pu,
            max_iterations=max_iterations, fallback=fallback, freed_slots=freed_slots,
        )  # fmt: skip
        return reactive.solve(plain, request, tolerance_pu=tolerance)
    limit = {} if max_iterations is None else {"max_iterations": max_iterations}
    case = Case.of(net, request, found)
    if method == "dc":
        return _by_dc(net, case)

    def finish(progress: iteration.Progress, problem: iteration.Problem, fell_back=False) -> State:
        last = progress.last
        lit = jnp.ones_like(case.p, bool) if problem.energised is None else problem.energised > 0
        # Not a number, infinite, beyond the clip, and no unit left energised: none is a solution.
        in_service = iteration.in_service(net, problem)
        good = jnp.isfinite(last.worst) & balance.within_clip(net, last.x, in_service)
        if problem.energised is not None:
            good = good & lit.any(0)
        worst = jnp.where(good, last.worst, jnp.inf)
        fell_back = jnp.full(worst.shape, fell_back)
        return State(last._replace(worst=worst), lit, progress.iterations, fell_back)

    def with_outages(case: Case) -> State:
        problem, found = case.problem(net)
        changes, enough = fast_decoupled.changes_of(
            net, case.closed, case.freed, found, freed_slots
        )
        progress = fast_decoupled.solve(
            net, problem, case.start,
            tolerance_pu=tolerance, changes=changes, wanted=enough, **limit,
        )  # fmt: skip
        return finish(progress, problem)

    def by_newton(case: Case) -> State:
        problem, _ = case.problem(net)
        # From the base point: what defeated the method may be a bad start.
        held, zero = case.start.vm[net.n_free :], jnp.zeros_like(case.start.va)
        cold = _start(net, jnp.concatenate([zero[: net.n_free], held]), zero)
        return finish(newton.solve(net, problem, cold, tolerance_pu=tolerance), problem, True)

    if method == "newton":
        problem, _ = case.problem(net)
        progress = newton.solve(net, problem, case.start, tolerance_pu=tolerance, **limit)
        state = finish(progress, problem)
    elif intact is False:
        state = with_outages(case)
    else:
        solve = chord.solve if method == "chord" else fast_decoupled.solve
        whole = iteration.Problem(case.p, case.q, case.participation)
        progress = solve(
            net, whole, case.start, tolerance_pu=tolerance, wanted=~case.changed, **limit
        )
        state = finish(progress, whole)
        if intact:
            worst = jnp.where(case.changed, jnp.inf, state.last.worst)
            state = state._replace(last=state.last._replace(worst=worst))
        else:
            # What is not intact, and what the constant Jacobian is too far away from.
            left = case.changed
            if method == "chord":
                left |= ~(state.last.worst <= tolerance)
            state = lanes.on_selected(with_outages, left, (case,), state)
    if fallback:
        failed = ~(state.last.worst <= tolerance)
        state = lanes.on_selected(by_newton, failed, (case,), state, share=_NEWTON_SHARE, least=1)
    return solution_of(net, state, tolerance)


def solver(net: Network, **options):
    """Returns `solve(request) → Solution` for one grid; `jax.vmap` of it solves a batch at speed.

    Args:
      net: the network.
      **options: as in `solve_lanes`.
    """
    return lanes.of_one_grid(lambda request: solve_lanes(net, request, **options))


def request_of(net: Network, p_pu, q_pu, **changes) -> Request:
    """Returns the request for given injections `[n_bus, …]`, everything else as at the base point.

    Args:
      net: the network.
      p_pu: scheduled net active injection, case order.
      q_pu: net reactive injection.
      **changes: other fields of `Request` to set.
    """
    p_pu = jnp.asarray(p_pu, net.dtype)
    tail = p_pu.shape[1:]

    def like_base(column):
        column = column[net.position].reshape(-1, *(1,) * len(tail))
        return jnp.broadcast_to(column, (net.n_bus, *tail))

    pv = (net.position >= net.n_free).astype(float)[:, None]
    fields = {
        "p_pu": p_pu,
        "q_pu": jnp.asarray(q_pu, net.dtype),
        "vm_setpoint_pu": like_base(net.vm_base),
        "participation": like_base(net.participation),
        "vm_start_pu": like_base(net.vm_base),
        "va_start_rad": like_base(net.va_base),
        "closed": jnp.ones((net.n_branch, *tail), net.dtype),
        "pv": like_base(jnp.asarray(pv[net.order], net.dtype)),
        "capacity": like_base(net.capacity),
        "load_pu": like_base(net.load),
    }
    return Request(**{**fields, **changes})


class Case(NamedTuple):
    """A request in internal order, leaves `[…, lanes]`."""

    p: chex.Array
    q: chex.Array
    participation: chex.Array
    closed: chex.Array
    freed: chex.Array  # `[n_held, lanes]` 1 where no generator holds the voltage after all
    capacity: chex.Array
    load: chex.Array
    start: Voltages
    changed: chex.Array  # bool `[lanes]`, whether anything is out of service
    found: islands.Islands | None  # where known

    @classmethod
    def of(cls, net: Network, request: Request, found: islands.Islands | None = None) -> Case:
        """Returns the request in internal order."""
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
        # What was dead has no voltage to start from, or to hold.
        vm = jnp.where(vm > 0, vm, net.vm_base)
        setpoint = jnp.where(setpoint > 0, setpoint, net.vm_base)
        closed, n_free = request.closed.astype(net.dtype), net.n_free
        freed = 1.0 - pv[n_free:]
        held = jnp.where(freed > 0, vm[n_free:], setpoint[n_free:])
        start = _start(
            net,
            jnp.concatenate([vm[:n_free], held]) - net.vm_base,
            va - va[net.reference] - net.va_base + net.va_base[net.reference],
        )
        changed = (closed < 0.5).any(0) | (freed > 0.5).any(0)
        return cls(p, q, share, closed, freed, capacity, load, start, changed, found)

    def problem(self, net: Network) -> tuple[iteration.Problem, islands.Islands]:
        """Returns the problem on the island that lives, and the islands."""
        found = self.found
        if found is None:
            found = islands.find(net, self.closed, self.capacity, self.load)
        lit = found.energised.astype(net.dtype)
        share = iteration.energised_shares(self.participation, self.capacity, lit)
        return iteration.Problem(self.p, self.q, share, self.closed, self.freed, lit), found


def _start(net: Network, vm: chex.Array, va: chex.Array) -> Voltages:
    """Returns the first iterate from deviations `[n_bus, lanes]`."""
    low = jnp.zeros_like(vm) if net.compensated else None
    return Voltages(vm, va, jnp.zeros_like(vm[0]), low, low)


class State(NamedTuple):
    """What the methods hand on, leaves `[…, lanes]`."""

    last: iteration.Iterate
    lit: chex.Array  # bool `[n_bus, lanes]`
    iterations: chex.Array
    fell_back: chex.Array


def _by_dc(net: Network, case: Case) -> Solution:
    problem, found = case.problem(net)
    changes, enough = fast_decoupled.changes_of(net, case.closed, case.freed, found)
    x, powers, worst = dc.solve(net, problem, changes)
    at = balance.bus_balance(net, x, powers)
    worst = jnp.where(enough & found.energised.any(0), worst, jnp.inf)
    last = iteration.Iterate(x, powers, at._replace(q=jnp.zeros_like(at.q)), worst)
    once = jnp.ones_like(worst, jnp.int32)
    tolerance = max(net.tolerance_pu, _DC_ROUNDING * net.rounding_pu)
    return solution_of(net, State(last, found.energised, once, jnp.zeros_like(enough)), tolerance)


def solution_of(net: Network, state: State, tolerance_pu: float) -> Solution:
    """Returns the solution in the case's order."""
    x, powers, at, worst = state.last
    va = net.va_base + x.va
    # Angles count from the reference bus; where it is dead, from the base point's.
    va = va - jnp.where(state.lit[net.reference], va[net.reference], 0.0)
    show = lambda leaf: jnp.where(state.lit, leaf, 0.0)[net.position]
    return Solution(
        vm_pu=show(net.vm_base + x.vm),
        va_rad=show(va),
        p_pu=show(at.p),
        q_pu=show(at.q),
        p_from_pu=powers.p_from,
        q_from_pu=powers.q_from,
        p_to_pu=powers.p_to,
        q_to_pu=powers.q_to,
        rho=balance.loading(net, powers),
        slack_pu=x.slack,
        energised=state.lit[net.position],
        converged=worst <= tolerance_pu,
        mismatch_pu=worst,
        iterations=state.iterations,
        fell_back=state.fell_back,
        vm_change_pu=show(x.vm),
        va_change_rad=show(x.va),
        vm_change_low_pu=None if x.vm_low is None else show(x.vm_low),
        va_change_low_rad=None if x.va_low is None else show(x.va_low),
    )
