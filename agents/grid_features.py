"""What is known of each element of a grid: its constants, and what an observation says of it.

Every element of a kind has as many features, and their number does not depend on the grid, so that
what reads them can read those of another grid.
"""

from collections.abc import Callable
from typing import NamedTuple

import chex
import jax.numpy as jnp
import numpy as np

from agents import normaliser
from envs.powerflow import base_point
from envs.step import layout as layout_lib, layouts, observations
from envs.step.layout import Layout, Site


class Tables(NamedTuple):
    """What an observation says of a grid, normalised but for `closed`."""

    elements: dict[str, chex.Array]  # `[..., n, features]` of each kind of `layout.ENDS`
    system: chex.Array  # `[..., entries]` what belongs to no element
    closed: chex.Array  # `[..., n_branch]` 1 where a branch is closed


class Control(NamedTuple):
    """Where a block of actions acts."""

    kind: str  # of element
    rows: np.ndarray  # `[n]` which of the kind
    titles: int  # how many kinds of control there may be in the block
    title: np.ndarray  # `[n]` which of them each is


class GridFeatures:
    """Features of the elements of the grid that a layout is made for."""

    def __init__(self, layout: Layout):
        site, size = layout.site, layout.observation_size
        self.ends = {kind: ends(site) for kind, ends in layout_lib.ENDS.items()}
        self.n_bus = site.grid.n_bus
        self.turning = _compressed(
            [10.0 * np.log(site.grid.branch.tap), site.grid.branch.shift_rad]
        )  # `[n_branch, 2]` constants that change sign with the direction of a branch
        # Entry `size` stands for what a block does not tell of an element: zero.
        entries: dict[str, list] = {kind: [] for kind in self.ends}
        constants = {kind: list(_CONSTANTS[kind](site)) for kind in self.ends}
        system, group, groups, rating = [], [], 0, []
        for name, part in layout.observation.items():
            here, names = np.arange(part.start, part.stop), observations.BLOCKS[name].names
            rating.append(observations.ratings(site, name))
            if isinstance(names, layout_lib.PerElement):
                rows = names.rows(site)
                column = np.full(len(self.ends[names.kind][0]), size)
                column[rows] = here
                entries[names.kind].append(column)
                if names.some:
                    constants[names.kind].append(column < size)
                group.append(np.full(here.size, groups))
                groups += 1
            else:
                system.append(here)
                group.append(groups + np.arange(here.size))
                groups += here.size
        self._system = np.concatenate(system) if system else np.zeros(0, int)
        self._entries = {k: np.stack(v, -1) for k, v in entries.items() if v}
        self._constants = {kind: _compressed(columns) for kind, columns in constants.items()}
        self._closed = layout.observation.get("branch_closed")
        self.pooling = normaliser.Pooling(np.concatenate(group), np.concatenate(rating), groups)
        self.controls = {name: _control(site, name) for name in layout.action}

    def tables(self, x: chex.Array, observation: chex.Array, seen: np.ndarray) -> Tables:
        """Returns what is known of each element.

        Branches count as closed where nobody sees whether they are.

        Args:
          x: `[..., observation_size]` normalised observations.
          observation: the same as they are.
          seen: which entries are observed, bool `[observation_size]`; the others are zero.
        """
        x = jnp.where(seen, x, 0.0)
        padded = jnp.concatenate([x, jnp.zeros((*x.shape[:-1], 1), x.dtype)], -1)
        elements = {}
        for kind, constants in self._constants.items():
            table = jnp.broadcast_to(constants, (*x.shape[:-1], *constants.shape))
            if kind in self._entries:
                table = jnp.concatenate([padded[..., self._entries[kind]], table], -1)
            elements[kind] = table
        closed = jnp.ones((*x.shape[:-1], len(self.ends["branch"][0])))
        if self._closed is not None:
            closed = jnp.where(seen[self._closed], observation[..., self._closed], closed)
        return Tables(elements, x[..., self._system], closed)


def misfit(theirs: Layout, ours: Layout) -> str | None:
    """Returns why what has learned on the layout `theirs` cannot go on on `ours`, if it cannot.

    Blocks have to be the same, and every block and kind of control that has entries here must have
    had some there: nothing is known of the others.
    """
    for what in ("observation", "action"):
        had, has = (list(getattr(layout, what)) for layout in (theirs, ours))
        if had != has:
            return f"its {what} consists of {', '.join(had)}, and this run's of {', '.join(has)}"
    met = _met(theirs)
    if missing := [name for name in _met(ours) if name not in met]:
        return f"it has met no {', '.join(missing)} on {theirs.site.grid.name}"
    return None


def _met(layout: Layout) -> list[str]:
    """Returns the blocks of observations and the kinds of control that have entries."""
    blocks = [name for name, part in layout.observation.items() if part.stop > part.start]
    for name in layout.action:
        control = layouts.ACTIONS[name]
        blocks += [control.titles[title] for title in np.unique(control.title(layout.site))]
    return blocks


def _control(site: Site, name: str) -> Control:
    block = layouts.ACTIONS[name]
    kind, rows = block.elements.kind, block.elements.rows(site)
    return Control(kind, rows, len(block.titles), block.title(site))


def _compressed(columns) -> np.ndarray:
    """Returns the table of `columns`; grids differ by orders of magnitude, features should not."""
    return np.arcsinh(np.stack([np.asarray(column, np.float32) for column in columns], -1))


# Constants of each kind of element: about 1 where they are usual, powers in units of base power.


def _bus(site: Site):
    bus, base = site.grid.bus, site.grid.base_mva
    has_generator = np.isin(np.arange(site.grid.n_bus), site.grid.gen.bus)
    off = lambda vm_pu: 10.0 * (vm_pu - 1.0)
    setpoint = np.where(has_generator, off(base_point.voltage_setpoints(site.grid)), 0.0)
    return has_generator, setpoint, off(bus.vm_min_pu), off(bus.vm_max_pu), bus.shunt_q_mvar / base


def _gen(site: Site):
    gen, units, base = site.grid.gen, site.fleet.units, site.grid.base_mva
    cost = lambda p_mw: gen.cost_c1 + 2.0 * gen.cost_c2 * p_mw
    usual = np.average(
        cost(0.5 * gen.capacity_mw), weights=gen.capacity_mw + 1e-9 * gen.is_unit + 1e-12
    )
    relative = lambda p_mw: 3.0 * np.where(gen.is_unit, cost(p_mw) / (usual or 1.0) - 1.0, 0.0)
    finite = lambda q: np.clip(q / base, -100.0, 100.0)
    return (
        gen.is_unit, gen.is_dispatchable_load, gen.p_min_mw / base, gen.p_max_mw / base,
        5.0 * gen.capacity_mw / max(gen.capacity_mw.sum(), 1e-9), finite(gen.q_min_mvar),
        finite(gen.q_max_mvar), relative(gen.p_min_mw), relative(gen.p_max_mw),
        units.ramp_mw_per_min * 10.0 / base, units.co2_t_per_mwh,
    )  # fmt: skip


def _load(site: Site):
    bus, loads, base = site.grid.bus, site.grid.loads, site.grid.base_mva
    return bus.load_p_mw[loads] / base, bus.load_q_mvar[loads] / base


def _renewable(site: Site):
    plants = site.fleet.renewables
    return plants.p_max_mw / site.grid.base_mva, plants.kind == "wind"


def _storage(site: Site):
    batteries = site.fleet.storage
    hours = batteries.energy_mwh / np.maximum(batteries.p_max_mw, 1e-9)
    return (
        batteries.p_max_mw / site.grid.base_mva, 0.25 * hours, batteries.charge_efficiency,
        batteries.discharge_efficiency,
    )  # fmt: skip


def _branch(site: Site):
    branch, base = site.grid.branch, site.grid.base_mva
    limited = np.isfinite(branch.rate_mva)
    rate = np.where(limited, branch.rate_mva, 0.0) / base
    return 10.0 * branch.r_pu, 5.0 * branch.x_pu, 5.0 * branch.b_pu, limited, rate


_CONSTANTS: dict[str, Callable[[Site], tuple]] = {
    "bus": _bus, "gen": _gen, "load": _load, "renewable": _renewable, "storage": _storage,
    "branch": _branch,
}  # fmt: skip
