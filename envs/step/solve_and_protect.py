"""Settling a step: balance, power flow and protection, again and again until nothing more trips.

Every array has the lanes of a batch as its last axis, because lanes take different numbers of
rounds: those whose network stays as it is are done after the first, and the others go on alone.
"""

from __future__ import annotations

from typing import NamedTuple

import chex
import jax.numpy as jnp
import numpy as np

from envs.case import fleet as fleet_lib
from envs.case import grid as grid_lib
from envs.powerflow import islands, lanes
from envs.powerflow import solve as powerflow
from envs.powerflow.network import Network
from envs.schedule import sharing
from envs.step.options import ProtectionOptions

MAX_ROUNDS = 8  # of a cascade before the grid counts as lost; a choice
_MARGIN = 0.01  # of Pmax: a unit this near to a limit does not share the change of losses
_PV_TO_PQ_SLOTS = 6  # where more buses have lost their generators, Newton solves the lane


class Order(NamedTuple):
    """What is to be settled, MW, MVAr and pu; `[…, lanes]`."""

    gen_target_mw: chex.Array  # `[n_gen]` asked of units, within `low` and `high`
    gen_low_mw: chex.Array  # `[n_gen]` what limits and ramps allow in this step
    gen_high_mw: chex.Array  # `[n_gen]`
    gen_on: chex.Array  # `[n_gen]` 1 in service, 0 not
    load_p_mw: chex.Array  # `[n_load]`
    load_q_mvar: chex.Array  # `[n_load]`
    renewable_mw: chex.Array  # `[n_renewable]` after curtailment by the controller
    other_mw: chex.Array  # `[n_bus]` batteries and what condensers draw
    losses_mw: chex.Array  # `[]` expected, those of the last step
    vm_setpoint_pu: chex.Array  # `[n_bus]`
    vm_start_pu: chex.Array  # `[n_bus]`
    va_start_rad: chex.Array  # `[n_bus]`
    closed: chex.Array  # `[n_branch]` 1 in service, 0 not
    overloaded: chex.Array  # `[n_branch]` steps in a row above the limit so far


class Point(NamedTuple):
    """What later steps need of a solution, as in `powerflow.Solution`; `[…, lanes]`."""

    vm_pu: chex.Array
    va_rad: chex.Array
    p_pu: chex.Array
    q_pu: chex.Array
    p_from_pu: chex.Array | None  # of branches: only where the plant says that they are wanted
    q_from_pu: chex.Array | None
    p_to_pu: chex.Array | None
    q_to_pu: chex.Array | None
    rho: chex.Array
    energised: chex.Array
    converged: chex.Array
    mismatch_pu: chex.Array
    iterations: chex.Array
    fell_back: chex.Array


class Settled(NamedTuple):
    """What came of it; `[…, lanes]`."""

    solution: Point
    gen_p_mw: chex.Array  # `[n_gen]` units' power, zero for condensers
    renewable_mw: chex.Array  # `[n_renewable]` that reached the grid
    served: chex.Array  # `[n_load]` share of each load that is served, zero off the live island
    surplus_mw: chex.Array  # `[]` power that units were forced down beyond their ramps
    spilled_mw: chex.Array  # `[]` wind and sun that the balance had no room for
    beyond_angle_rad: chex.Array  # `[]` outside limits of branches' angles, summed
    shift_mw: chex.Array  # `[]` how far balancing moved units from their targets, signed
    closed: chex.Array  # `[n_branch]`
    trip_round: (
        chex.Array
    )  # int8 `[n_branch]` round in which protection tripped it, 0 if it did not
    rounds: chex.Array  # int32 `[]` rounds in which something tripped
    unstable: chex.Array  # bool `[]`, branches were still tripping after the last round


class Plant(NamedTuple):
    """What settling needs of a grid besides its network, all in the case's order."""

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
    flows: bool  # whether the powers of branches are wanted, beyond their loading
    load_weight: chex.Array | None  # `[n_gen, 1]` sizes of dispatchable loads; none: there are none


def plant(
    grid: grid_lib.Grid,
    fleet: fleet_lib.Fleet,
    net: Network,
    tolerance_pu: float,
    *,
    flows: bool = False,
) -> Plant:
    """Returns what settling needs of `grid`."""
    column = lambda x: jnp.asarray(x[:, None], net.dtype)
    p_max, draws = grid.gen.capacity_mw, grid.gen.is_dispatchable_load
    branch = grid.branch
    return Plant(
        net, grid.base_mva, grid.gen.bus, grid.loads, fleet.renewables.bus,
        column(p_max / p_max.sum()), column(grid.gen.p_min_mw), column(p_max),
        branch.from_bus, branch.to_bus, column(branch.angle_min_rad), column(branch.angle_max_rad),
        max(tolerance_pu, net.tolerance_pu), flows,
        column(np.where(draws, -grid.gen.p_min_mw, 0.0)) if draws.any() else None,
    )  # fmt: skip


def settle(plant: Plant, protection: ProtectionOptions, order: Order) -> Settled:
    """Returns the operating point that `order` leads to, protection included."""

    def overloads(order, settled):
        """Returns what protection takes out, bool `[n_branch, lanes]`."""
        rho = settled.solution.rho
        beyond = rho > protection.hard_limit
        # The count is of steps, whatever the round in which this step's overload arises.
        beyond |= (rho > 1.0) & (order.overloaded + 1 >= protection.soft_steps)
        usable = settled.solution.converged & jnp.asarray(protection.enabled)
        return beyond & (settled.closed > 0) & usable

    def again(carry, order):
        """Takes out what is pending, if anything is, and settles what is left."""
        settled, pending = carry
        former = settled.solution
        known = former.converged & former.energised
        order = order._replace(
            closed=settled.closed * ~pending,
            gen_target_mw=jnp.where(former.converged, settled.gen_p_mw, order.gen_target_mw),
            vm_start_pu=jnp.where(known, former.vm_pu, order.vm_start_pu),
            va_start_rad=jnp.where(known, former.va_rad, order.va_start_rad),
        )
        rounds = settled.rounds + pending.any(0)
        after = _attempt(plant, order, intact=False)
        after = after._replace(
            rounds=rounds,
            trip_round=jnp.where(pending, rounds, settled.trip_round).astype(jnp.int8),
            shift_mw=after.shift_mw + jnp.where(former.converged, settled.shift_mw, 0.0),
        )
        pending = overloads(order, after)
        more = pending.any(0)
        going = more & (rounds < MAX_ROUNDS)
        return (after._replace(unstable=more & ~going), pending), going

    first = _attempt(plant, order, intact=True)
    pending = overloads(order, first)
    # Lanes that were not intact to begin with have yet to be solved.
    going = ~first.solution.converged | pending.any(0)
    return lanes.until_done(again, going, (order,), (first, pending))[0]


def begin(plant: Plant, order: Order) -> Settled:
    """Returns the operating point of `order` as it is, without protection."""
    return _attempt(plant, order, intact=False)


def _attempt(plant: Plant, order: Order, *, intact: bool) -> Settled:
    """Balances the island that lives and solves its power flow.

    Where the network is promised to be intact and is not, the result is marked as unconverged.
    """
    net, base = plant.net, plant.base_mva
    blank = jnp.zeros((net.n_bus, order.closed.shape[1]), net.dtype)
    to_bus = lambda bus, values: blank.at[bus].add(values)
    capacity = to_bus(plant.gen_bus, plant.p_max_mw * order.gen_on)
    load = to_bus(plant.load_bus, order.load_p_mw)

    found = None
    if not intact:
        found = islands.find(net, order.closed, capacity[net.order], load[net.order])
    energised = jnp.ones_like(blank, bool) if intact else found.energised[net.position]
    lit = energised.astype(net.dtype)

    # 1. Units share what loads and losses ask for and nothing else gives.
    load_p = order.load_p_mw * lit[plant.load_bus]
    renewable = order.renewable_mw * lit[plant.renewable_bus]
    on = order.gen_on * lit[plant.gen_bus]
    other = order.other_mw * lit
    wanted = load_p.sum(0)
    demand = wanted + order.losses_mw - renewable.sum(0) - other.sum(0)
    low, high = order.gen_low_mw * on, order.gen_high_mw * on
    gen_p, rest = sharing.share(
        jnp.clip(order.gen_target_mw, low, high), low, high, plant.weight * on, demand
    )
    if plant.load_weight is not None:  # Dispatchable loads draw less, or more, before others do.
        total = gen_p.sum(0) + rest
        gen_p, rest = sharing.share(gen_p, low, high, plant.load_weight * on, total)

    # 2. What they cannot cover is not served; what they cannot shed, wind and sun give up first.
    short, over = jnp.clip(rest, 0.0, wanted), jnp.maximum(-rest, 0.0)
    served = 1.0 - short / jnp.maximum(wanted, 1e-6)
    spilled = jnp.minimum(over, renewable.sum(0))
    renewable = renewable * (1.0 - spilled / jnp.maximum(renewable.sum(0), 1e-6))
    above_min = jnp.maximum(gen_p - plant.p_min_mw * on, 0.0)
    surplus = jnp.minimum(over - spilled, above_min.sum(0))
    gen_p = gen_p - surplus * above_min / jnp.maximum(above_min.sum(0), 1e-6)
    load_p = load_p * served

    # 3. Power flow. Units at a limit leave the change of losses to the others, unless all are.
    margin = _MARGIN * plant.p_max_mw
    between = (gen_p > plant.p_min_mw + margin) & (gen_p < plant.p_max_mw - margin)
    active = plant.weight * on
    weight = jnp.where(between & (on > 0), active, 0.0)
    weight = jnp.where(weight.sum(0) > 0, weight, active)
    weight = weight / jnp.maximum(weight.sum(0), 1e-9)
    p = to_bus(plant.gen_bus, gen_p) + other
    p = p.at[plant.renewable_bus].add(renewable).at[plant.load_bus].add(-load_p)
    q = to_bus(plant.load_bus, -order.load_q_mvar * lit[plant.load_bus] * served)
    request = powerflow.Request(
        p_pu=p / base,
        q_pu=q / base,
        vm_setpoint_pu=order.vm_setpoint_pu,
        participation=to_bus(plant.gen_bus, weight),
        vm_start_pu=order.vm_start_pu,
        va_start_rad=order.va_start_rad,
        closed=order.closed,
        pv=blank.at[plant.gen_bus].max(order.gen_on),
        capacity=capacity / base,
        load_pu=load / base,
    )
    options = powerflow.SolverOptions(
        tolerance_pu=plant.tolerance_pu, fallback=not intact, pv_to_pq_slots=_PV_TO_PQ_SLOTS
    )
    known = powerflow.KnownTopology(intact, found)
    solution = powerflow.solve_batch(net, request, options, known)
    slack = jnp.where(solution.converged, solution.slack_pu * base, 0.0)
    moved = gen_p + slack * weight
    angle = solution.va_rad[plant.from_bus] - solution.va_rad[plant.to_bus]
    beyond = jnp.maximum(plant.angle_min_rad - angle, 0.0)
    beyond += jnp.maximum(angle - plant.angle_max_rad, 0.0)
    point = Point(*(getattr(solution, name) for name in Point._fields))
    if not plant.flows:
        # Half of what there is to know, and moved with every lane that is settled again.
        point = point._replace(p_from_pu=None, q_from_pu=None, p_to_pu=None, q_to_pu=None)
    count = jnp.zeros_like(wanted, jnp.int32)
    return Settled(
        solution=point,
        gen_p_mw=moved,
        renewable_mw=renewable,
        served=served * lit[plant.load_bus],
        surplus_mw=surplus,
        spilled_mw=spilled,
        beyond_angle_rad=(beyond * order.closed * lit[plant.from_bus]).sum(0),
        shift_mw=(moved - order.gen_target_mw * on).sum(0),
        closed=order.closed,
        trip_round=jnp.zeros(order.closed.shape, jnp.int8),
        rounds=count,
        unstable=count > 0,
    )
