"""The derivative of a power flow, whatever method solves it, in reverse mode.

At a solution the mismatch is zero, F(u, a) = 0 with unknowns u and a request a, so that
du/da = −(∂F/∂u)⁻¹ ∂F/∂a (implicit function theorem). Reverse mode needs that against one vector
only: for a cotangent ū it solves (∂F/∂u)ᵀ λ = ū and returns −λᵀ ∂F/∂a. Iterations are not
recorded: the inverse Jacobian of the base point, transposed, is nearly
the answer, and what it leaves is taken away by generalised conjugate residuals (Eisenstat, Elman
and Schultz, SIAM J. Numerical Analysis 20, 1983), which need about a step for each way in which a
grid differs from the base point. The few that are too far from it are solved by factorisation.
"""

from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp

from envs.powerflow import islands, iteration, lanes, newton, request as request_lib, solve
from envs.powerflow.balance import Voltages
from envs.powerflow.network import Network
from envs.powerflow.request import Request, Solution

# Fields of a solution that have a derivative, and those of a request with respect to which.
OUTPUTS = (
    "vm_pu", "va_rad", "p_pu", "q_pu", "p_from_pu", "q_from_pu", "p_to_pu", "q_to_pu", "rho",
    "slack_pu",
)  # fmt: skip
INPUTS = ("p_pu", "q_pu", "vm_setpoint_pu", "participation", "closed")
MAX_STEPS = 64  # of conjugate residuals before a grid's Jacobian is factorised
_KEPT = 12  # of the directions so far, to which the next one is made conjugate
_NEAR = {"float32": 1e-5, "float64": 1e-12}  # residual of λ over ū, by type


def solver(net: Network, **options: Any) -> Callable[[Request], Solution]:
    """Returns `solve(request) → Solution` for one grid, with derivatives in reverse mode.

    `jax.grad`, `jax.vjp` and `jax.jacrev` of it work, under `jax.vmap` and `jax.jit` as well; what
    it returns is `solve.solver`'s. Derivatives of OUTPUTS exist with respect to INPUTS, all others
    are zero. `closed` counts as a factor of a branch's powers, so that its derivative says what
    a branch a little weaker would do. Which buses are energised, and which are PV, is taken as
    fixed. Where `converged` is false the derivatives are zero.

    Args:
      net: the network.
      **options: those of `solve.SolverOptions`; not the DC method, whose equations are others.

    Raises:
      ValueError: `method` is `dc`, or `reactive_limits` are on, where derivatives may jump.
    """
    if options.get("method") == "dc":
        raise ValueError("method 'dc': has no derivatives here, which are of the AC equations")
    if options.get("reactive_limits"):
        raise ValueError(
            "reactive_limits: make buses at a limit PQ by `pv` and set their `q_pu` instead"
        )
    solver_options = solve.SolverOptions(**options)

    def backward(args, solution, cotangent):
        (request,) = args
        solved = lambda request: at_solution(
            net, request, solution, every_island=solver_options.every_island
        )
        return jax.vjp(solved, request)[1](cotangent)

    return lanes.per_grid(lambda request: solve.solve_batch(net, request, solver_options), backward)


def at_solution(
    net: Network, request: Request, solution: Solution, *, every_island: bool = False
) -> Solution:
    """Returns `solution`, which is that of `request`, with its derivative; leaves `[…, batch]`.

    Fields of `solution` that are None stay so. `every_island` as in `solve.SolverOptions`.
    """

    def backward(kept, cotangent):
        request, solution = kept
        slopes = {name: getattr(cotangent, name) for name in OUTPUTS}
        slopes = {name: slope for name, slope in slopes.items() if slope is not None}
        of_inputs = _pull_back(_Equations(net, request, solution, every_island), request, slopes)
        return jax.tree.map(jnp.zeros_like, request)._replace(**of_inputs), None

    known = jax.custom_vjp(lambda request, solution: solution)
    known.defvjp(lambda request, solution: (solution, (request, solution)), backward)
    return known(request, jax.lax.stop_gradient(solution))


def _pull_back(
    at: "_Equations", request: Request, of_outputs: dict[str, chex.Array]
) -> dict[str, chex.Array]:
    """Returns the cotangents of INPUTS from those of OUTPUTS."""
    # Where there is no solution there is no derivative, and nothing that is not finite.
    of_outputs = {name: jnp.where(at.solved, slope, 0.0) for name, slope in of_outputs.items()}
    inputs = {name: getattr(request, name) for name in INPUTS}
    outputs = lambda unknown, inputs: at.outputs(unknown, inputs, of_outputs)
    _, by_output = jax.vjp(outputs, at.unknown, inputs)
    of_unknown, of_inputs = by_output(of_outputs)
    _, by_residual = jax.vjp(at.residual, at.unknown, inputs)
    adjoint = at.solve_transposed(
        lambda vector: by_residual(vector)[0], of_unknown, at.problem(inputs)
    )
    return jax.tree.map(jnp.subtract, of_inputs, by_residual(adjoint)[1])


class _Equations:
    """The equations about the solutions of a batch, in the solvers' order of buses.

    The unknown `[2 n_bus, batch]` is the one of `newton.jacobian`: deviations of angles and
    magnitudes, with the slack in the place of the angle that is kept.
    """

    def __init__(self, net: Network, request: Request, solution: Solution, every_island: bool):
        self.net, self.solved = net, solution.converged
        column = lambda leaf: leaf[net.order].astype(net.dtype)
        self.energised, self.pv = column(solution.energised), column(request.pv)
        self.capacity = column(request.capacity)
        fixed = self.energised * solution.converged  # the others are left at the base point
        self.root, slack = None, jnp.zeros_like(fixed if every_island else fixed[0])
        if every_island:
            load, closed = column(request.load_pu), request.closed.astype(net.dtype)
            split = islands.find(net, closed, self.capacity, load, every_island=True)
            self.root = split.root(net)
        if solution.slack_pu is not None:
            slack = solution.slack_pu.astype(net.dtype)
            slack = slack[net.order] if every_island else slack
        self.base = Voltages(
            jnp.where(fixed > 0, column(solution.vm_pu) - net.vm_base, 0.0),
            jnp.where(fixed > 0, column(solution.va_rad) - net.va_base, 0.0),
            jnp.where(solution.converged, slack, 0.0),
        )
        inputs = {name: getattr(request, name) for name in INPUTS}
        self.anchor = newton.anchor(net, self.problem(inputs), self.base)
        has_generator = jnp.arange(net.n_bus)[:, None] >= net.n_pq
        self.is_pv = (self.energised > 0) & has_generator & (self.pv > 0)
        angle = jnp.where(self.anchor, self.base.slack, self.base.va)
        self.unknown = jnp.concatenate([angle, self.base.vm])

    def problem(self, inputs: dict[str, chex.Array]) -> iteration.Problem:
        """Returns the problem for INPUTS."""
        net = self.net
        column = lambda name: inputs[name][net.order].astype(net.dtype)
        share = iteration.energised_shares(
            column("participation"), self.capacity, self.energised, self.root
        )
        return iteration.Problem(
            column("p_pu"), column("q_pu"), share, closed=inputs["closed"].astype(net.dtype),
            pv_to_pq=1.0 - self.pv[net.n_pq :], energised=self.energised, root=self.root,
        )  # fmt: skip

    def voltages(self, unknown: chex.Array) -> Voltages:
        """Returns the voltages that an unknown stands for."""
        angle, vm = jnp.split(unknown, 2)
        slack = newton.slack_among(angle, self.anchor, self.root)
        return Voltages(vm, jnp.where(self.anchor, self.base.va, angle), slack)

    def residual(self, unknown: chex.Array, inputs: dict[str, chex.Array]) -> chex.Array:
        """Returns F `[2 n_bus, batch]`: balances, or else what fixes an unknown."""
        net, x, problem = self.net, self.voltages(unknown), self.problem(inputs)
        at = iteration.evaluate(net, problem, x).balance
        dp, dq = iteration.mismatch(net, problem, x, at)
        setpoint = inputs["vm_setpoint_pu"][net.order].astype(net.dtype) - net.vm_base
        # A PV magnitude follows its set-point; what is de-energised never moves.
        return jnp.concatenate([dp, jnp.where(self.is_pv, x.vm - setpoint, dq)])

    def outputs(
        self, unknown: chex.Array, inputs: dict[str, chex.Array], names
    ) -> dict[str, chex.Array]:
        """Returns OUTPUTS at an unknown."""
        net, problem = self.net, self.problem(inputs)
        last = iteration.evaluate(net, problem, self.voltages(unknown))
        none = jnp.zeros(unknown.shape[1], jnp.int32)
        result = request_lib.MethodResult(last, self.energised > 0, none, none > 0, self.root)
        solution = request_lib.in_case_order(net, result, net.tolerance_pu)
        return {name: getattr(solution, name) for name in names}

    def solve_transposed(
        self,
        product: Callable[[chex.Array], chex.Array],
        of_unknown: chex.Array,
        problem: iteration.Problem,
    ) -> chex.Array:
        """Returns λ with (∂F/∂u)ᵀ λ = `of_unknown`, both `[2 n_bus, batch]`.

        Zero where ∂F/∂u is singular.

        Args:
          product: (∂F/∂u)ᵀ v for v.
          of_unknown: the right-hand side.
          problem: of the solution.
        """
        net, n = self.net, self.net.n_bus
        size = n + net.n_pq
        # What is de-energised has no equation; a PV magnitude's is solved by itself at the end.
        live = jnp.concatenate([self.energised, self.energised * ~self.is_pv])
        inverse = net.inverse_jacobian.T
        scale = jnp.diagonal(net.decoupled.pv)[:, None]

        def near(vector):  # by the base point's inverse; PV buses turned PQ by their diagonal
            return jnp.concatenate([inverse @ vector[:size], vector[size:] / scale])

        def apply(vector):
            return live * product(live * vector) + (1.0 - live) * vector

        def factorised(_, problem, x, right):
            matrix = newton.jacobian(net, problem, x).swapaxes(1, 2)
            exact = jnp.linalg.solve(matrix, right.T[..., None])[..., 0].T
            return exact, jnp.zeros(right.shape[1], bool)

        right = live * of_unknown
        adjoint, reached = _conjugate_residuals(apply, near, right)
        args = problem, self.base, right
        adjoint = lanes.until_done(factorised, ~reached, args, adjoint, least=1)
        regular = jnp.isfinite(adjoint).all(0)
        adjoint = jnp.where(regular, live * adjoint, 0.0)
        by_itself = jnp.concatenate([jnp.zeros_like(self.is_pv), self.is_pv])
        return jnp.where(by_itself, regular * (of_unknown - product(adjoint)), adjoint)


def _conjugate_residuals(
    apply: Callable[[chex.Array], chex.Array],
    near: Callable[[chex.Array], chex.Array],
    right: chex.Array,
) -> tuple[chex.Array, chex.Array]:
    """Solves A x = `right` for every column, all `[n, batch]`.

    Args:
      apply: A v.
      near: about A⁻¹ v.
      right: the right-hand side.

    Returns:
      x, and whether the residual is small, bool `[batch]`.
    """
    size = jnp.sqrt((right * right).sum(0))
    enough = _NEAR[right.dtype.name] * size
    none = jnp.zeros((_KEPT, *right.shape), right.dtype)

    def body(carry):
        step, x, residual, directions, products = carry
        direction = near(residual)
        product = apply(direction)
        overlap = (products * product).sum(1, keepdims=True)
        direction -= (overlap * directions).sum(0)
        product -= (overlap * products).sum(0)
        length = jnp.sqrt((product * product).sum(0))
        unit = 1.0 / jnp.where(length > 0, length, 1.0)
        direction, product = direction * unit, product * unit
        along = (residual * product).sum(0)
        return (
            step + 1, x + along * direction, residual - along * product,
            directions.at[step % _KEPT].set(direction),
            products.at[step % _KEPT].set(product),
        )  # fmt: skip

    def unfinished(carry):
        step, _, residual, *_ = carry
        return (step < MAX_STEPS) & ((residual * residual).sum(0) > enough**2).any()

    start = (jnp.int32(0), jnp.zeros_like(right), right, none, none)
    _, x, residual, *_ = jax.lax.while_loop(unfinished, body, start)
    return x, (residual * residual).sum(0) <= (100 * enough) ** 2
