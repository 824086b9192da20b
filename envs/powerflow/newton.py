"""AC power flow by Newton's method in polar coordinates, with a distributed slack.

The unknowns are the voltage angles but one, the magnitudes at PQ buses, and one number that
scales how far all participating units move together to close the active power balance. The
equations are the active balance at every bus and the reactive balance at PQ buses, so there are
as many as unknowns. The Jacobian is Tinney and Hart's (IEEE Trans. PAS-86, 1967), with the
reference angle's column replaced by the participation factors, as in distributed-slack power
flow (Tong and Miu, IEEE Trans. Power Systems 20, 2005).
"""

from __future__ import annotations

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from envs import grid as grid_lib
from envs.powerflow import admittance

_TOLERANCE_PU = 1e-5  # 1 kW on a base of 100 MVA


class Network(NamedTuple):
    """What the solver needs of a grid, arrays of one floating type."""

    conductance: chex.Array  # G `[n_bus, n_bus]` pu
    susceptance: chex.Array  # B `[n_bus, n_bus]` pu
    holds_voltage: chex.Array  # bool `[n_bus]`, true at PV and reference buses
    reference: int
    tolerance_pu: float  # the mismatch that rounding lets a solution reach


class Solution(NamedTuple):
    """A solved operating point."""

    vm_pu: chex.Array  # `[n_bus]`
    va_rad: chex.Array  # `[n_bus]`, zero at the reference bus
    slack_pu: chex.Array  # total imbalance that the participating units took
    converged: chex.Array  # bool
    mismatch_pu: chex.Array  # largest absolute power mismatch left
    iterations: chex.Array


def network(grid: grid_lib.Grid, dtype=jnp.float32) -> Network:
    """Returns the solver's view of `grid`. Buses with a generator hold their voltage."""
    y_bus = admittance.bus_admittance(grid)
    holds = np.zeros(grid.n_bus, bool)
    holds[grid.gen.bus] = True
    # A bus's injection is a sum of terms as large as its row of |Y|; each is rounded.
    rounding = float(jnp.finfo(dtype).eps * np.abs(y_bus).sum(1).max())
    return Network(
        jnp.asarray(y_bus.real, dtype),
        jnp.asarray(y_bus.imag, dtype),
        jnp.asarray(holds),
        grid.reference_bus,
        max(_TOLERANCE_PU, rounding),
    )


def injections(net: Network, vm_pu: chex.Array, va_rad: chex.Array):
    """Returns the power (P, Q) that flows from each bus into the network, `[n_bus]` pu each."""
    e, f = vm_pu * jnp.cos(va_rad), vm_pu * jnp.sin(va_rad)
    real = net.conductance @ e - net.susceptance @ f
    imag = net.conductance @ f + net.susceptance @ e
    return e * real + f * imag, f * real - e * imag


def solve(
    net: Network,
    p_pu: chex.Array,
    q_pu: chex.Array,
    vm_setpoint_pu: chex.Array,
    participation: chex.Array,
    vm_start_pu: chex.Array,
    va_start_rad: chex.Array,
    *,
    tolerance_pu: float | None = None,
    max_iterations: int = 10,
) -> Solution:
    """Solves the power balance of one grid. Use `jax.vmap` for a batch.

    Args:
      net: the network.
      p_pu: scheduled net active injection `[n_bus]`.
      q_pu: net reactive injection `[n_bus]`; not used at buses that hold their voltage.
      vm_setpoint_pu: `[n_bus]`, used at buses that hold their voltage.
      participation: share of the imbalance taken at each bus `[n_bus]`, summing to one.
      vm_start_pu: starting magnitudes `[n_bus]`; a neighbouring solution saves iterations.
      va_start_rad: starting angles `[n_bus]`.
      tolerance_pu: largest mismatch accepted; by default 1e-5, or what rounding allows if that is
        more (1e-4 for 118 buses in single precision).
      max_iterations: Newton steps before giving up.

    Returns:
      The solution. Where `converged` is false the voltages are the last iterate and may not be
      finite: use them only after a check.
    """
    chex.assert_equal_shape([p_pu, q_pu, vm_setpoint_pu, participation, vm_start_pu, va_start_rad])
    tolerance_pu = net.tolerance_pu if tolerance_pu is None else tolerance_pu
    n = p_pu.shape[0]
    free_vm = ~net.holds_voltage
    reference_column = jnp.arange(n) == net.reference

    def mismatch(vm, va, slack):
        p, q = injections(net, vm, va)
        return p - p_pu - slack * participation, jnp.where(free_vm, q - q_pu, 0.0), p, q

    def newton_step(vm, va, slack, dp, dq, p, q):
        jacobian = _jacobian(net, vm, va, p, q)
        # The reference angle is known; its place is taken by the slack.
        angle = jnp.where(reference_column[None, :], 0.0, jacobian[:, :n])
        angle = angle.at[:n, net.reference].set(-participation)
        rows = jnp.concatenate([jnp.ones(n, bool), free_vm])
        full = jnp.concatenate([angle, jacobian[:, n:]], axis=1)
        held = jnp.concatenate([jnp.zeros((n, n), full.dtype), jnp.eye(n, dtype=full.dtype)], 1)
        held = jnp.concatenate([jnp.zeros_like(held), held])
        full = jnp.where(rows[:, None], full, held)
        delta = jnp.linalg.solve(full, -jnp.concatenate([dp, dq]))
        d_angle, d_vm = delta[:n], delta[n:]
        slack = slack + d_angle[net.reference]
        return vm * (1.0 + d_vm), va + jnp.where(reference_column, 0.0, d_angle), slack

    def unfinished(carry):
        _, _, _, residual, _, iteration = carry
        worst = residual_size(residual)
        return (iteration < max_iterations) & ~(worst <= tolerance_pu) & (worst < jnp.inf)

    def residual_size(residual):
        dp, dq = residual
        return jnp.maximum(jnp.abs(dp).max(), jnp.abs(dq).max())

    def body(carry):
        vm, va, slack, (dp, dq), (p, q), iteration = carry
        vm, va, slack = newton_step(vm, va, slack, dp, dq, p, q)
        dp, dq, p, q = mismatch(vm, va, slack)
        return vm, va, slack, (dp, dq), (p, q), iteration + 1

    vm = jnp.where(free_vm, vm_start_pu, vm_setpoint_pu)
    va = va_start_rad - va_start_rad[net.reference]
    slack = jnp.zeros((), p_pu.dtype)
    dp, dq, p, q = mismatch(vm, va, slack)
    vm, va, slack, residual, _, iterations = jax.lax.while_loop(
        unfinished, body, (vm, va, slack, (dp, dq), (p, q), jnp.int32(0))
    )
    worst = residual_size(residual)
    converged = (worst <= tolerance_pu) & jnp.all(vm > 0)
    return Solution(vm, va, slack, converged, worst, iterations)


def _jacobian(net: Network, vm, va, p, q) -> chex.Array:
    """Returns d(P, Q) / d(angle, relative magnitude), `[2 n_bus, 2 n_bus]`."""
    g, b = net.conductance, net.susceptance
    e, f = vm * jnp.cos(va), vm * jnp.sin(va)
    cosine = e[:, None] * e[None, :] + f[:, None] * f[None, :]  # Vi Vj cos(θi − θj)
    sine = f[:, None] * e[None, :] - e[:, None] * f[None, :]  # Vi Vj sin(θi − θj)
    h = g * sine - b * cosine
    n = g * cosine + b * sine
    # On the diagonal these formulas give −B V² and G V²; the injections complete them.
    p, q = jnp.diag(p), jnp.diag(q)
    return jnp.block([[h - q, n + p], [p - n, h + q]])
