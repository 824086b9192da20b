"""Our power flow as the benchmark sees it: the one file to change when a solver is added."""

import dataclasses
from collections.abc import Callable

import chex
import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import problem as problem_lib, spread
from envs.case import grid as grid_lib
from envs.powerflow import network, solve as solve_lib
from envs.powerflow.network import Network

_NEWTON_BYTES = 2 * 2**30  # what a batch of dense Jacobians may take
_LARGEST = 2**16
SAFETY = 0.8  # of the tolerance that is solved to, so that the reference in float64 agrees


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A compiled batch solve."""

    run: Callable[[], None]  # solves the whole batch and waits for it
    # Of the last run, vm pu and va rad, each `[batch, n_bus]`. A solver that knows them as a change
    # from the base returns base + change in double precision: rounded to single precision as they
    # are, voltages leave mismatches of 2e-4 pu on 300 buses and 1e-3 pu on 1354.
    voltages: Callable[[], tuple[np.ndarray, np.ndarray]]
    report: Callable[[], dict]  # of the last run, as the solver says: its means
    flops_per_iteration: float | None  # floating-point operations of one solve's iteration


@dataclasses.dataclass(frozen=True)
class Method:
    """A way to solve, by the name that `--methods` takes."""

    prepare: Callable[[grid_lib.Grid, problem_lib.Problem, float], Prepared]
    largest_batch: Callable[[grid_lib.Grid], int]  # beyond it the batch does not fit or never ends


def network_about(grid: grid_lib.Grid, problem: problem_lib.Problem) -> Network:
    """Returns the network of `grid` about the problem's base, its reference bus the only slack."""
    base, slack = problem.base_pu, np.eye(grid.n_bus)[problem.reference]
    return network.build(grid, p_pu=base.real, q_pu=base.imag, participation=slack)


def request_of(
    net: Network, problem: problem_lib.Problem, p: chex.Array, q: chex.Array, **fields: chex.Array
) -> solve_lib.Request:
    """Returns the request for injections `p`, `q` `[n_bus]` pu, to start from the base.

    `fields` are further fields of the request.
    """
    single = lambda x: jnp.asarray(x, net.dtype)
    return solve_lib.base_request(
        net, p, q, vm_setpoint_pu=single(problem.setpoint_pu),
        participation=single(np.eye(net.n_bus)[problem.reference]),
        vm_start_pu=single(problem.vm_pu), va_start_rad=single(problem.va_rad), **fields,
    )  # fmt: skip


def _by(method: str, flops: Callable[[Network], float]):
    """Returns how to prepare `method`, whose iteration takes `flops` operations."""

    def prepare(grid, problem: problem_lib.Problem, tolerance_pu: float) -> Prepared:
        net = network_about(grid, problem)
        solver = solve_lib.solver(net, method=method, tolerance_pu=SAFETY * tolerance_pu)
        single = lambda x: jnp.asarray(x, net.dtype)

        def one(p, q):
            solution = solver(request_of(net, problem, p, q))
            change = [solution.vm_change_pu, solution.va_change_rad]
            if net.compensated:
                change += [solution.vm_change_low_pu, solution.va_change_low_rad]
            return change, (solution.converged, solution.iterations)

        count = spread.devices(len(problem.p_pu))
        solve = spread.over_devices(jax.vmap(one), count)
        arguments = spread.put((single(problem.p_pu), single(problem.q_pu)), count)
        last: list = []

        def run():
            last[:] = jax.block_until_ready(solve(*arguments))

        def voltages():
            parts = [np.asarray(x, float) for x in last[0]]
            base = net.base
            angle = base.va_rad + sum(parts[1::2])
            return base.vm_pu + sum(parts[::2]), angle - angle[:, [problem.reference]]

        def report():
            converged, iterations = (float(x.mean()) for x in last[1])
            return {"iterations": iterations, "converged_share": converged}

        return Prepared(run, voltages, report, flops(net))

    return prepare


def _balance_flops(net: Network) -> float:
    """Returns the operations of the power balance of every bus: about 60 a branch, 10 a bus."""
    return 60.0 * net.n_branch + 10.0 * net.n_bus


def _chord_flops(net: Network) -> float:
    return 2.0 * (net.n_bus + net.n_pq) ** 2 + _balance_flops(net)


def _fast_decoupled_flops(net: Network) -> float:
    return 2.0 * (net.n_bus**2 + net.n_pq**2) + 2 * _balance_flops(net)


METHODS = {
    "chord": Method(_by("chord", _chord_flops), lambda grid: _LARGEST),
    "fast_decoupled": Method(_by("fast_decoupled", _fast_decoupled_flops), lambda grid: _LARGEST),
    # Two Jacobians and a right-hand side of 4-byte numbers for each grid; its factors dominate.
    "newton": Method(
        _by("newton", lambda net: 2 / 3 * (2 * net.n_bus) ** 3),
        lambda grid: _NEWTON_BYTES // (3 * 4 * (2 * grid.n_bus) ** 2),
    ),
}
