"""What a branch's limit is of: all who measure loadings agree, and optimal dispatch keeps it."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from agents.baselines import acopf_model, acopf_problem, sensitivity
from envs.case import case_file, validate
from envs.case.grid import APPARENT_POWER, CURRENT, CURRENT_AT_FROM, RATED
from envs.powerflow import base_point, matrices, network, solve


def _expected(grid, voltage):
    """Loadings from voltages `[n_bus]`, by the definition of the current in a pi-model."""
    y, branch = matrices.branch_admittance(grid), grid.branch
    at_from, at_to = voltage[branch.from_bus], voltage[branch.to_bus]
    currents = abs(y.yff * at_from + y.yft * at_to), abs(y.ytf * at_from + y.ytt * at_to)
    powers = currents[0] * abs(at_from), currents[1] * abs(at_to)
    carried = {
        APPARENT_POWER: np.maximum(*powers), CURRENT: np.maximum(*currents),
        CURRENT_AT_FROM: currents[0],
    }[grid.rated]  # fmt: skip
    return carried * grid.base_mva / branch.rate_mva


@pytest.mark.parametrize("rated", RATED)
def test_loadings_are_of_what_is_rated(case14, rated):
    grid = dataclasses.replace(case14, rated=rated)
    net = network.build(grid)
    p, q = (jnp.asarray(x) for x in base_point.nominal_injections(grid))
    solution = solve.solver(net)(solve.base_request(net, p, q))
    voltage = np.asarray(solution.vm_pu * jnp.exp(1j * solution.va_rad), complex)
    expected = _expected(grid, voltage)
    y = matrices.branch_admittance(grid)
    measured = matrices.carried_mva(grid, y, voltage) / grid.branch.rate_mva
    np.testing.assert_allclose(measured, expected, rtol=1e-6)
    np.testing.assert_allclose(solution.rho, expected, rtol=0, atol=2e-5)
    flows = sensitivity.Meter(grid)(solution.vm_pu, solution.va_rad, np.ones(grid.n_branch, bool))
    np.testing.assert_allclose(flows.rho, expected, rtol=0, atol=2e-5)
    # At the flow that leaves no room a branch is as loaded as was said.
    again = flows._replace(p_mw=flows.room(0.7))
    inside = np.asarray(again.q_mvar) < 0.7 * np.asarray(again.rate_mva)
    np.testing.assert_allclose(again.rho[inside], 0.7, rtol=1e-5)


def test_optimal_dispatch_keeps_limits_of_what_is_rated(case118):
    costs = {}
    for rated in RATED:
        grid = dataclasses.replace(case118, rated=rated)
        solution = acopf_model.Model(grid).solve(acopf_problem.nominal(grid))
        assert solution.optimal
        expected = _expected(grid, solution.vm_pu * np.exp(1j * solution.va_rad))
        np.testing.assert_allclose(solution.rho, expected, atol=1e-6)
        assert 1 - 1e-4 < expected.max() < 1 + 1e-6, "a limit binds"
        costs[rated] = solution.cost_per_h
    # Voltages are above nominal where limits bind: a current carries more power.
    assert costs[CURRENT_AT_FROM] <= costs[CURRENT] < costs[APPARENT_POWER] - 1.0


def test_a_case_file_keeps_what_is_rated(case14, tmp_path):
    path = tmp_path / "mine.json"
    case_file.write_json(case14, path)
    assert "rated" not in path.read_text()
    case_file.write_json(dataclasses.replace(case14, rated=CURRENT), path)
    assert case_file.load(str(path)).rated == CURRENT
    path.write_text(path.read_text().replace('"rated": "current"', '"rated": "heat"'))
    with pytest.raises(validate.CaseError, match="mine.json: rated is 'heat', it may be apparent"):
        case_file.load(str(path))
