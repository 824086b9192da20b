"""AC optimal power flow of one operating point, in polar coordinates, by CasADi and Ipopt.

    minimise   Σ c2 p² + c1 p + c0 + what moving loads and spilling wind and sun costs
    subject to the power balance of every bus, Pmin ≤ p ≤ Pmax, Qmin ≤ q ≤ Qmax,
               Vmin ≤ v ≤ Vmax, |S_from|, |S_to| ≤ rate A,
               ANGMIN ≤ θ_from − θ_to ≤ ANGMAX

(Cain, O'Neill and Castillo, History of Optimal Power Flow and Formulations, FERC 2012; the problem
that PGLib-OPF's objectives are of. θ are angles of buses, so that a phase shift is not subtracted:
MATPOWER manual, table B-3). Few limits of branches bind: those that never come near are left out of
the first program, and a solution that passes one of them is solved again with all. Where no point
keeps every limit, prices on what is beyond take their place (`elastic`).
"""

import dataclasses
import time
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from agents.baselines import acopf_equations, acopf_problem, acopf_program
from agents.baselines.acopf_problem import ANGLE_PRICE, Controls, Problem, Solution
from agents.baselines.acopf_program import Program, Result, Start
from envs.case import grid as grid_lib
from envs.powerflow import matrices
from envs.step.options import StepOptions

_NEAR = 0.7  # loading at which a branch is watched from the start
_LEVELS = (0.4, 0.6, 0.8, 1.0)  # of the file's loads, to find such branches
_NOTHING = 1e-4  # pu beyond limits, all of them together, that is rounding
_PASSED = 1.0 + 1e-5  # loading beyond which a limit counts as passed


class _Optimum(NamedTuple):
    """An optimum of a program."""

    name: str
    program: Program
    result: Result
    rho: np.ndarray  # `[n_branch]`


class Model:
    """The optimal power flow of one grid; programs are built when first needed and kept."""

    def __init__(
        self,
        grid: grid_lib.Grid,
        prices: StepOptions = StepOptions(),
        controls: Controls = Controls(),
    ):
        """Takes the grid, options with the prices, and what may be moved as well as generators.

        Limits of angles are kept where nothing is charged for them, too.
        """
        angle_price = prices.angle_price or ANGLE_PRICE
        self.grid, self.prices = grid, dataclasses.replace(prices, angle_price=angle_price)
        self.controls = controls
        self._y = matrices.branch_admittance(grid)
        self._limited = np.flatnonzero(np.isfinite(grid.branch.rate_mva))
        least, most = grid.branch.angle_min_rad, grid.branch.angle_max_rad
        self._limited_angle = np.flatnonzero(np.isfinite(least) | np.isfinite(most))
        self._programs: dict[str, Program] = {}
        self._near: np.ndarray | None = None
        self._near_angle = np.zeros(0, int)

    def solve(self, problem: Problem, warm: tuple | None = None) -> Solution:
        """Returns the optimum of `problem` that keeps every limit, or, if none does, breaks some.

        `warm` is `Solution.warm` of a near problem.
        """
        begun = time.perf_counter()
        optimum, iterations = self._first(problem, self._attempts(problem, warm))
        return self._solution(problem, optimum, time.perf_counter() - begun, iterations)

    def cheapest(self, problem: Problem, warm: tuple | None = None) -> Solution:
        """Returns the optimum of `problem`, limits broken where that is cheaper than to keep them.

        That can only be where a limit's multiplier is above the price of breaking it. `optimal`
        says, as of `solve`, whether every limit could have been kept; `warm` is as there.
        """
        begun = time.perf_counter()
        kept, iterations = self._first(problem, self._attempts(problem, warm))
        if kept is None or kept.program.elastic or not self._breaking_pays(problem, kept):
            return self._solution(problem, kept, time.perf_counter() - begun, iterations)
        start = self._carried(kept.result.start, kept.program, "warm elastic", problem)
        broken, more = self._first(problem, (("warm elastic", start), ("elastic", None)))
        seconds = time.perf_counter() - begun
        solution = self._solution(problem, kept, seconds, iterations + more)
        if broken is None or broken.result.cost >= kept.result.cost:
            return solution
        cheaper = self._solution(problem, broken, seconds, iterations + more)
        return cheaper._replace(optimal=True, warm=solution.warm)

    def _attempts(
        self, problem: Problem, warm: tuple[str, Start] | None
    ) -> Iterator[tuple[str, Start | None]]:
        """Returns the programs to try in turn, and what each starts from."""
        if warm is not None:
            kind, start = warm
            if kind == "warm elastic":  # Perhaps limits can be kept again.
                yield "warm", self._carried(start, self._program(kind), "warm", problem)
            yield kind, start
        yield from (("cold", None), ("all", None), ("elastic", None))

    def _first(
        self, problem: Problem, attempts: Iterable[tuple[str, Start | None]]
    ) -> tuple[_Optimum | None, int]:
        """Returns the first optimum of `attempts` that keeps what it says, and all iterations."""
        iterations, passed = 0, False
        for name, start in attempts:
            if passed and name in ("cold", "warm elastic"):
                continue  # An optimum passed a limit that its program left out: all have to be in.
            program = self._program(name)
            result = acopf_program.run(self.grid, program, problem, start)
            iterations += result.iterations
            if not result.success:
                continue
            rho = self._loading(result, problem)
            beyond = (rho > _PASSED * problem.rate_share).any()
            beyond |= (self._beyond_angle(result, problem) > acopf_equations.PASSED_RAD).any()
            if name in ("warm", "cold") and beyond:
                passed = True
                continue
            return _Optimum(name, program, result, rho), iterations
        return None, iterations

    def _breaking_pays(self, problem: Problem, optimum: _Optimum) -> bool:
        """Returns whether a multiplier of a limit is above the price of breaking it."""
        grid, base, prices = self.grid, self.grid.base_mva, self.prices
        n, g = grid.n_bus, grid.n_gen
        _, by_bound, by_row = optimum.result.start
        voltage, p, q = np.split(np.abs(by_bound[n : 2 * n + 2 * g]), [n, n + g])
        limit = grid.branch.rate_mva[optimum.program.watched] * problem.rate_share / base
        # Of the squared flow: its change with the limit is twice the limit.
        w = 2 * optimum.program.watched.size
        angles = slice(2 * n + w, 2 * n + w + optimum.program.watched_angle.size)
        full = 2.0 * limit * np.abs(by_row[2 * n : 2 * n + w]).reshape(2, -1) / base
        down = p * (by_bound[2 * n : 2 * n + g] < 0) * (problem.p_low_mw > 0) / base
        most = lambda values: values.max(initial=0.0)
        return bool(
            most(voltage * ~problem.pv) > prices.voltage_price
            or most(q) > prices.reactive_price * base
            or most(full) > prices.overload_price
            or most(np.abs(by_row[angles])) > prices.angle_price
            or most(down) > prices.surplus_price
            or most(np.abs(by_row[:n])) > prices.lost_load_price * base
        )

    def _program(self, name: str) -> Program:
        if name not in self._programs:
            watched = self._limited, self._limited_angle
            if name in ("warm", "cold"):
                if self._near is None:
                    self._near, self._near_angle = self._near_limits()
                watched = self._near, self._near_angle
            self._programs[name] = acopf_program.build(
                self.grid, self.prices, self.controls, watched,
                warm=name.startswith("warm"), elastic=name.endswith("elastic"),
            )  # fmt: skip
        return self._programs[name]

    def _near_limits(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns the branches that optimal dispatch of the file's loads, scaled, brings near.

        Near their limit of power, and near one of angles.
        """
        nominal, near = acopf_problem.nominal(self.grid), np.zeros(self.grid.n_branch, bool)
        branch, near_angle = self.grid.branch, near.copy()
        limits = np.stack([branch.angle_min_rad, branch.angle_max_rad])
        size = np.where(np.isfinite(limits), np.abs(limits), 0.0).max(0)
        program = self._program("all")
        for level in _LEVELS:
            problem = nominal._replace(
                load_p_mw=level * nominal.load_p_mw, load_q_mvar=level * nominal.load_q_mvar,
                movable_p_mw=np.zeros(self.controls.load_bus.size),
                movable_q_mvar=np.zeros(self.controls.load_bus.size),
                available_mw=np.zeros(self.controls.plant_bus.size),
            )  # fmt: skip
            result = acopf_program.run(self.grid, program, problem, None)
            if result.success:
                near |= self._loading(result, problem) > _NEAR
                near_angle |= self._beyond_angle(result, problem) > (_NEAR - 1.0) * size
        near &= np.isfinite(self.grid.branch.rate_mva)
        return np.flatnonzero(near), np.flatnonzero(near_angle)

    def _carried(self, start: Start, source: Program, target: str, problem: Problem) -> Start:
        return acopf_program.carried(self.grid, start, source, self._program(target), problem)

    def _loading(self, result: Result, problem: Problem) -> np.ndarray:
        return acopf_program.loading(self.grid, self._y, result.start.values, problem.closed)

    def _beyond_angle(self, result: Result, problem: Problem) -> np.ndarray:
        limits = acopf_program.angle_limits(self.grid, problem)
        va_rad = result.start.values[: self.grid.n_bus]
        return acopf_equations.beyond_angle(self.grid.branch, va_rad, limits)

    def _solution(
        self, problem: Problem, optimum: _Optimum | None, seconds: float, iterations: int
    ) -> Solution:
        n, g, base = self.grid.n_bus, self.grid.n_gen, self.grid.base_mva
        c, r = self.controls.load_bus.size, self.controls.plant_bus.size
        if optimum is None:
            none = np.full(g, np.nan)
            return Solution(
                optimal=False, solved=False, cost_per_h=np.inf, operating_per_h=np.inf, p_mw=none,
                q_mvar=none, vm_pu=problem.vm_low_pu, va_rad=np.zeros(n), moved_mw=np.zeros(c),
                spilled_mw=np.zeros(r), rho=np.zeros(self.grid.n_branch), seconds=seconds,
                iterations=iterations, warm=None,
            )  # fmt: skip
        values, size = optimum.result.start.values, optimum.program.size
        parts = np.cumsum([n, n, g, g, c, c, r])
        va, vm, p, q, up, down, spilled, _ = np.split(values[:size], parts)
        # Only programs of the same rows can go on from each other.
        kept = not values[size:].sum() > _NOTHING
        kind = {"warm": "warm", "cold": "warm"}.get(optimum.name)
        kind = "warm elastic" if optimum.program.elastic else kind
        gen = self.grid.gen
        if optimum.program.elastic:
            p = p - values[-g:]
        p_mw = base * p
        operating = (gen.cost_c2 * p_mw**2 + gen.cost_c1 * p_mw).sum() + gen.cost_c0.sum()
        operating += self.prices.load_control_price * base * (up + down).sum()
        return Solution(
            optimal=kept, solved=True, cost_per_h=optimum.result.cost,
            operating_per_h=float(operating), p_mw=p_mw, q_mvar=base * q, vm_pu=vm, va_rad=va,
            moved_mw=base * (up - down), spilled_mw=base * spilled, rho=optimum.rho,
            seconds=seconds, iterations=iterations,
            warm=(kind, optimum.result.start) if kind else None,
        )  # fmt: skip
