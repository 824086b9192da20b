"""The events of a day on a grid: outages, trips, switching, relays, de-energised buses."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from envs.case import grid as grid_lib
from envs.step import switching
from evaluation import element_names

# In service; out of service by the time series, by protection, by the controller.
CLOSED, OUTAGE, TRIPPED, OPENED = range(4)
_SHED = 1e-6  # share of load that relays hold off, below which it is rounding


class Event(NamedTuple):
    """One event at one part of the grid."""

    step: int
    where: str  # a branch, a unit, load, buses
    what: str
    round: int = 0  # of the cascade, 0 where it is none
    before: str = ""  # what it carried or produced in the step before


def episode_events(
    arrays: Mapping[str, np.ndarray], grid: grid_lib.Grid, *, recloses: bool = True
) -> list[Event]:
    """Returns the events of an episode of `report_arrays.extract`.

    In a step outages come first, then switching, then trips by round. `recloses` says whether what
    tripped is closed again by itself.
    """
    rows: list[Event] = []
    for step in range(int(arrays["counted"].sum())):
        rows += _units(arrays, grid, step)
        rows += _branches(arrays, grid, step, recloses)
        rows += _load(arrays, step)
    return rows


def service(arrays: Mapping[str, np.ndarray], step: int) -> np.ndarray:
    """Returns why each branch is in service or out at a step, `CLOSED` to `OPENED` `[n_branch]`."""
    why, available = arrays["why"][step], arrays["available"][step]
    tripped, opened = why == switching.TRIPPED, why == switching.OPENED
    return np.select([~available, tripped, opened], [OUTAGE, TRIPPED, OPENED], CLOSED)


def clock(step: int, dt_h: float) -> str:
    """Returns the time at the end of a step, as a clock shows it."""
    minutes = round((step + 1) * dt_h * 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


def _units(arrays, grid: grid_lib.Grid, step: int) -> Iterator[Event]:
    on, was = arrays["gen_on"][step], _before(arrays["gen_on"], step)
    for gen in np.flatnonzero(was & ~on):
        produced = f"{arrays['gen_p_mw'][step - 1][gen]:.0f} MW" if step else ""
        yield Event(step, element_names.unit(grid, gen), _outage(step), 0, produced)
    for gen in np.flatnonzero(~was & on):
        yield Event(step, element_names.unit(grid, gen), "returned to service")


def _branches(arrays, grid: grid_lib.Grid, step: int, recloses: bool) -> Iterator[Event]:
    name = lambda branch: f"branch {element_names.branch(grid, branch)}"
    available, was_available = arrays["available"][step], _before(arrays["available"], step)
    why = arrays["why"][step]
    was = arrays["why"][step - 1] if step else np.full_like(why, switching.CLOSED)
    for branch in np.flatnonzero(was_available & ~available):
        yield Event(step, name(branch), _outage(step), 0, _loading(arrays, step, branch))
    for branch in np.flatnonzero(~was_available & available):
        yield Event(step, name(branch), "returned to service")
    for branch in np.flatnonzero((was != switching.OPENED) & (why == switching.OPENED)):
        yield Event(step, name(branch), "opened by the controller")
    for branch in np.flatnonzero((was != switching.CLOSED) & (why == switching.CLOSED)):
        by_itself = recloses and was[branch] == switching.TRIPPED
        what = "reclosed by itself" if by_itself else "closed by the controller"
        yield Event(step, name(branch), what)
    round_ = arrays["trip_round"][step]
    for branch in sorted(np.flatnonzero(round_), key=lambda b: round_[b]):
        loading = _loading(arrays, step, branch)
        yield Event(step, name(branch), "tripped", int(round_[branch]), loading)


def _load(arrays, step: int) -> Iterator[Event]:
    shed, was = arrays["shed_share"][step], arrays["shed_share"][step - 1] if step else 0.0
    if shed > was + _SHED:
        yield Event(step, f"{100 * (shed - was):.1f} % of load", "shed by frequency relays")
    elif shed < was - _SHED:
        yield Event(step, f"{100 * (was - shed):.1f} % of load", "connected again")
    energised = arrays["energised"]
    out, was_out = (int((~flags).sum()) for flags in (energised[step], _before(energised, step)))
    if out != was_out and arrays["reason"][step] == 0:
        count = abs(out - was_out)
        what = "de-energised" if out > was_out else "energised again"
        yield Event(step, f"{count} bus" if count == 1 else f"{count} buses", what)


def _outage(step: int) -> str:
    return "taken out of service" if step else "out of service from the start"


def _before(flags: np.ndarray, step: int) -> np.ndarray:
    return flags[step - 1] if step else np.ones_like(flags[0])


def _loading(arrays, step: int, branch: int) -> str:
    return f"{100 * arrays['rho'][step - 1][branch]:.0f} %" if step else ""
