"""Our contingency analysis as the benchmark sees it: screening, and AC power flows of the worst."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import ours_powerflow, problem as problem_lib, spread
from envs.case import grid as grid_lib
from envs.contingency import distribution_factors, screening
from envs.powerflow import network, solve

WORST = 5  # outages of each grid that are solved by AC power flow


@dataclasses.dataclass(frozen=True)
class Way:
    """What is measured, by the name that the table gives it."""

    confirmed: bool  # by AC power flow, WORST outages a grid; screened otherwise, all of them
    out: float  # share of the grids that have a branch out already


WAYS = {
    "screened": Way(False, 0.0),
    "screened, 1 in 8 out": Way(False, 0.125),
    "screened, all out": Way(False, 1.0),
    "confirmed": Way(True, 0.0),
}


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A compiled analysis of a batch of operating points."""

    run: Callable[[], None]  # analyses the whole batch and waits for it
    outages: int  # that one run analyses, of those that cut nothing off
    # Of the last run: outages solved by AC, or grids soundly screened about a solution.
    converged_share: Callable[[], float]


@dataclasses.dataclass(frozen=True)
class Analysis:
    """Contingency analysis of a grid around a problem's base."""

    problem: problem_lib.Problem
    factors: distribution_factors.Factors
    net: network.Network
    tolerance_pu: float

    @property
    def outages(self) -> np.ndarray:
        """The outages that cut nothing off, `[n_outage]`."""
        return np.flatnonzero(~self.factors.bridge)

    def prepare(self, batch: int, way: Way, seed: int) -> Prepared:
        """Returns the analysis of the problem's first `batch` operating points."""
        first = self.problem.first(batch)
        rng, closed = np.random.default_rng(seed), np.ones((batch, self.net.n_branch))
        with_outage = np.flatnonzero(np.diff(np.floor(way.out * np.arange(batch + 1))))  # spread
        closed[with_outage, rng.choice(self.outages, len(with_outage))] = 0
        solve_base = solve.solver(self.net, tolerance_pu=self.tolerance_pu)
        single = lambda x: jnp.asarray(x, self.net.dtype)
        count = spread.devices(batch)
        arguments = spread.put((single(first.p_pu), single(first.q_pu), single(closed)), count)
        request = spread.over_devices(jax.vmap(self._request), count)(*arguments)
        solution = spread.over_devices(jax.vmap(solve_base), count)(request)
        screen = screening.screener(self.factors, WORST)
        screened = spread.over_devices(jax.vmap(screen), count)
        if way.confirmed:
            run = spread.over_devices(jax.vmap(self._confirmer()), count)
            worst = screened(solution, request.closed).worst
            arguments, outages = (request, solution, worst), worst.size
            share = lambda last: last.converged
        else:
            run, arguments = screened, (solution, request.closed)
            outages = int(np.asarray(request.closed)[:, self.outages].sum())
            share = lambda last: last.sound & solution.converged
        last: list = []

        def analyse():
            last[:] = [jax.block_until_ready(run(*arguments))]

        return Prepared(analyse, outages, lambda: float(share(last[0]).mean()))

    def at_base(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns (screened, confirmed) loadings of `outages` at the base, each `[n_outage]`."""
        base = self.problem.base_pu
        request = self._request(base.real, base.imag, np.ones(self.net.n_branch))
        solution = jax.jit(solve.solver(self.net, tolerance_pu=self.tolerance_pu))(request)
        screened = jax.jit(screening.screener(self.factors, WORST))(solution, request.closed)
        confirmed = jax.jit(self._confirmer())(request, solution, self.outages)
        return np.asarray(screened.loading)[self.outages], np.asarray(confirmed.loading)

    def _confirmer(self):
        return screening.confirmer(self.net, tolerance_pu=self.tolerance_pu)

    def _request(self, p, q, closed):
        closed = jnp.asarray(closed, self.net.dtype)
        return ours_powerflow.request_of(self.net, self.problem, p, q, closed=closed)


def analysis(grid: grid_lib.Grid, problem: problem_lib.Problem, tolerance_pu: float) -> Analysis:
    """Returns the analysis of `grid` about the base of `problem`."""
    net = ours_powerflow.network_about(grid, problem)
    factors = distribution_factors.build(grid)
    return Analysis(problem, factors, net, ours_powerflow.SAFETY * tolerance_pu)
