"""The programs of AC optimal power flow, built by CasADi and solved by Ipopt.

Variables are, in order, va and vm `[n_bus]`, p and q `[n_gen]`, up and down `[n_movable]`, spilled
`[n_plant]`, absorbed reactive power `[n_condenser]`; pu and rad. An elastic program has more: the
share of load shed `[n_bus]`, flow beyond limits, reactive power beyond limits `[2 n_gen]`, voltage
beyond limits `[2 n_bus]`, angles beyond limits, and power below Pmin `[n_gen]`. Rows are the
balance of active and of reactive power `[2 n_bus]`, the squared flows at both ends of the watched
branches, their angle differences, what condensers produce with what they absorb added
`[n_condenser]`, and, elastic, the voltages `[n_bus]`.
"""

from typing import NamedTuple

import casadi
import numpy as np

from agents.baselines import acopf_equations
from agents.baselines.acopf_problem import Controls, Problem
from envs.case import grid as grid_lib
from envs.powerflow import matrices
from envs.step.options import StepOptions

_TOLERANCE = 1e-6
_LEAST_PU, _MOST_PU = 0.5, 1.5  # voltages that an elastic program may leave limits for
_MOST_RAD = 2 * np.pi  # that an elastic program may go beyond a limit of angles
_ROUNDING_PU = 1e-5  # by which a condenser may absorb more than what it produces is below zero
_SLACK_RAD = 1e-2  # that its variables count in: Ipopt divides the objective by its steepest slope
_WARM_ITERATIONS, _MAX_ITERATIONS = 40, 300
_WARM = {
    "ipopt.warm_start_init_point": "yes",
    "ipopt.mu_init": 1e-6,
    "ipopt.max_iter": _WARM_ITERATIONS,
    **{
        f"ipopt.warm_start_{name}": 1e-8
        for name in (
            "bound_push", "bound_frac", "slack_bound_push", "slack_bound_frac", "mult_bound_push",
        )
    },
}  # fmt: skip


class Start(NamedTuple):
    """Where a program ended, from which the next one may start."""

    values: np.ndarray  # of the variables
    by_bound: np.ndarray  # multipliers of their bounds
    by_row: np.ndarray  # multipliers of the rows


class Result(NamedTuple):
    """What Ipopt returned for a program."""

    success: bool
    start: Start
    cost: float  # $/h
    iterations: int


class Program(NamedTuple):
    """A compiled program, and the bounds of its rows of balance and flow."""

    solve: casadi.Function
    lower: np.ndarray
    upper: np.ndarray
    watched: np.ndarray  # branches with limits of power
    watched_angle: np.ndarray  # branches with limits of angles
    condensers: np.ndarray  # of `Controls`
    size: int  # variables without those of the elastic part
    elastic: bool


def build(
    grid: grid_lib.Grid,
    prices: StepOptions,
    controls: Controls,
    watched: tuple[np.ndarray, np.ndarray],
    *,
    warm: bool,
    elastic: bool,
) -> Program:
    """Returns the program of a grid.

    `watched` are branches with limits of power, and branches with limits of angles. A `warm` one
    starts from where another ended, and in an `elastic` one limits may be broken at their price.
    """
    base, n, g = grid.base_mva, grid.n_bus, grid.n_gen
    (watched, watched_angle), symbol = watched, casadi.SX.sym
    c, r = controls.load_bus.size, controls.plant_bus.size
    equations = acopf_equations.power_equations(grid)
    va, vm, closed = equations.va, equations.vm, equations.closed
    p, q = symbol("p", g), symbol("q", g)
    up, down, spilled = symbol("up", c), symbol("down", c), symbol("spilled", r)
    # Of what condensers produce, where it is below zero: its size is then produced + 2 absorbed,
    # without a kink. `run` sees to it that no more is absorbed than that.
    condensers = controls.condensers
    absorbed = symbol("absorbed", condensers.size)
    parts = [va, vm, p, q, up, down, spilled, absorbed]
    load_p, load_q, fixed = symbol("load_p", n), symbol("load_q", n), symbol("fixed", n)
    energised, tilt = symbol("energised", n), symbol("tilt", c)
    available, rate_share = symbol("available", r), symbol("rate_share")

    # Balance of every bus; a de-energised one is pinned to 1 pu and angle 0.
    at = lambda bus: acopf_equations.connection_matrix(grid, bus)
    moved, gen = at(controls.load_bus), at(grid.gen.bus)
    shift, plants = up - down, at(controls.plant_bus)
    p_balance = equations.p_out + load_p + moved @ shift - fixed - gen @ p
    p_balance -= plants @ (available - spilled)
    q_balance = equations.q_out + load_q + moved @ (tilt * shift) - gen @ q
    produced = q
    limit = casadi.DM(grid.branch.rate_mva[watched] / base) * rate_share
    p_mw = base * p
    cost = casadi.dot(casadi.DM(grid.gen.cost_c2), p_mw**2)
    cost += casadi.dot(casadi.DM(grid.gen.cost_c1), p_mw) + float(grid.gen.cost_c0.sum())
    cost += base * prices.load_control_price * casadi.sum1(up + down)
    cost += base * prices.curtailment_price * casadi.sum1(spilled)
    room, voltages = 0.0, casadi.SX(0, 1)
    ends = grid.branch.from_bus[watched_angle], grid.branch.to_bus[watched_angle]
    angles = acopf_equations.rows(va, ends[0]) - acopf_equations.rows(va, ends[1])
    if elastic:
        # `shed` is a share of the bus's load; voltages and reactive power give way by bounds.
        shed, over = symbol("shed", n), symbol("over", len(watched))
        beyond_q, beyond_v = symbol("beyond_q", 2 * g), symbol("beyond_v", 2 * n)
        a = watched_angle.size
        beyond_angle = symbol("beyond_angle", 2 * a)
        idle = symbol("idle", g)  # below the least that a unit can produce
        parts += [shed, over, beyond_q, beyond_v, beyond_angle, idle]
        p_balance -= shed * load_p - gen @ idle
        q_balance -= shed * load_q + gen @ (beyond_q[:g] - beyond_q[g:])
        produced = q + beyond_q[:g] - beyond_q[g:]
        room = over
        voltages = vm - beyond_v[:n] + beyond_v[n:]
        angles += _SLACK_RAD * (beyond_angle[a:] - beyond_angle[:a])
        cost += base * prices.lost_load_price * casadi.dot(shed, casadi.fabs(load_p))
        cost += base * prices.overload_price * casadi.sum1(over)
        cost += base * prices.reactive_price * casadi.sum1(beyond_q)
        cost += base * prices.surplus_price * casadi.sum1(idle)
        cost += prices.voltage_price * casadi.sum1(beyond_v)
        cost += prices.angle_price * _SLACK_RAD * casadi.sum1(beyond_angle)
    produced = acopf_equations.rows(produced, condensers)
    draw = controls.condenser_loss * (produced + 2 * absorbed)
    p_balance += at(grid.gen.bus[condensers]) @ draw
    rows = casadi.vertcat(
        energised * p_balance + (1 - energised) * va,
        energised * q_balance + (1 - energised) * (vm - 1),
        acopf_equations.rows(equations.from_squared, watched) - (limit + room) ** 2,
        acopf_equations.rows(equations.to_squared, watched) - (limit + room) ** 2,
        angles, produced + absorbed, voltages,
    )  # fmt: skip
    w = 2 * len(watched)
    lower = np.concatenate([np.zeros(2 * n), np.full(w, -np.inf)])
    upper = np.concatenate([np.zeros(2 * n), np.zeros(w)])
    limits = {"ipopt.tol": _TOLERANCE, "ipopt.max_iter": _MAX_ITERATIONS}
    solve = casadi.nlpsol(
        "acopf", "ipopt",
        {
            "x": casadi.vertcat(*parts), "f": cost, "g": rows,
            "p": casadi.vertcat(
                load_p, load_q, fixed, closed, energised, tilt, available, rate_share,
            ),
        },
        {**acopf_equations.QUIET, **limits, **(_WARM if warm else {})},
    )  # fmt: skip
    size = 2 * n + 2 * g + 2 * c + r + condensers.size
    return Program(solve, lower, upper, watched, watched_angle, controls.condensers, size, elastic)


def run(grid: grid_lib.Grid, program: Program, problem: Problem, start: Start | None) -> Result:
    """Returns what Ipopt makes of a problem, from the middle of its bounds without a `start`."""
    result = _run(grid, program, problem, start)
    produced, absorbed = _condensers(grid, program, result.start.values)
    if not result.success or (absorbed <= np.maximum(-produced, 0.0) + _ROUNDING_PU).all():
        return result
    # Where power is in surplus, to draw it pays: whoever produces must then not absorb.
    again = _run(grid, program, problem, result.start, produced < 0)
    return again._replace(iterations=result.iterations + again.iterations)


def _condensers(
    grid: grid_lib.Grid, program: Program, values: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the reactive power that condensers produce and absorb `[n_condenser]`, pu."""
    n, g, chosen = grid.n_bus, grid.n_gen, program.condensers
    produced = values[2 * n + g : 2 * n + 2 * g]
    if program.elastic:
        begin = program.size + n + len(program.watched)
        produced = produced + values[begin : begin + g] - values[begin + g : begin + 2 * g]
    return produced[chosen], values[program.size - chosen.size : program.size]


def _run(
    grid: grid_lib.Grid,
    program: Program,
    problem: Problem,
    start: Start | None,
    absorbs: np.ndarray | None = None,
) -> Result:
    """Returns a result in which, if it is given, `absorbs` says which condensers may absorb."""
    n, g = grid.n_bus, grid.n_gen
    lower, upper, lower_rows, upper_rows = _bounds(grid, program, problem, absorbs)
    arguments = {"lbx": lower, "ubx": upper, "lbg": lower_rows, "ubg": upper_rows}
    arguments["p"] = _parameters(grid, problem)
    if start is None:
        values = np.zeros(lower.size)
        values[n : 2 * n] = 1.0
        middle = slice(2 * n, 2 * n + g)
        values[middle] = 0.5 * (lower[middle] + upper[middle])
        arguments["x0"] = values
    else:
        # A warm start does without the middle of the bounds, so that it must lie within them.
        arguments["x0"] = np.clip(start.values, lower, upper)
        arguments["lam_x0"], arguments["lam_g0"] = start.by_bound, start.by_row
    answer = program.solve(**arguments)
    stats = program.solve.stats()
    end = Start(*(np.asarray(answer[name]).ravel() for name in ("x", "lam_x", "lam_g")))
    return Result(stats["success"], end, float(answer["f"]), stats["iter_count"])


def _parameters(grid: grid_lib.Grid, problem: Problem) -> np.ndarray:
    base = grid.base_mva
    tilt = problem.movable_q_mvar / np.where(problem.movable_p_mw == 0, 1.0, problem.movable_p_mw)
    return np.concatenate([
        problem.load_p_mw / base, problem.load_q_mvar / base, problem.fixed_mw / base,
        problem.closed, problem.energised, tilt, problem.available_mw / base, [problem.rate_share],
    ])  # fmt: skip


def _bounds(
    grid: grid_lib.Grid, program: Program, problem: Problem, absorbs: np.ndarray | None
) -> tuple[np.ndarray, ...]:
    """Returns least and most of the variables, and least and most of the rows.

    `absorbs` says which condensers absorb, and how much follows then; without it any may.
    """
    base, n, g = grid.base_mva, grid.n_bus, grid.n_gen
    on = problem.energised > 0
    reference = grid.reference_bus if on[grid.reference_bus] else int(np.argmax(on))
    angle = np.where(np.arange(n) == reference, 0.0, np.inf)
    reach = problem.movable_share * np.abs(problem.movable_p_mw) / base
    gen_on = on[grid.gen.bus]
    # An elastic program bounds voltages by rows that slacks reach beyond, but for PV buses, whose
    # limits are those of a set-point. The balance pins a de-energised bus, and nothing else does.
    vm_low = np.where(on, problem.vm_low_pu, _LEAST_PU)
    vm_high = np.where(on, problem.vm_high_pu, _MOST_PU)
    lower_rows, upper_rows = (
        np.append(rows, limit[program.watched_angle])
        for rows, limit in zip((program.lower, program.upper), angle_limits(grid, problem))
    )
    q_low, q_high = gen_on * problem.q_low_mvar / base, gen_on * problem.q_high_mvar / base
    # As much as nobody absorbs, so that this limit is none.
    absorbed = 2.0 * np.maximum(np.abs(q_low), np.abs(q_high))[program.condensers]
    most_row = np.full(absorbed.size, np.inf)
    if absorbs is not None:
        absorbed, most_row = absorbed * absorbs, np.where(absorbs, 0.0, np.inf)
    lower_rows = np.append(lower_rows, np.zeros(absorbed.size))
    upper_rows = np.append(upper_rows, most_row)
    if program.elastic:
        lower_rows, upper_rows = np.append(lower_rows, vm_low), np.append(upper_rows, vm_high)
        vm_low = np.where(problem.pv, vm_low, _LEAST_PU)
        vm_high = np.where(problem.pv, vm_high, _MOST_PU)
    lower = [-angle, vm_low, gen_on * problem.p_low_mw / base, q_low,
             *[np.zeros_like(reach)] * 2, np.zeros_like(problem.available_mw),
             np.zeros_like(absorbed)]  # fmt: skip
    upper = [angle, vm_high, gen_on * problem.p_high_mw / base, q_high,
             reach, reach, problem.available_mw / base, absorbed]  # fmt: skip
    lower, upper = np.concatenate(lower), np.concatenate(upper)
    if program.elastic:
        extra = program.solve.size1_in("x0") - program.size
        bound = np.full(extra, np.inf)
        bound[:n] = problem.load_p_mw > 0  # nothing is shed for free
        bound[-g - 2 * program.watched_angle.size : -g] = _MOST_RAD / _SLACK_RAD
        bound[-g:] = gen_on * np.maximum(problem.p_low_mw, 0.0) / base
        lower, upper = np.append(lower, np.zeros(extra)), np.append(upper, bound)
    return lower, upper, lower_rows, upper_rows


def carried(
    grid: grid_lib.Grid, start: Start, source: Program, target: Program, problem: Problem
) -> Start:
    """Returns where one program ended as what another of the same problem can start from."""
    n, size = grid.n_bus, source.size
    values, by_bound = (np.zeros(target.solve.size1_in("x0")) for _ in range(2))
    values[:size], by_bound[:size] = start.values[:size], start.by_bound[:size]
    w, a = 2 * source.watched.size, source.watched_angle.size
    angles = np.zeros(grid.n_branch)
    angles[source.watched_angle] = start.by_row[2 * n + w : 2 * n + w + a]
    flows = np.zeros((2, grid.n_branch))
    flows[:, source.watched] = start.by_row[2 * n : 2 * n + w].reshape(2, -1)
    last = 2 * n + w + a
    absorbed, voltage = np.split(start.by_row[last:], [source.condensers.size])
    # Voltages are bounds of a variable in one kind, and rows in the other.
    if source.elastic == target.elastic:
        voltage = np.zeros(n)
    if target.elastic and not source.elastic:
        voltage = np.where(problem.pv, 0.0, by_bound[n : 2 * n])
        by_bound[n : 2 * n] -= voltage
    elif source.elastic and not target.elastic:
        by_bound[n : 2 * n] += voltage
    rows = [start.by_row[: 2 * n], flows[:, target.watched].ravel(), angles[target.watched_angle]]
    rows += [absorbed, voltage] if target.elastic else [absorbed]
    return Start(values, by_bound, np.concatenate(rows))


def loading(
    grid: grid_lib.Grid, y: matrices.BranchAdmittance, values: np.ndarray, closed: np.ndarray
) -> np.ndarray:
    """Returns the loading of every branch over its limit `[n_branch]`, at its more loaded end."""
    n = grid.n_bus
    voltage = values[n : 2 * n] * np.exp(1j * values[:n])
    return closed * matrices.carried_mva(grid, y, voltage) / grid.branch.rate_mva


def angle_limits(grid: grid_lib.Grid, problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    """Returns the least and the greatest θ_from − θ_to `[n_branch]`, rad; none where open."""
    low, high = grid.branch.angle_min_rad, grid.branch.angle_max_rad
    share = 1.0 - problem.rate_share
    left = lambda limit: share * np.abs(np.where(np.isfinite(limit), limit, 0.0))
    left_low, left_high = (np.minimum(left(x), 0.5 * (high - low)) for x in (low, high))
    closed = problem.closed > 0
    return np.where(closed, low + left_low, -np.inf), np.where(closed, high - left_high, np.inf)
