"""A power-flow problem for a batch of grids, and the loop that every iterative method runs."""

from collections.abc import Callable
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from envs.powerflow import balance
from envs.powerflow.balance import Balance, Powers, Voltages
from envs.powerflow.network import Network


class Problem(NamedTuple):
    """What is to be solved, internal bus order. None stands for "all in service"."""

    p: chex.Array  # `[n_bus, batch]` scheduled net active injection, pu
    q: chex.Array  # `[n_bus, batch]` net reactive injection, pu; used at PQ buses
    participation: chex.Array  # `[n_bus, batch]` shares of the slack, summing to one
    closed: chex.Array | None = None  # `[n_branch, batch]` 1 in service, 0 not
    pv_to_pq: chex.Array | None = None  # `[n_pv, batch]` 1 for PV buses turned PQ
    energised: chex.Array | None = None  # `[n_bus, batch]` 1 on what is solved, 0 off it
    # int `[n_bus, batch]` of `Islands.root`, where each island has a slack of its own, to which its
    # participation sums to one; none where there is one slack.
    root: chex.Array | None = None


def over_island(values: chex.Array, root: chex.Array | None) -> chex.Array:
    """Returns the sum of `values` `[n_bus, batch]` over each bus's island, `[n_bus, batch]`.

    Where there is one slack, and no `root`, that of all buses, `[batch]`.
    """
    if root is None:
        return values.sum(0)
    at = (root, jnp.broadcast_to(jnp.arange(root.shape[1]), root.shape))
    return jnp.take_along_axis(jnp.zeros_like(values).at[at].add(values), root, 0)


def energised_shares(
    participation: chex.Array,
    capacity: chex.Array,
    energised: chex.Array,
    root: chex.Array | None = None,
) -> chex.Array:
    """Returns the shares of the slack on what is energised, summing to one, all `[n_bus, batch]`.

    With `root` those of each island sum to one. Where no participating unit is left energised,
    those with capacity take part.
    """
    share = participation * energised
    share = jnp.where(over_island(share, root) > 0, share, capacity * energised)
    return share / jnp.maximum(over_island(share, root), 1e-9)


class Iterate(NamedTuple):
    """One iterate and what follows from it."""

    x: Voltages
    powers: Powers
    balance: Balance
    worst: chex.Array  # `[batch]` largest absolute mismatch, pu; not finite where it diverged


class MethodResult(NamedTuple):
    """What a method leaves, leaves `[…, batch]`."""

    last: Iterate  # its mismatch is infinite where it is no solution
    energised: chex.Array  # bool `[n_bus, batch]`
    iterations: chex.Array
    fell_back: chex.Array  # bool
    root: chex.Array | None = None  # of the problem


Correct = Callable[[Voltages, chex.Array, chex.Array], Voltages]


def mismatch(net: Network, problem: Problem, x: Voltages, at: Balance):
    """Returns (ΔP, ΔQ) `[n_bus, batch]` pu, zero where there is nothing to balance."""
    dp = at.p - problem.p - x.slack * problem.participation
    dq = at.q - problem.q
    pv_to_pq = jnp.zeros((), dp.dtype) if problem.pv_to_pq is None else problem.pv_to_pq
    of_pv = dq[net.n_pq :] * pv_to_pq
    dq = jnp.concatenate([dq[: net.n_pq], jnp.broadcast_to(of_pv, dq[net.n_pq :].shape)])
    if problem.energised is None:
        return dp, dq
    return dp * problem.energised, dq * problem.energised


def first_iterate(
    net: Network, vm: chex.Array, va: chex.Array, *, every_island: bool = False
) -> Voltages:
    """Returns the first iterate from deviations `[n_bus, batch]`."""
    low = jnp.zeros_like(vm) if net.compensated else None
    return Voltages(vm, va, jnp.zeros_like(vm if every_island else vm[0]), low, low)


def in_service(net: Network, problem: Problem) -> chex.Array | None:
    """Returns which branches carry power `[n_branch, batch]`, 1 or 0; none where all do."""
    if problem.energised is None:
        return problem.closed
    # A branch between de-energised buses carries nothing.
    return problem.closed * problem.energised[net.branch.from_bus]


def evaluate(net: Network, problem: Problem, x: Voltages) -> Iterate:
    """Returns the powers at `x` and how far they are from balance."""
    powers = balance.branch_powers(net, x, in_service(net, problem))
    at = balance.bus_balance(net, x, powers)
    dp, dq = mismatch(net, problem, x, at)
    # No solution has a voltage of zero or less.
    dp = jnp.where(x.vm > -net.vm_base, jnp.abs(dp), jnp.inf)
    worst = jnp.maximum(dp, jnp.abs(dq)).max(0)
    return Iterate(x, powers, at, worst)


def iterate(
    net: Network,
    problem: Problem,
    start: Voltages,
    correct: Correct,
    *,
    tolerance_pu: float,
    max_iterations: int,
    selected: chex.Array | None = None,
) -> MethodResult:
    """Applies `correct(x, ΔP, ΔQ)` to each grid until it is within tolerance, or given up.

    A grid stops where it is done, so that its result does not depend on the others of the batch.
    Those that are not `selected`, bool `[batch]`, stay at the start; by default all are.
    """

    def unfinished(last, iterations):
        open_ = ~(last.worst <= tolerance_pu) & (last.worst < jnp.inf)
        open_ = open_ if selected is None else open_ & selected
        return open_ & (iterations < max_iterations)

    def body(carry):
        last, iterations, open_ = carry
        moved = correct(last.x, *mismatch(net, problem, last.x, last.balance))
        x = jax.tree.map(lambda old, new: jnp.where(open_, new, old), last.x, moved)
        last, iterations = evaluate(net, problem, x), iterations + open_
        return last, iterations, unfinished(last, iterations)

    first = evaluate(net, problem, start)
    none = jnp.zeros(first.worst.shape, jnp.int32)
    # What is open is carried along: computed within other operations it would slow them down.
    last, iterations, _ = jax.lax.while_loop(
        lambda carry: carry[2].any(), body, (first, none, unfinished(first, none))
    )
    energised = jnp.ones_like(problem.p, bool)
    # Not a number, infinite, beyond the clip, and no unit left energised: none is a solution.
    good = jnp.isfinite(last.worst)
    good &= balance.within_clip(net, last.x, in_service(net, problem))
    if problem.energised is not None:
        energised = problem.energised > 0
        good = good & energised.any(0)
    worst = jnp.where(good, last.worst, jnp.inf)
    return MethodResult(
        last._replace(worst=worst), energised, iterations, jnp.full(worst.shape, False),
        problem.root,
    )  # fmt: skip
