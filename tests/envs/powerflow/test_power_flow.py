"""The power flow against pandapower: voltages, flows, islands, and what has no solution."""

import jax
import numpy as np
import pytest
from support import pandapower_comparison as comparison

from envs.case import case_file
from evaluation import pandapower_grid

slow = pytest.mark.slow
QUICK, MANY = 2, 100  # operating points


def _at_points(case, count, method, double, tolerance=None):
    """Returns (answers, solution, grid, network) of `count` operating points."""
    grid = case_file.load(case)
    at = comparison.points(grid, count)
    oracle = pandapower_grid.Oracle(grid)
    if method == "dc":
        answers = [oracle.solve(x.p, x.q, dc=True) for x in at]
    else:
        answers = [comparison.ask(oracle, x) for x in at]
    assert all(answer.converged for answer in answers)
    with jax.experimental.enable_x64(double):
        net = comparison.network_of(grid, double)
        solution = comparison.solve_all(
            net, grid, at, method=method, tolerance_pu=tolerance, fallback=method != "newton"
        )
    assert solution.converged.all()
    return answers, solution, grid, net


def _check_double(case, count):
    answers, solution, grid, _ = _at_points(case, count, "newton", True, 1e-10)
    for row, answer in enumerate(answers):
        errors = comparison.difference(answer, solution, row, grid.base_mva)
        # pandapower stops at 1e-10 pu, which low impedances magnify in the flows.
        limit = comparison.Errors(1e-8, 1e-8, 3e-8)
        assert np.all(np.array(errors) <= limit), f"{case}, point {row}: {errors}"


def _check_single(case, count, method):
    answers, solution, grid, net = _at_points(case, count, method, False)
    difference = comparison.dc_difference if method == "dc" else comparison.difference
    for row, answer in enumerate(answers):
        errors = difference(answer, solution, row, grid.base_mva)
        # Powers are as exact as the type lets them be, which in large networks is less; the DC
        # power flow has no compensated sums that make up for it.
        exact = net.rounding_pu if method == "dc" else 3 * net.tolerance_pu
        limit = comparison.Errors(1e-4, 1e-4, max(1e-4, exact))
        assert np.all(np.array(errors) <= limit), f"{case}, point {row}: {errors}"


@pytest.mark.parametrize("case", [case for case in comparison.CASES if case != "case1354"])
def test_newton_in_double_precision_equals_pandapower(case):
    _check_double(case, QUICK)


@slow
@pytest.mark.parametrize("case", comparison.CASES)
def test_newton_in_double_precision_equals_pandapower_at_many_points(case):
    _check_double(case, MANY)


@pytest.mark.parametrize(
    "case, method",
    [("case30", "chord"), ("case300", "chord"), ("case118", "fast_decoupled"), ("case118", "dc")],
)
def test_single_precision_equals_pandapower(case, method):
    _check_single(case, QUICK, method)


@slow
@pytest.mark.parametrize("method", ["chord", "fast_decoupled", "dc"])
@pytest.mark.parametrize("case", comparison.CASES)
def test_single_precision_equals_pandapower_at_many_points(case, method):
    _check_single(case, MANY, method)


def _check_outages(case, double=False, pairs=0):
    """Checks every single branch and generator, and some pairs of branches."""
    grid = case_file.load(case)
    (at,) = comparison.points(grid, 1)
    branches = comparison.single_branches(grid) + comparison.branch_pairs(grid, pairs)
    tried = comparison.outages(grid, branches, comparison.generator_buses(grid))
    answers = comparison.ask_all(grid, at, tried)
    with jax.experimental.enable_x64(double):
        net = comparison.network_of(grid, double)
        solution = comparison.solve_all(
            net, grid, at, tried.closed, tried.pv, "chord", tolerance_pu=1e-9 if double else None
        )
    limit = 3e-7 if double else max(1e-4, 4 * net.tolerance_pu)
    for row, answer in enumerate(answers):
        what = f"{case} without branches {tried.branches[row]} and buses {tried.buses[row]}"
        assert answer.converged == solution.converged[row], what
        if answer.converged:
            errors = comparison.difference(answer, solution, row, grid.base_mva)
            assert max(errors) <= limit, f"{what}: {errors}"
    return solution


@pytest.mark.parametrize(
    "case, pairs", [("case14", 30), pytest.param("case118", 30, marks=pytest.mark.slow)]
)
def test_outages_equal_pandapower(case, pairs):
    solution = _check_outages(case, pairs=pairs)
    assert (~solution.energised).any(), "none of these cuts anything off"
    assert not solution.fell_back.any()


@slow
@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize(
    "case, pairs", [("case30", 100), ("case57", 100), ("case118", 300), ("case300", 100)]
)
def test_many_outages_equal_pandapower(case, pairs, double):
    _check_outages(case, double, pairs)


def test_the_reference_bus_can_lose_its_voltage_too():
    # It keeps the slack. Pandapower's holds its voltage always: told the voltage of
    # our solution, it must arrive at the reactive power that was requested.
    grid = case_file.load("case118")
    (at,) = comparison.points(grid, 1)
    tried = comparison.outages(grid, buses=[(grid.reference_bus,)])
    with jax.experimental.enable_x64():
        net = comparison.network_of(grid, True)
        solution = comparison.solve_all(
            net, grid, at, tried.closed, tried.pv, "chord", tolerance_pu=1e-9
        )
    assert solution.converged.all()
    setpoint = solution.vm_pu[0]
    answer = pandapower_grid.Oracle(grid).solve(at.p, at.q, setpoint)
    assert max(comparison.difference(answer, solution, 0, grid.base_mva)) < 1e-8
    assert abs(answer.gen_q[grid.reference_bus]) < 1e-6
