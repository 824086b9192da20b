"""How far the loads of a grid can grow before no dispatch keeps every limit."""

import functools

import casadi
import numpy as np

from agents.baselines import acopf_equations
from envs.case import grid as grid_lib

_MOST = 20.0  # times the loads; more is no load at all


def factor(
    grid: grid_lib.Grid, load_p_mw: np.ndarray, load_q_mvar: np.ndarray, injection_mw: np.ndarray
) -> float:
    """Returns the largest factor on the loads for which AC optimal power flow is feasible.

    All branches are in service; generators move within their limits, voltages within the buses',
    flows within rate A, angle differences within ANGMIN and ANGMAX. Loads `[n_load]`, of the buses
    `grid.loads`, grow at constant power factor; wind and sun inject `injection_mw` `[n_bus]`.

    Raises:
      RuntimeError: there is no such factor.
    """
    base, n, g = grid.base_mva, grid.n_bus, grid.n_gen
    column = lambda values: np.bincount(grid.loads, values, n) / base
    gen, bus = grid.gen, grid.bus
    angle = np.where(np.arange(n) == grid.reference_bus, 0.0, np.inf)
    lower = [-angle, bus.vm_min_pu, gen.p_min_mw / base, gen.q_min_mvar / base, [0.0]]
    upper = [angle, bus.vm_max_pu, gen.p_max_mw / base, gen.q_max_mvar / base, [_MOST]]
    start = np.concatenate([
        np.zeros(n), np.ones(n), 0.5 * (gen.p_min_mw + gen.p_max_mw) / base,
        np.zeros(g), [1.0],
    ])  # fmt: skip
    branch, limited = grid.branch, int(np.isfinite(grid.branch.rate_mva).sum())
    angle_limits = branch.angle_min_rad, branch.angle_max_rad
    for angles in (False, True):  # Limits of angles seldom bind.
        program = _program(grid, angles)
        least, most = angle_limits if angles else (np.zeros(0), np.zeros(0))
        answer = program(
            x0=start, lbx=np.concatenate(lower), ubx=np.concatenate(upper),
            lbg=np.concatenate([np.zeros(2 * n), np.full(2 * limited, -np.inf), least]),
            ubg=np.concatenate([np.zeros(2 * n + 2 * limited), most]),
            p=np.concatenate([column(load_p_mw), column(load_q_mvar), injection_mw / base]),
        )  # fmt: skip
        if not program.stats()["success"]:
            raise RuntimeError(
                f"{grid.name}: no factor on the loads makes AC optimal power flow feasible (Ipopt: "
                f"{program.stats()['return_status']})"
            )
        values = np.asarray(answer["x"]).ravel()
        beyond = acopf_equations.beyond_angle(branch, values[:n], angle_limits)
        if beyond.max() <= acopf_equations.PASSED_RAD:
            break
    return float(values[-1])


@functools.lru_cache(8)
def _program(grid: grid_lib.Grid, angles: bool) -> casadi.Function:
    equations, n, g = acopf_equations.power_equations(grid), grid.n_bus, grid.n_gen
    symbol = casadi.SX.sym
    p, q, grown = symbol("p", g), symbol("q", g), symbol("grown")
    load_p, load_q, fixed = symbol("load_p", n), symbol("load_q", n), symbol("fixed", n)
    gen = acopf_equations.connection_matrix(grid, grid.gen.bus)
    rate = grid.branch.rate_mva / grid.base_mva
    limited = np.flatnonzero(np.isfinite(rate))
    square = casadi.DM(rate[limited] ** 2)
    constraints = casadi.vertcat(
        equations.p_out + grown * load_p - fixed - gen @ p,
        equations.q_out + grown * load_q - gen @ q,
        acopf_equations.rows(equations.from_squared, limited) - square,
        acopf_equations.rows(equations.to_squared, limited) - square,
    )
    if angles:
        va, ends = equations.va, (grid.branch.from_bus.tolist(), grid.branch.to_bus.tolist())
        constraints = casadi.vertcat(constraints, va[ends[0]] - va[ends[1]])
    everything = casadi.DM.ones(grid.n_branch)
    constraints = casadi.substitute(constraints, equations.closed, everything)
    return casadi.nlpsol(
        "loadability", "ipopt",
        {
            "x": casadi.vertcat(equations.va, equations.vm, p, q, grown), "f": -grown,
            "g": constraints, "p": casadi.vertcat(load_p, load_q, fixed),
        },
        {**acopf_equations.QUIET, "ipopt.tol": 1e-6},
    )  # fmt: skip
