"""What Grid2Op's actions ask for, as Gridracer requests it."""

from typing import Any, NamedTuple

import numpy as np

from agents.grid2op.observation_to_grid2op import Standing
from envs.case.grid import Grid

# What an agent may ask for, and Gridracer has not.
OTHER_BUSES = "buses within a substation"


class Request(NamedTuple):
    """What one decision requests of a step, numpy arrays."""

    shift_mw: np.ndarray  # `[n_gen]` of units, from the plan
    limit_mw: np.ndarray  # `[n_renewable]` what plants may produce at most
    storage_mw: np.ndarray  # `[n_storage]` positive when discharging
    switch: np.ndarray  # `[n_branch]` −1 to open, 1 to close, 0 to leave


def request(standing: Standing, switch: np.ndarray, grid: Grid, limits_mw: np.ndarray) -> Request:
    """Returns what stands, and the switch of each line `[n_branch]`, as one request.

    `limits_mw` `[n_renewable]` are what the plants' limits amount to.
    """
    shift = np.where(grid.gen.is_unit, standing.dispatch_mw, 0.0)
    return Request(shift, limits_mw, -standing.storage_mw, switch)


def after(action: Any, observation: Any, standing: Standing) -> Standing:
    """Returns what stands after an action of Grid2Op; redispatch adds up, limits stay.

    Batteries do what they are told for one step. An action that Grid2Op calls ambiguous does
    nothing, as there.
    """
    stored = np.zeros_like(standing.storage_mw)
    if action.is_ambiguous()[0]:
        return standing._replace(storage_mw=stored)
    span = observation.gen_pmax - observation.gen_pmin
    dispatch = np.clip(standing.dispatch_mw + np.asarray(action.redispatch, float), -span, span)
    limit = np.asarray(action.curtail, float)
    return standing._replace(
        dispatch_mw=dispatch,
        limit=np.where(limit >= 0, limit, standing.limit),
        storage_mw=stored + np.asarray(action.storage_p, float),
    )


def switching(action: Any, observation: Any) -> tuple[np.ndarray, bool]:
    """Returns the switch of each line `[n_line]`, and whether other buses were asked for.

    A line opens where its status or the bus of an end says so, and closes likewise. Of several,
    the environment moves the first that may move.
    """
    if action.is_ambiguous()[0]:
        return np.zeros(observation.n_line), False
    status = np.asarray(observation.line_status)
    told, buses = np.array(action.line_set_status), np.asarray(action.set_bus)
    ends = (
        buses[observation.line_or_pos_topo_vect],
        buses[observation.line_ex_pos_topo_vect],
    )
    opens = (told < 0) | (action.line_change_status & status)
    closes = (told > 0) | (action.line_change_status & ~status)
    for end in ends:
        opens |= end < 0
        closes |= end > 0
    switch = np.where(status & opens, -1.0, np.where(~status & closes & ~opens, 1.0, 0.0))
    return switch, bool((buses > 1).any() or np.asarray(action.change_bus).any())
