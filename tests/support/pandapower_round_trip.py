"""How far the power flow of a grid that was read from pandapower is from pandapower's own.

    PYTHONPATH=.:tests python tests/support/pandapower_round_trip.py

prints the table of docs/results/formats.md: what became of every network of pandapower.networks.
"""

import argparse
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandapower
import scipy.sparse
import scipy.sparse.linalg

from envs.case import case_file, pandapower_file, validate
from envs.case.conversion import Conversion
from envs.case.grid import Grid
from envs.powerflow import ac_flow, base_point, matrices, network, solve

_HOUR = np.pi / 6  # angles are compared up to the turns of vector groups
_TOLERANCE_PU = 1e-10
_DENSE = 120  # buses up to which the batched solver is tried too: it inverts dense matrices


class Difference(NamedTuple):
    """Largest absolute differences from pandapower's `runpp`, over the buses that both have."""

    n_bus: int  # that were compared
    vm_pu: float
    va_rad: float


def solve_host(grid: Grid) -> ac_flow.Voltages | None:
    """Returns the power flow of what the file says, by `ac_flow`, from the angles of the DC one.

    The reference unit balances it; pandapower starts from the same angles.
    """
    p, q = base_point.file_injections(grid)
    alone = np.eye(grid.n_bus)[grid.reference_bus]
    everything = np.ones(grid.n_branch, bool), np.ones(grid.n_bus, bool)
    pv = np.isin(np.arange(grid.n_bus), grid.gen.bus)
    start = _dc_angles(grid, p)
    solver = ac_flow.AcFlow(grid, tolerance_pu=_TOLERANCE_PU, reuse=0.0)
    setpoint = base_point.voltage_setpoints(grid)
    return solver.solve(ac_flow.Request(p, q, setpoint, start, alone, pv, *everything))


def solve_batched(grid: Grid) -> ac_flow.Voltages:
    """Returns the same by the solver of environments, in double precision."""
    with jax.experimental.enable_x64(True):
        p, q = (jnp.asarray(x) for x in base_point.file_injections(grid))
        net = network.build(grid, jnp.float64)
        alone = jnp.asarray(np.eye(grid.n_bus)[grid.reference_bus])
        run = jax.jit(solve.solver(net, method="newton", tolerance_pu=_TOLERANCE_PU))
        solution = run(solve.base_request(net, p, q, participation=alone, capacity=alone))
        assert bool(solution.converged), grid.name
        return ac_flow.Voltages(np.asarray(solution.vm_pu), np.asarray(solution.va_rad))


def difference(net, grid: Grid, voltages: ac_flow.Voltages) -> Difference:
    """Returns how far `voltages` are from what pandapower found for `net`, which is solved."""
    position = {number - 1: row for row, number in enumerate(grid.bus.id)}
    index = [i for i in net.bus.index if i in position and np.isfinite(net.res_bus.vm_pu.at[i])]
    rows = np.array([position[i] for i in index])
    result = net.res_bus.loc[index]
    turned = np.deg2rad(result.va_degree.to_numpy()) - voltages.va_rad[rows]
    turned = turned - turned[0]
    va = np.abs(turned - _HOUR * np.round(turned / _HOUR))
    vm = np.abs(result.vm_pu.to_numpy() - voltages.vm_pu[rows])
    return Difference(len(index), float(vm.max()), float(va.max()))


def compare(name: str) -> tuple[Conversion, Difference, Difference | None]:
    """Returns a network of pandapower as read, and how far both solvers are from pandapower's.

    The batched one is tried on small grids; else its difference is None.

    Raises:
      pandapower.LoadflowNotConverged: pandapower finds no power flow.
    """
    net = pandapower_file.networks()[name]()
    pandapower.runpp(net, numba=False)
    conversion = case_file.read(net)
    grid = conversion.grid
    voltages = solve_host(grid)
    assert voltages is not None, f"{name}: no power flow"
    by_host = difference(net, grid, voltages)
    if grid.n_bus > _DENSE:
        return conversion, by_host, None
    return conversion, by_host, difference(net, grid, solve_batched(grid))


def _dc_angles(grid: Grid, p_pu: np.ndarray) -> np.ndarray:
    """Returns angles `[n_bus]` of the DC power flow (MATPOWER manual, section 3.7)."""
    ends, susceptance = matrices.incidence(grid), matrices.susceptance(grid.branch)
    laplacian = (ends.T @ scipy.sparse.diags_array(susceptance) @ ends).tocsc()
    injected = p_pu + ends.T @ (susceptance * grid.branch.shift_rad)
    injected -= grid.bus.shunt_p_mw / grid.base_mva
    others = np.flatnonzero(np.arange(grid.n_bus) != grid.reference_bus)
    angles = np.zeros(grid.n_bus)
    angles[others] = scipy.sparse.linalg.spsolve(laplacian[others][:, others], injected[others])
    return angles


def row(name: str) -> str:
    """Returns a row of the table: what became of a network."""
    start = time.perf_counter()
    try:
        conversion = case_file.read(pandapower_file.PREFIX + name)
    except validate.CaseError as error:
        return f"| `{name}` | refused | | | | {error} |"
    seconds, grid = time.perf_counter() - start, conversion.grid
    try:
        _, *found = compare(name)
        cells = [f"{d.vm_pu:.0e}, {d.va_rad:.0e}" if d else "" for d in found]
    except pandapower.LoadflowNotConverged:
        cells = ["pandapower finds none", ""]
    size = f"{grid.n_bus}, {grid.n_branch}, {grid.n_gen}"
    notes = ", ".join(sorted({note.element for note in conversion.notes}))
    return f"| `{name}` | {size} | {seconds:.1f} s | {' | '.join(cells)} | {notes} |"


def main(names: list[str]) -> None:
    """Prints a row for each network."""
    print("| network | buses, branches, generators | read in | sparse | batched | notes about |")
    print("|---|---:|---:|---:|---:|---|")
    for name in names or pandapower_file.networks():
        print(row(name), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    main(parser.parse_args().names)
