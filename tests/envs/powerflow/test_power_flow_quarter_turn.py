"""Converged means that the voltages returned solve the equations, however large the angles are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from envs.case import matpower, pglib
from envs.powerflow import base_point, matrices, network, solve

# 50° along each of two strong lines in a row are 100° along the weak one beside them.
_TRIANGLE = """function mpc = triangle
mpc.version = '2';
mpc.baseMVA = 100.0;
mpc.bus = [
  1 3 0 0 0 0 1 1.0 0.0 230 1 1.1 0.9;
  2 2 0 0 0 0 1 1.0 0.0 230 1 1.1 0.9;
  3 2 300 0 0 0 1 1.0 0.0 230 1 1.1 0.9;
  4 1 1 0 0 0 1 1.0 0.0 230 1 1.1 0.9;
];
mpc.gen = [
  1 150 0 900 -900 1 100 1 1000 0;
  2 0 0 900 -900 1 100 1 1000 0;
  3 0 0 900 -900 1 100 1 1000 0;
];
mpc.gencost = [2 0 0 3 0 1 0; 2 0 0 3 0 1 0; 2 0 0 3 0 1 0];
mpc.branch = [
  1 2 0 0.1 0 2000 0 0 0 0 1 -30 30;
  2 3 0 0.1 0 2000 0 0 0 0 1 -30 30;
  1 3 0 1.0 0 2000 0 0 0 0 1 -30 30;
  2 4 0 0.1 0 2000 0 0 0 0 1 -30 30;
];
"""
_STRONG_PU, _WEAK_PU = 10.0, 1.0  # power along a line at a quarter turn


def _mismatch_pu(grid, net, p, q, solution):
    """Returns the largest mismatch of each grid's voltages, in double precision `[batch]`."""
    exact = lambda change, low: change.astype(float) + (0.0 if low is None else low.astype(float))
    vm = net.base.vm_pu + exact(solution.vm_change_pu, solution.vm_change_low_pu)
    va = net.base.va_rad + exact(solution.va_change_rad, solution.va_change_low_rad)
    voltage = vm * np.exp(1j * va)
    power = voltage * np.conj(voltage @ matrices.bus_admittance(grid).toarray().T)
    dp = power.real - p - solution.slack_pu[:, None] * base_point.participation(grid)
    dq = (power.imag - q)[:, ~np.isin(np.arange(grid.n_bus), grid.gen.bus)]
    return np.maximum(np.abs(dp).max(1), np.abs(dq).max(1))


def _solve(net, p, q, **options):
    run = solve.solver(net, **options)
    one = lambda p, q: run(solve.base_request(net, p, q))
    return jax.tree.map(np.asarray, jax.jit(jax.vmap(one))(jnp.asarray(p), jnp.asarray(q)))


@pytest.mark.parametrize("method", ["fast_decoupled", "newton"])
def test_a_branch_beyond_a_quarter_turn_is_no_solution(tmp_path, method):
    path = tmp_path / "triangle.m"
    path.write_text(_TRIANGLE)
    grid = matpower.read(path)
    net = network.build(grid)
    angle = np.deg2rad([40.0, 50.0])  # along each strong line
    sent = _STRONG_PU * np.sin(angle) + _WEAK_PU * np.sin(2 * angle)
    p = np.stack([sent, 0 * sent, -sent, 0 * sent], 1).astype(np.float32)
    solution = _solve(net, p, 0 * p, method=method, fallback=False)
    assert solution.converged.tolist() == [True, False], _mismatch_pu(grid, net, p, 0 * p, solution)
    assert not solution.mismatch_pu[1] <= net.tolerance_pu
    assert _mismatch_pu(grid, net, p, 0 * p, solution)[0] < 2 * net.tolerance_pu


@pytest.mark.slow
def test_every_converged_point_of_a_strained_grid_is_consistent():
    grid = matpower.read(pglib.folder() / "pglib_opf_case240_pserc.m")
    net = network.build(grid)
    rng = np.random.default_rng(0)
    load = 0.9 * rng.uniform(0.8, 1.2, (256, grid.n_bus))
    demand = load * grid.bus.load_p_mw
    share = base_point.participation(grid) * rng.uniform(0.6, 1.4, (256, grid.n_bus))
    share /= share.sum(1, keepdims=True)
    p = ((share * demand.sum(1, keepdims=True) - demand) / grid.base_mva).astype(np.float32)
    q = (-load * grid.bus.load_q_mvar / grid.base_mva).astype(np.float32)
    solution = _solve(net, p, q)
    assert 50 < solution.converged.sum() < 256
    mismatch = _mismatch_pu(grid, net, p, q, solution)[solution.converged]
    # The tolerance, and as much again for what rounding of large flows hides; with some room.
    assert mismatch.max() < 5 * net.tolerance_pu, mismatch.max() * grid.base_mva
