"""How far the power flow is from pandapower's, per case and method: what tests and docs quote.

    PYTHONPATH=. python tests/support/pandapower_comparison.py --points=100 --cases=case14,case30

prints the tables of docs/results/powerflow.md.
"""

import argparse
import operator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from envs.case import case_file
from envs.powerflow import base_point, matrices, network, solve
from evaluation import pandapower_grid

CASES = ("case14", "case30", "case57", "case118", "case300", "case1354", "ieee13_mg")
SPREAD = 0.2  # loads vary by this much, units' shares of the dispatch by twice as much
_SPREAD = {"case300": 0.1}  # where more comes close to voltage collapse
_LEVEL = {"case300": 0.85}  # of nominal load: the reference unit alone closes little there
_MATRIX_BYTES = 2**29  # of Jacobians at a time


class Point(NamedTuple):
    """An operating point to solve, `[n_bus]` each."""

    p: np.ndarray  # net active injection, pu
    q: np.ndarray
    vm: np.ndarray  # where to start, the solution itself
    va: np.ndarray


class Errors(NamedTuple):
    """Largest absolute differences from pandapower."""

    vm_pu: float
    va_rad: float
    flow_pu: float

    def __str__(self):
        return " | ".join(f"{error:.0e}" for error in self)


def points(grid, count, seed=0, spread=None):
    """Returns the nominal point and `count` − 1 random ones that a real dispatch would balance.

    Draws without a solution are dropped: there are a few in case300, which is near its limits.
    """
    rng = np.random.default_rng(seed)
    level = _LEVEL.get(grid.name, 1.0)
    spread = _SPREAD.get(grid.name, SPREAD) if spread is None else spread
    y_bus = matrices.bus_admittance(grid).toarray()
    actual = []
    while len(actual) < count:
        width = spread if actual else 0.0
        p_load = level * grid.bus.load_p_mw * rng.uniform(1 - width, 1 + width, grid.n_bus)
        q_load = level * grid.bus.load_q_mvar * rng.uniform(1 - width, 1 + width, grid.n_bus)
        share = np.maximum(grid.gen.p_max_mw, 0.0)
        share = share * rng.uniform(1 - 2 * width, 1 + 2 * width, grid.n_gen)
        p = -p_load
        np.add.at(p, grid.gen.bus, share / share.sum() * p_load.sum())
        p, q = p / grid.base_mva, -q_load / grid.base_mva
        # The losses go to all units before the reference unit is left alone with the rest.
        at = base_point.solve(grid, p, q)
        if not at.converged:
            assert actual, f"{grid.name}: no solution at the nominal point"
            continue
        voltage = at.vm_pu * np.exp(1j * at.va_rad)
        losses = (voltage * np.conj(y_bus @ voltage)).real.sum() - p.sum()
        actual.append(Point(p + losses * at.participation, q, at.vm_pu, at.va_rad))
    return actual


class Outages(NamedTuple):
    """Outages of one grid, a lane each."""

    branches: list  # of tuples of branches out of service
    buses: list  # of tuples of buses whose generators are out of service
    closed: np.ndarray  # `[lanes, n_branch]`
    pv: np.ndarray  # `[lanes, n_bus]`


def outages(grid, branches=(), buses=()):
    """Returns the outages of each tuple of `branches`, and then of each tuple of `buses`."""
    branches, buses = [tuple(x) for x in branches], [tuple(x) for x in buses]
    branches, buses = branches + [()] * len(buses), [()] * len(branches) + buses
    closed = np.ones((len(branches), grid.n_branch))
    pv = np.tile(np.isin(np.arange(grid.n_bus), grid.gen.bus) * 1.0, (len(branches), 1))
    for lane in range(len(branches)):
        closed[lane, list(branches[lane])] = 0
        pv[lane, list(buses[lane])] = 0
    return Outages(branches, buses, closed, pv)


def single_branches(grid):
    """Returns every branch on its own."""
    return [(branch,) for branch in range(grid.n_branch)]


def branch_pairs(grid, count, seed=0):
    """Returns random pairs of branches."""
    rng = np.random.default_rng(seed)
    return [rng.choice(grid.n_branch, 2, replace=False) for _ in range(count)]


def generator_buses(grid):
    """Returns every bus with generators but the reference, which pandapower cannot do without."""
    return [(bus,) for bus in np.unique(grid.gen.bus) if bus != grid.reference_bus]


def network_of(grid, double):
    """Returns the network; call and use it under `jax.experimental.enable_x64(double)`."""
    return network.build(grid, jnp.float64 if double else jnp.float32)


def solve_all(net, grid, at, closed=None, pv=None, method="newton", warm=False, **options):
    """Returns solutions `[lanes, …]` as NumPy arrays, the slack left to the reference unit alone.

    Args:
      net: the network.
      grid: its grid.
      at: a list of points, or one for all lanes.
      closed: `[lanes, n_branch]`, by default all in service.
      holds: `[lanes, n_bus]`, by default all that can.
      method: as in `solve.solver`.
      warm: whether to start at the points' own voltages, or else at the base point.
      **options: as in `solve.solver`.
    """
    lanes = next((len(x) for x in (closed, pv) if x is not None), None)
    at = at if isinstance(at, list) else [at] * lanes
    stack = lambda name: jnp.asarray(np.stack([getattr(x, name) for x in at]), net.dtype)
    alone = jnp.asarray(np.eye(grid.n_bus)[grid.reference_bus], net.dtype)
    varied = {}
    if closed is not None:
        varied["closed"] = jnp.asarray(closed, net.dtype)
    if pv is not None:
        varied["pv"] = jnp.asarray(pv, net.dtype)
    if warm:
        varied["vm_start_pu"], varied["va_start_rad"] = stack("vm"), stack("va")
    solver = solve.solver(net, method=method, **options)

    @jax.jit
    @jax.vmap
    def run(p, q, varied):
        request = solve.base_request(net, p, q, participation=alone, capacity=alone)
        return solver(request._replace(**varied))

    if method == "newton":
        few = max(1, int(_MATRIX_BYTES / ((2 * grid.n_bus) ** 2 * net.dtype.itemsize)))
    else:
        few = 256
    few = min(few, len(at))
    args = (stack("p"), stack("q"), varied)
    parts = []
    for first in range(0, len(at), few):
        # The last part is filled up with its first lane, so that all are of one shape.
        index = np.arange(first, first + few)
        index = np.where(index < len(at), index, first)
        part = jax.tree.map(operator.itemgetter(index), args)
        parts.append(jax.tree.map(np.asarray, run(*part)))
    return jax.tree.map(lambda *x: np.concatenate(x)[: len(at)], *parts)


def ask_all(grid, at, tried):
    """Returns pandapower's answers to the outages `tried` at the point `at`."""
    oracle = pandapower_grid.Oracle(grid)
    return [ask(oracle, at, out, freed) for out, freed in zip(tried.branches, tried.buses)]


def ask(oracle, at, out=(), freed=()):
    """Returns pandapower's answer, from a flat start or, where that fails, from the point's."""
    answer = oracle.solve(at.p, at.q, out=out, pv_to_pq=freed)
    if not answer.converged:
        answer = oracle.solve(at.p, at.q, out=out, pv_to_pq=freed, start=(at.vm, at.va))
    return answer


def difference(answer, actual, lane, base_mva):
    """Returns the errors of one lane, which must agree with pandapower on what is energised."""
    dead = np.isnan(answer.vm)
    np.testing.assert_array_equal(actual.energised[lane], ~dead)
    flows = np.stack(
        [
            actual.p_from_pu[lane],
            actual.q_from_pu[lane],
            actual.p_to_pu[lane],
            actual.q_to_pu[lane],
        ],
        1,
    )
    return Errors(
        np.abs(actual.vm_pu[lane] - answer.vm)[~dead].max(),
        np.abs(actual.va_rad[lane] - answer.va)[~dead].max(),
        np.abs(flows - np.nan_to_num(answer.flows) / base_mva).max(),
    )


def dc_difference(answer, actual, lane, base_mva):
    """Returns the errors of a DC solution: angles and active flows."""
    flow = actual.p_from_pu[lane] - answer.flows[:, 0] / base_mva
    return Errors(0.0, np.abs(actual.va_rad[lane] - answer.va).max(), np.abs(flow).max())


def _row(*cells):
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def _solved(case, double, **kwargs):
    grid = case_file.load(case)
    with jax.experimental.enable_x64(double):
        net = network_of(grid, double)
        kwargs = {"tolerance_pu": 1e-9 if double else None, **kwargs}
        return solve_all(net, grid, **kwargs)


def _point_rows(case, count):
    """Yields a row of the table of operating points per method and precision."""
    grid = case_file.load(case)
    at, oracle = points(grid, count), pandapower_grid.Oracle(grid)
    full = [ask(oracle, x) for x in at]
    direct = [oracle.solve(x.p, x.q, dc=True) for x in at]
    for method, double in (
        ("newton", True), ("newton", False), ("chord", False), ("fast_decoupled", False),
        ("dc", False),
    ):  # fmt: skip
        actual = _solved(case, double, at=at, method=method)
        answers, compare = (direct, dc_difference) if method == "dc" else (full, difference)
        errors = [
            compare(answer, actual, lane, grid.base_mva)
            for lane, answer in enumerate(answers)
            if answer.converged and actual.converged[lane]
        ]
        worst = Errors(*np.max(errors, axis=0))
        yield _row(case, method, 64 if double else 32, worst, f"{len(errors)}/{count}",
                   int(actual.fell_back.sum()))  # fmt: skip


def _outage_rows(case, pairs):
    """Yields a row of the table of outages per kind of outage and precision."""
    grid = case_file.load(case)
    (at,) = points(grid, 1)
    kinds = {
        "one branch": outages(grid, single_branches(grid)),
        "two branches": outages(grid, branch_pairs(grid, pairs)),
        "a bus's generators": outages(grid, buses=generator_buses(grid)),
    }
    for kind, tried in kinds.items():
        answers = ask_all(grid, at, tried)
        for double in (False, True):
            actual = _solved(case, double, at=at, closed=tried.closed, pv=tried.pv, method="chord")
            agreed = sum(a.converged == c for a, c in zip(answers, actual.converged))
            errors = [
                difference(answer, actual, lane, grid.base_mva)
                for lane, answer in enumerate(answers)
                if answer.converged and actual.converged[lane]
            ]
            helped = (actual.fell_back & actual.converged).sum()
            yield _row(case, kind, 64 if double else 32, f"{agreed}/{len(answers)}",
                       (~actual.energised).any(1).sum(), (~actual.converged).sum(), helped,
                       Errors(*np.max(errors, axis=0)))  # fmt: skip


def main():
    """Prints both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=100, help="operating points per case")
    parser.add_argument("--pairs", type=int, default=300, help="pairs of branches per case")
    parser.add_argument("--cases", default=",".join(CASES), help="separated by commas")
    args = parser.parse_args()
    cases = args.cases.split(",")
    print(_row("case", "method", "bits", "vm, pu", "va, rad", "flow, pu", "agree", "fell back"))
    print(_row(*["---"] * 8))
    for case in cases:
        for row in _point_rows(case, args.points):
            print(row, flush=True)
    print()
    print(_row("case", "out", "bits", "agree", "islands", "no solution", "fell back", "vm, pu",
               "va, rad", "flow, pu"))  # fmt: skip
    print(_row(*["---"] * 10))
    for case in cases:
        if case == "case1354":
            continue  # hours of Newton steps
        for row in _outage_rows(case, args.pairs):
            print(row, flush=True)


if __name__ == "__main__":
    main()
