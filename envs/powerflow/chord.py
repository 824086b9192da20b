"""Newton's method with the Jacobian of the base point: one matrix product an iteration.

Also called the very dishonest Newton method. Near the base point it converges almost as fast as
Newton's own; a day's loads and dispatch are near enough for two to four iterations. It knows the
intact network only.
"""

import jax.numpy as jnp
import numpy as np

from envs.powerflow import iteration
from envs.powerflow.network import Network

MAX_ITERATIONS = 12


def correction(net: Network, problem: iteration.Problem) -> iteration.Correct:
    """Returns the step of the method, for grids whose network is intact."""
    turns = jnp.asarray(np.arange(net.n_bus)[:, None] != net.reference, net.dtype)
    unlike_base = problem.participation - net.participation

    def correct(x, dp, dq):
        # The inverse has the base point's participation in it. Losses aside, the slack moves by
        # the sum of mismatches, so that the difference can go to the other side beforehand.
        dp = dp - unlike_base * dp.sum(0)
        step = -(net.inverse_jacobian @ jnp.concatenate([dp, dq[: net.n_pq]]))
        slack, angle = step[net.reference], step[: net.n_bus] * turns
        vm = jnp.concatenate([step[net.n_bus :], jnp.zeros_like(x.vm[net.n_pq :])])
        return x.moved(vm, angle, slack)

    return correct
