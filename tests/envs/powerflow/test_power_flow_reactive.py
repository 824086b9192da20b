"""Reactive limits of generators, against pandapower and against what defines them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import pandapower_comparison as comparison

from envs.case import case_file
from envs.powerflow import network, reactive, solve
from evaluation import pandapower_grid


def _limits(grid):
    """The grid's limits; none at the reference, whose voltage pandapower always holds."""
    limits = reactive.limits(grid)
    limits["q_min_pu"][grid.reference_bus] = -np.inf
    limits["q_max_pu"][grid.reference_bus] = np.inf
    return limits


def _solve(grid, at, double, method, limits):
    with jax.experimental.enable_x64(double):
        net = comparison.network_of(grid, double)
        run = solve.solver(net, method=method, tolerance_pu=1e-9 if double else None,
                           fallback=False, reactive_limits=True)  # fmt: skip
        alone = jnp.asarray(np.eye(grid.n_bus)[grid.reference_bus], net.dtype)
        limits = {name: jnp.asarray(value, net.dtype) for name, value in limits.items()}

        def one(p, q):
            fields = {"participation": alone, "capacity": alone, **limits}
            return run(solve.base_request(net, p, q, **fields))

        stack = lambda name: jnp.asarray(np.stack([getattr(x, name) for x in at]), net.dtype)
        solution = jax.jit(jax.vmap(one))(stack("p"), stack("q"))
        return jax.tree.map(np.asarray, solution), net


def _pandapower(grid, limits):
    oracle = pandapower_grid.Oracle(grid)
    bus = oracle.net.gen.bus.to_numpy()
    oracle.net.gen["min_q_mvar"] = limits["q_min_pu"][bus] * grid.base_mva
    oracle.net.gen["max_q_mvar"] = limits["q_max_pu"][bus] * grid.base_mva
    return oracle


def test_limits_equal_pandapower_where_no_bus_returns():
    grid = case_file.load("case30")
    limits, at = _limits(grid), comparison.points(grid, 5)
    oracle = _pandapower(grid, limits)
    answers = [oracle.solve(x.p, x.q, enforce_q_lims=True) for x in at]
    for double, method, error in ((True, "newton", 1e-8), (False, "chord", 1e-5)):
        solution, _ = _solve(grid, at, double, method, limits)
        assert solution.converged.all() and (solution.at_limit != 0).any(1).all()
        for row, answer in enumerate(answers):
            generated = answer.gen_q / grid.base_mva
            pv = np.isin(np.arange(grid.n_bus), grid.gen.bus)
            at_max = pv & (np.abs(generated - limits["q_max_pu"]) < 1e-9)
            at_min = pv & (np.abs(generated - limits["q_min_pu"]) < 1e-9)
            np.testing.assert_array_equal(solution.at_limit[row], at_max * 1 - at_min * 1)
            assert max(comparison.difference(answer, solution, row, grid.base_mva)) <= 10 * error


@pytest.mark.parametrize("double, method", [(True, "newton"), (False, "chord")])
def test_every_bus_is_within_limits_or_has_turned_pq(double, method):
    # Many limits bind in case118. pandapower, which lets no bus return, is asked for the power
    # flow with the buses PQ that ours turned PQ, and must agree.
    grid = case_file.load("case118")
    limits, at = _limits(grid), comparison.points(grid, 4)
    oracle = pandapower_grid.Oracle(grid)
    solution, net = _solve(grid, at, double, method, limits)
    tolerance = 3 * (1e-9 if double else net.tolerance_pu)
    setpoint = np.asarray(net.vm_base, float)[net.position, 0]
    pv = np.isin(np.arange(grid.n_bus), grid.gen.bus)
    assert solution.converged.all()
    for row, point in enumerate(at):
        side = solution.at_limit[row]
        assert (side > 0).sum() > 10 and (side < 0).any() and not side[~pv].any()
        generated, vm = solution.q_pu[row] - point.q, solution.vm_pu[row]
        assert (generated[pv] <= limits["q_max_pu"][pv] + tolerance).all()
        assert (generated[pv] >= limits["q_min_pu"][pv] - tolerance).all()
        assert (vm[side > 0] <= setpoint[side > 0] + tolerance).all()
        assert (vm[side < 0] >= setpoint[side < 0] - tolerance).all()
        np.testing.assert_allclose(
            vm[pv & (side == 0)], setpoint[pv & (side == 0)], atol=1e-6
        )  # fmt: skip
        q = point.q + np.select([side > 0, side < 0], [limits["q_max_pu"], limits["q_min_pu"]], 0)
        answer = oracle.solve(point.p, q, pv_to_pq=np.flatnonzero(side), start=(point.vm, point.va))
        errors = comparison.difference(answer, solution, row, grid.base_mva)
        assert max(errors) <= (1e-7 if double else 1e-4), errors


@pytest.mark.slow
def test_limits_that_do_not_bind_change_nothing(case14):
    at = comparison.points(case14, 3)
    wide = {"q_min_pu": np.full(14, -np.inf), "q_max_pu": np.full(14, np.inf)}
    solution, net = _solve(case14, at, False, "chord", wide)
    plain = comparison.solve_all(net, case14, at, method="chord", fallback=False)
    assert plain.at_limit is None and not solution.at_limit.any()
    np.testing.assert_array_equal(solution.vm_pu, plain.vm_pu)
    np.testing.assert_array_equal(solution.iterations, plain.iterations)


def test_limits_have_to_be_in_the_request(case14):
    net = network.build(case14)
    request = solve.base_request(net, np.zeros(14), np.zeros(14))
    with pytest.raises(ValueError, match="q_min_pu and q_max_pu"):
        solve.solver(net, reactive_limits=True)(request)
