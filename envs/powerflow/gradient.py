"""A power flow that can be differentiated, whatever method solves it.

At a solution the mismatch is zero, F(u, a) = 0 with unknowns u and a request a, so that
du/da = −(∂F/∂u)⁻¹ ∂F/∂a (implicit function theorem). Reverse mode needs that only against one
vector: for a cotangent ū it solves (∂F/∂u)ᵀ λ = ū once, with Newton's Jacobian, and returns
−λᵀ ∂F/∂a. Iterations are not recorded, and their number does not matter.
"""

from collections.abc import Callable

import chex
import jax
import jax.numpy as jnp

from envs.powerflow import iteration, newton, request as request_lib, solve
from envs.powerflow.balance import Voltages
from envs.powerflow.network import Network
from envs.powerflow.request import Request, Solution

# Fields of a solution that have a derivative, and those of a request with respect to which.
OUTPUTS = (
    "vm_pu", "va_rad", "p_pu", "q_pu", "p_from_pu", "q_from_pu", "p_to_pu", "q_to_pu", "rho",
    "slack_pu",
)  # fmt: skip
INPUTS = ("p_pu", "q_pu", "vm_setpoint_pu", "participation", "closed")


def solver(net: Network, **options) -> Callable[[Request], Solution]:
    """Returns `solve(request) → Solution` for one grid, with derivatives in reverse mode.

    `jax.grad`, `jax.vjp` and `jax.jacrev` of it work, under `jax.vmap` and `jax.jit` as well; what
    it returns is `solve.solver`'s. Derivatives of OUTPUTS exist with respect to INPUTS, all others
    are zero. `closed` counts as a factor of a branch's powers, so that its derivative says what
    a branch a little weaker would do. Which buses are energised, and which are PV, is taken as
    fixed. Where `converged` is false the derivatives mean nothing.

    A derivative costs one dense factorisation of `2 n_bus` equations for each grid. Options are
    those of `solve.SolverOptions`.

    Raises:
      ValueError: `method` is `dc`, or `reactive_limits` are on, where derivatives may jump.
    """
    if options.get("method") == "dc":
        raise ValueError("method 'dc': has no derivatives here, which are of the AC equations")
    if options.get("reactive_limits"):
        raise ValueError(
            "reactive_limits: make buses at a limit PQ by `pv` and set their `q_pu` instead"
        )
    plain = solve.solver(net, **options)
    differentiable = jax.custom_vjp(plain)

    def forward(request):
        solution = plain(request)
        return solution, (request, solution)

    def backward(kept, cotangent):
        request, solution = kept
        of_outputs = {name: getattr(cotangent, name) for name in OUTPUTS}
        return (_pull_back(net, request, solution, of_outputs),)

    differentiable.defvjp(forward, backward)
    return differentiable


def _pull_back(
    net: Network, request: Request, solution: Solution, of_outputs: dict[str, chex.Array]
) -> Request:
    """Returns the cotangent of the request from that of the solution's OUTPUTS."""
    at = _Equations(net, request, solution)
    inputs = {name: getattr(request, name) for name in INPUTS}
    _, by_output = jax.vjp(at.outputs, at.unknown, inputs)
    of_unknown, of_inputs = by_output(of_outputs)
    matrix = newton.jacobian(net, at.problem(inputs), at.voltages(at.unknown))[0]
    adjoint = jnp.linalg.solve(matrix.T, of_unknown[:, None])
    _, by_residual = jax.vjp(lambda inputs: at.residual(at.unknown, inputs), inputs)
    (through_unknown,) = by_residual(-adjoint[:, 0])
    zeros = jax.tree.map(jnp.zeros_like, request)
    return zeros._replace(**jax.tree.map(jnp.add, of_inputs, through_unknown))


class _Equations:
    """The equations about one solution; the solvers' order of buses, a batch of one.

    The unknown `[2 n_bus]` is the one of `newton.jacobian`: deviations of angles and magnitudes,
    with the slack in the place of the angle that is kept.
    """

    def __init__(self, net: Network, request: Request, solution: Solution):
        self.net = net
        self.column = column = lambda leaf: leaf[net.order].astype(net.dtype)[:, None]
        self.energised, self.pv = column(solution.energised), column(request.pv)
        self.capacity = column(request.capacity)
        self.base = Voltages(
            column(solution.vm_pu) - net.vm_base,
            (column(solution.va_rad) - net.va_base) * self.energised,
            solution.slack_pu.astype(net.dtype)[None],
        )
        inputs = {name: getattr(request, name) for name in INPUTS}
        self.anchor = newton.anchor(net, self.problem(inputs), self.base)
        angle = jnp.where(self.anchor, self.base.slack, self.base.va)
        self.unknown = jnp.concatenate([angle, self.base.vm])[:, 0]

    def problem(self, inputs: dict[str, chex.Array]) -> iteration.Problem:
        """Returns the problem for INPUTS."""
        net, column = self.net, lambda name: self.column(inputs[name])
        share = iteration.energised_shares(column("participation"), self.capacity, self.energised)
        return iteration.Problem(
            column("p_pu"), column("q_pu"), share,
            inputs["closed"].astype(net.dtype)[:, None], 1.0 - self.pv[net.n_pq :], self.energised,
        )  # fmt: skip

    def voltages(self, unknown: chex.Array) -> Voltages:
        """Returns the voltages that an unknown stands for."""
        n = self.net.n_bus
        angle = unknown[:n, None]
        return Voltages(
            unknown[n:, None],
            jnp.where(self.anchor, self.base.va, angle),
            jnp.where(self.anchor, angle, 0.0).sum(0),
        )

    def residual(self, unknown: chex.Array, inputs: dict[str, chex.Array]) -> chex.Array:
        """Returns F `[2 n_bus]`: balances, or else what fixes an unknown."""
        net, x, problem = self.net, self.voltages(unknown), self.problem(inputs)
        at = iteration.evaluate(net, problem, x).balance
        dp, dq = iteration.mismatch(net, problem, x, at)
        setpoint = self.column(inputs["vm_setpoint_pu"]) - net.vm_base
        has_generator = jnp.arange(net.n_bus)[:, None] >= net.n_pq
        pv = (self.energised > 0) & has_generator & (self.pv > 0)
        # A PV magnitude follows its set-point; what is de-energised never moves.
        return jnp.concatenate([dp, jnp.where(pv, x.vm - setpoint, dq)])[:, 0]

    def outputs(self, unknown: chex.Array, inputs: dict[str, chex.Array]) -> dict[str, chex.Array]:
        """Returns OUTPUTS at an unknown."""
        net, problem = self.net, self.problem(inputs)
        last = iteration.evaluate(net, problem, self.voltages(unknown))
        none = jnp.zeros(1, jnp.int32)
        result = iteration.MethodResult(last, self.energised > 0, none, none > 0)
        solution = request_lib.in_case_order(net, result, net.tolerance_pu)
        return {name: getattr(solution, name)[..., 0] for name in OUTPUTS}
