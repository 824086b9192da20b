"""Derivatives of the power flow against finite differences."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import pandapower_comparison as comparison

from envs.case import case_file
from envs.powerflow import gradient, network, solve

_STEP = 1e-6  # loadings have a kink where nothing flows: a small step seldom meets it


def _point(case, out=()):
    """Returns (network, request) in double precision; call it with that turned on."""
    grid = case_file.load(case)
    net = network.build(grid, jnp.float64)
    (at,) = comparison.points(grid, 1)
    request = solve.base_request(net, at.p, at.q)
    return net, request._replace(closed=request.closed.at[np.array(out, int)].set(0.0))


def _weighted(run, request):
    """Returns a scalar of a solution in which all that has a derivative counts."""
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(run, request)
    weight = {name: rng.normal(size=getattr(shapes, name).shape) for name in gradient.OUTPUTS}
    return lambda solution: sum((weight[n] * getattr(solution, n)).sum() for n in gradient.OUTPUTS)


# Branch 0 leaves case14 whole, 13 cuts its bus 8 off, as 9 does with a bus of case118.
@pytest.mark.parametrize(
    "case, out",
    [
        ("case14", (0,)),
        ("case14", (13,)),
        pytest.param("case118", (), marks=pytest.mark.slow),
        pytest.param("case118", (9,), marks=pytest.mark.slow),
    ],
)
def test_derivatives_equal_finite_differences(case, out):
    with jax.experimental.enable_x64():
        net, request = _point(case, out)
        run = gradient.solver(net, method="chord", tolerance_pu=1e-9)
        plain = solve.solver(net, method="newton", tolerance_pu=1e-11, fallback=False)
        weighted = _weighted(plain, request)
        gradients = jax.jit(jax.grad(lambda request: weighted(run(request))))(request)
        names = [name for name in gradient.INPUTS if name != "closed"]
        directions = np.random.default_rng(1).normal(size=(3, net.n_bus))
        moves = [(n, s * _STEP * d) for n in names for d in directions for s in (1, -1)]
        moved = [request._replace(**{n: getattr(request, n) + d}) for n, d in moves]
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *moved)
        at, solved = jax.jit(jax.vmap(lambda r: (weighted(plain(r)), plain(r).converged)))(stacked)
        assert solved.all()
        at = np.asarray(at).reshape(len(names), len(directions), 2)
        slopes = (at[..., 0] - at[..., 1]) / (2 * _STEP)
        for name, slope in zip(names, slopes):
            ours = directions @ np.asarray(getattr(gradients, name))
            np.testing.assert_allclose(ours, slope, rtol=1e-4, atol=1e-4, err_msg=name)
        for name in ("vm_start_pu", "va_start_rad", "pv", "capacity"):
            assert not np.asarray(getattr(gradients, name)).any()


@pytest.mark.slow
def test_a_weaker_branch_moves_flows_as_the_derivative_says():
    # A branch a little weaker is one whose impedance is larger and whose charging is smaller.
    grid, branch = case_file.load("case14"), 2

    def slack(factor):
        scaled = lambda x, by: np.where(np.arange(grid.n_branch) == branch, x * by, x)
        rows = dataclasses.replace(
            grid.branch,
            r_pu=scaled(grid.branch.r_pu, 1 / factor), x_pu=scaled(grid.branch.x_pu, 1 / factor),
            b_pu=scaled(grid.branch.b_pu, factor),
        )  # fmt: skip
        net = network.build(dataclasses.replace(grid, branch=rows), jnp.float64)
        run = solve.solver(net, method="newton", tolerance_pu=1e-12)
        (at,) = comparison.points(grid, 1)
        return float(jax.jit(lambda p, q: run(solve.base_request(net, p, q)).slack_pu)(at.p, at.q))

    with jax.experimental.enable_x64():
        net, request = _point("case14")
        run = gradient.solver(net, method="chord", tolerance_pu=1e-12)
        gradients = jax.jit(jax.grad(lambda request: run(request).slack_pu))(request)
        expected = (slack(1 + 1e-4) - slack(1 - 1e-4)) / 2e-4
        assert float(gradients.closed[branch]) == pytest.approx(expected, rel=1e-4)


@pytest.mark.slow
def test_loss_sensitivities_of_generators_equal_finite_differences():
    grid = case_file.load("case30")
    with jax.experimental.enable_x64():
        net, request = _point("case30")
        alone = jnp.eye(grid.n_bus)[grid.reference_bus]
        request = request._replace(participation=alone)
        run = gradient.solver(net, tolerance_pu=1e-12)

        def losses(p_gen):
            solution = run(request._replace(p_pu=request.p_pu.at[grid.gen.bus].add(p_gen)))
            return (solution.p_from_pu + solution.p_to_pu).sum()

        none = jnp.zeros(grid.n_gen)
        slopes = np.asarray(jax.jit(jax.grad(losses))(none))
        moved = jnp.eye(grid.n_gen) * _STEP
        value = jax.jit(jax.vmap(losses))
        expected = np.asarray(value(moved) - value(-moved)) / (2 * _STEP)
    np.testing.assert_allclose(slopes, expected, atol=1e-7)
    # Power moved from a unit to the reference at its own bus changes nothing.
    assert abs(slopes[grid.gen.bus == grid.reference_bus]).max() < 1e-9


@pytest.mark.slow
def test_derivatives_of_a_batch_equal_its_members(case14):
    net = network.build(case14)
    (at,) = comparison.points(case14, 1)
    run = gradient.solver(net)

    def losses(scale, out):
        request = solve.base_request(net, scale * at.p, scale * at.q)
        solution = run(request._replace(closed=request.closed.at[13].set(1 - out)))
        return (solution.p_from_pu + solution.p_to_pu).sum() + solution.rho.sum()

    scale, out = jnp.array([0.8, 0.9, 1.0, 1.1]), jnp.array([0.0, 1.0, 0.0, 1.0])
    one = jax.jit(jax.grad(losses))
    each = [one(s, o) for s, o in zip(scale, out)]
    together = jax.jit(jax.vmap(jax.grad(losses)))(scale, out)
    of_sum = jax.jit(jax.grad(lambda s: jax.vmap(losses)(s, out).sum()))(scale)
    np.testing.assert_allclose(together, np.stack(each), rtol=2e-3)
    np.testing.assert_allclose(of_sum, together, rtol=1e-5)
    assert np.isfinite(together).all()


def test_the_dc_method_has_no_derivatives(case14):
    with pytest.raises(ValueError, match="dc"):
        gradient.solver(network.build(case14), method="dc")
