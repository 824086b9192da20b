"""Balance, power flow and protection of a step, again and again until nothing more trips.

Every array has the lanes of a batch as its last axis, because lanes take different numbers of
rounds: those whose network stays as it is are done after the first, and the others go on alone.
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from envs.powerflow import gradient, islands, iteration, lanes, solve as powerflow
from envs.step.dispatch import DispatchRequest
from envs.step.grid_model import GridModel
from envs.step.options import ProtectionOptions
from envs.step.power_balance import PowerBalance, shared

MAX_ROUNDS = 8  # of a cascade before the grid counts as lost; a choice
_FLOWS = ("p_from_pu", "q_from_pu", "p_to_pu", "q_to_pu")  # of a solution, those of branches
_UNREAD = (
    "slack_pu", "vm_change_pu", "va_change_rad", "vm_change_low_pu", "va_change_low_rad",
    "at_limit",
)  # fmt: skip
_PV_TO_PQ_SLOTS = 6  # where more buses have lost their generators, Newton solves the lane


class OperatingPoint(NamedTuple):
    """The solved grid after protection; `[…, lanes]`."""

    # Of it the powers of branches are None unless the model says that they are needed, and so is
    # what no later step reads: all of it moves with every lane that is solved again.
    solution: powerflow.Solution
    gen_p_mw: chex.Array  # `[n_gen]` units' power, zero for condensers
    renewable_mw: chex.Array  # `[n_renewable]` that reached the grid
    served: chex.Array  # `[n_load]` share of each load that is served, zero off live islands
    surplus_mw: chex.Array  # `[]` power that units were forced down beyond their ramps
    spilled_mw: chex.Array  # `[]` wind and sun that the balance had no room for
    beyond_angle_rad: chex.Array  # `[]` outside limits of branches' angles, summed
    shift_mw: chex.Array  # `[]` how far balancing moved units from their targets, signed
    closed: chex.Array  # `[n_branch]`
    trip_round: chex.Array  # int8 `[n_branch]` round in which protection tripped it, 0 if in none
    rounds: chex.Array  # int32 `[]` rounds in which something tripped
    unstable: chex.Array  # bool `[]`, branches were still tripping after the last round

    @property
    def tripped(self) -> chex.Array:
        """Whether protection tripped each branch, bool `[n_branch]`."""
        return self.trip_round > 0


def operating_point(
    model: GridModel, protection: ProtectionOptions, request: DispatchRequest
) -> OperatingPoint:
    """Returns the operating point that `request` leads to, protection included."""

    def overloads(request, point):
        """Returns what protection takes out, bool `[n_branch, lanes]`."""
        rho, limits = point.solution.rho, request.protection or protection
        beyond = rho > limits.hard_limit
        # The count is of steps, whatever the round in which this step's overload arises.
        beyond |= (rho > 1.0) & (request.overloaded + 1 >= limits.soft_steps)
        usable = point.solution.converged & jnp.asarray(protection.enabled)
        return beyond & (point.closed > 0) & usable

    def again(carry, request):
        """Takes out what is pending, if anything is, and solves what is left."""
        point, pending = carry
        former = point.solution
        known = former.converged & former.energised
        request = request._replace(
            closed=point.closed * ~pending,
            gen_target_mw=jnp.where(former.converged, point.gen_p_mw, request.gen_target_mw),
            vm_start_pu=jnp.where(known, former.vm_pu, request.vm_start_pu),
            va_start_rad=jnp.where(known, former.va_rad, request.va_start_rad),
        )
        rounds = point.rounds + pending.any(0)
        after = _solve(model, request, intact=False)
        after = after._replace(
            rounds=rounds,
            trip_round=jnp.where(pending, rounds, point.trip_round).astype(jnp.int8),
            shift_mw=after.shift_mw + jnp.where(former.converged, point.shift_mw, 0.0),
        )
        pending = overloads(request, after)
        more = pending.any(0)
        going = more & (rounds < MAX_ROUNDS)
        return (after._replace(unstable=more & ~going), pending), going

    first = _solve(model, request, intact=True)
    pending = overloads(request, first)
    # Lanes that were not intact to begin with have yet to be solved.
    going = ~first.solution.converged | pending.any(0)
    return lanes.until_done(again, going, (request,), (first, pending))[0]


def unprotected(model: GridModel, request: DispatchRequest) -> OperatingPoint:
    """Returns the operating point of `request` as it is, without protection."""
    return _solve(model, request, intact=False)


def _solve(model: GridModel, request: DispatchRequest, *, intact: bool) -> OperatingPoint:
    """Balances what lives and solves its power flow.

    Where the network is promised to be intact and is not, the result is marked as unconverged.
    """
    net = model.net
    topology = powerflow.KnownTopology(intact)
    energised = jnp.ones((net.n_bus, request.closed.shape[1]), net.dtype)
    root = None
    if not intact:
        split = _islands(model, request)
        topology = powerflow.KnownTopology(intact, split)
        energised = split.energised[net.position].astype(net.dtype)
        root = _root(model, split)
    balanced = _balanced(model, request, energised, root)
    options = powerflow.SolverOptions(
        tolerance_pu=model.tolerance_pu, fallback=not intact, pv_to_pq_slots=_PV_TO_PQ_SLOTS,
        every_island=model.live_from is not None,
    )  # fmt: skip
    solution = powerflow.solve_batch(net, balanced.power_flow, options, topology)
    return _point(model, request, balanced, solution)


def pull_back(
    model: GridModel,
    args: tuple[DispatchRequest],
    point: OperatingPoint,
    cotangent: OperatingPoint,
) -> tuple[DispatchRequest]:
    """Returns the cotangent of the request `args` from that of `point`, the operating point of it.

    What jumps is held fixed: which branches are in service after protection, which buses are
    energised, which units share the change of losses. Where something tripped the slopes are those
    of one balance on the network that is left; where there is no solution they are zero.
    """

    def solved(request: DispatchRequest) -> OperatingPoint:
        solution, request = point.solution, request._replace(closed=point.closed)
        several = model.live_from is not None
        root = _root(model, _islands(model, request)) if several else None
        balanced = _balanced(model, request, solution.energised.astype(model.net.dtype), root)
        slack_mw = point.gen_p_mw - balanced.balance.gen_p_mw
        if several:
            blank = jnp.zeros_like(balanced.power_flow.p_pu)
            slack_mw = iteration.over_island(blank.at[model.gen_bus].add(slack_mw), root)
        else:
            slack_mw = slack_mw.sum(0)
        solution = solution._replace(slack_pu=slack_mw / model.base_mva)
        solution = gradient.at_solution(
            model.net, balanced.power_flow, solution, every_island=several
        )
        return _point(model, request, balanced, solution)

    return jax.vjp(solved, *args)[1](cotangent)


def _islands(model: GridModel, request: DispatchRequest) -> islands.Islands:
    """Returns the islands that `request` leaves."""
    net = model.net
    capacity, load = _capacity_and_load(model, request)
    return islands.find(
        net, request.closed, capacity[net.order], load[net.order],
        every_island=model.live_from is not None,
    )  # fmt: skip


def _root(model: GridModel, split: islands.Islands) -> chex.Array | None:
    """Returns a bus that is the same all over each island, int `[n_bus, lanes]`, case order.

    None where one island is live.
    """
    if model.live_from is None:
        return None
    root = split.root(model.net)
    return jnp.asarray(model.net.order)[root][model.net.position]


def _capacity_and_load(model: GridModel, request: DispatchRequest) -> tuple[chex.Array, chex.Array]:
    """Returns Pmax of the units in service and the load at each bus, MW `[n_bus, lanes]`."""
    blank = jnp.zeros((model.net.n_bus, request.closed.shape[1]), model.net.dtype)
    capacity = blank.at[model.gen_bus].add(model.p_max_mw * request.gen_on)
    return capacity, blank.at[model.load_bus].add(request.load_p_mw)


class _Balanced(NamedTuple):
    """A balance, each unit's share of the change of losses, and the power flow to be solved."""

    balance: PowerBalance
    weight: chex.Array  # `[n_gen, lanes]`
    power_flow: powerflow.Request


def _balanced(
    model: GridModel, request: DispatchRequest, energised: chex.Array, root: chex.Array | None
) -> _Balanced:
    """Returns the balance of what is energised, float `[n_bus, lanes]`, and its power flow.

    With `root` `[n_bus, lanes]` that is of each island by itself.
    """
    net, base = model.net, model.base_mva
    blank = jnp.zeros((net.n_bus, request.closed.shape[1]), net.dtype)
    to_bus = lambda bus, values: blank.at[bus].add(values)
    capacity, load = _capacity_and_load(model, request)
    balance, weight = shared(model, request, energised, root)
    p = to_bus(model.gen_bus, balance.gen_p_mw) + balance.other_mw
    p = p.at[model.renewable_bus].add(balance.renewable_mw)
    p = p.at[model.load_bus].add(-balance.load_p_mw)
    q = to_bus(model.load_bus, -request.load_q_mvar * energised[model.load_bus] * balance.served)
    return _Balanced(
        balance,
        weight,
        powerflow.Request(
            p_pu=p / base,
            q_pu=q / base,
            vm_setpoint_pu=request.vm_setpoint_pu,
            participation=to_bus(model.gen_bus, weight),
            vm_start_pu=request.vm_start_pu,
            va_start_rad=request.va_start_rad,
            closed=request.closed,
            pv=blank.at[model.gen_bus].max(request.gen_on),
            capacity=capacity / base,
            load_pu=load / base,
        ),
    )


def _point(
    model: GridModel, request: DispatchRequest, balanced: _Balanced, solution: powerflow.Solution
) -> OperatingPoint:
    """Returns the operating point that the solution of a balance stands for."""
    balance, weight = balanced.balance, balanced.weight
    in_service = solution.energised.astype(model.net.dtype)
    slack = jnp.where(solution.converged, solution.slack_pu * model.base_mva, 0.0)
    slack = slack if model.live_from is None else slack[model.gen_bus]
    gen_p = balance.gen_p_mw + slack * weight
    angle = solution.va_rad[model.from_bus] - solution.va_rad[model.to_bus]
    beyond = jnp.maximum(model.angle_min_rad - angle, 0.0)
    beyond += jnp.maximum(angle - model.angle_max_rad, 0.0)
    count = jnp.zeros_like(balance.spilled_mw, jnp.int32)
    return OperatingPoint(
        solution=solution._replace(**dict.fromkeys(_UNREAD if model.flows else _UNREAD + _FLOWS)),
        gen_p_mw=gen_p,
        renewable_mw=balance.renewable_mw,
        served=balance.served * in_service[model.load_bus],
        surplus_mw=balance.surplus_mw,
        spilled_mw=balance.spilled_mw,
        beyond_angle_rad=(beyond * request.closed * in_service[model.from_bus]).sum(0),
        shift_mw=(gen_p - request.gen_target_mw * balance.gen_on).sum(0),
        closed=request.closed,
        trip_round=jnp.zeros(request.closed.shape, jnp.int8),
        rounds=count,
        unstable=count > 0,
    )
