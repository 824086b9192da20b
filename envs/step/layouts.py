"""The layouts by name: which blocks of observations and of actions an environment has."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from envs.case.fleet import Fleet
from envs.case.grid import Grid
from envs.step import layout, observations
from envs.step.layout import Layout, Site


@dataclasses.dataclass(frozen=True)
class Spec:
    """Which blocks a layout has, in order."""

    observation: tuple[str, ...]
    action: tuple[str, ...]
    largest_loads: int | None = None  # how many loads can be controlled; none: all that draw power


class Control(NamedTuple):
    """A block of actions: one for each of some elements."""

    elements: layout.PerElement
    titles: tuple[str, ...]  # what an entry may be
    which: Callable[[Site], np.ndarray] | None = None  # of these each one is; none: the first

    def title(self, site: Site) -> np.ndarray:
        """Returns which of the titles each entry has, int `[n]`."""
        return self.which(site) if self.which else np.zeros(len(self.elements.rows(site)), int)

    def names(self, site: Site) -> list[str]:
        """Returns the name of each entry, "title: element"."""
        titles = (self.titles[title] for title in self.title(site))
        return [f"{title}: {at}" for title, at in zip(titles, self.elements(site))]


def _generator_controls(site: Site) -> np.ndarray:
    gen = site.grid.gen
    return np.where(gen.is_dispatchable_load, 2, np.where(gen.is_unit, 0, 1))


ACTIONS: dict[str, Control] = {
    "generator": Control(
        layout.per_gen, ("unit power", "condenser voltage", "dispatchable load"),
        _generator_controls,
    ),
    "load": Control(layout.per_controllable, ("load",)),
    "curtailment": Control(layout.per_renewable, ("curtailment",)),
    "storage": Control(layout.per_storage, ("storage",)),
    "unit_voltage": Control(layout.per_unit, ("unit voltage",)),
    "unit_power": Control(layout.per_unit, ("unit power",)),
    "switch": Control(layout.per_branch, ("switch",)),
    "coupling": Control(layout.per_coupling, ("coupling",)),
}  # fmt: skip

LAYOUTS: dict[str, Spec] = {
    # What a control room shows: state, plan, forecast and time.
    "operator": Spec(
        ("bus_vm", "bus_va", "unit_p", "gen_q", "load_p", "renewable_p", "storage_energy",
         "branch_rho", "unit_plan", "forecast", "renewable_forecast", "frequency", "clock"),
        ("generator", "load", "storage"),
    ),
    # The same, and every control there is, on any grid.
    "full": Spec(
        ("bus_vm", "bus_va", "unit_p", "gen_q", "load_p", "renewable_p", "storage_energy",
         "branch_rho", "branch_closed", "branch_cooldown", "branch_maintenance", "unit_plan",
         "forecast", "renewable_forecast", "frequency", "clock"),
        ("generator", "load", "curtailment", "storage", "unit_voltage", "switch"),
    ),
    # The same observations, and every control but breakers.
    "setpoints": Spec(
        ("bus_vm", "bus_va", "unit_p", "gen_q", "load_p", "renewable_p", "storage_energy",
         "branch_rho", "branch_closed", "branch_cooldown", "branch_maintenance", "unit_plan",
         "forecast", "renewable_forecast", "frequency", "clock"),
        ("generator", "load", "curtailment", "storage", "unit_voltage"),
    ),
    # The network state alone.
    "voltages": Spec(
        ("bus_vm", "bus_va", "bus_p", "bus_q", "unit_p", "load_p"), ("generator", "load")
    ),
    # 618 observations and 145 actions on 118 buses.
    "case118": Spec(
        ("bus_vm", "bus_va", "bus_p", "bus_q", "gen_p", "controllable_load_p", "frequency"),
        ("generator", "load"),
        largest_loads=91,
    ),
    # The same, and everything else there is to see and to move.
    "case118_full": Spec(
        ("bus_vm", "bus_va", "bus_p", "bus_q", "gen_p", "controllable_load_p", "frequency",
         "gen_q", "branch_rho", "branch_closed", "branch_cooldown", "branch_maintenance",
         "after_outage_rho", "renewable_p", "storage_energy", "unit_plan", "forecast",
         "renewable_forecast", "clock"),
        ("generator", "load", "curtailment", "storage", "unit_voltage", "switch"),
        largest_loads=91,
    ),
    # What each node of a grid sees of itself, and what electricity costs; every control but
    # breakers.
    "nodes": Spec(
        ("bus_vm", "bus_va", "bus_p", "bus_q", "unit_p", "gen_q", "load_p", "prosumer_p",
         "renewable_p", "storage_energy", "branch_rho", "branch_closed", "branch_maintenance",
         "unit_plan", "forecast", "renewable_forecast", "wholesale_price", "retail_price",
         "frequency", "clock"),
        ("generator", "load", "curtailment", "storage", "unit_voltage"),
    ),
    # What Grid2Op shows and moves too: no plan, no frequency, no forecast; no load, no voltage.
    "grid2op": Spec(
        ("bus_vm", "bus_va", "unit_p", "gen_q", "load_p", "renewable_p", "storage_energy",
         "branch_rho", "branch_closed", "branch_cooldown", "clock"),
        ("unit_power", "curtailment", "storage", "switch"),
    ),
    # What `full` has, on a grid with microgrids, of whose branches only those that couple one can
    # be switched.
    "microgrids": Spec(
        ("bus_vm", "bus_va", "unit_p", "gen_q", "load_p", "renewable_p", "storage_energy",
         "branch_rho", "branch_closed", "branch_cooldown", "branch_maintenance", "unit_plan",
         "forecast", "renewable_forecast", "frequency", "clock"),
        ("generator", "load", "curtailment", "storage", "unit_voltage", "coupling"),
    ),
}  # fmt: skip


def site(grid: Grid, fleet: Fleet, spec: Spec) -> Site:
    """Returns the place that `spec` is laid out for.

    Raises:
      ValueError: the grid has fewer loads than the layout controls, or no microgrids to couple.
    """
    if "coupling" in spec.action and not fleet.couplings.size:
        raise ValueError(
            f"env.layout: its block coupling switches what couples microgrids, and {grid.name} "
            f"with the fleet {fleet.name} has none; give a fleet with the table microgrids "
            "(docs/fleets.md), env.case=ieee13_mg, or env.layout=full, which fits any grid"
        )
    demand = grid.bus.load_p_mw[grid.loads]
    able = np.flatnonzero(demand > 0)
    if spec.largest_loads is not None:
        if able.size < spec.largest_loads:
            raise ValueError(
                f"the layout controls the {spec.largest_loads} largest loads, and {grid.name} has "
                f"{able.size} that draw power; env.layout=operator fits any grid"
            )
        order = np.argsort(-demand[able], kind="stable")
        able = np.sort(able[order[: spec.largest_loads]])
    return Site(grid, fleet, able)


def make(site: Site, spec: Spec) -> Layout:
    """Returns the layout of `spec` at `site`.

    Generator controls come in the order of the case file: active power for a unit, the voltage
    set-point for a condenser.
    """
    observation, seen = _slices(
        {name: observations.BLOCKS[name].names(site) for name in spec.observation}
    )
    seen = tuple(f"{name}: {entry}" for name, entry in seen)
    action, moved = _slices({name: ACTIONS[name].names(site) for name in spec.action})
    return Layout(observation, seen, action, tuple(entry for _, entry in moved), site)


def _slices(named: dict[str, list[str]]):
    """Returns the slice of each block, and (block, entry) of every entry."""
    slices, entries = {}, []
    for name, block in named.items():
        slices[name] = slice(len(entries), len(entries) + len(block))
        entries += [(name, entry) for entry in block]
    return slices, entries
