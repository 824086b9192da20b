"""N−1 screening: how loaded the grid would be after the outage of each of its branches.

    screen = screening.screener(distribution_factors.build(grid))
    screened = screen(solution, closed)  # of `powerflow.solve`, one grid; `jax.vmap` for a batch
    confirmed = screening.confirmer(net)(request, solution, screened.worst)

`docs/contingency.md` has formulas, agreement with AC outages, and cost.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from envs.contingency.distribution_factors import Factors
from envs.powerflow import lanes, solve
from envs.powerflow.fast_decoupled import BRANCH_SLOTS
from envs.powerflow.network import Network

_SINGULAR = 1e-3  # what is left of 1 − h where an outage cuts a part off, single precision


class Screening(NamedTuple):
    """What the outages of one grid would do; sorted so that nothing else is needed of them."""

    # `[n_branch]` of the most loaded branch left, by outage; 0 where already out
    loading: chex.Array
    margin: chex.Array  # 1 − the largest of them
    insecure: chex.Array  # int, outages that overload something
    worst: chex.Array  # int `[k]`, outages, the worst first
    islanded_pu: chex.Array  # `[n_branch]` power exchanged with what an outage cuts off, else 0
    sound: chex.Array  # bool: flows are finite and not more branches out than can be corrected for


class Confirmation(NamedTuple):
    """The AC power flow after some outages of one grid."""

    loading: chex.Array  # `[k]` of the most loaded branch; infinite where there is no solution
    converged: chex.Array  # bool `[k]`


class _Table(NamedTuple):
    """Factors in the form that screening multiplies by."""

    # By outage and watched branch, `[n_branch, n_branch]`:
    response: chex.Array  # over the rating of the watched branch
    barred: chex.Array  # −1e9 where the outage de-energises the watched branch
    transfer: chex.Array  # `[n_branch, n_branch]` H
    respond: chex.Array  # `[n_branch, n_branch]`
    divisor: chex.Array  # `[n_branch, 1]`
    bridge: np.ndarray  # bool `[n_branch, 1]`
    inverse_rate: chex.Array  # `[n_branch, 1]`


def screener(
    factors: Factors, k: int = 5, dtype=jnp.float32
) -> Callable[[solve.Solution, chex.Array], Screening]:
    """Returns `screen(solution, closed [n_branch]) → Screening` for one grid.

    Of every outage k the flow p_k that the branch carried is shared by the others,
    p_l + L_lk p_k, reactive power stays, and the loading is that of the branch's more loaded end.
    Where branches in O are out already, factors are corrected by the rank of O, exactly:

        H' = H + H_O (I − H_OO)⁺ H_O·

    `factors` are of the grid with all branches in service; `worst` names `k` outages.
    """
    table, n = _table(factors, dtype), len(factors.bridge)
    k = min(k, n)

    def screen(p_from, q_from, p_to, q_to, closed):
        closed, flows = closed.astype(dtype), (p_from, q_from, p_to, q_to)
        chex.assert_shape([*flows, closed], (n, None))
        p, q = (x.astype(dtype) for x in _more_loaded_end(*flows))
        out = closed < 0.5
        intact = _worst_of(table, p * table.inverse_rate, q * table.inverse_rate,
                           p / table.divisor)  # fmt: skip
        islanded = jnp.where(table.bridge, jnp.abs(p), 0.0)
        with_outages = functools.partial(_with_outages, table)
        loading, islanded = lanes.on_selected(
            with_outages, out.any(0), (p, q, closed), (intact, islanded)
        )
        finite = jnp.isfinite(sum(flows)).all(0)
        sound = finite & (out.sum(0) <= BRANCH_SLOTS)
        loading = jnp.where(sound, jnp.where(out, 0.0, loading), jnp.inf)
        return Screening(
            loading=loading,
            margin=1.0 - loading.max(0),
            insecure=(loading > 1.0).sum(0),
            worst=jax.lax.top_k(loading.T, k)[1].T,
            islanded_pu=islanded,
            sound=sound,
        )

    screen_grid = lanes.per_grid(screen)
    return lambda solution, closed: screen_grid(
        solution.p_from_pu, solution.q_from_pu, solution.p_to_pu, solution.q_to_pu, closed
    )


def confirmer(
    net: Network, *, method: str = "fast_decoupled", fallback: bool = False, **options
) -> Callable[[solve.Request, solve.Solution, chex.Array], Confirmation]:
    """Returns `confirm(request, solution, outages [k]) → Confirmation` for one grid.

    Solves the AC power flow with each of the outages, one at a time, on top of what is out already,
    from the voltages of `solution`. Options are those of `solve.SolverOptions`.
    """
    solver_options = solve.SolverOptions(method=method, fallback=fallback, **options)

    def confirm(request, vm, va, outages):
        k, batch = outages.shape
        request = request._replace(vm_start_pu=vm, va_start_rad=va)
        many = jax.tree.map(lambda x: jnp.broadcast_to(x[:, None], (x.shape[0], k, batch)), request)
        opened = jnp.arange(net.n_branch)[:, None, None] == outages
        many = many._replace(closed=jnp.where(opened, 0, many.closed))
        flat = jax.tree.map(lambda x: x.reshape(x.shape[0], k * batch), many)
        after = solve.solve_batch(net, flat, solver_options)
        loading = jnp.where(after.converged, after.rho.max(0), jnp.inf)
        return Confirmation(*(x.reshape(k, batch) for x in (loading, after.converged)))

    confirm_grid = lanes.per_grid(confirm)
    return lambda request, solution, outages: confirm_grid(
        request, solution.vm_pu, solution.va_rad, outages
    )


def _table(factors: Factors, dtype) -> _Table:
    inverse = np.where(np.isfinite(factors.rate_pu), 1.0 / factors.rate_pu, 0.0)[:, None]
    cast = lambda x: jnp.asarray(x, dtype)
    return _Table(
        response=cast((factors.respond * inverse).T),
        barred=cast(np.where(factors.de_energised, -1e9, 0.0).T),
        transfer=cast(factors.transfer),
        respond=cast(factors.respond),
        divisor=cast(factors.divisor[:, None]),
        bridge=factors.bridge[:, None],
        inverse_rate=cast(inverse),
    )


def _more_loaded_end(p_from, q_from, p_to, q_to) -> tuple[chex.Array, chex.Array]:
    """Returns P, from the from side to the to side, and |Q| at the end with more apparent power."""
    first = p_from**2 + q_from**2 >= p_to**2 + q_to**2
    return jnp.where(first, p_from, -p_to), jnp.where(first, q_from, q_to)


def _worst_of(table: _Table, p, q, carried, spread=None, toward=None, closed=None) -> chex.Array:
    """Returns the largest loading that each outage leaves, `[n_branch, batch]`.

    Flows `p` and `q` are over the ratings, `carried` multiplies the columns of the table, by
    outage, and `closed` is 0 for branches that are not watched, all `[n_branch, batch]`. `spread`
    `[n_branch, slots, batch]` by watched branch and `toward` `[slots, n_branch, batch]` by outage
    are the factors of a correction of low rank.
    """
    square = q * q

    def one(_, outage):
        response, barred, carried, *toward = outage
        after = p + response[:, None] * carried
        for slot in range(len(toward)):
            after = after + spread[:, slot] * toward[slot]
        load = after * after + (square + barred[:, None])
        return None, (load if closed is None else load * closed).max(0)

    # One outage at a time: all of them at once would not fit a cache.
    columns = (table.response, table.barred, carried, *(() if toward is None else toward))
    _, worst = jax.lax.scan(one, None, columns)
    some = worst > 0.0  # a root has no derivative at zero
    return jnp.where(some, jnp.sqrt(jnp.where(some, worst, 1.0)), 0.0)


def _with_outages(table: _Table, p, q, closed) -> tuple[chex.Array, chex.Array]:
    """Returns loadings and islanded power where some branches are out, `[n_branch, batch]`."""
    n = p.shape[0]
    slots = min(BRANCH_SLOTS, n)
    value, out = jax.lax.top_k((closed < 0.5).T.astype(jnp.float32), slots)
    used = (value > 0).astype(p.dtype)  # [batch, slots]
    both = used[:, :, None] * used[:, None, :]
    core = jnp.eye(slots, dtype=p.dtype) - both * table.transfer[out[:, :, None], out[:, None, :]]
    # Singular where what is out has cut something off; then any solution is one.
    inverse = jnp.linalg.pinv(core, rtol=_SINGULAR) * both
    # In full precision on accelerators, too: what is left of one minus `own` may be little.
    product = functools.partial(jnp.einsum, precision="highest")
    toward = product("mij,mjk->imk", inverse, table.respond[out])  # [slots, batch, n]
    toward = jnp.moveaxis(toward, 1, -1)
    spread = jnp.moveaxis(table.transfer[:, out] * used, 1, -1)  # [n, slots, batch]
    own = product("nsm,snm->nm", spread, toward) + jnp.diag(table.transfer)[:, None]
    left = 1.0 - own
    radial = table.bridge | (left < _SINGULAR)
    # What has become a bridge only now: its flow goes, and nothing is known of who makes up for it.
    carried = jnp.where(radial, jnp.where(table.bridge, p, 0.0), p / jnp.where(radial, 1.0, left))
    loading = _worst_of(
        table, p * table.inverse_rate, q * table.inverse_rate, carried,
        spread * table.inverse_rate[:, None], toward * carried, closed,
    )  # fmt: skip
    return loading, jnp.where(radial, jnp.abs(p), 0.0)
