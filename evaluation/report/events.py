"""What happened to branches over a day: outages of the tape, trips, switching."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from envs import grid as grid_lib

CLOSED, TAKEN, TRIPPED, OPENED = 0, 1, 2, 3  # in service, out by the tape, by protection, by choice


class Event(NamedTuple):
    """Something that happened to a branch."""

    step: int
    branch: int
    what: str
    round: int  # of the cascade, 0 where it is none
    loading: float  # of the branch five minutes before, NaN where it is of no interest


def of(arrays: Mapping[str, np.ndarray]) -> list[Event]:
    """Returns the events of an episode in order: the tape, then switching, then trips by round.

    Args:
      arrays: what `exemplar.of` returns of the worst episode.
    """
    steps = int(arrays["counted"].sum())
    n_branch = arrays["closed"].shape[1]
    was_closed = was_available = np.ones(n_branch, bool)
    found: list[Event] = []
    for step in _eventful(arrays, steps):
        closed, available = arrays["closed"][step], arrays["available"][step]
        round_ = arrays["trip_round"][step]
        before = arrays["rho"][step - 1] if step else np.full(n_branch, np.nan)
        gone, back = was_available & ~available, ~was_available & available
        untouched = (available == was_available) & (round_ == 0) & available
        gone_said = "out of service from the start" if step == 0 else "taken out of service"
        for mask, what in (
            (gone, gone_said),
            (back, "given back"),
            (untouched & was_closed & ~closed, "opened by the controller"),
            (untouched & ~was_closed & closed, "closed again"),
        ):
            loading = before if what == "taken out of service" else np.full(n_branch, np.nan)
            found += [Event(step, int(b), what, 0, float(loading[b])) for b in np.flatnonzero(mask)]
        found += [
            Event(step, int(b), "tripped", int(round_[b]), float(before[b]))
            for b in sorted(np.flatnonzero(round_), key=lambda b: round_[b])
        ]
        was_closed, was_available = closed, available
    return found


def _eventful(arrays: Mapping[str, np.ndarray], steps: int) -> list[int]:
    """Returns the steps in which anything changed."""
    changed = (arrays["trip_round"][:steps] > 0).any(1)
    for name in ("closed", "available"):
        state = arrays[name][:steps].astype(bool)
        before = np.concatenate([np.ones_like(state[:1]), state[:-1]])
        changed |= (state != before).any(1)
    return np.flatnonzero(changed).tolist()


def service(arrays: Mapping[str, np.ndarray], step: int) -> np.ndarray:
    """Returns why each branch is in service or out at a step, `CLOSED` to `OPENED` `[n_branch]`."""
    why = np.full(arrays["closed"].shape[1], CLOSED)
    for at in _eventful(arrays, step + 1):
        closed, available = arrays["closed"][at], arrays["available"][at]
        why[(arrays["trip_round"][at] > 0) & ~closed] = TRIPPED
        why[closed] = CLOSED
        why[~closed & available & (why == CLOSED)] = OPENED
    return np.where(arrays["available"][step], why, TAKEN)


def name(grid: grid_lib.Grid, branch: int) -> str:
    """Returns a branch by the numbers of its buses, with its place among parallel ones."""
    ends = np.sort(np.stack([grid.branch.from_bus, grid.branch.to_bus]), 0)
    same = np.flatnonzero((ends == ends[:, [branch]]).all(0)).tolist()
    first, second = grid.branch.from_bus[branch], grid.branch.to_bus[branch]
    text = f"{grid.bus.id[first]}–{grid.bus.id[second]}"
    return f"{text} ({same.index(branch) + 1} of {len(same)})" if len(same) > 1 else text


def clock(step: int, dt_h: float) -> str:
    """Returns the time at the end of a step, as a clock shows it."""
    minutes = round((step + 1) * dt_h * 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}"
