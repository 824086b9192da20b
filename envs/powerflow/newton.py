"""AC power flow by Newton's method in polar coordinates, with a distributed slack.

The unknowns are the angles but one, the magnitudes of PQ buses, and one number that scales how far
all participating units move together to close the active balance. The equations are the active
balance at every bus and the reactive balance at PQ buses, as many as unknowns. The Jacobian is
Tinney and Hart's (IEEE Trans. PAS-86, 1967), with the column of an angle that is kept as reference
replaced by the participation factors, as in distributed-slack power flow (Tong and Miu, IEEE Trans.
Power Systems 20, 2005). It is dense and factorised in every iteration: the reference that the
faster methods fall back on.
"""

import chex
import jax.numpy as jnp
import numpy as np

from envs.powerflow import iteration
from envs.powerflow.balance import Voltages
from envs.powerflow.network import Network

MAX_ITERATIONS = 10


def correction(net: Network, problem: iteration.Problem) -> iteration.Correct:
    """Returns the step of the method, for grids in any state."""
    n = net.n_bus

    def correct(x, dp, dq):
        matrix = jacobian(net, problem, x)
        residual = jnp.concatenate([dp, dq]).T[..., None]
        step = -jnp.linalg.solve(matrix, residual)[..., 0].T
        angle = step[:n]
        kept = anchor(net, problem, x)
        slack = slack_among(angle, kept, problem.root)
        angle = jnp.where(kept, 0.0, angle)
        return x.moved(step[n:], angle, slack)

    return correct


def jacobian(net: Network, problem: iteration.Problem, x: Voltages) -> chex.Array:
    """Returns d(ΔP, ΔQ) / d(angles, magnitudes), `[batch, 2 n_bus, 2 n_bus]`.

    The angle of the reference bus (or of the first energised bus where that one is not) stands for
    the slack; where each island has one, an angle of each does. Rows of PV magnitudes, and of
    de-energised buses, fix their unknown.
    """
    n, batch, branch = net.n_bus, x.vm.shape[1], net.branch
    f, t = branch.from_bus, branch.to_bus
    v1 = branch.v1_base + x.vm[f] * branch.inverse_tap
    vt = branch.vt_base + x.vm[t]
    angle = branch.angle_base + (x.va[f] - x.va[t])
    sine, cosine = jnp.sin(angle), jnp.cos(angle)
    g, b, tap = branch.g, branch.b, branch.inverse_tap
    total = b + branch.half_charging
    # u and w are (g cos + b sin) and (g sin − b cos) seen from one end, and from the other.
    u_from, w_from = g * cosine + b * sine, g * sine - b * cosine
    u_to, w_to = g * cosine - b * sine, -g * sine - b * cosine
    both = v1 * vt
    entries = [
        # (row, column, value): active power at the from and at the to end, then reactive.
        (f, f, both * w_from), (f, t, -both * w_from),
        (f, n + f, (2 * g * v1 - vt * u_from) * tap), (f, n + t, -v1 * u_from),
        (t, t, both * w_to), (t, f, -both * w_to),
        (t, n + t, 2 * g * vt - v1 * u_to), (t, n + f, -vt * u_to * tap),
        (n + f, f, -both * u_from), (n + f, t, both * u_from),
        (n + f, n + f, (-2 * total * v1 - vt * w_from) * tap), (n + f, n + t, -v1 * w_from),
        (n + t, t, -both * u_to), (n + t, f, both * u_to),
        (n + t, n + t, -2 * total * vt - v1 * w_to), (n + t, n + f, -vt * w_to * tap),
    ]  # fmt: skip
    size = 2 * n
    place = np.concatenate([row * size + column for row, column, _ in entries])
    value = jnp.concatenate([jnp.broadcast_to(v, (net.n_branch, batch)) for _, _, v in entries])
    closed = problem.closed
    if closed is not None:
        value = value * jnp.tile(closed, (len(entries), 1))
    vm = net.vm_base + x.vm
    rows = np.arange(n)
    place = np.concatenate([place, rows * size + n + rows, (n + rows) * size + n + rows])
    value = jnp.concatenate([value, 2 * net.shunt_g * vm, -2 * net.shunt_b * vm])
    matrix = jnp.zeros((size * size, batch), vm.dtype).at[place].add(value)
    matrix = matrix.T.reshape(batch, size, size)

    kept = anchor(net, problem, x).T  # [batch, n]
    slack_column = jnp.concatenate([-problem.participation, jnp.zeros_like(vm)]).T
    is_slack = jnp.concatenate([kept, jnp.zeros_like(kept)], axis=1)
    slack_columns = slack_column[:, :, None]
    if problem.root is not None:  # each moves the units of its own island
        own = problem.root.T[:, :, None] == np.arange(n)
        slack_columns = slack_columns * jnp.pad(own, ((0, 0), (0, n), (0, n)))
    matrix = jnp.where(is_slack[:, None, :], slack_columns, matrix)
    solved = jnp.ones_like(vm) if problem.energised is None else problem.energised
    pv_to_pq = 0.0 if problem.pv_to_pq is None else problem.pv_to_pq
    of_pv = jnp.broadcast_to(pv_to_pq, (n - net.n_pq, batch))
    pq = jnp.concatenate([jnp.ones((net.n_pq, batch)), of_pv])
    keep = jnp.concatenate([solved, solved * pq]).T > 0
    return jnp.where(keep[:, :, None], matrix, jnp.eye(size, dtype=vm.dtype))


def slack_among(angle: chex.Array, kept: chex.Array, root: chex.Array | None) -> chex.Array:
    """Returns the slack, `[batch]` or `[n_bus, batch]`, of unknowns `[n_bus, batch]`.

    It stands in the place of the angles that are `kept`; `root` as in `iteration.Problem`.
    """
    slack = jnp.where(kept, angle, 0.0)
    return slack.sum(0) if root is None else jnp.take_along_axis(slack, root, 0)


def anchor(net: Network, problem: iteration.Problem, x: Voltages) -> chex.Array:
    """Returns which bus's angle is kept, bool `[n_bus, batch]`.

    That is one energised bus, or none; where each island has a slack of its own, one of each.
    """
    rows = jnp.arange(net.n_bus)[:, None]
    is_reference = rows == net.reference
    if problem.energised is None:
        return jnp.broadcast_to(is_reference, x.va.shape)
    energised = problem.energised > 0
    if problem.root is not None:
        return energised & (rows == problem.root)
    first = energised.argmax(0)
    return energised & (rows == jnp.where(energised[net.reference], net.reference, first))
