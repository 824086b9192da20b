"""What was held back on a day: in its trace of events, and on the one-line diagram."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from agents.baselines.look_ahead import Limit
from envs import grid_env
from envs.case import grid as grid_lib
from evaluation import override_lines, overrides, wording
from evaluation.report import events

_WHO = {overrides.SAFETY: "the safety agent", overrides.SHIELD: "the shield"}
_MOST = 12  # stretches that are listed: those in which most was held back
_PAUSE = 3  # steps in a row in which nothing is held back and a stretch goes on


class Marks(NamedTuple):
    """What a diagram marks of a step."""

    buses: np.ndarray  # bool `[n_bus]`, of regions whose requests were held back
    branches: list[int]  # that the requests would have overloaded
    at_buses: list[int]  # where they would have broken another limit
    words: dict[int, str]  # by branch: how loaded it would have been


class _Stretch(NamedTuple):
    """Steps in which something of one region was held back, with short pauses."""

    by: str
    where: str
    first: int
    last: int
    count: int  # of the steps, without pauses
    share: float  # the largest
    step: int  # in which the gravest limit was foreseen, else the largest share was held back


def any_at(worst: Mapping[str, np.ndarray], step: int) -> bool:
    """Returns whether something was held back in a step of `report_arrays.extract`."""
    return any((share[step] > overrides.LEAST).any() for _, _, share in _shares(worst))


def strongest(worst: Mapping[str, np.ndarray], steps: int) -> int | None:
    """Returns the step, of the first `steps`, in which most was held back, or none."""
    totals = [share[:steps].sum(1) for _, _, share in _shares(worst) if steps]
    step = int(np.sum(totals, 0).argmax()) if totals else 0
    return step if totals and any_at(worst, step) else None


def words(
    worst: Mapping[str, np.ndarray], grid: grid_lib.Grid, step: int
) -> Iterator[tuple[str, str]]:
    """Yields of a step where something was held back, and in words how much and why."""
    for by, names, share in _shares(worst):
        reason = _reason(worst, grid, by, step)
        for name, held in zip(names, share[step]):
            if held > overrides.LEAST:
                yield name, f"{100 * held:.0f} % held back by {_WHO[by]}: {reason}"


def marks(worst: Mapping[str, np.ndarray], env: grid_env.GridEnv, step: int) -> Marks | None:
    """Returns what a diagram marks of a step, or none where nothing was held back."""
    if not any_at(worst, step):
        return None
    buses = np.zeros(env.grid.n_bus, bool)
    branches, at_buses, said = [], [], {}
    for by, _, share in _shares(worst):
        held = share[step] > overrides.LEAST
        if by == overrides.SAFETY:
            buses |= worst["region_buses"][held].any(0)
        limit, element = _found(worst, by, step)
        if limit in (Limit.OVERLOAD, Limit.OUTAGE):
            branches.append(element)
            loaded = f"{100 * (1 + worst[f'{by}_size'][step]):.0f} %"
            after = "would be" if limit == Limit.OVERLOAD else "its outage: another at"
            said[element] = f"{after} {loaded}"
        elif limit in (Limit.VOLTAGE, Limit.REACTIVE):
            at_buses.append(element if limit == Limit.VOLTAGE else int(env.grid.gen.bus[element]))
    return Marks(buses, branches, at_buses, said)


def episode_events(
    worst: Mapping[str, np.ndarray], grid: grid_lib.Grid, dt_h: float
) -> tuple[list[events.Event], int]:
    """Returns an event for each stretch of steps in which something of a region was held back.

    Of many those in which most was, and how many are left out.
    """
    steps = int(worst["counted"].sum())
    stretches = [s for row in _shares(worst) for s in _stretches(worst, *row, steps)]
    stretches.sort(key=lambda s: -s.share * s.count)
    shown = [_event(worst, grid, stretch, dt_h) for stretch in stretches[:_MOST]]
    return shown, len(stretches) - len(shown)


def _found(worst, by: str, step: int) -> tuple[int, int]:
    """Returns which limit of which element was foreseen in a step; of who did not look, none."""
    if f"{by}_limit" not in worst:
        return int(Limit.NONE), 0
    return int(worst[f"{by}_limit"][step]), int(worst[f"{by}_element"][step])


def _shares(worst) -> Iterator[tuple[str, list[str], np.ndarray]]:
    """Yields who holds back, whose requests by name `[R]`, and the shares `[T, R]`."""
    for by in _WHO:
        if f"{by}_share" in worst:
            whole = [overrides.WHOLE]
            names = worst["regions"].tolist() if by == overrides.SAFETY else whole
            yield by, names, worst[f"{by}_share"]


def _stretches(worst, by: str, names, share: np.ndarray, steps: int) -> Iterator[_Stretch]:
    for region, name in enumerate(names):
        held = np.flatnonzero(share[:steps, region] > overrides.LEAST)
        for mine in np.split(held, np.flatnonzero(np.diff(held) > 1 + _PAUSE) + 1):
            if not mine.size:
                continue
            limits = np.array([_found(worst, by, step)[0] for step in mine])
            grave = np.where(limits > 0, limits, len(Limit))
            order = np.lexsort((-share[mine, region], grave))
            yield _Stretch(
                by, name, int(mine[0]), int(mine[-1]), mine.size, float(share[mine, region].max()),
                int(mine[order[0]]),
            )  # fmt: skip


def _event(worst, grid, stretch: _Stretch, dt_h: float) -> events.Event:
    until, length = "", stretch.last - stretch.first + 1
    if length > 1:
        some = f" in {stretch.count} of {length} steps" if stretch.count < length else ""
        until = f"{some} until {events.clock(stretch.last, dt_h)}, at most"
    reason = _reason(worst, grid, stretch.by, stretch.step)
    what = f"held back by {_WHO[stretch.by]}{until} {100 * stretch.share:.0f} %: {reason}"
    return events.Event(stretch.first, stretch.where, what)


def _reason(worst, grid: grid_lib.Grid, by: str, step: int) -> str:
    """Returns which limit what was requested would have broken in a step, in words."""
    limit, element = _found(worst, by, step)
    if limit == Limit.NONE:
        return "no limit foreseen"
    size = float(worst[f"{by}_size"][step])
    what = override_lines.describe(grid, limit, element)
    return {
        Limit.COLLAPSE: lambda: f"the day would have ended ({what.replace('_', ' ')})",
        Limit.OVERLOAD: lambda: f"{what} would have been at {100 * (1 + size):.0f} %",
        Limit.OUTAGE: lambda: f"{what} would have loaded another to {100 * (1 + size):.0f} %",
        Limit.VOLTAGE: lambda: f"{what} would have been {size:.3f} pu beyond its limits",
        Limit.REACTIVE: lambda: f"{what} would have been {wording.number(size)} MVAr beyond",
    }[Limit(limit)]()
