"""Reduces a grid to one island with one reference bus, which is what environments operate."""

import dataclasses

import numpy as np

from envs.case import connectivity
from envs.case.conversion import Notes
from envs.case.grid import PQ, PV, REF, Grid


def reduce(grid: Grid, notes: Notes) -> Grid:
    """Returns the island of `grid` that has a reference bus and most load, with one such bus.

    Other islands are left out, and other reference buses hold their voltage but not their angle:
    their generators produce what the file's solution says. Both are added to `notes`. A grid
    without a reference bus is returned as it is, for `validate` to refuse.
    """
    references = np.flatnonzero(grid.bus.type == REF)
    ends = np.concatenate([grid.branch.from_bus, grid.branch.to_bus, grid.gen.bus])
    if not references.size or (ends < 0).any() or (ends >= grid.n_bus).any():
        return grid
    island = connectivity.islands(grid, np.ones(grid.n_branch, bool))
    candidates = np.unique(island[references])
    load = np.bincount(island, np.nan_to_num(np.abs(grid.bus.load_p_mw)))[candidates]
    size = np.bincount(island)[candidates]
    main = candidates[np.lexsort((size, load))[-1]]
    kept = island == main
    left = Notes()
    lost_mw = np.abs(grid.bus.load_p_mw[~kept]).sum()
    left.add(
        "bus number", grid.bus.id[~kept],
        "{n} not connected to the island with the reference bus were left out, "
        f"with loads of {lost_mw:.4g} MW",
    )  # fmt: skip
    notes[:0] = left  # ahead of details
    grid = _part(grid, kept)
    types = grid.bus.type.copy()
    types[np.isin(np.arange(grid.n_bus), grid.gen.bus) & (types == PQ)] = PV
    references = np.flatnonzero(types == REF)
    with_units = references[np.isin(references, grid.gen.bus)]
    first = with_units[0] if with_units.size else references[0]
    others = references[references != first]
    notes.add(
        "reference bus", grid.bus.id[others],
        f"bus {grid.bus.id[first]} is the only one that sets the angle; {{n}} more hold their "
        "voltage, and what they supplied is dispatched",
    )  # fmt: skip
    types[others] = np.where(np.isin(others, grid.gen.bus), PV, PQ)
    return dataclasses.replace(grid, bus=dataclasses.replace(grid.bus, type=types))


def _part(grid: Grid, kept: np.ndarray) -> Grid:
    """Returns the buses `kept`, bool `[n_bus]`, and what is at or between them."""
    place = np.cumsum(kept) - 1
    of = lambda table, rows: type(table)(
        **{field.name: getattr(table, field.name)[rows] for field in dataclasses.fields(table)}
    )
    branch = of(grid.branch, kept[grid.branch.from_bus] & kept[grid.branch.to_bus])
    gen = of(grid.gen, kept[grid.gen.bus])
    return dataclasses.replace(
        grid,
        bus=of(grid.bus, kept),
        branch=dataclasses.replace(
            branch,
            from_bus=place[branch.from_bus].astype(np.int32),
            to_bus=place[branch.to_bus].astype(np.int32),
        ),
        gen=dataclasses.replace(gen, bus=place[gen.bus].astype(np.int32)),
    )
