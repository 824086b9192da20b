"""The balance of a step: what units, loads, wind and sun do, island by island.

Every array has the lanes of a batch as its last axis.
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from envs.schedule import sharing
from envs.step.dispatch import DispatchRequest
from envs.step.grid_model import GridModel

_MARGIN = 0.01  # of Pmax: a unit this near to a limit does not share the change of losses


class PowerBalance(NamedTuple):
    """Powers that add up but for the change of losses, MW; `[…, lanes]`."""

    gen_p_mw: chex.Array  # `[n_gen]`
    load_p_mw: chex.Array  # `[n_load]` that is served
    renewable_mw: chex.Array  # `[n_renewable]`
    other_mw: chex.Array  # `[n_bus]`
    gen_on: chex.Array  # `[n_gen]` 1 in service on an energised bus
    served: chex.Array  # `[]` share of load on energised buses; `[n_load]` of several islands
    surplus_mw: chex.Array
    spilled_mw: chex.Array


def _balance(model: GridModel, request: DispatchRequest, energised: chex.Array) -> PowerBalance:
    """Returns what units, loads, wind and sun do on the energised buses, float `[n_bus, lanes]`."""
    # 1. Units share what loads and losses need and nothing else produces.
    load_p = request.load_p_mw * energised[model.load_bus]
    renewable = request.renewable_mw * energised[model.renewable_bus]
    on = request.gen_on * energised[model.gen_bus]
    other = request.other_mw * energised
    load = load_p.sum(0)
    demand = load + request.losses_mw - renewable.sum(0) - other.sum(0)
    low, high = request.gen_low_mw * on, request.gen_high_mw * on
    gen_p = jnp.clip(request.gen_target_mw, low, high)
    if model.first_weight is not None:
        gen_p, _ = sharing.share(gen_p, low, high, model.first_weight * on, demand)
    gen_p, rest = sharing.share(gen_p, low, high, model.weight * on, demand)
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
    return PowerBalance(gen_p, load_p * served, renewable, other, on, served, surplus, spilled)


def _slack_weight(model: GridModel, balance: PowerBalance) -> chex.Array:
    """Returns each unit's share of the change of losses `[n_gen, lanes]`, adding up to 1.

    Units at a limit leave it to the others, unless all are at one. Those that balance before the
    others take all of it as long as one of them is between its limits.
    """
    margin = _MARGIN * model.p_max_mw
    gen_p = balance.gen_p_mw
    between = (gen_p > model.p_min_mw + margin) & (gen_p < model.p_max_mw - margin)
    active = model.weight * balance.gen_on
    weight = jnp.where(between & (balance.gen_on > 0), active, 0.0)
    weight = jnp.where(weight.sum(0) > 0, weight, active)
    if model.first_weight is not None:
        first = jnp.where(model.first_weight > 0, weight, 0.0)
        weight = jnp.where(first.sum(0) > 0, first, weight)
    return weight / jnp.maximum(weight.sum(0), 1e-9)


def shared(
    model: GridModel, request: DispatchRequest, energised: chex.Array, root: chex.Array | None
) -> tuple[PowerBalance, chex.Array]:
    """Returns the balance, and each unit's share of the change of losses on its island.

    Where several islands are live each is balanced by itself; the losses that are expected are
    theirs as those of the last step were.
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
    lost = (_losses_at_buses(model, request) * parts).sum(1)
    losses = request.losses_mw * lost / jnp.maximum(lost.sum(0), 1e-9)

    def of_island(part, losses_mw):
        balance = _balance(model, request._replace(losses_mw=losses_mw), part)
        # Where no load is, all of it is served; it must not count as served by each island.
        served = balance.served * part[model.load_bus]
        return balance._replace(served=served), _slack_weight(model, balance)

    total = lambda leaf: leaf.sum(0)
    return jax.tree.map(total, jax.vmap(of_island)(parts, losses))


def _losses_at_buses(model: GridModel, request: DispatchRequest) -> chex.Array:
    """Returns the losses at the voltages before, pu `[n_bus, lanes]`, of a branch half at each end.

    Of branches in service between buses that were energised: g |V₁ − Vₜ|², V₁ behind the tap. They
    only say how losses are spread, and have no derivative.
    """
    branch, vm, va = model.net.branch, request.vm_start_pu, request.va_start_rad
    f, t = model.from_bus, model.to_bus
    v1, vt = vm[f] * branch.inverse_tap, vm[t]
    cosine = jnp.cos(va[f] - va[t] - model.shift_rad)
    lost = branch.g * jnp.maximum(v1 * v1 + vt * vt - 2.0 * v1 * vt * cosine, 0.0)
    lost = jnp.where((v1 > 0) & (vt > 0), lost * request.closed, 0.0)
    return jax.lax.stop_gradient(jnp.zeros_like(vm).at[f].add(0.5 * lost).at[t].add(0.5 * lost))
