"""The fast decoupled method (Stott and Alsac, IEEE Trans. PAS-93, 1974), with outages.

Angles follow active power through B′, magnitudes follow reactive power through B″, both constant:
an iteration is two matrix products. Branches out of service and PV buses turned PQ change
B′ and B″ in few places, so that the solution is corrected instead of the matrix being factorised
again (Alsac, Stott and Tinney, IEEE Trans. PAS-102, 1983).
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from envs.powerflow import iteration
from envs.powerflow.islands import Islands
from envs.powerflow.network import GROUND_PU, Network

BRANCH_SLOTS = 10  # branches out of service that a grid may have
MAX_ITERATIONS = 20  # pairs of corrections
ISLAND_SLOTS = 3  # islands that it may have beyond the reference bus's own


class LowRank(NamedTuple):
    """A matrix A changed by Σ cₖ aₖ aₖᵀ with aₖ = sₖ e_i − e_j: what corrects A⁻¹ r.

    (A + U C Uᵀ)⁻¹ = A⁻¹ − W (C⁻¹ + Uᵀ W)⁻¹ Uᵀ A⁻¹ with W = A⁻¹ U (Woodbury).
    """

    i: chex.Array  # `[slots, batch]` row, or the number of rows for none
    j: chex.Array
    scale: chex.Array  # `[slots, batch]`
    spread: chex.Array  # W `[slots, n, batch]`
    core: chex.Array  # (C⁻¹ + Uᵀ W)⁻¹ `[slots, slots, batch]`


class PvToPq(NamedTuple):
    """The PV buses turned PQ, and what follows of `Decoupled.pv`."""

    row: chex.Array  # `[slots, batch]` among the PV buses
    inverse: chex.Array  # over these rows `[slots, slots, batch]`, zero in slots that are not used


class NetworkChanges(NamedTuple):
    """How grids differ from the intact network."""

    angle: LowRank
    magnitude: LowRank
    pv_to_pq: PvToPq


def correction(
    net: Network, problem: iteration.Problem, changes: NetworkChanges | None = None
) -> iteration.Correct:
    """Returns the step of the method: a correction of angles, and one of magnitudes.

    `changes` are `network_changes` of the problem; none for an intact network.
    """
    matrices, n_pq = net.decoupled, net.n_pq

    def correct_angles(x, dp):
        # Without losses the slack moves by the sum of mismatches, and the rest sums to zero.
        total = iteration.over_island(dp, problem.root)
        rhs = (dp - problem.participation * total) / (net.vm_base + x.vm)
        step = matrices.angle @ rhs
        if changes is not None:
            step = corrected(changes.angle, step)
        return x.moved(jnp.zeros_like(step), -step, total)

    def correct_magnitudes(x, dq):
        rhs = dq / (net.vm_base + x.vm)
        step = matrices.magnitude @ rhs[:n_pq]
        if changes is None:
            return moved(x, -step, jnp.zeros_like(rhs[n_pq:]))
        step = corrected(changes.magnitude, step)
        step, of_pv = jax.lax.cond(problem.pv_to_pq.any(), with_pv_to_pq, all_pv, step, rhs)
        return moved(x, -step, -of_pv)

    def moved(x, of_pq, of_pv):
        vm = jnp.concatenate([of_pq, of_pv])
        return x.moved(vm, jnp.zeros_like(vm), jnp.zeros_like(x.slack))

    def with_pv_to_pq(step, rhs):
        row, inverse = changes.pv_to_pq
        rest = rhs[n_pq:] - matrices.follow.T @ rhs[:n_pq]
        moves = (inverse * jnp.take_along_axis(rest, row, 0)).sum(1)
        of_pv = jnp.zeros_like(rest).at[row, jnp.arange(row.shape[1])].add(moves)
        return step - matrices.follow @ of_pv, of_pv

    def all_pv(step, rhs):
        return step, jnp.zeros_like(rhs[n_pq:])

    def correct(x, dp, dq):
        x = correct_angles(x, dp)
        between = iteration.evaluate(net, problem, x)
        _, dq = iteration.mismatch(net, problem, x, between.balance)
        return correct_magnitudes(x, dq)

    return correct


def network_changes(
    net: Network,
    closed: chex.Array,
    pv_to_pq: chex.Array,
    islands: Islands,
    pv_to_pq_slots: int | None = None,
) -> tuple[NetworkChanges, chex.Array]:
    """Returns what corrects the matrices, and which grids it suffices for, bool `[batch]`.

    `closed` and `pv_to_pq` as in `iteration.Problem`, `pv_to_pq_slots` as in `solve.SolverOptions`.
    """
    n, n_pq, dtype = net.n_bus, net.n_pq, net.dtype
    out, branch, n_out = _first_rows(closed < 0.5, BRANCH_SLOTS)
    # Every island but the reference bus's own needs an angle tied to zero.
    rows = jnp.arange(n)[:, None]
    elsewhere = (islands.label == rows) & (islands.label != islands.label[net.reference])
    tied, bus, n_tied = _first_rows(elsewhere, ISLAND_SLOTS)

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
    to_pq = lambda index: jnp.where(index < n_pq, index, n_pq)
    any_pq = used & ((i < n_pq) | (j < n_pq))
    magnitude = _low_rank(
        net.decoupled.magnitude, to_pq(i), to_pq(j), scale, by_susceptance, any_pq
    )
    turned, n_turned = _pv_to_pq(net, pv_to_pq, pv_to_pq_slots)
    enough = (n_out <= BRANCH_SLOTS) & (n_tied <= ISLAND_SLOTS)
    return NetworkChanges(angle, magnitude, turned), enough & (n_turned <= len(turned.row))


def _pv_to_pq(net: Network, pv_to_pq: chex.Array, slots: int | None) -> tuple[PvToPq, chex.Array]:
    """Returns the PV buses turned PQ, in `slots` or all, and how many there are `[batch]`."""
    n_pv = len(pv_to_pq)
    used, row, count = _first_rows(pv_to_pq > 0.5, n_pv if slots is None else slots)
    both = used[:, None] & used[None]

    def inverse():
        eye = np.eye(len(row), dtype=net.dtype)[..., None]
        matrices = jnp.where(both, net.decoupled.pv[row[:, None], row[None]], eye)
        if len(row) == n_pv:  # However many: LAPACK does not mind.
            inverses = jnp.moveaxis(jnp.linalg.inv(jnp.moveaxis(matrices, -1, 0)), 0, -1)
        else:
            inverses = _inverses(matrices, _count(used))
        return jnp.where(both, inverses, 0.0)

    blank = lambda: jnp.zeros(both.shape, net.dtype)
    return PvToPq(row, jax.lax.cond(pv_to_pq.any(), inverse, blank)), count


def _first_rows(marked: chex.Array, slots: int):
    """Returns (used, index) `[slots, batch]` of marked rows, and how many are marked `[batch]`."""
    slots = min(slots, marked.shape[0])
    value, index = jax.lax.top_k(marked.T.astype(jnp.float32), slots)
    return value.T > 0, index.T, marked.sum(0)


def _count(used: chex.Array) -> chex.Array:
    """Returns how many slots there are up to the last that any grid uses."""
    number = 1 + jnp.arange(len(used))
    return jnp.where(used.any(1), number, 0).max()


def _low_rank(inverse, i, j, scale, weight, used) -> LowRank:
    """Returns the correction of `inverse` `[n, n]` for changes `weight · a aᵀ` in used slots."""
    n = inverse.shape[0]
    padded = jnp.concatenate([inverse, jnp.zeros((1, n), inverse.dtype)])
    wide = scale[..., None] * padded[i] - padded[j]  # [slots, batch, n]; the inverse is symmetric
    spread = jnp.where(used[..., None], wide, 0.0).transpose(0, 2, 1)
    slots = i.shape[0]
    projected = jax.vmap(lambda w: _difference(w, i, j, scale, used), out_axes=1)(spread)
    diagonal = jnp.where(used, 1.0 / weight, 1.0)
    core = projected + diagonal[:, None, :] * np.eye(slots)[:, :, None]
    return LowRank(i, j, jnp.where(used, scale, 0.0), spread, _inverses(core, _count(used)))


def _inverses(matrices: chex.Array, count: chex.Array) -> chex.Array:
    """Returns the inverses of small `matrices` `[n, n, batch]`, by Gauss and Jordan with pivots.

    The whole batch at once and the batch last, where LAPACK takes one after another and the batch
    first, and no farther than `count`, beyond which they are the identity's.
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
    """Returns sₖ values[i] − values[j] `[slots, batch]` of `values` `[n, batch]`."""
    padded = jnp.concatenate([values, jnp.zeros((1, values.shape[1]), values.dtype)])
    difference = scale * jnp.take_along_axis(padded, i, 0) - jnp.take_along_axis(padded, j, 0)
    return jnp.where(used, difference, 0.0)


def corrected(change: LowRank, step: chex.Array) -> chex.Array:
    """Returns the changed matrix's solution from the unchanged one's, `[n, batch]`."""
    across = _difference(step, change.i, change.j, change.scale, change.scale != 0)
    # Written out, as products of small matrices one by one would be transposed first.
    share = (change.core * across).sum(1)
    return step - (change.spread * share[:, None]).sum(0)
