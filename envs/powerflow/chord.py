"""Newton's method with the Jacobian of the base point: one matrix product an iteration.

Also called the very dishonest Newton method. Near the base point it converges almost as fast as
Newton's own; a day's loads and dispatch are near enough for two to four iterations. It knows the
intact network only.
"""

from __future__ import annotations

import chex
import jax.numpy as jnp
import numpy as np

from envs.powerflow import iteration
from envs.powerflow.balance import Voltages
from envs.powerflow.network import Network


def solve(
    net: Network,
    problem: iteration.Problem,
    start: Voltages,
    *,
    tolerance_pu: float,
    max_iterations: int = 12,
    wanted: chex.Array | None = None,
) -> iteration.Progress:
    """Solves lanes whose network is intact; arguments as in `iteration.iterate`."""
    turns = jnp.asarray(np.arange(net.n_bus)[:, None] != net.reference, net.dtype)
    unlike_base = problem.participation - net.participation

    def correct(x, dp, dq):
        # The inverse has the base point's participation in it. Losses aside, the slack moves by
        # the sum of mismatches, so that the difference can go to the other side beforehand.
        dp = dp - unlike_base * dp.sum(0)
        step = -(net.chord.inverse @ jnp.concatenate([dp, dq[: net.n_free]]))
        slack, angle = step[net.reference], step[: net.n_bus] * turns
        vm = jnp.concatenate([step[net.n_bus :], jnp.zeros_like(x.vm[net.n_free :])])
        return x.moved(vm, angle, slack)

    return iteration.iterate(
        net, problem, start, correct,
        tolerance_pu=tolerance_pu, max_iterations=max_iterations, wanted=wanted,
    )  # fmt: skip
