"""The fast decoupled method (Stott and Alsac, IEEE Trans. PAS-93, 1974), with outages.

Angles follow active power through B′, magnitudes follow reactive power through B″, both constant:
an iteration is two matrix products. Branches out of service and buses whose generator has stopped
holding the voltage change B′ and B″ in few places, so that the solution is corrected instead of
the matrix being factorised again (Alsac, Stott and Tinney, IEEE Trans. PAS-102, 1983).
"""

from __future__ import annotations

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from envs.powerflow import iteration
from envs.powerflow.balance import Voltages
from envs.powerflow.islands import Islands
from envs.powerflow.network import GROUND_PU, Network

BRANCH_SLOTS = 10  # branches out of service that a lane may have
ISLAND_SLOTS = 3  # islands besides the reference bus's own


class LowRank(NamedTuple):
    """A matrix A changed by Σ cₖ aₖ aₖᵀ with aₖ = sₖ e_i − e_j: what corrects A⁻¹ r.

    (A + U C Uᵀ)⁻¹ = A⁻¹ − W (C⁻¹ + Uᵀ W)⁻¹ Uᵀ A⁻¹ with W = A⁻¹ U (Woodbury).
    """

    i: chex.Array  # `[slots, lanes]` row, or the number of rows for none
    j: chex.Array
    scale: chex.Array  # `[slots, lanes]`
    spread: chex.Array  # W `[slots, n, lanes]`
    core: chex.Array  # (C⁻¹ + Uᵀ W)⁻¹ `[slots, slots, lanes]`


class Freed(NamedTuple):
    """The buses whose generators hold the voltage no more, and what follows of `Decoupled.held`."""

    row: chex.Array  # `[slots, lanes]` of the held buses
    inverse: chex.Array  # over these rows `[slots, slots, lanes]`, zero in slots that are not used


class Changes(NamedTuple):
    """How lanes differ from the intact network."""

    angle: LowRank
    magnitude: LowRank
    freed: Freed


def solve(
    net: Network,
    problem: iteration.Problem,
    start: Voltages,
    *,
    tolerance_pu: float,
    max_iterations: int = 20,
    changes: Changes | None = None,
    wanted: chex.Array | None = None,
) -> iteration.Progress:
    """Solves lanes by alternating angle and magnitude corrections.

    Args:
      net: the network.
      problem: what to solve.
      start: the first iterate.
      tolerance_pu: largest mismatch accepted.
      max_iterations: pairs of corrections before giving up.
      changes: what `changes_of` says of the problem; none for an intact network.
      wanted: bool `[lanes]`, lanes that matter; by default all.
    """
    matrices, n_free = net.decoupled, net.n_free

    def angles(x, dp):
        # Without losses the slack moves by the sum of mismatches, and the rest sums to zero.
        total = dp.sum(0)
        rhs = (dp - problem.participation * total) / (net.vm_base + x.vm)
        step = matrices.angle @ rhs
        if changes is not None:
            step = corrected(changes.angle, step)
        return x.moved(jnp.zeros_like(step), -step, total)

    def magnitudes(x, dq):
        rhs = dq / (net.vm_base + x.vm)
        step = matrices.magnitude @ rhs[:n_free]
        if changes is None:
            return up(x, -step, jnp.zeros_like(rhs[n_free:]))
        step = corrected(changes.magnitude, step)
        step, held = jax.lax.cond(problem.freed.any(), with_freed, without_freed, step, rhs)
        return up(x, -step, -held)

    def up(x, free, held):
        vm = jnp.concatenate([free, held])
        return x.moved(vm, jnp.zeros_like(vm), jnp.zeros_like(x.slack))

    def with_freed(step, rhs):
        row, inverse = changes.freed
        rest = rhs[n_free:] - matrices.follow.T @ rhs[:n_free]
        moves = (inverse * jnp.take_along_axis(rest, row, 0)).sum(1)
        held = jnp.zeros_like(rest).at[row, jnp.arange(row.shape[1])].add(moves)
        return step - matrices.follow @ held, held

    def without_freed(step, rhs):
        return step, jnp.zeros_like(rhs[n_free:])

    def correct(x, dp, dq):
        x = angles(x, dp)
        between = iteration.evaluate(net, problem, x)
        _, dq = iteration.mismatch(net, problem, x, between.balance)
        return magnitudes(x, dq)

    return iteration.iterate(
        net, problem, start, correct,
        tolerance_pu=tolerance_pu, max_iterations=max_iterations, wanted=wanted,
    )  # fmt: skip


def changes_of(
    net: Network,
    closed: chex.Array,
    freed: chex.Array,
    islands: Islands,
    freed_slots: int | None = None,
) -> tuple[Changes, chex.Array]:
    """Returns what corrects the matrices, and which lanes it suffices for, bool `[lanes]`.

    Args:
      net: the network.
      closed: `[n_branch, lanes]` 1 in service, 0 not.
      freed: `[n_held, lanes]` 1 where no generator holds the voltage.
      islands: what `islands.find` says of `closed`.
      freed_slots: freed buses that a lane may have, at least 1, by default all: fewer cost less.
    """
    n, n_free, dtype = net.n_bus, net.n_free, net.dtype
    out, branch, n_out = _chosen(closed < 0.5, BRANCH_SLOTS)
    # Every island but the reference bus's own needs an angle tied to zero.
    rows = jnp.arange(n)[:, None]
    elsewhere = (islands.label == rows) & (islands.label != islands.label[net.reference])
    tied, bus, n_tied = _chosen(elsewhere, ISLAND_SLOTS)

    f, t = jnp.asarray(net.branch.from_bus)[branch], jnp.asarray(net.branch.to_bus)[branch]
    none = jnp.full_like(bus, n)
    i = jnp.concatenate([jnp.where(out, f, n), jnp.where(tied, bus, n)])
    j = jnp.concatenate([jnp.where(out, t, n), none])
    used = jnp.concatenate([out, tied])
    b, x, tap = (
        column[:, 0][branch] for column in (net.branch.b, net.branch.x, net.branch.inverse_tap)
    )
    ground = jnp.full(bus.shape, GROUND_PU, dtype)
    by_reactance = jnp.concatenate([-1.0 / x, ground])
    by_susceptance = jnp.concatenate([b, ground])
    ones = jnp.ones_like(by_reactance)
    scale = jnp.concatenate([tap, jnp.ones_like(ground)])
    angle = _low_rank(net.decoupled.angle, i, j, ones, by_reactance, used)
    to_free = lambda index: jnp.where(index < n_free, index, n_free)
    any_free = used & ((i < n_free) | (j < n_free))
    magnitude = _low_rank(
        net.decoupled.magnitude, to_free(i), to_free(j), scale, by_susceptance, any_free
    )
    released, n_freed = _freed(net, freed, freed_slots)
    enough = (n_out <= BRANCH_SLOTS) & (n_tied <= ISLAND_SLOTS)
    return Changes(angle, magnitude, released), enough & (n_freed <= len(released.row))


def _freed(net: Network, freed: chex.Array, slots: int | None) -> tuple[Freed, chex.Array]:
    """Returns the freed buses, in `slots` or all, and how many there are `[lanes]`."""
    n_held = len(freed)
    used, row, count = _chosen(freed > 0.5, n_held if slots is None else slots)
    both = used[:, None] & used[None]

    def inverse():
        eye = np.eye(len(row), dtype=net.dtype)[..., None]
        matrices = jnp.where(both, net.decoupled.held[row[:, None], row[None]], eye)
        if len(row) == n_held:  # However many: LAPACK does not mind.
            found = jnp.moveaxis(jnp.linalg.inv(jnp.moveaxis(matrices, -1, 0)), 0, -1)
        else:
            found = _inverses(matrices, _count(used))
        return jnp.where(both, found, 0.0)

    blank = lambda: jnp.zeros(both.shape, net.dtype)
    return Freed(row, jax.lax.cond(freed.any(), inverse, blank)), count


def _chosen(marked: chex.Array, slots: int):
    """Returns (used, index) `[slots, lanes]` of marked rows, and how many there are `[lanes]`."""
    slots = min(slots, marked.shape[0])
    value, index = jax.lax.top_k(marked.T.astype(jnp.float32), slots)
    return value.T > 0, index.T, marked.sum(0)


def _count(used: chex.Array) -> chex.Array:
    """Returns how many slots there are up to the last that any lane uses."""
    number = 1 + jnp.arange(len(used))
    return jnp.where(used.any(1), number, 0).max()


def _low_rank(inverse, i, j, scale, weight, used) -> LowRank:
    """Returns the correction of `inverse` `[n, n]` for changes `weight · a aᵀ` in used slots."""
    n = inverse.shape[0]
    padded = jnp.concatenate([inverse, jnp.zeros((1, n), inverse.dtype)])
    wide = scale[..., None] * padded[i] - padded[j]  # [slots, lanes, n]; the inverse is symmetric
    spread = jnp.where(used[..., None], wide, 0.0).transpose(0, 2, 1)
    slots = i.shape[0]
    projected = jax.vmap(lambda w: _difference(w, i, j, scale, used), out_axes=1)(spread)
    diagonal = jnp.where(used, 1.0 / weight, 1.0)
    core = projected + diagonal[:, None, :] * np.eye(slots)[:, :, None]
    return LowRank(i, j, jnp.where(used, scale, 0.0), spread, _inverses(core, _count(used)))


def _inverses(matrices: chex.Array, count: chex.Array) -> chex.Array:
    """Returns the inverses of small `matrices` `[n, n, lanes]`, by Gauss and Jordan with pivots.

    All lanes at once and lanes last, where LAPACK takes one after another and lanes first, and no
    farther than `count`, beyond which they are the identity's.
    """
    n = len(matrices)
    rows = jnp.arange(n)[:, None]
    eye = jnp.broadcast_to(jnp.eye(n, dtype=matrices.dtype)[..., None], matrices.shape)

    def eliminate(k, both):
        column = both[:, k]
        best = jnp.where(rows >= k, jnp.abs(column), -1.0).argmax(0)
        is_best, is_k = rows == best, rows == k
        pivot = jnp.where(is_best[:, None], both, 0.0).sum(0)
        both = jnp.where(is_best[:, None], both[k], both)
        factor = jnp.where(is_k, 0.0, jnp.where(is_best, column[k], column))
        pivot = pivot / pivot[k]
        return jnp.where(is_k[:, None], pivot, both - factor[:, None] * pivot)

    return jax.lax.fori_loop(0, count, eliminate, jnp.concatenate([matrices, eye], 1))[:, n:]


def _difference(values, i, j, scale, used):
    """Returns sₖ values[i] − values[j] `[slots, lanes]` of `values` `[n, lanes]`."""
    padded = jnp.concatenate([values, jnp.zeros((1, values.shape[1]), values.dtype)])
    difference = scale * jnp.take_along_axis(padded, i, 0) - jnp.take_along_axis(padded, j, 0)
    return jnp.where(used, difference, 0.0)


def corrected(change: LowRank, step: chex.Array) -> chex.Array:
    """Returns the changed matrix's solution from the unchanged one's, `[n, lanes]`."""
    seen = _difference(step, change.i, change.j, change.scale, change.scale != 0)
    # Written out, as products of small matrices lane by lane would be transposed first.
    share = (change.core * seen).sum(1)
    return step - (change.spread * share[:, None]).sum(0)
