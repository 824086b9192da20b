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


class Decision(NamedTuple):
    """What an action of Grid2Op comes to; one that Grid2Op calls ambiguous does nothing."""

    standing: Standing  # from now on
    switch: np.ndarray  # `[n_line]` −1 to open, 1 to close, 0 to leave
    ambiguous: bool
    other_buses: bool  # whether it asks for buses that Gridracer has not


def request(standing: Standing, switch: np.ndarray, grid: Grid, limits_mw: np.ndarray) -> Request:
    """Returns what stands, and the switch of each line `[n_branch]`, as one request.

    `limits_mw` `[n_renewable]` are what the plants' limits amount to.
    """
    shift = np.where(grid.gen.is_unit, standing.dispatch_mw, 0.0)
    return Request(shift, limits_mw, -standing.storage_mw, switch)


def decision(action: Any, observation: Any, standing: Standing) -> Decision:
    """Returns what an action decides that is taken on `observation`, where `standing` stands.

    Redispatch adds up, and limits stay; batteries do what they are told for one step. Of several
    lines that it switches the environment moves the first that may move.
    """
    idle = standing._replace(storage_mw=np.zeros_like(standing.storage_mw))
    if action.is_ambiguous()[0]:
        return Decision(idle, np.zeros(observation.n_line), ambiguous=True, other_buses=False)
    span = observation.gen_pmax - observation.gen_pmin
    dispatch = np.clip(standing.dispatch_mw + np.asarray(action.redispatch, float), -span, span)
    limit = np.asarray(action.curtail, float)
    asked = standing._replace(
        dispatch_mw=dispatch,
        limit=np.where(limit >= 0, limit, standing.limit),
        storage_mw=np.array(action.storage_p, float),
    )
    buses = np.asarray(action.set_bus)
    return Decision(
        asked,
        _switch(action, observation, buses),
        ambiguous=False,
        other_buses=bool((buses > 1).any() or np.asarray(action.change_bus).any()),
    )


def _switch(action: Any, observation: Any, buses: np.ndarray) -> np.ndarray:
    """Returns the switch of each line: as its status, or the bus of either end, says."""
    status, told = np.asarray(observation.line_status), np.asarray(action.line_set_status)
    opens = (told < 0) | (action.line_change_status & status)
    closes = (told > 0) | (action.line_change_status & ~status)
    for end in (observation.line_or_pos_topo_vect, observation.line_ex_pos_topo_vect):
        opens |= buses[end] < 0
        closes |= buses[end] > 0
    return np.where(status & opens, -1.0, np.where(~status & closes & ~opens, 1.0, 0.0))
