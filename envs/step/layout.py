"""Observations and actions as named blocks, so that every slice has a name."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import chex
import jax.numpy as jnp
import numpy as np

from envs.case import fleet as fleet_lib
from envs.case import grid as grid_lib
from envs.time_series import series as series_lib


class Site(NamedTuple):
    """What a layout is made for."""

    grid: grid_lib.Grid
    fleet: fleet_lib.Fleet
    controllable: np.ndarray  # indices into the loads


class View(NamedTuple):
    """What an observation may be made of, physical units."""

    vm_pu: chex.Array  # `[n_bus]`
    va_rad: chex.Array  # `[n_bus]`
    energised: chex.Array  # bool `[n_bus]`
    bus_p_mw: chex.Array  # `[n_bus]` net injection
    bus_q_mvar: chex.Array  # `[n_bus]`
    gen_p_mw: chex.Array  # `[n_gen]`
    gen_q_mvar: chex.Array  # `[n_gen]`
    load_p_mw: chex.Array  # `[n_load]` what the loads asked for, before control
    renewable_mw: chex.Array  # `[n_renewable]` what the weather allowed
    energy_mwh: chex.Array  # `[n_storage]` stored
    rho: chex.Array  # `[n_branch]` loading over limit
    closed: chex.Array  # bool `[n_branch]`
    wait: chex.Array  # `[n_branch]` steps before a branch may be switched
    maintenance: chex.Array  # bool `[n_branch]`, planned an hour ahead
    plan_p_mw: chex.Array  # `[n_gen]` plan for the next step
    load_forecast_mw: chex.Array  # `[n_lead]` total load
    renewable_forecast_mw: chex.Array  # `[n_lead]` total wind and sun
    frequency_hz: chex.Array
    after_outage_rho: chex.Array  # `[n_branch]` fullest branch after the loss of each
    day_share: chex.Array  # time of day, 0 to 1


class Block(NamedTuple):
    """One named part of an observation or of an action."""

    names: Callable[[Site], list[str]]  # one name for each entry
    read: Callable[[Site, View], chex.Array] | None = None  # none for actions


@dataclasses.dataclass(frozen=True)
class Spec:
    """Which blocks a layout has, in order."""

    observation: tuple[str, ...]
    action: tuple[str, ...]
    largest_loads: int | None = None  # how many loads can be controlled; none: all that draw power


def _buses(of: Callable[[Site], np.ndarray]) -> Callable[[Site], list[str]]:
    return lambda site: [f"bus {site.grid.bus.id[bus]}" for bus in of(site)]


def _per_branch(site):
    ids, branch = site.grid.bus.id, site.grid.branch
    return [f"{ids[f]}-{ids[t]}" for f, t in zip(branch.from_bus, branch.to_bus)]


def _per_lead(site):
    return [f"{steps} steps ahead" for steps in series_lib.LEAD_STEPS]


_per_bus = _buses(lambda site: np.arange(site.grid.n_bus))
_per_gen = _buses(lambda site: site.grid.gen.bus)
_per_unit = _buses(lambda site: site.grid.gen.bus[site.grid.units])
_per_load = _buses(lambda site: site.grid.loads)
_per_renewable = _buses(lambda site: site.fleet.renewables.bus)
_per_storage = _buses(lambda site: site.fleet.storage.bus)
_per_controllable = _buses(lambda site: site.grid.loads[site.controllable])

BLOCKS: dict[str, Block] = {
    "bus_vm": Block(_per_bus, lambda site, v: v.vm_pu),
    # Angles against their mean: the reference bus is a convention, not an observation.
    "bus_va": Block(
        _per_bus,
        lambda site, v: jnp.where(
            v.energised, v.va_rad - v.va_rad.sum() / jnp.maximum(v.energised.sum(), 1), 0.0
        ),
    ),
    "bus_p": Block(_per_bus, lambda site, v: v.bus_p_mw),
    "bus_q": Block(_per_bus, lambda site, v: v.bus_q_mvar),
    "unit_p": Block(_per_unit, lambda site, v: v.gen_p_mw[site.grid.units]),
    "gen_p": Block(_per_gen, lambda site, v: v.gen_p_mw),
    "gen_q": Block(_per_gen, lambda site, v: v.gen_q_mvar),
    # Before control: a value function that saw the load it had itself lowered would take it for a
    # quieter day, and a policy would learn to lower loads.
    "load_p": Block(_per_load, lambda site, v: v.load_p_mw),
    "controllable_load_p": Block(_per_controllable, lambda site, v: v.load_p_mw[site.controllable]),
    "renewable_p": Block(_per_renewable, lambda site, v: v.renewable_mw),
    "storage_energy": Block(_per_storage, lambda site, v: v.energy_mwh),
    "branch_rho": Block(_per_branch, lambda site, v: v.rho),
    "branch_closed": Block(_per_branch, lambda site, v: v.closed.astype(jnp.float32)),
    "branch_wait": Block(_per_branch, lambda site, v: v.wait.astype(jnp.float32)),
    "branch_maintenance": Block(_per_branch, lambda site, v: v.maintenance.astype(jnp.float32)),
    "after_outage_rho": Block(_per_branch, lambda site, v: v.after_outage_rho),
    "unit_plan": Block(_per_unit, lambda site, v: v.plan_p_mw[site.grid.units]),
    "forecast": Block(_per_lead, lambda site, v: v.load_forecast_mw),
    "renewable_forecast": Block(_per_lead, lambda site, v: v.renewable_forecast_mw),
    "frequency": Block(lambda site: ["system"], lambda site, v: v.frequency_hz),
    "clock": Block(
        lambda site: ["sine", "cosine"],
        lambda site, v: jnp.stack(
            [jnp.sin(2 * jnp.pi * v.day_share), jnp.cos(2 * jnp.pi * v.day_share)]
        ),
    ),
}


def _generator_controls(site):
    gen = site.grid.gen
    moved = np.where(gen.is_unit, "unit power", "condenser voltage")
    moved = np.where(gen.is_dispatchable_load, "dispatchable load", moved)
    return [f"{what}: {bus}" for what, bus in zip(moved, _per_gen(site))]


ACTIONS: dict[str, Block] = {
    "generator": Block(_generator_controls),
    "load": Block(lambda site: [f"load: {bus}" for bus in _per_controllable(site)]),
    "curtailment": Block(lambda site: [f"curtailment: {bus}" for bus in _per_renewable(site)]),
    "storage": Block(lambda site: [f"storage: {bus}" for bus in _per_storage(site)]),
    "unit_voltage": Block(lambda site: [f"unit voltage: {bus}" for bus in _per_unit(site)]),
    "switch": Block(lambda site: [f"switch: {branch}" for branch in _per_branch(site)]),
}

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
         "branch_rho", "branch_closed", "branch_wait", "branch_maintenance", "unit_plan",
         "forecast", "renewable_forecast", "frequency", "clock"),
        ("generator", "load", "curtailment", "storage", "unit_voltage", "switch"),
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
         "gen_q", "branch_rho", "branch_closed", "branch_wait", "branch_maintenance",
         "after_outage_rho", "renewable_p", "storage_energy", "unit_plan", "forecast",
         "renewable_forecast", "clock"),
        ("generator", "load", "curtailment", "storage", "unit_voltage", "switch"),
        largest_loads=91,
    ),
}  # fmt: skip


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


def site(grid: grid_lib.Grid, fleet: fleet_lib.Fleet, spec: Spec) -> Site:
    """Returns the place that `spec` is laid out for.

    Raises:
      ValueError: the grid has fewer loads than the layout controls.
    """
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
    observation, seen = _slices({name: BLOCKS[name].names(site) for name in spec.observation})
    seen = tuple(f"{name}: {entry}" for name, entry in seen)
    action, moved = _slices({name: ACTIONS[name].names(site) for name in spec.action})
    return Layout(observation, seen, action, tuple(entry for _, entry in moved))


def voltage_controls(layout: Layout, grid: grid_lib.Grid) -> np.ndarray:
    """Returns the generators whose voltage set-point the layout can move, indices."""
    able = np.zeros(grid.n_gen, bool)
    if "generator" in layout.action:
        able |= ~grid.gen.is_unit
    if "unit_voltage" in layout.action:
        able |= grid.gen.is_unit
    return np.flatnonzero(able)


def observe(site: Site, spec: Spec, view: View) -> chex.Array:
    """Returns the observation `[observation_size]`."""
    parts = [jnp.atleast_1d(BLOCKS[name].read(site, view)) for name in spec.observation]
    return jnp.concatenate([part.astype(jnp.float32) for part in parts])


def _slices(named: dict[str, list[str]]):
    """Returns the slice of each block, and (block, entry) of every entry."""
    slices, entries = {}, []
    for name, block in named.items():
        slices[name] = slice(len(entries), len(entries) + len(block))
        entries += [(name, entry) for entry in block]
    return slices, entries
