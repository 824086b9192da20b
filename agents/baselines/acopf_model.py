"""AC optimal power flow of one operating point, in polar coordinates, by CasADi and Ipopt.

    minimise   Σ c2 p² + c1 p + c0 + what moving loads and spilling wind and sun costs
    subject to the power balance of every bus, Pmin ≤ p ≤ Pmax, Qmin ≤ q ≤ Qmax,
               Vmin ≤ v ≤ Vmax, |S_from|, |S_to| ≤ rate A,
               ANGMIN ≤ θ_from − θ_to ≤ ANGMAX

(Cain, O'Neill and Castillo, History of Optimal Power Flow and Formulations, FERC 2012; the problem
that PGLib-OPF's objectives are of. θ are angles of buses, so that a phase shift is not subtracted:
MATPOWER manual, table B-3). Few limits of branches bind: those that never come near are left out of
the first program, and a solution that passes one of them is found again with all. Where no point
keeps every limit, prices on what is beyond take their place (`elastic`).
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import casadi
import numpy as np

from agents.baselines import acopf_equations
from envs.case import grid as grid_lib
from envs.powerflow import admittance

_NEAR = 0.7  # loading at which a branch is watched from the start
_LEVELS = (0.4, 0.6, 0.8, 1.0)  # of the file's loads, to find such branches
_TOLERANCE = 1e-6
_LEAST_PU, _MOST_PU = 0.5, 1.5  # voltages that an elastic program may leave limits for
_NOTHING = 1e-4  # pu beyond limits, all of them together, that is rounding
_PASSED = 1.0 + 1e-5  # loading beyond which a limit counts as passed
_PASSED_RAD = 1e-5  # beyond a limit of angles from where on it counts as passed
_MOST_RAD = 2 * np.pi  # that an elastic program may go beyond a limit of angles
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


@dataclasses.dataclass(frozen=True)
class Prices:
    """What moving and breaking things costs; all per hour."""

    load: float = 0.0  # $/MW moved
    curtailment: float = 0.0  # $/MW
    lost_load: float = 10_000.0  # $/MW, elastic
    surplus: float = 500.0  # $/MW below the least that units can produce, elastic
    overload: float = 500.0  # $/MVA, elastic
    voltage: float = 20_000.0  # $/pu, elastic
    reactive: float = 10.0  # $/MVAr, elastic
    angle: float = 1e7  # $/rad, elastic: 10,000 $/MW where a branch carries 1,000 MW a radian


@dataclasses.dataclass(frozen=True)
class Controls:
    """What may be moved besides generators."""

    load_bus: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, int))
    plant_bus: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, int))


class Point(NamedTuple):
    """One operating point to optimise, MW, MVAr and pu."""

    load_p_mw: np.ndarray  # `[n_bus]`
    load_q_mvar: np.ndarray  # `[n_bus]`
    given_mw: np.ndarray  # `[n_bus]` injected whatever is decided: batteries, condensers' draw
    p_low_mw: np.ndarray  # `[n_gen]`
    p_high_mw: np.ndarray  # `[n_gen]`
    q_low_mvar: np.ndarray  # `[n_gen]`
    q_high_mvar: np.ndarray  # `[n_gen]`
    vm_low_pu: np.ndarray  # `[n_bus]`
    vm_high_pu: np.ndarray  # `[n_bus]`
    held: np.ndarray  # bool `[n_bus]` generators hold the voltage: its limits are what they can do
    closed: np.ndarray  # `[n_branch]` 1 in service, 0 not
    energised: np.ndarray  # `[n_bus]` 1 on the island that lives
    movable_p_mw: np.ndarray  # `[n_movable]` of the loads at `Controls.load_bus`
    movable_q_mvar: np.ndarray  # `[n_movable]`
    movable_share: float  # how far these may be moved either way
    available_mw: np.ndarray  # `[n_plant]` of the plants at `Controls.plant_bus`
    rate_share: float = 1.0  # of each limit that may be used


class Solution(NamedTuple):
    """An optimum, MW, MVAr and pu."""

    optimal: bool  # every limit kept; otherwise `elastic` or none found
    found: bool
    cost_per_h: float  # $/h, prices on what is beyond limits and on curtailment included
    operating_per_h: float  # $/h of generation and of moving loads alone
    p_mw: np.ndarray  # `[n_gen]`
    q_mvar: np.ndarray  # `[n_gen]`
    vm_pu: np.ndarray  # `[n_bus]`
    va_rad: np.ndarray  # `[n_bus]`
    moved_mw: np.ndarray  # `[n_movable]` up positive
    spilled_mw: np.ndarray  # `[n_plant]`
    rho: np.ndarray  # `[n_branch]` loading over limit
    seconds: float
    iterations: int
    warm: tuple | None  # what the next solve may start from


class _Program(NamedTuple):
    """A compiled program and the bounds of its constraints."""

    solve: casadi.Function
    lower: np.ndarray
    upper: np.ndarray
    watched: np.ndarray  # branches with limits of power
    watched_angle: np.ndarray  # branches with limits of angles
    size: int  # variables without those of the elastic part
    elastic: bool


class _Found(NamedTuple):
    """An optimum of a program."""

    name: str
    program: _Program
    start: tuple  # variables, and multipliers of their bounds and of rows
    rho: np.ndarray  # `[n_branch]`
    cost: float  # $/h


class Model:
    """The optimal power flow of one grid; programs are made when first needed and kept."""

    def __init__(
        self,
        grid: grid_lib.Grid,
        prices: Prices = Prices(),
        controls: Controls | None = None,
    ):
        """Takes the grid, the prices, and what may be moved besides generators."""
        self.grid, self.prices = grid, prices
        self.controls = Controls() if controls is None else controls
        self._y = admittance.branch_admittance(grid)
        self._limited = np.flatnonzero(np.isfinite(grid.branch.rate_mva))
        least, most = grid.branch.angle_min_rad, grid.branch.angle_max_rad
        self._limited_angle = np.flatnonzero(np.isfinite(least) | np.isfinite(most))
        self._programs: dict[str, _Program] = {}
        self._near: np.ndarray | None = None
        self._near_angle = np.zeros(0, int)

    def nominal(self) -> Point:
        """Returns the operating point of the case file, nothing movable but generators."""
        bus, gen, grid = self.grid.bus, self.grid.gen, self.grid
        none = np.zeros(0)
        return Point(
            bus.load_p_mw, bus.load_q_mvar, np.zeros(grid.n_bus),
            gen.p_min_mw, gen.p_max_mw, gen.q_min_mvar, gen.q_max_mvar,
            bus.vm_min_pu, bus.vm_max_pu,
            np.isin(np.arange(grid.n_bus), gen.bus),
            np.ones(grid.n_branch), np.ones(grid.n_bus), none, none, 0.0, none,
        )  # fmt: skip

    def solve(self, point: Point, warm: tuple | None = None) -> Solution:
        """Returns the optimum of `point` that keeps every limit or, where none does, breaks some.

        Args:
          point: what is given and what limits.
          warm: `Solution.warm` of a near point.
        """
        begun = time.perf_counter()
        found, iterations = self._first(point, self._attempts(point, warm))
        seconds = time.perf_counter() - begun
        if found is None:
            return self._nothing(point, seconds, iterations)
        return self._solution(found, seconds, iterations)

    def cheapest(self, point: Point, warm: tuple | None = None) -> Solution:
        """Returns the optimum of `point`, limits broken wherever that is cheaper than to keep them.

        That can only be where a limit's multiplier is above the price of breaking it. `optimal`
        says, as of `solve`, whether every limit could have been kept.

        Args:
          point: what is given and what limits.
          warm: `Solution.warm` of a near point.
        """
        begun = time.perf_counter()
        kept, iterations = self._first(point, self._attempts(point, warm))
        if kept is None:
            return self._nothing(point, time.perf_counter() - begun, iterations)
        if kept.name.endswith("elastic") or not self._breaking_pays(point, kept):
            return self._solution(kept, time.perf_counter() - begun, iterations)
        start = self._carried(kept.start, kept.program, self._program("warm elastic"), point)
        broken, more = self._first(point, (("warm elastic", start), ("elastic", None)))
        seconds = time.perf_counter() - begun
        solution = self._solution(kept, seconds, iterations + more)
        if broken is None or broken.cost >= kept.cost:
            return solution
        cheaper = self._solution(broken, seconds, iterations + more)
        return cheaper._replace(optimal=True, warm=solution.warm)

    def _attempts(self, point: Point, warm: tuple | None) -> Iterator[tuple[str, tuple | None]]:
        """Returns the programs to try in turn, and what each starts from."""
        if warm is not None:
            kind, *start = warm
            if kind == "warm elastic":  # Perhaps limits can be kept again.
                source, target = self._program(kind), self._program("warm")
                yield "warm", self._carried(start, source, target, point)
            yield kind, tuple(start)
        yield from (("cold", None), ("all", None), ("elastic", None))

    def _first(
        self, point: Point, attempts: Iterable[tuple[str, tuple | None]]
    ) -> tuple[_Found | None, int]:
        """Returns the first optimum of `attempts` that keeps what it says, and all iterations."""
        iterations, passed = 0, False
        for name, start in attempts:
            if passed and name in ("cold", "warm elastic"):
                continue  # An optimum passed a limit that its program left out: all have to be in.
            program = self._program(name)
            values, multipliers, stats = self._run(program, point, start)
            iterations += stats["iter_count"]
            if not stats["success"]:
                continue
            rho = self._loading(values, point.closed)
            beyond = (rho > _PASSED * point.rate_share).any()
            beyond |= (self._beyond_angle(values, point) > _PASSED_RAD).any()
            if name in ("warm", "cold") and beyond:
                passed = True
                continue
            start = (values, *multipliers)
            return _Found(name, program, start, rho, stats["objective"]), iterations
        return None, iterations

    def _nothing(self, point: Point, seconds: float, iterations: int) -> Solution:
        none = np.full(self.grid.n_gen, np.nan)
        return Solution(
            False, False, np.inf, np.inf, none, none, point.vm_low_pu,
            np.zeros(self.grid.n_bus), np.zeros(self.controls.load_bus.size),
            np.zeros(self.controls.plant_bus.size), np.zeros(self.grid.n_branch),
            seconds, iterations, None,
        )  # fmt: skip

    def _breaking_pays(self, point: Point, found: _Found) -> bool:
        """Returns whether a multiplier of a limit is above the price of breaking it."""
        grid, base, prices = self.grid, self.grid.base_mva, self.prices
        n, g = grid.n_bus, grid.n_gen
        _, by_bound, by_row = found.start
        voltage, p, q = np.split(np.abs(by_bound[n : 2 * n + 2 * g]), [n, n + g])
        limit = grid.branch.rate_mva[found.program.watched] * point.rate_share / base
        # Of the squared flow: its change with the limit is twice the limit.
        w = 2 * found.program.watched.size
        full = 2.0 * limit * np.abs(by_row[2 * n : 2 * n + w]).reshape(2, -1) / base
        down = p * (by_bound[2 * n : 2 * n + g] < 0) * (point.p_low_mw > 0) / base
        most = lambda values: values.max(initial=0.0)
        return bool(
            most(voltage * ~point.held) > prices.voltage
            or most(q) > prices.reactive * base
            or most(full) > prices.overload
            or most(np.abs(by_row[2 * n + w :])) > prices.angle
            or most(down) > prices.surplus
            or most(np.abs(by_row[:n])) > prices.lost_load * base
        )

    def _carried(self, start: Sequence, source: _Program, target: _Program, point: Point) -> tuple:
        """Returns an optimum of one program as what another of the same point can start from."""
        values, by_bound, by_row = start
        n, size = self.grid.n_bus, source.size
        x, bound = (np.zeros(target.solve.size1_in("x0")) for _ in range(2))
        x[:size], bound[:size] = values[:size], by_bound[:size]
        w, a = 2 * source.watched.size, source.watched_angle.size
        angles = np.zeros(self.grid.n_branch)
        angles[source.watched_angle] = by_row[2 * n + w : 2 * n + w + a]
        flows = np.zeros((2, self.grid.n_branch))
        flows[:, source.watched] = by_row[2 * n : 2 * n + w].reshape(2, -1)
        # Voltages are bounds of a variable in one kind, and rows in the other.
        voltage = np.zeros(n) if source.elastic == target.elastic else by_row[2 * n + w + a :]
        if target.elastic and not source.elastic:
            voltage = np.where(point.held, 0.0, bound[n : 2 * n])
            bound[n : 2 * n] -= voltage
        elif source.elastic and not target.elastic:
            bound[n : 2 * n] += voltage
        rows = [by_row[: 2 * n], flows[:, target.watched].ravel(), angles[target.watched_angle]]
        rows += [voltage] if target.elastic else []
        return x, bound, np.concatenate(rows)

    # Programs.

    def _program(self, name: str) -> _Program:
        if name not in self._programs:
            if name in ("warm", "cold") and self._near is None:
                self._near, self._near_angle = self._near_limits()
            near = name in ("warm", "cold")
            self._programs[name] = self._build(
                self._near if near else self._limited,
                self._near_angle if near else self._limited_angle,
                warm=name.startswith("warm"), elastic=name.endswith("elastic"),
            )  # fmt: skip
        return self._programs[name]

    def _near_limits(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns the branches that optimal dispatch of the file's loads, scaled, brings near.

        Near their limit of power, and near one of angles.
        """
        nominal, near = self.nominal(), np.zeros(self.grid.n_branch, bool)
        branch, near_angle = self.grid.branch, near.copy()
        limits = np.stack([branch.angle_min_rad, branch.angle_max_rad])
        size = np.where(np.isfinite(limits), np.abs(limits), 0.0).max(0)
        program = self._program("all")
        for level in _LEVELS:
            point = nominal._replace(
                load_p_mw=level * nominal.load_p_mw, load_q_mvar=level * nominal.load_q_mvar,
                movable_p_mw=np.zeros(self.controls.load_bus.size),
                movable_q_mvar=np.zeros(self.controls.load_bus.size),
                available_mw=np.zeros(self.controls.plant_bus.size),
            )  # fmt: skip
            values, _, stats = self._run(program, point, None)
            if stats["success"]:
                near |= self._loading(values, point.closed) > _NEAR
                near_angle |= self._beyond_angle(values, point) > (_NEAR - 1.0) * size
        near &= np.isfinite(self.grid.branch.rate_mva)
        return np.flatnonzero(near), np.flatnonzero(near_angle)

    def _build(
        self, watched: np.ndarray, watched_angle: np.ndarray, *, warm: bool, elastic: bool
    ) -> _Program:
        grid, base, prices = self.grid, self.grid.base_mva, self.prices
        n, g = grid.n_bus, grid.n_gen
        c, r = self.controls.load_bus.size, self.controls.plant_bus.size
        symbol = casadi.SX.sym
        equations = acopf_equations.of(grid)
        va, vm, closed = equations.va, equations.vm, equations.closed
        p, q = symbol("p", g), symbol("q", g)
        up, down, spilled = symbol("up", c), symbol("down", c), symbol("spilled", r)
        parts = [va, vm, p, q, up, down, spilled]
        load_p, load_q, given = symbol("load_p", n), symbol("load_q", n), symbol("given", n)
        energised, tilt = symbol("energised", n), symbol("tilt", c)
        available, rate_share = symbol("available", r), symbol("rate_share")

        # Balance of every bus; a dead one is pinned to 1 pu and angle 0.
        at = lambda bus: acopf_equations.at_bus(grid, bus)
        moved, gen = at(self.controls.load_bus), at(grid.gen.bus)
        shift, plants = up - down, at(self.controls.plant_bus)
        p_balance = equations.p_out + load_p + moved @ shift - given - gen @ p
        p_balance -= plants @ (available - spilled)
        q_balance = equations.q_out + load_q + moved @ (tilt * shift) - gen @ q
        limit = casadi.DM(grid.branch.rate_mva[watched] / base) * rate_share
        loads = watched.tolist()
        p_mw = base * p
        cost = casadi.dot(casadi.DM(grid.gen.cost_c2), p_mw**2)
        cost += casadi.dot(casadi.DM(grid.gen.cost_c1), p_mw) + float(grid.gen.cost_c0.sum())
        cost += base * prices.load * casadi.sum1(up + down)
        cost += base * prices.curtailment * casadi.sum1(spilled)
        size = 2 * n + 2 * g + 2 * c + r
        room, voltages = 0.0, casadi.SX(0, 1)
        ends = grid.branch.from_bus[watched_angle], grid.branch.to_bus[watched_angle]
        angles = va[ends[0].tolist()] - va[ends[1].tolist()]
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
            room = over
            voltages = vm - beyond_v[:n] + beyond_v[n:]
            angles += _SLACK_RAD * (beyond_angle[a:] - beyond_angle[:a])
            cost += base * prices.lost_load * casadi.dot(shed, casadi.fabs(load_p))
            cost += base * prices.overload * casadi.sum1(over)
            cost += base * prices.reactive * casadi.sum1(beyond_q)
            cost += base * prices.surplus * casadi.sum1(idle)
            cost += prices.voltage * casadi.sum1(beyond_v)
            cost += prices.angle * _SLACK_RAD * casadi.sum1(beyond_angle)
        from_end = equations.from_squared[loads] - (limit + room) ** 2
        to_end = equations.to_squared[loads] - (limit + room) ** 2
        constraints = casadi.vertcat(
            energised * p_balance + (1 - energised) * va,
            energised * q_balance + (1 - energised) * (vm - 1),
            from_end, to_end, angles, voltages,
        )  # fmt: skip
        w = 2 * len(watched)
        lower = np.concatenate([np.zeros(2 * n), np.full(w, -np.inf)])
        upper = np.concatenate([np.zeros(2 * n), np.zeros(w)])
        options = {
            **acopf_equations.QUIET,
            "ipopt.tol": _TOLERANCE,
            "ipopt.max_iter": _MAX_ITERATIONS,
        }
        solve = casadi.nlpsol(
            "acopf", "ipopt",
            {
                "x": casadi.vertcat(*parts), "f": cost, "g": constraints,
                "p": casadi.vertcat(
                    load_p, load_q, given, closed, energised, tilt, available, rate_share
                ),
            },
            {**options, **(_WARM if warm else {})},
        )  # fmt: skip
        return _Program(solve, lower, upper, watched, watched_angle, size, elastic)

    # Solving one.

    def _run(self, program: _Program, point: Point, warm: tuple | None):
        grid, base = self.grid, self.grid.base_mva
        n, g = grid.n_bus, grid.n_gen
        on = point.energised > 0
        reference = grid.reference_bus if on[grid.reference_bus] else int(np.argmax(on))
        angle = np.where(np.arange(n) == reference, 0.0, np.inf)
        reach = point.movable_share * np.abs(point.movable_p_mw) / base
        lit = on[grid.gen.bus]
        # An elastic program bounds voltages by constraints that slacks reach beyond, but for those
        # that a generator holds: there the limits are not wishes.
        # A dead bus is pinned by its balance, and by nothing else.
        vm_low = np.where(on, point.vm_low_pu, _LEAST_PU)
        vm_high = np.where(on, point.vm_high_pu, _MOST_PU)
        lower_g, upper_g = (
            np.append(rows, limit[program.watched_angle])
            for rows, limit in zip((program.lower, program.upper), self._angle_limits(point))
        )
        if program.elastic:
            lower_g, upper_g = np.append(lower_g, vm_low), np.append(upper_g, vm_high)
            vm_low = np.where(point.held, vm_low, _LEAST_PU)
            vm_high = np.where(point.held, vm_high, _MOST_PU)
        lower = [-angle, vm_low, lit * point.p_low_mw / base, lit * point.q_low_mvar / base,
                 *[np.zeros_like(reach)] * 2, np.zeros(point.available_mw.size)]  # fmt: skip
        upper = [angle, vm_high, lit * point.p_high_mw / base, lit * point.q_high_mvar / base,
                 reach, reach, point.available_mw / base]  # fmt: skip
        lower, upper = np.concatenate(lower), np.concatenate(upper)
        if program.elastic:
            extra = program.solve.size1_in("x0") - program.size
            bound = np.full(extra, np.inf)
            bound[:n] = point.load_p_mw > 0  # nothing is shed for free
            bound[-g - 2 * program.watched_angle.size : -g] = _MOST_RAD / _SLACK_RAD
            bound[-g:] = lit * np.maximum(point.p_low_mw, 0.0) / base
            lower, upper = np.append(lower, np.zeros(extra)), np.append(upper, bound)
        given = {"lbx": lower, "ubx": upper, "lbg": lower_g, "ubg": upper_g}
        given["p"] = np.concatenate([
            point.load_p_mw / base, point.load_q_mvar / base, point.given_mw / base, point.closed,
            point.energised, point.movable_q_mvar / np.where(point.movable_p_mw == 0, 1.0,
            point.movable_p_mw), point.available_mw / base, [point.rate_share],
        ])  # fmt: skip
        if warm is None:
            start = np.zeros(lower.size)
            start[n : 2 * n] = 1.0
            middle = slice(2 * n, 2 * n + g)
            start[middle] = 0.5 * (lower[middle] + upper[middle])
            given["x0"] = start
        else:
            given["x0"], given["lam_x0"], given["lam_g0"] = warm
            # A warm start does without the middle of the bounds, so that it must lie within them.
            given["x0"] = np.clip(given["x0"], lower, upper)
        found = program.solve(**given)
        values = np.asarray(found["x"]).ravel()
        multipliers = tuple(np.asarray(found[name]).ravel() for name in ("lam_x", "lam_g"))
        stats = program.solve.stats()
        stats["objective"] = float(found["f"])
        return values, multipliers, stats

    def _loading(self, values: np.ndarray, closed: np.ndarray) -> np.ndarray:
        """Returns the loading of every branch over its limit `[n_branch]`, the fuller end's."""
        n = self.grid.n_bus
        voltage = values[n : 2 * n] * np.exp(1j * values[:n])
        carried = admittance.apparent_power(self.grid, self._y, voltage)
        return closed * carried / self.grid.branch.rate_mva

    def _angle_limits(self, point: Point) -> tuple[np.ndarray, np.ndarray]:
        """Returns the least and the greatest θ_from − θ_to `[n_branch]`, rad; none where open."""
        low, high = self.grid.branch.angle_min_rad, self.grid.branch.angle_max_rad
        share = 1.0 - point.rate_share
        left = lambda limit: share * np.abs(np.where(np.isfinite(limit), limit, 0.0))
        left_low, left_high = (np.minimum(left(x), 0.5 * (high - low)) for x in (low, high))
        closed = point.closed > 0
        return np.where(closed, low + left_low, -np.inf), np.where(closed, high - left_high, np.inf)

    def _beyond_angle(self, values: np.ndarray, point: Point) -> np.ndarray:
        """Returns how far θ_from − θ_to is beyond its limits `[n_branch]` rad, negative within."""
        branch, (low, high) = self.grid.branch, self._angle_limits(point)
        angle = values[branch.from_bus] - values[branch.to_bus]
        return np.maximum(low - angle, angle - high)

    def _solution(self, found: _Found, seconds: float, iterations: int) -> Solution:
        n, g, base = self.grid.n_bus, self.grid.n_gen, self.grid.base_mva
        c, size, values = self.controls.load_bus.size, found.program.size, found.start[0]
        va, vm, p, q, up, down, spilled = np.split(values[:size], np.cumsum([n, n, g, g, c, c]))
        # Only programs of the same constraints can go on from each other.
        kept = not values[size:].sum() > _NOTHING
        kind = {"warm": "warm", "cold": "warm"}.get(found.name)
        kind = "warm elastic" if found.program.elastic else kind
        gen = self.grid.gen
        if found.program.elastic:
            p = p - values[-g:]
        p_mw = base * p
        operating = (gen.cost_c2 * p_mw**2 + gen.cost_c1 * p_mw).sum() + gen.cost_c0.sum()
        operating += self.prices.load * base * (up + down).sum()
        return Solution(
            kept, True, found.cost, float(operating), p_mw, base * q, vm, va, base * (up - down),
            base * spilled, found.rho, seconds, iterations, (kind, *found.start) if kind else None,
        )  # fmt: skip
