"""Branch powers and bus balances from deviations of the voltages: the equations themselves."""

from __future__ import annotations

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from envs.case.grid import APPARENT_POWER, CURRENT_AT_FROM
from envs.powerflow.network import Network

_QUARTER_TURN = 0.5 * np.pi  # rad, where more angle starts to carry less power
# tan(h) / h as a polynomial in h² on [−π/4, π/4]: least squares, exact at zero, error 2e-8.
_TANGENT = (1.0, 0.33333144, 0.13339072, 0.053391859, 0.02449155, 0.0030309258, 0.0094336518)


class Voltages(NamedTuple):
    """Deviations from the base point, `[n_bus, batch]`, and what the slack took, pu.

    The slack is `[batch]`, or that of each bus's island `[n_bus, batch]`.
    """

    vm: chex.Array
    va: chex.Array
    slack: chex.Array
    # What rounding left out of `vm` and `va`: across a branch of 5,000 pu the last digit of an
    # angle is 1e-4 pu of power. None where no admittance is that large (`Network.compensated`).
    vm_low: chex.Array | None = None
    va_low: chex.Array | None = None

    def moved(self, vm: chex.Array, va: chex.Array, slack: chex.Array) -> Voltages:
        """Returns the voltages after a step."""
        if self.vm_low is None:
            return Voltages(self.vm + vm, self.va + va, self.slack + slack)
        vm, vm_low = _two_sum(self.vm, self.vm_low + vm)
        va, va_low = _two_sum(self.va, self.va_low + va)
        return Voltages(vm, va, self.slack + slack, vm_low, va_low)


class Powers(NamedTuple):
    """Complex power entering each branch at its ends, `[n_branch, batch]` pu."""

    p_from: chex.Array
    q_from: chex.Array
    p_to: chex.Array
    q_to: chex.Array


class Balance(NamedTuple):
    """What flows from each bus into the network, `[n_bus, batch]` pu."""

    p: chex.Array
    q: chex.Array


def branch_powers(net: Network, x: Voltages, closed: chex.Array | None) -> Powers:
    """Returns the power at both ends of every branch (MATPOWER manual, section 3.2).

    With V₁ behind the tap, θ across the branch, series admittance g + jb and charging c,

        P_from = g V₁ (V₁ − Vₜ cos θ) − b V₁ Vₜ sin θ
        Q_from = −b V₁ (V₁ − Vₜ cos θ) − ½ c V₁² − g V₁ Vₜ sin θ

    and alike at the other end. V₁ − Vₜ cos θ is taken as (V₁ − Vₜ) + Vₜ (1 − cos θ), both small and
    computed as such, where the usual sum of large terms would cancel. `closed` `[n_branch, batch]`
    is 1 for a branch in service and 0 for one that is not; none when all are.
    """
    branch = net.branch
    f, t = branch.from_bus, branch.to_bus
    dv_from, dv_to = x.vm[f] * branch.inverse_tap, x.vm[t]
    v1, vt = branch.v1_base + dv_from, branch.vt_base + dv_to
    drop, angle = dv_from - dv_to, x.va[f] - x.va[t]
    if x.vm_low is not None:
        drop = drop + (x.vm_low[f] * branch.inverse_tap - x.vm_low[t])
        angle = angle + (x.va_low[f] - x.va_low[t])
    drop = branch.drop_base + drop
    sine, versine = _sine_and_versine(branch.angle_base + angle)
    both = v1 * vt
    # Computed once: fused into each of the four results it would be computed four times.
    turn, bend = jax.lax.optimization_barrier((both * sine, both * versine))
    real_from, real_to = v1 * drop + bend, bend - vt * drop
    p_from = branch.g * real_from - branch.b * turn
    p_to = branch.g * real_to + branch.b * turn
    q_from = -branch.b * real_from - branch.half_charging * v1 * v1 - branch.g * turn
    q_to = -branch.b * real_to - branch.half_charging * vt * vt + branch.g * turn
    powers = Powers(p_from, q_from, p_to, q_to)
    return powers if closed is None else Powers(*(closed * power for power in powers))


def bus_balance(net: Network, x: Voltages, powers: Powers) -> Balance:
    """Returns the sum of branch and shunt powers at every bus."""
    ends = np.concatenate([net.branch.from_bus, net.branch.to_bus])
    square = (net.vm_base + x.vm) ** 2
    p = (net.shunt_g * square).at[ends].add(jnp.concatenate([powers.p_from, powers.p_to]))
    q = (-net.shunt_b * square).at[ends].add(jnp.concatenate([powers.q_from, powers.q_to]))
    return Balance(p, q)


def within_clip(net: Network, x: Voltages, closed: chex.Array | None) -> chex.Array:
    """Returns whether no branch in service is beyond a quarter turn, bool `[batch]`.

    There `branch_powers` are those of other voltages, so that an iterate is no solution.
    """
    branch = net.branch
    angle = jnp.abs(branch.angle_base + (x.va[branch.from_bus] - x.va[branch.to_bus]))
    angle = angle if closed is None else jnp.where(closed > 0, angle, 0.0)
    return angle.max(0) <= _QUARTER_TURN


def loading(net: Network, x: Voltages, powers: Powers) -> chex.Array:
    """Returns ρ `[n_branch, batch]`: what the more loaded end carries of its limit.

    That is apparent power or current, which is apparent power over voltage (`Grid.rated`).
    """
    square = powers.p_from**2 + powers.q_from**2
    at_to = powers.p_to**2 + powers.q_to**2
    if net.rated != APPARENT_POWER:
        vm = net.vm_base + x.vm
        square = square / vm[net.branch.from_bus] ** 2
        at_to = at_to / vm[net.branch.to_bus] ** 2
    if net.rated != CURRENT_AT_FROM:
        square = jnp.maximum(square, at_to)
    # The root has no slope at zero: a branch without power takes no part in a derivative.
    carries = square > 0
    return jnp.where(carries, jnp.sqrt(jnp.where(carries, square, 1.0)), 0.0) / net.branch.rate_pu


def _two_sum(a: chex.Array, b: chex.Array) -> tuple[chex.Array, chex.Array]:
    """Returns a + b, rounded, and what rounding left out of it (Knuth's TwoSum)."""
    total = a + b
    of_b = total - a
    return total, (a - (total - of_b)) + (b - of_b)


def _sine_and_versine(angle: chex.Array) -> tuple[chex.Array, chex.Array]:
    """Returns sin and 1 − cos of angles, which are clipped to a quarter turn (`within_clip`).

    Both follow from t = tan(θ/2), whose series is good to single precision here: arithmetic
    vectorises on every device, calls of a library do not.
    """
    half = 0.5 * jnp.clip(angle, -_QUARTER_TURN, _QUARTER_TURN)
    if half.dtype == jnp.float64:
        tangent = jnp.tan(half)
    else:
        square = half * half
        tangent = jnp.zeros_like(half)
        for coefficient in reversed(_TANGENT):
            tangent = tangent * square + coefficient
        tangent = half * tangent
    sine = 2.0 * tangent / (1.0 + tangent * tangent)
    return sine, tangent * sine
