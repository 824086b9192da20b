"""Our power flow as the benchmark sees it: the one file to change when a solver is added."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from envs import grid as grid_lib
from envs.powerflow import newton
from launch.bench import problem as problem_lib

_NEWTON_BYTES = 2 * 2**30  # what a batch of dense Jacobians may take


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A compiled batch solve."""

    run: Callable[[], None]  # solves the whole batch and waits for it
    # Of the last run, vm pu and va rad, each `[batch, n_bus]`. A solver that knows them as a change
    # from the base returns base + change in double precision: rounded to single precision as they
    # are, voltages leave mismatches of 2e-4 pu on 300 buses and 1e-3 pu on 1354.
    voltages: Callable[[], tuple[np.ndarray, np.ndarray]]
    report: Callable[[], dict]  # of the last run, as the solver says: see `_report`
    flops_per_iteration: float | None  # floating-point operations of one solve's iteration


@dataclasses.dataclass(frozen=True)
class Method:
    """A way to solve, by the name that `--methods` takes."""

    prepare: Callable[[grid_lib.Grid, problem_lib.Problem, float], Prepared]
    largest_batch: Callable[[grid_lib.Grid], int]  # beyond it the batch does not fit or never ends


def prepare(
    grid: grid_lib.Grid, problem: problem_lib.Problem, method: str, tolerance_pu: float
) -> Prepared:
    """Returns `method` ready to solve every problem of `problem` at once, from its base."""
    return METHODS[method].prepare(grid, problem, tolerance_pu)


def _newton(grid: grid_lib.Grid, problem: problem_lib.Problem, tolerance_pu: float) -> Prepared:
    net = newton.network(grid)
    single = lambda x: jnp.asarray(x, jnp.float32)
    slack = single(np.eye(grid.n_bus)[problem.reference])
    setpoint, vm, va = (single(x) for x in (problem.setpoint_pu, problem.vm_pu, problem.va_rad))

    @jax.jit
    def solve(p, q):
        one = lambda p, q: newton.solve(
            net, p, q, setpoint, slack, vm, va, tolerance_pu=tolerance_pu
        )
        return jax.vmap(one)(p, q)

    # LU of the Jacobian of 2 n_bus unknowns dominates.
    flops = 2 / 3 * (2 * grid.n_bus) ** 3
    return _prepared(solve, (single(problem.p_pu), single(problem.q_pu)), flops)


def _prepared(solve, arguments, flops_per_iteration: float | None) -> Prepared:
    """Returns a batch solve of `arguments`; `solve` returns a `newton.Solution` `[batch, …]`."""
    last: list[newton.Solution] = []

    def run():
        last[:] = [jax.block_until_ready(solve(*arguments))]

    return Prepared(
        run,
        lambda: (np.asarray(last[0].vm_pu), np.asarray(last[0].va_rad)),
        lambda: _report(last[0]),
        flops_per_iteration,
    )


def _report(solution: newton.Solution) -> dict:
    return {
        "converged_share": float(solution.converged.mean()),
        "max_mismatch_pu": float(solution.mismatch_pu.max()),
        "iterations": float(solution.iterations.mean()),
    }


METHODS = {
    # Two Jacobians and a right-hand side of 4-byte numbers for each grid.
    "newton": Method(_newton, lambda grid: _NEWTON_BYTES // (3 * 4 * (2 * grid.n_bus) ** 2)),
}
