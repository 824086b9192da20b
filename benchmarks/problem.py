"""Power-flow problems that we and the peers solve alike: one grid, many loads and dispatches."""

from __future__ import annotations

import dataclasses
import functools
import pathlib
import tempfile

import numpy as np
import scipy.sparse

from benchmarks import peer_process, reference
from envs.case import grid as grid_lib
from envs.powerflow import base_point

LOAD_SPREAD = 0.05  # Each load is drawn uniformly from its nominal value ± this share.


@dataclasses.dataclass(frozen=True)
class Problem:
    """A grid as MATPOWER matrices, and a batch of injections to solve it for.

    The matrices have MATPOWER's columns (manual, appendix B), buses are numbered from 0, and
    everything is in service. Buses with a generator keep its voltage set-point, the bus of type 3
    balances active power, and reactive limits are not enforced: by us as by every peer.
    """

    base_mva: float
    bus: np.ndarray  # `[n_bus, 13]`
    branch: np.ndarray  # `[n_branch, 13]`
    gen: np.ndarray  # `[n_gen, 21]`
    load_p_mw: np.ndarray  # `[n_problem, n_bus]`
    load_q_mvar: np.ndarray  # `[n_problem, n_bus]`
    gen_p_mw: np.ndarray  # `[n_problem, n_gen]`
    vm_pu: np.ndarray  # `[n_bus]`, the solved base that everyone may start from
    va_rad: np.ndarray  # `[n_bus]`

    @property
    def size(self) -> int:
        """Number of problems."""
        return len(self.load_p_mw)

    @property
    def p_pu(self) -> np.ndarray:
        """Scheduled net active injection `[n_problem, n_bus]`."""
        at_bus = self.gen_p_mw @ np.eye(len(self.bus))[self.gen[:, 0].astype(int)]
        return (at_bus - self.load_p_mw) / self.base_mva

    @property
    def q_pu(self) -> np.ndarray:
        """Net reactive injection of the loads `[n_problem, n_bus]`."""
        return -self.load_q_mvar / self.base_mva

    @property
    def setpoint_pu(self) -> np.ndarray:
        """Voltage set-point `[n_bus]`; 1 where no generator has one, where it is not used."""
        setpoint = np.ones(len(self.bus))
        setpoint[self.gen[:, 0].astype(int)] = self.gen[:, 5]
        return setpoint

    @property
    def voltage_controlled(self) -> np.ndarray:
        """Whether a generator controls the bus's voltage, bool `[n_bus]`."""
        return np.isin(np.arange(len(self.bus)), self.gen[:, 0])

    @property
    def reference(self) -> int:
        """Index of the bus whose angle is zero and whose active power balances the rest."""
        return int(np.flatnonzero(self.bus[:, 1] == grid_lib.REF)[0])

    @functools.cached_property
    def admittance(self) -> scipy.sparse.csr_matrix:
        """Bus admittance matrix `[n_bus, n_bus]` in pu, made from the matrices alone."""
        return reference.admittance(self.base_mva, self.bus, self.branch)

    @property
    def base_pu(self) -> np.ndarray:
        """Complex net injection at the base `[n_bus]`."""
        voltage = self.vm_pu * np.exp(1j * self.va_rad)
        return voltage * np.conj(self.admittance @ voltage)

    def first(self, count: int) -> Problem:
        """Returns the first `count` problems."""
        take = ("load_p_mw", "load_q_mvar", "gen_p_mw")
        return dataclasses.replace(self, **{name: getattr(self, name)[:count] for name in take})

    def residual(self, vm_pu: np.ndarray, va_rad: np.ndarray) -> reference.Residual:
        """Returns how well voltages `[n_problem, n_bus]` solve the problems, in float64."""
        return reference.residual(self.equations, vm_pu, va_rad)

    @property
    def equations(self) -> reference.Equations:
        """What the voltages of all problems have to solve."""
        return reference.Equations(
            self.admittance, self.p_pu, self.q_pu, self.setpoint_pu, self.voltage_controlled,
            self.reference,
        )  # fmt: skip

    def write(self, path: pathlib.Path) -> None:
        """Writes the `.npz` file that the peers read: the fields of this class by their names."""
        np.savez(path, **{f.name: getattr(self, f.name) for f in dataclasses.fields(self)})

    def solve_by_peer(
        self, python: pathlib.Path, peer: str, timeout_s: float, **options: object
    ) -> tuple[dict, dict[str, np.ndarray]]:
        """Returns the report of `peer_process.run`, and vm_pu and va_rad, none on an error."""
        with tempfile.TemporaryDirectory(prefix="gridracer-bench-") as folder:
            file, answer = pathlib.Path(folder, "problem.npz"), pathlib.Path(folder, "answer.npz")
            self.write(file)
            report = peer_process.run(python, peer, timeout_s, file, answer, **options)
            return report, {} if "error" in report else dict(np.load(answer))


def draw(grid: grid_lib.Grid, count: int, seed: int) -> Problem:
    """Returns `count` problems around a solved base.

    The base serves the nominal loads from all units in proportion to their Pmax. Each problem
    varies every load's active and reactive power by its own factor, uniform in 1 ± LOAD_SPREAD,
    and scales the base's dispatch with the total load; the reference bus covers the change of
    losses.

    Raises:
      ValueError: the base has no solution.
    """
    matrices = _matrices(grid)
    load_p, load_q = grid.bus.load_p_mw, grid.bus.load_q_mvar
    # `residual` and `solve` need no more of a problem than this.
    base = Problem(
        grid.base_mva, *matrices, load_p[None], load_q[None],
        np.zeros((1, grid.n_gen)), np.ones(grid.n_bus), np.zeros(grid.n_bus),
    )  # fmt: skip
    base = _balance(base, grid.gen.capacity_mw, grid.name)

    rng = np.random.default_rng(seed)
    factor = lambda: rng.uniform(1 - LOAD_SPREAD, 1 + LOAD_SPREAD, (count, grid.n_bus))
    drawn_p, drawn_q = load_p * factor(), load_q * factor()
    scale = drawn_p.sum(1, keepdims=True) / load_p.sum()
    return dataclasses.replace(
        base, load_p_mw=drawn_p, load_q_mvar=drawn_q, gen_p_mw=base.gen_p_mw * scale
    )


def _balance(base: Problem, weight: np.ndarray, name: str) -> Problem:
    """Returns `base` solved, its units sharing load and losses in proportion to `weight`."""
    losses_mw = 0.02 * base.load_p_mw.sum()
    for _ in range(4):  # Losses hardly depend on who covers them: it converges at once.
        dispatch = (base.load_p_mw.sum() + losses_mw) * weight / weight.sum()
        base = dataclasses.replace(base, gen_p_mw=dispatch[None])
        equations = base.equations._replace(p_pu=base.p_pu[0], q_pu=base.q_pu[0])
        vm, va = reference.solve(equations, base.vm_pu, base.va_rad)
        base = dataclasses.replace(base, vm_pu=vm, va_rad=va)
        if not base.residual(vm[None], va[None]).mismatch_pu.max() < 1e-8:
            raise ValueError(
                f"case {name}: no power flow was found for its nominal loads shared by all units "
                "in proportion to Pmax, so there is no base to vary; choose another case"
            )
        losses_mw = base.base_pu.real.sum() * base.base_mva
    gen = base.gen.copy()
    gen[:, 1] = base.gen_p_mw[0]
    return dataclasses.replace(base, gen=gen)


def _matrices(grid: grid_lib.Grid) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns MATPOWER's bus, branch and gen matrices of `grid`, buses numbered from 0."""
    bus, branch, gen = grid.bus, grid.branch, grid.gen
    ones, zeros = np.ones, np.zeros
    kind = np.full(grid.n_bus, grid_lib.PQ)
    kind[gen.bus] = grid_lib.PV
    kind[grid.reference_bus] = grid_lib.REF
    setpoint = base_point.voltage_setpoints(grid)
    finite = lambda x: np.where(np.isfinite(x), x, np.sign(x) * 9999.0)
    rate = np.where(np.isfinite(branch.rate_mva), branch.rate_mva, 0.0)  # 0 means no limit.
    line = (branch.tap == 1) & (branch.shift_rad == 0)
    ratio = np.where(line, 0.0, branch.tap)  # 0 means a line.
    return (
        np.column_stack([
            np.arange(grid.n_bus), kind, bus.load_p_mw, bus.load_q_mvar, bus.shunt_p_mw,
            bus.shunt_q_mvar, bus.area, ones(grid.n_bus), zeros(grid.n_bus), bus.base_kv,
            ones(grid.n_bus), bus.vm_max_pu, bus.vm_min_pu,
        ]),
        np.column_stack([
            branch.from_bus, branch.to_bus, branch.r_pu, branch.x_pu, branch.b_pu, rate, rate,
            rate, ratio, np.rad2deg(branch.shift_rad), ones(grid.n_branch),
            np.full(grid.n_branch, -360.0), np.full(grid.n_branch, 360.0),
        ]),
        np.column_stack([
            gen.bus, gen.p_mw, zeros(grid.n_gen), finite(gen.q_max_mvar), finite(gen.q_min_mvar),
            setpoint[gen.bus], np.full(grid.n_gen, grid.base_mva), ones(grid.n_gen), gen.p_max_mw,
            gen.p_min_mw, *[zeros(grid.n_gen)] * 11,
        ]),
    )  # fmt: skip
