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
    site: Site

    @property
    def observation_size(self) -> int:
        """Length of the observation vector."""
        return len(self.observation_names)

    @property
    def action_size(self) -> int:
        """Length of the action vector."""
        return len(self.action_names)


# Kinds of elements, and the bus or the two buses that each is at, `[n]` each.
ENDS: dict[str, Callable[[Site], tuple[np.ndarray, ...]]] = {
    "bus": lambda site: (np.arange(site.grid.n_bus),),
    "gen": lambda site: (site.grid.gen.bus,),
    "load": lambda site: (site.grid.loads,),
    "renewable": lambda site: (site.fleet.renewables.bus,),
    "storage": lambda site: (site.fleet.storage.bus,),
    "branch": lambda site: (site.grid.branch.from_bus, site.grid.branch.to_bus),
}


class PerElement(NamedTuple):
    """Names the entries of a block that has one for each element of a kind, or for some of them."""

    kind: str  # of `ENDS`
    some: Callable[[Site], np.ndarray] | None = None  # indices into the kind; none: all

    def rows(self, site: Site) -> np.ndarray:
        """Returns the elements that have an entry, indices into the kind."""
        return self.some(site) if self.some else np.arange(len(ENDS[self.kind](site)[0]))

    def __call__(self, site: Site) -> list[str]:
        """Returns the name of each, by the buses that it is at."""
        ids = [site.grid.bus.id[bus[self.rows(site)]] for bus in ENDS[self.kind](site)]
        between = "-".join(["{}"] * len(ids))
        return [("" if len(ids) > 1 else "bus ") + between.format(*at) for at in zip(*ids)]


per_bus, per_gen, per_load = PerElement("bus"), PerElement("gen"), PerElement("load")
per_unit = PerElement("gen", lambda site: site.grid.units)
per_controllable = PerElement("load", lambda site: site.controllable)
per_prosumer = PerElement("load", lambda site: site.fleet.prosumers.loads(site.grid))
per_renewable, per_storage = PerElement("renewable"), PerElement("storage")
per_branch = PerElement("branch")
per_coupling = PerElement("branch", lambda site: site.fleet.couplings)


def voltage_controls(layout: Layout, grid: Grid) -> np.ndarray:
    """Returns the generators whose voltage set-point the layout can move, indices."""
    able = np.zeros(grid.n_gen, bool)
    if "generator" in layout.action:
        able |= ~grid.gen.is_unit
    if "unit_voltage" in layout.action:
        able |= grid.gen.is_unit
    return np.flatnonzero(able)
