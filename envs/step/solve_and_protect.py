"""Balance, power flow and protection of a step, again and again until nothing more trips.

Every array has the lanes of a batch as its last axis, because lanes take different numbers of
rounds: those whose network stays as it is are done after the first, and the others go on alone.
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from envs.case.fleet import Fleet
from envs.case.grid import Grid
from envs.powerflow import gradient, islands, iteration, lanes, solve as powerflow
from envs.powerflow.network import Network
from envs.schedule import sharing
from envs.step.dispatch import DispatchRequest
from envs.step.options import ProtectionOptions

MAX_ROUNDS = 8  # of a cascade before the grid counts as lost; a choice
_MARGIN = 0.01  # of Pmax: a unit this near to a limit does not share the change of losses
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
    angle_min_rad: chex.Array  # `[n_branch, 1]` of θ_from − θ_to
    angle_max_rad: chex.Array  # `[n_branch, 1]`
    tolerance_pu: float
    flows: bool  # whether the powers of branches are needed, beyond their loading
    # Buses of units, where each island that has one in service is live; none where one island is.
    live_from: np.ndarray | None
    load_weight: chex.Array | None  # `[n_gen, 1]` sizes of dispatchable loads; none: there are none


def grid_model(
    grid: Grid,
    fleet: Fleet,
    net: Network,
    tolerance_pu: float,
    *,
    flows: bool = False,
    every_island: bool = False,
) -> GridModel:
    """Returns the model of `grid`; `flows` says whether the powers of branches are needed.

    With `every_island` each island that has a unit in service is live, else the one that serves
    most load.
    """
    column = lambda x: jnp.asarray(x[:, None], net.dtype)
    p_max, draws = grid.gen.capacity_mw, grid.gen.is_dispatchable_load
    branch = grid.branch
    return GridModel(
        net, grid.base_mva, grid.gen.bus, grid.loads, fleet.renewables.bus,
        column(p_max / p_max.sum()), column(grid.gen.p_min_mw), column(p_max),
        branch.from_bus, branch.to_bus, column(branch.angle_min_rad), column(branch.angle_max_rad),
        max(tolerance_pu, net.tolerance_pu), flows,
        np.unique(grid.gen.bus[p_max > 0]) if every_island else None,
        column(np.where(draws, -grid.gen.p_min_mw, 0.0)) if draws.any() else None,
    )  # fmt: skip


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


class _Balance(NamedTuple):
    """Powers that add up but for the change of losses, MW; `[…, lanes]`."""

    gen_p_mw: chex.Array  # `[n_gen]`
    load_p_mw: chex.Array  # `[n_load]` that is served
    renewable_mw: chex.Array  # `[n_renewable]`
    other_mw: chex.Array  # `[n_bus]`
    gen_on: chex.Array  # `[n_gen]` 1 in service on an energised bus
    served: chex.Array  # `[]` share of load on energised buses; `[n_load]` of several islands
    surplus_mw: chex.Array
    spilled_mw: chex.Array


def _balance(model: GridModel, request: DispatchRequest, energised: chex.Array) -> _Balance:
    """Returns what units, loads, wind and sun do on the energised buses, float `[n_bus, lanes]`."""
    # 1. Units share what loads and losses need and nothing else produces.
    load_p = request.load_p_mw * energised[model.load_bus]
    renewable = request.renewable_mw * energised[model.renewable_bus]
    on = request.gen_on * energised[model.gen_bus]
    other = request.other_mw * energised
    load = load_p.sum(0)
    demand = load + request.losses_mw - renewable.sum(0) - other.sum(0)
    low, high = request.gen_low_mw * on, request.gen_high_mw * on
    gen_p, rest = sharing.share(
        jnp.clip(request.gen_target_mw, low, high), low, high, model.weight * on, demand
    )
    if model.load_weight is not None:  # Dispatchable loads draw less, or more, before others do.
        total = gen_p.sum(0) + rest
        gen_p, rest = sharing.share(gen_p, low, high, model.load_weight * on, total)

    # 2. What they cannot cover is not served; what they cannot shed, wind and sun give up first.
    short, over = jnp.clip(rest, 0.0, load), jnp.maximum(-rest, 0.0)
    served = 1.0 - short / jnp.maximum(load, 1e-6)
    spilled = jnp.minimum(over, renewable.sum(0))
    renewable = renewable * (1.0 - spilled / jnp.maximum(renewable.sum(0), 1e-6))
    above_min = jnp.maximum(gen_p - model.p_min_mw * on, 0.0)
    surplus = jnp.minimum(over - spilled, above_min.sum(0))
    gen_p = gen_p - surplus * above_min / jnp.maximum(above_min.sum(0), 1e-6)
    return _Balance(gen_p, load_p * served, renewable, other, on, served, surplus, spilled)


def _slack_weight(model: GridModel, balance: _Balance) -> chex.Array:
    """Returns each unit's share of the change of losses `[n_gen, lanes]`, adding up to 1.

    Units at a limit leave it to the others, unless all are at one.
    """
    margin = _MARGIN * model.p_max_mw
    gen_p = balance.gen_p_mw
    between = (gen_p > model.p_min_mw + margin) & (gen_p < model.p_max_mw - margin)
    active = model.weight * balance.gen_on
    weight = jnp.where(between & (balance.gen_on > 0), active, 0.0)
    weight = jnp.where(weight.sum(0) > 0, weight, active)
    return weight / jnp.maximum(weight.sum(0), 1e-9)


def _shared(
    model: GridModel, request: DispatchRequest, energised: chex.Array, root: chex.Array | None
) -> tuple[_Balance, chex.Array]:
    """Returns the balance, and each unit's share of the change of losses on its island.

    Where several islands are live each is balanced by itself; the losses that are expected are
    theirs in proportion to load.
    """
    if root is None:
        balance = _balance(model, request, energised)
        weight = _slack_weight(model, balance)
        if model.live_from is not None:
            balance = balance._replace(served=balance.served + jnp.zeros_like(request.load_p_mw))
        return balance, weight
    of = root[model.live_from]  # an island for each bus of units, and of equal ones the first
    repeats = (of[:, None] == of[None]) & np.tri(len(of), k=-1, dtype=bool)[..., None]
    inside = (root == of[:, None]) & ~repeats.any(1)[:, None]  # [n_live_from, n_bus, lanes]
    parts = energised * inside.astype(energised.dtype)
    loads = (request.load_p_mw * parts[:, model.load_bus]).sum(1)
    losses = request.losses_mw * loads / jnp.maximum(loads.sum(0), 1e-6)

    def of_island(part, losses_mw):
        balance = _balance(model, request._replace(losses_mw=losses_mw), part)
        # Where no load is, all of it is served; it must not count as served by each island.
        served = balance.served * part[model.load_bus]
        return balance._replace(served=served), _slack_weight(model, balance)

    total = lambda leaf: leaf.sum(0)
    return jax.tree.map(total, jax.vmap(of_island)(parts, losses))


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

    balance: _Balance
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
    balance, weight = _shared(model, request, energised, root)
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
