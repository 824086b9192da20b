"""Which element of a Grid2Op environment is which of a grid and fleet that were made of it."""

import re
from typing import Any, NamedTuple

import numpy as np

from envs.step.layout import Site


class Elements(NamedTuple):
    """Indices on a site, for each element of Grid2Op in its order."""

    base_kv: np.ndarray  # `[n_bus]`
    sub_bus: np.ndarray  # `[n_sub]` bus that each substation is
    origin: np.ndarray  # `[n_line]` bus at the origin
    extremity: np.ndarray  # `[n_line]`
    gen_bus: np.ndarray  # `[n_gen]`
    load_bus: np.ndarray  # `[n_load]`
    plants: np.ndarray  # `[n_renewable]` generator of Grid2Op that each plant is


def match(space: Any, site: Site) -> Elements:
    """Returns the elements of `space`, an observation or action space, or an observation.

    Raises:
      ValueError: the grid or the fleet of `site` was not made of this environment.
    """
    grid, fleet = site.grid, site.fleet
    counts = {
        "lines": (space.n_line, grid.n_branch),
        "generators": (space.n_gen, grid.n_gen),
        "batteries": (space.n_storage, fleet.n_storage),
        "wind and solar plants": (int(space.gen_renewable.sum()), fleet.n_renewable),
        "substations": (space.n_sub, grid.n_bus),
    }
    for name, (theirs, ours) in counts.items():
        if theirs != ours:
            raise ValueError(_misfit(space, grid, f"{theirs} {name}, {ours} there"))
    bus = np.full(space.n_sub, -1)
    bus[space.line_or_to_subid] = grid.branch.from_bus
    bus[space.line_ex_to_subid] = grid.branch.to_bus
    elements = Elements(
        grid.bus.base_kv,
        bus,
        bus[space.line_or_to_subid],
        bus[space.line_ex_to_subid],
        bus[space.gen_to_subid],
        bus[space.load_to_subid],
        np.flatnonzero(space.gen_renewable),
    )
    pairs = {
        "line": (elements.origin, grid.branch.from_bus),
        "line's end": (elements.extremity, grid.branch.to_bus),
        "generator": (elements.gen_bus, grid.gen.bus),
        "plant": (elements.gen_bus[elements.plants], fleet.renewables.bus),
        "battery": (bus[space.storage_to_subid], fleet.storage.bus),
    }
    for name, (theirs, ours) in pairs.items():
        if (theirs != ours).any():
            raise ValueError(_misfit(space, grid, f"another {name} at a bus"))
    if not np.isin(elements.load_bus, grid.loads).all():
        raise ValueError(_misfit(space, grid, "a load where there is none"))
    return elements


def _misfit(space, grid, why: str) -> str:
    name = re.sub("(LightSim|PandaPower)Backend$", "", getattr(space, "env_name", "it"))
    return (
        f"{grid.name}: was not made of {name}, which has {why}; make it by `python -m "
        "gridracer.grid2op prepare` and train on that"
    )
