"""One AC optimal power flow to solve, what it may move, and its solution."""

import dataclasses
from typing import NamedTuple

import numpy as np

from envs.case import grid as grid_lib

# $/rad and h beyond a limit of angles, where the environment charges nothing for it: 10,000 $/MW
# where a branch carries 1,000 MW a radian.
ANGLE_PRICE = 1e7


@dataclasses.dataclass(frozen=True)
class Controls:
    """What may be moved as well as generators, and which of these draw power for what they do."""

    load_bus: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, int))
    plant_bus: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, int))
    # `[n_condenser]` indices of generators, and MW drawn for each MVAr that they produce or absorb.
    condensers: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, int))
    condenser_loss: float = 0.0


class Problem(NamedTuple):
    """One operating point to optimise, MW, MVAr and pu."""

    load_p_mw: np.ndarray  # `[n_bus]`
    load_q_mvar: np.ndarray  # `[n_bus]`
    fixed_mw: np.ndarray  # `[n_bus]` injected whatever is decided: batteries, condensers' draw
    p_low_mw: np.ndarray  # `[n_gen]`
    p_high_mw: np.ndarray  # `[n_gen]`
    q_low_mvar: np.ndarray  # `[n_gen]`
    q_high_mvar: np.ndarray  # `[n_gen]`
    vm_low_pu: np.ndarray  # `[n_bus]`
    vm_high_pu: np.ndarray  # `[n_bus]`
    pv: np.ndarray  # bool `[n_bus]` PV buses: limits of the voltage are those of its set-point
    closed: np.ndarray  # `[n_branch]` 1 in service, 0 not
    energised: np.ndarray  # `[n_bus]` 1 on the island in service, 0 elsewhere
    movable_p_mw: np.ndarray  # `[n_movable]` of the loads at `Controls.load_bus`
    movable_q_mvar: np.ndarray  # `[n_movable]`
    movable_share: float  # how far these may be moved either way
    available_mw: np.ndarray  # `[n_plant]` of the plants at `Controls.plant_bus`
    rate_share: float = 1.0  # of each limit that may be used


class Solution(NamedTuple):
    """An optimum, MW, MVAr and pu."""

    optimal: bool  # every limit kept; otherwise `elastic`, or not solved
    solved: bool
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


def nominal(grid: grid_lib.Grid) -> Problem:
    """Returns the problem of the case file, nothing movable but generators."""
    bus, gen = grid.bus, grid.gen
    none = np.zeros(0)
    return Problem(
        bus.load_p_mw, bus.load_q_mvar, np.zeros(grid.n_bus),
        gen.p_min_mw, gen.p_max_mw, gen.q_min_mvar, gen.q_max_mvar,
        bus.vm_min_pu, bus.vm_max_pu,
        np.isin(np.arange(grid.n_bus), gen.bus),
        np.ones(grid.n_branch), np.ones(grid.n_bus), none, none, 0.0, none,
    )  # fmt: skip
