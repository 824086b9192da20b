"""Newton power flow against pandapower, and the properties any power flow must have."""

import jax
import jax.numpy as jnp
import numpy as np
import pandapower_grid
import pytest

from envs.powerflow import flows, newton


def _problem(grid, rng, spread):
    """Random loads and a dispatch that roughly balances them, per bus and in physical units."""
    loads = grid.loads
    p = grid.bus.load_p_mw[loads] * rng.uniform(1 - spread, 1 + spread, loads.size)
    q = grid.bus.load_q_mvar[loads] * rng.uniform(1 - spread, 1 + spread, loads.size)
    share = rng.uniform(0.5, 1.5, grid.n_gen) * np.maximum(grid.gen.p_max_mw, 0)
    gen_p = share / share.sum() * p.sum()
    setpoint = np.ones(grid.n_bus)
    setpoint[grid.gen.bus] = rng.uniform(0.98, 1.03, grid.n_gen)
    return gen_p, p, q, setpoint


def _solve(grid, gen_p, p, q, setpoint, participation, dtype, tolerance):
    at_bus = np.zeros(grid.n_bus)
    np.add.at(at_bus, grid.gen.bus, gen_p)
    np.add.at(at_bus, grid.loads, -p)
    q_bus = np.zeros(grid.n_bus)
    np.add.at(q_bus, grid.loads, -q)
    cast = lambda x: jnp.asarray(x, dtype)
    return jax.jit(newton.solve, static_argnames=("tolerance_pu",))(
        newton.network(grid, dtype), cast(at_bus / grid.base_mva), cast(q_bus / grid.base_mva),
        cast(setpoint), cast(participation), cast(np.ones(grid.n_bus)),
        cast(np.zeros(grid.n_bus)), tolerance_pu=tolerance,
    )  # fmt: skip


@pytest.mark.parametrize("precision, tolerance, error", [("double", 1e-10, 1e-8),
                                                         ("single", 1e-5, 1e-6)])  # fmt: skip
def test_voltages_equal_pandapower(case14, precision, tolerance, error):
    net = pandapower_grid.build(case14)
    rng = np.random.default_rng(0)
    reference_only = np.eye(case14.n_bus)[case14.reference_bus]
    for trial in range(25):
        problem = _problem(case14, rng, 0.0 if trial == 0 else 0.4)
        vm, va = pandapower_grid.solve(net, case14, *problem)
        with jax.experimental.enable_x64(precision == "double"):
            dtype = jnp.float64 if precision == "double" else jnp.float32
            found = _solve(case14, *problem, reference_only, dtype, tolerance)
        assert found.converged
        np.testing.assert_allclose(found.vm_pu, vm, atol=error, rtol=0)
        np.testing.assert_allclose(found.va_rad, va, atol=error, rtol=0)


def test_branch_flows_equal_pandapower(case14):
    net = pandapower_grid.build(case14)
    problem = _problem(case14, np.random.default_rng(1), 0.3)
    vm, va = pandapower_grid.solve(net, case14, *problem)
    with jax.experimental.enable_x64():
        model = flows.branch_model(case14, jnp.float64)
        found = flows.branch_flows(model, jnp.asarray(vm), jnp.asarray(va))
        total = np.asarray(found.p_from) * case14.base_mva
    # pandapower keeps lines and transformers in tables of their own, in the case's order.
    is_line = np.isin(np.arange(case14.n_branch), _pandapower_lines(case14))
    np.testing.assert_allclose(total[is_line], net.res_line.p_from_mw, atol=1e-6)
    trafo = np.abs(total[~is_line])
    np.testing.assert_allclose(trafo, np.abs(net.res_trafo.p_hv_mw), atol=1e-6)


def _pandapower_lines(grid):
    """Branches that from_ppc makes lines of: no tap, no shift, one voltage level."""
    branch = grid.branch
    return np.flatnonzero((branch.tap == 1) & (branch.shift_rad == 0))


def test_distributed_slack_moves_units_by_participation_and_balances(case14):
    gen_p, p, q, setpoint = _problem(case14, np.random.default_rng(2), 0.3)
    participation = np.zeros(case14.n_bus)
    participation[case14.gen.bus[:2]] = 0.85, 0.15
    with jax.experimental.enable_x64():
        found = _solve(case14, 0.9 * gen_p, p, q, setpoint, participation, jnp.float64, 1e-10)
        slack_mw = float(found.slack_pu) * case14.base_mva
        net64 = newton.network(case14, jnp.float64)
        losses = float(newton.injections(net64, found.vm_pu, found.va_rad)[0].sum())
    moved = 0.9 * gen_p + slack_mw * participation[case14.gen.bus]
    # Pandapower, told the units' final powers, must leave its slack exactly the reference unit's.
    net = pandapower_grid.build(case14)
    vm, _ = pandapower_grid.solve(net, case14, moved, p, q, setpoint)
    np.testing.assert_allclose(found.vm_pu, vm, atol=1e-8)
    assert net.res_ext_grid.p_mw[0] == pytest.approx(moved[0], abs=1e-6)
    assert losses * case14.base_mva == pytest.approx(moved.sum() - p.sum(), abs=1e-6)


def test_jacobian_equals_automatic_differentiation(case14):
    with jax.experimental.enable_x64():
        net = newton.network(case14, jnp.float64)
        rng = np.random.default_rng(3)
        vm = jnp.asarray(rng.uniform(0.95, 1.05, 14))
        va = jnp.asarray(rng.uniform(-0.3, 0.3, 14))
        p, q = newton.injections(net, vm, va)

        def stacked(va, log_vm):
            return jnp.concatenate(newton.injections(net, jnp.exp(log_vm), va))

        exact = jnp.concatenate(jax.jacobian(stacked, argnums=(0, 1))(va, jnp.log(vm)), axis=1)
        np.testing.assert_allclose(newton._jacobian(net, vm, va, p, q), exact, atol=1e-10)


def test_impossible_load_is_reported_not_hidden(case14):
    gen_p, p, q, setpoint = _problem(case14, np.random.default_rng(4), 0.0)
    slack = np.eye(case14.n_bus)[0]
    found = _solve(case14, gen_p, 8 * p, 8 * q, setpoint, slack, jnp.float32, 1e-5)
    assert not found.converged


def test_a_batch_equals_its_members(case14):
    net = newton.network(case14)
    rng = np.random.default_rng(5)
    p = jnp.asarray(-case14.bus.load_p_mw * rng.uniform(0.5, 1.2, (6, 14)) / 100, jnp.float32)
    q = jnp.asarray(-case14.bus.load_q_mvar * rng.uniform(0.5, 1.2, (6, 14)) / 100, jnp.float32)
    slack = jnp.asarray(np.eye(14)[0], jnp.float32)
    one = lambda p, q: newton.solve(net, p, q, jnp.ones(14), slack, jnp.ones(14), jnp.zeros(14))
    together = jax.jit(jax.vmap(one))(p, q)
    for index in range(6):
        alone = jax.jit(one)(p[index], q[index])
        np.testing.assert_allclose(together.vm_pu[index], alone.vm_pu, atol=2e-6)
        np.testing.assert_allclose(together.va_rad[index], alone.va_rad, atol=2e-6)


def test_a_warm_start_needs_fewer_iterations(case14):
    _, p, _, setpoint = _problem(case14, np.random.default_rng(6), 0.2)
    net, slack = newton.network(case14), jnp.asarray(np.eye(14)[0], jnp.float32)
    p_bus = np.zeros(14)
    np.add.at(p_bus, case14.loads, -p / 100)
    args = (
        jnp.asarray(p_bus, jnp.float32),
        jnp.zeros(14),
        jnp.asarray(setpoint, jnp.float32),
        slack,
    )
    cold = newton.solve(net, *args, jnp.ones(14), jnp.zeros(14))
    near = (args[0] * 1.01, *args[1:])
    warm = newton.solve(net, *near, cold.vm_pu, cold.va_rad)
    assert warm.converged and int(warm.iterations) < int(cold.iterations)
