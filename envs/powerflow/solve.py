"""The one way to solve a power flow: pick a method, get voltages, flows and a verdict."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import chex
import jax.numpy as jnp

from envs.powerflow import chord, dc, fast_decoupled, islands, iteration, lanes, newton, reactive
from envs.powerflow.islands import Islands
from envs.powerflow.iteration import MethodResult
from envs.powerflow.network import Network
from envs.powerflow.request import OrderedRequest, Request, Solution, in_case_order, in_solver_order

_NEWTON_SHARE = 64  # Newton is slow and rarely needed: few grids at a time
_DC_ROUNDING = 4.0  # roundings that a DC solution may be off
METHODS = ("dc", "fast_decoupled", "chord", "newton")


@dataclasses.dataclass(frozen=True)
class SolverOptions:
    """How a power flow is solved.

    Raises:
      ValueError: there is no such method, or there are no slots.
    """

    method: str = "chord"  # one of METHODS; `chord` solves grids with outages by `fast_decoupled`
    tolerance_pu: float | None = None  # largest mismatch; by default what the network's type allows
    max_iterations: int | None = None  # of the method before it gives up, by default its own
    fallback: bool = True  # whether Newton tries where another method gave up
    # Whether PV buses whose generators would pass `Request.q_min_pu` or `q_max_pu` become PQ buses;
    # see `envs.powerflow.reactive`. Costs nothing where none does.
    reactive_limits: bool = False
    # PV buses turned PQ that a grid may have before it takes Newton, by default all: fewer, at
    # least one, cost less.
    pv_to_pq_slots: int | None = None
    # Whether every island that has a unit in service stays energised, with a slack and an angle of
    # reference of its own; else that which serves most load.
    every_island: bool = False

    def __post_init__(self):
        if self.method not in METHODS:
            raise ValueError(f"method {self.method!r}: must be one of {', '.join(METHODS)}")
        if self.pv_to_pq_slots is not None and self.pv_to_pq_slots < 1:
            raise ValueError(f"pv_to_pq_slots={self.pv_to_pq_slots}: must be at least 1")


class KnownTopology(NamedTuple):
    """What the caller knows of the grids' topology, which spares work."""

    # True promises that nothing is out of service, and leaves grids where something is unconverged;
    # false spares the attempt to solve grids as intact; none: each grid is solved as it is.
    intact: bool | None = None
    islands: Islands | None = None  # what `islands.find` says of the request


def solver(net: Network, **options) -> Callable[[Request], Solution]:
    """Returns `solve(request) → Solution` for one grid; `jax.vmap` of it solves a batch at speed.

    The options are those of `SolverOptions`.
    """
    solver_options = SolverOptions(**options)
    return lanes.per_grid(lambda request: solve_batch(net, request, solver_options))


def solve_batch(
    net: Network,
    request: Request,
    options: SolverOptions = SolverOptions(),
    known: KnownTopology = KnownTopology(),
) -> Solution:
    """Returns the solution of a batch, leaves `[…, batch]`; `solver` is for a grid and `jax.vmap`.

    Where `converged` is false its numbers are the last iterate's and may not be finite: use them
    only after a check.
    """
    tolerance = net.tolerance_pu if options.tolerance_pu is None else options.tolerance_pu
    options = dataclasses.replace(options, tolerance_pu=tolerance)
    if options.reactive_limits:
        return _within_reactive_limits(net, request, options, known)
    ordered = in_solver_order(net, request, known.islands, every_island=options.every_island)
    if options.method == "dc":
        tolerance = max(net.tolerance_pu, _DC_ROUNDING * net.rounding_pu)
        return in_case_order(net, _by_dc(net, ordered, options), tolerance)
    if options.method == "newton":
        result = _by_newton(net, ordered, options)
    elif known.intact is False:
        result = _with_outages(net, ordered, options)
    else:
        result = _by_constant_matrices(net, ordered, options, known.intact)
    if options.fallback:
        result = _fall_back(net, ordered, options, result)
    return in_case_order(net, result, tolerance)


def base_request(net: Network, p_pu, q_pu, **changes) -> Request:
    """Returns the request for net injections `[n_bus, …]`, case order, with `changes` of fields.

    Everything else is as at the base point.
    """
    p_pu = jnp.asarray(p_pu, net.dtype)
    tail = p_pu.shape[1:]

    def like_base(column):
        column = column[net.position].reshape(-1, *(1,) * len(tail))
        return jnp.broadcast_to(column, (net.n_bus, *tail))

    pv = (net.position >= net.n_pq).astype(float)[:, None]
    request = Request(
        p_pu=p_pu,
        q_pu=jnp.asarray(q_pu, net.dtype),
        vm_setpoint_pu=like_base(net.vm_base),
        participation=like_base(net.participation),
        vm_start_pu=like_base(net.vm_base),
        va_start_rad=like_base(net.va_base),
        closed=jnp.ones((net.n_branch, *tail), net.dtype),
        pv=like_base(jnp.asarray(pv[net.order], net.dtype)),
        capacity=like_base(net.capacity),
        load_pu=like_base(net.load),
    )
    return request._replace(**changes)


# One function for each method.


def _by_dc(net: Network, ordered: OrderedRequest, options: SolverOptions) -> MethodResult:
    problem, split = _problem(net, ordered, options)
    changes, enough = fast_decoupled.network_changes(net, ordered.closed, ordered.pv_to_pq, split)
    last = dc.solve(net, problem, changes)
    worst = jnp.where(enough & split.energised.any(0), last.worst, jnp.inf)
    once = jnp.ones_like(worst, jnp.int32)
    last, never = last._replace(worst=worst), jnp.zeros_like(enough)
    return MethodResult(last, split.energised, once, never, problem.root)


def _by_newton(net: Network, ordered: OrderedRequest, options: SolverOptions) -> MethodResult:
    problem, _ = _problem(net, ordered, options)
    correct = newton.correction(net, problem)
    return _iterate(net, problem, ordered, correct, options, newton.MAX_ITERATIONS)


def _by_constant_matrices(
    net: Network, ordered: OrderedRequest, options: SolverOptions, intact: bool | None
) -> MethodResult:
    """Solves intact grids by the method, and others by the fast decoupled method.

    Where all grids are promised to be intact, the others are left unsolved.
    """
    method = chord if options.method == "chord" else fast_decoupled
    problem = iteration.Problem(ordered.p, ordered.q, ordered.participation)
    if options.every_island:
        root = jnp.full(ordered.p.shape, net.reference, jnp.int32)
        problem = problem._replace(root=root)
    changed = ordered.changed
    correct = method.correction(net, problem)
    result = _iterate(net, problem, ordered, correct, options, method.MAX_ITERATIONS, ~changed)
    if intact:
        worst = jnp.where(changed, jnp.inf, result.last.worst)
        return result._replace(last=result.last._replace(worst=worst))
    if method is chord:  # Its constant Jacobian may have been too far away.
        changed |= ~(result.last.worst <= options.tolerance_pu)
    solve = lambda ordered: _with_outages(net, ordered, options)
    return lanes.on_selected(solve, changed, (ordered,), result)


def _with_outages(net: Network, ordered: OrderedRequest, options: SolverOptions) -> MethodResult:
    """Solves grids in any state by the fast decoupled method."""
    problem, split = _problem(net, ordered, options)
    changes, enough = fast_decoupled.network_changes(
        net, ordered.closed, ordered.pv_to_pq, split, options.pv_to_pq_slots
    )
    correct = fast_decoupled.correction(net, problem, changes)
    return _iterate(net, problem, ordered, correct, options, fast_decoupled.MAX_ITERATIONS, enough)


def _fall_back(
    net: Network, ordered: OrderedRequest, options: SolverOptions, result: MethodResult
) -> MethodResult:
    """Solves by Newton's method, from the base point, what another method did not solve."""
    own_limit = dataclasses.replace(options, max_iterations=None)

    def solve(ordered):
        # What defeated the method may be a bad start.
        vm_pv, zero = ordered.start.vm[net.n_pq :], jnp.zeros_like(ordered.start.va)
        cold = iteration.first_iterate(
            net, jnp.concatenate([zero[: net.n_pq], vm_pv]), zero, every_island=options.every_island
        )
        answer = _by_newton(net, ordered._replace(start=cold), own_limit)
        return answer._replace(fell_back=jnp.full(answer.last.worst.shape, True))

    failed = ~(result.last.worst <= options.tolerance_pu)
    return lanes.on_selected(solve, failed, (ordered,), result, share=_NEWTON_SHARE, least=1)


def _within_reactive_limits(
    net: Network, request: Request, options: SolverOptions, known: KnownTopology
) -> Solution:
    if options.method == "dc" or request.q_min_pu is None or request.q_max_pu is None:
        raise ValueError(
            f"reactive_limits with method {options.method!r}: needs a method with reactive power, "
            "and a request with q_min_pu and q_max_pu, such as `reactive.limits(grid)`"
        )
    if known.intact is not None or known.islands is not None:
        raise ValueError(
            "reactive_limits: turn PV buses PQ, so that neither `intact` nor `islands` holds"
        )
    without = dataclasses.replace(options, reactive_limits=False)
    plain = lambda request: solve_batch(net, request, without)
    return reactive.solve(plain, request, tolerance_pu=options.tolerance_pu)


# What the methods share.


def _problem(net: Network, ordered: OrderedRequest, options: SolverOptions):
    """Returns the `iteration.Problem` on what is energised, and the `islands.Islands`."""
    split = ordered.islands
    if split is None:
        split = islands.find(
            net, ordered.closed, ordered.capacity, ordered.load, every_island=options.every_island
        )
    energised = split.energised.astype(net.dtype)
    root = split.root(net) if options.every_island else None
    share = iteration.energised_shares(ordered.participation, ordered.capacity, energised, root)
    problem = iteration.Problem(
        ordered.p, ordered.q, share, ordered.closed, ordered.pv_to_pq, energised, root
    )
    return problem, split


def _iterate(
    net: Network,
    problem: iteration.Problem,
    ordered: OrderedRequest,
    correct: iteration.Correct,
    options: SolverOptions,
    max_iterations: int,
    selected: chex.Array | None = None,
) -> MethodResult:
    """Iterates, as often as the options say or else the method."""
    if options.max_iterations is not None:
        max_iterations = options.max_iterations
    return iteration.iterate(
        net, problem, ordered.start, correct,
        tolerance_pu=options.tolerance_pu, max_iterations=max_iterations, selected=selected,
    )  # fmt: skip
