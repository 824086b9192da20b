"""Solves recorded episodes again in another simulator, step by step, to check our physics.

Its inputs are those of our power flow: injections, voltage set-points, and what is in service.
Its results are compared with ours: voltages, apparent power of branches, and what the slack costs.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from envs.case import connectivity, grid as grid_lib
from envs.powerflow import matrices
from evaluation import results, runner

if TYPE_CHECKING:
    from evaluation import pandapower_grid


class SimulatorMissing(RuntimeError):
    """The other simulator is not installed; the message says how to install it."""


class Disagreement(NamedTuple):
    """The largest differences over an episode, ours less the other's."""

    steps: int  # that were solved by both
    unsolved: int  # that only we solved
    vm_pu: float
    va_rad: float
    flow_mva: float  # what a branch carries of its limit, at its more loaded end
    flow_share: float  # the same over the branch's limit
    cost_usd: float  # of generation in a step
    cost_share: float  # the same over the step's cost
    worst_step: int  # of the voltages


def worst_episodes(
    folder: results.Folder, plan: runner.Plan, n_bus: int
) -> Iterator[tuple[results.Task, dict[str, np.ndarray]]]:
    """Yields the worst episode of each controller in each scenario, where it can be read."""
    for task in plan.played_tasks():
        read = [folder.arrays(task, *batch) for batch in plan.batches(n_bus)]
        arrays = results.worst([each for each in read if each is not None])
        if arrays is not None:
            yield task, arrays


def check_episodes(
    recorded: Iterable[tuple[results.Task, Mapping[str, np.ndarray]]],
    grid: grid_lib.Grid,
    dt_h: float,
    progress: Callable[[results.Task, int], None] = lambda task, steps: None,
) -> list[dict[str, Any]]:
    """Returns how far each episode of `worst_episodes` or `Runner.play_day` disagrees.

    Raises:
      SimulatorMissing: pandapower is not installed.
    """
    reference, rows = _pandapower(grid), []
    for task, arrays in recorded:
        difference = check_episode(reference, arrays, grid, dt_h, lambda n, t=task: progress(t, n))
        rows.append({**task._asdict(), "episode": int(arrays["episode"]), **difference._asdict()})
    return rows


def check_episode(
    reference: "pandapower_grid.Oracle",
    arrays: Mapping[str, np.ndarray],
    grid: grid_lib.Grid,
    dt_h: float,
    progress: Callable[[int], None] = lambda steps: None,
) -> Disagreement:
    """Returns how far another simulator disagrees on an episode of `report_arrays.extract`."""
    largest = dict.fromkeys(_COMPARED, 0.0)
    steps = unsolved = worst_step = 0
    for t in np.flatnonzero(arrays["counted"]):
        progress(1)
        if arrays["reason"][t] != 0:
            continue  # The step that ended the episode may have no operating point.
        row = {name: arrays[name][t] for name in _NEEDED}
        compared = _step(reference, row, grid, dt_h)
        if compared is None:
            unsolved += 1
            continue
        steps += 1
        if compared["vm_pu"] > largest["vm_pu"]:
            worst_step = int(t)
        largest = {name: max(largest[name], value) for name, value in compared.items()}
    return Disagreement(steps=steps, unsolved=unsolved, worst_step=worst_step, **largest)


_COMPARED = ("vm_pu", "va_rad", "flow_mva", "flow_share", "cost_usd", "cost_share")
_NEEDED = (
    "bus_p_mw", "bus_q_mvar", "setpoint_pu", "pv", "closed", "energised", "vm_pu", "va_rad", "rho",
    "gen_p_mw",
)  # fmt: skip


def _step(reference, row: Mapping[str, np.ndarray], grid: grid_lib.Grid, dt_h: float):
    """Returns the differences of one operating point, or none without a reference solution."""
    energised, pv = row["energised"].astype(bool), row["pv"].astype(bool)
    gen = grid.gen
    # The largest unit that runs takes what is left over, on each island that is energised; by how
    # much says how losses differ.
    running = np.where(energised[gen.bus] & pv[gen.bus] & gen.is_unit, row["gen_p_mw"], -np.inf)
    island = connectivity.islands(grid, row["closed"].astype(bool))
    live = np.unique(island[energised])
    slack_gen = np.array([np.where(island[gen.bus] == i, running, -np.inf).argmax() for i in live])
    slack = gen.bus[slack_gen]
    own = slack[np.searchsorted(live, island).clip(max=len(live) - 1)]  # of each bus
    ends = energised[grid.branch.from_bus] & energised[grid.branch.to_bus]
    out = np.flatnonzero(~(row["closed"].astype(bool) & ends))
    pv_buses = np.unique(gen.bus)
    solution = reference.solve(
        row["bus_p_mw"].astype(float) / grid.base_mva,
        row["bus_q_mvar"].astype(float) / grid.base_mva,
        row["setpoint_pu"].astype(float), out=out, pv_to_pq=pv_buses[~(pv & energised)[pv_buses]],
        slack=slack,
    )  # fmt: skip
    if not solution.converged or not np.isfinite(solution.vm[energised]).all():
        return None  # Without a solution, or with a bus cut off that is energised in ours.
    ours = row["va_rad"] - row["va_rad"][own]
    theirs = solution.va - solution.va[own]
    turn = np.angle(np.exp(1j * (ours - theirs)))
    limit = grid.branch.rate_mva
    carried = [np.hypot(*solution.flows[:, columns].T) for columns in ([0, 1], [2, 3])]
    flow = matrices.rated_mva(grid, *carried, solution.vm)
    inside = np.flatnonzero(row["closed"].astype(bool) & ends & np.isfinite(limit))
    apart = np.abs(row["rho"][inside] * limit[inside] - flow[inside])
    # What the slack unit produces to balance the losses of the reference, beyond ours.
    unit = gen.cost_c1[slack_gen] + 2 * gen.cost_c2[slack_gen] * row["gen_p_mw"][slack_gen]
    p = row["gen_p_mw"].astype(float)
    cost = (gen.cost_c2 * p**2 + gen.cost_c1 * p)[gen.is_unit].sum() + gen.cost_c0.sum()
    money = np.abs(unit * solution.slack_at_mw[slack]).sum()
    return {
        "vm_pu": float(np.abs(row["vm_pu"] - solution.vm)[energised].max()),
        "va_rad": float(np.abs(turn)[energised].max()),
        "flow_mva": float(apart.max(initial=0.0)),
        "flow_share": float((apart / limit[inside]).max(initial=0.0)),
        "cost_usd": dt_h * float(money),
        "cost_share": float(money / max(abs(cost), 1e-9)),
    }


def simulator() -> ModuleType:
    """Returns the module `pandapower_grid`.

    Raises:
      SimulatorMissing: pandapower is not installed.
    """
    try:
        from evaluation import pandapower_grid

        return pandapower_grid
    except ImportError as error:
        raise SimulatorMissing(
            f"--replay=pandapower: pandapower is not installed ({error}); "
            "pip install pandapower, or use an environment made by make test"
        ) from error


def _pandapower(grid: grid_lib.Grid) -> "pandapower_grid.Oracle":
    module = simulator()
    # It warns of every transformer between equal voltages, which here all are.
    logging.getLogger("pandapower").setLevel(logging.ERROR)
    return module.Oracle(grid)
