"""The DC power flow: voltages of 1 pu, no losses, small angles (MATPOWER manual, section 3.7)."""

import jax.numpy as jnp

from envs.powerflow import fast_decoupled, iteration
from envs.powerflow.balance import Powers, Voltages, bus_balance
from envs.powerflow.network import Network

_REPEATS = 12


def solve(
    net: Network, problem: iteration.Problem, changes: fast_decoupled.NetworkChanges
) -> iteration.Iterate:
    """Returns voltages of 1 pu everywhere, active flows, balances and the mismatch.

    The problem says what is in service, `changes` are `fast_decoupled.network_changes` of it.
    """
    branch, vm = net.branch, jnp.zeros_like(problem.p)
    weight = problem.closed * branch.inverse_tap / branch.x
    f, t = branch.from_bus, branch.to_bus

    def flows(va):
        return weight * (branch.angle_base + (va[f] - va[t]))

    def residual(x):
        flow = flows(x.va)
        left = (net.shunt_g + vm).at[f].add(flow).at[t].add(-flow)
        return (left - problem.p - x.slack * problem.participation) * problem.energised

    x = Voltages(vm + 1.0 - net.vm_base, vm, vm[0] if problem.root is None else vm)
    # B′ of the fast decoupled method leaves the taps out, which repeating makes up for.
    for _ in range(_REPEATS):
        dp = residual(x)
        total = iteration.over_island(dp, problem.root)
        step = net.decoupled.angle @ (dp - problem.participation * total)
        step = fast_decoupled.corrected(changes.angle, step)
        x = x._replace(va=x.va - step, slack=x.slack + total)
    flow = flows(x.va)
    none = jnp.zeros_like(flow)
    powers = Powers(flow, none, -flow, none)
    at = bus_balance(net, x, powers)._replace(q=jnp.zeros_like(problem.q))
    return iteration.Iterate(x, powers, at, jnp.abs(residual(x)).max(0))
