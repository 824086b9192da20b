"""Which entry of the observation and action vectors means what, and what its element is called."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from envs.case.fleet import Fleet
from envs.case.grid import Grid


class Site(NamedTuple):
    """What a layout is made for."""

    grid: Grid
    fleet: Fleet
    controllable: np.ndarray  # indices into the loads


@dataclasses.dataclass(frozen=True)
class Layout:
    """Which entry of the observation and action vectors means what."""

    observation: dict[str, slice]
    observation_names: tuple[str, ...]  # one for each entry, "block: element"
    action: dict[str, slice]
    action_names: tuple[str, ...]

    @property
    def observation_size(self) -> int:
        """Length of the observation vector."""
        return len(self.observation_names)

    @property
    def action_size(self) -> int:
        """Length of the action vector."""
        return len(self.action_names)


def _bus_names(buses: Callable[[Site], np.ndarray]) -> Callable[[Site], list[str]]:
    return lambda site: [f"bus {site.grid.bus.id[bus]}" for bus in buses(site)]


def per_branch(site: Site) -> list[str]:
    """Returns the name of every branch, by the buses at its ends."""
    ids, branch = site.grid.bus.id, site.grid.branch
    return [f"{ids[f]}-{ids[t]}" for f, t in zip(branch.from_bus, branch.to_bus)]


# Names of elements by the bus that they are at.
per_bus = _bus_names(lambda site: np.arange(site.grid.n_bus))
per_gen = _bus_names(lambda site: site.grid.gen.bus)
per_unit = _bus_names(lambda site: site.grid.gen.bus[site.grid.units])
per_load = _bus_names(lambda site: site.grid.loads)
per_renewable = _bus_names(lambda site: site.fleet.renewables.bus)
per_storage = _bus_names(lambda site: site.fleet.storage.bus)
per_controllable = _bus_names(lambda site: site.grid.loads[site.controllable])


def voltage_controls(layout: Layout, grid: Grid) -> np.ndarray:
    """Returns the generators whose voltage set-point the layout can move, indices."""
    able = np.zeros(grid.n_gen, bool)
    if "generator" in layout.action:
        able |= ~grid.gen.is_unit
    if "unit_voltage" in layout.action:
        able |= grid.gen.is_unit
    return np.flatnonzero(able)
