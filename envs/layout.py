"""Observations and actions as named blocks, so that every slice has a name."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import chex
import jax.numpy as jnp
import numpy as np

from envs import grid as grid_lib

FORECAST_STEPS = (1, 3, 6, 12)  # how far ahead the load forecast is shown, in steps


class View(NamedTuple):
    """What an observation may be made of, physical units."""

    vm_pu: chex.Array  # `[n_bus]`
    va_rad: chex.Array  # `[n_bus]`
    bus_p_mw: chex.Array  # `[n_bus]` net injection
    bus_q_mvar: chex.Array  # `[n_bus]`
    gen_p_mw: chex.Array  # `[n_gen]`
    gen_q_mvar: chex.Array  # `[n_gen]`
    load_p_mw: chex.Array  # `[n_load]` what the loads asked for, before control
    rho: chex.Array  # `[n_branch]` loading over limit
    plan_p_mw: chex.Array  # `[n_gen]` plan for the next step
    forecast_mw: chex.Array  # `[len(FORECAST_STEPS)]` total load
    day_share: chex.Array  # time of day, 0 to 1


class Block(NamedTuple):
    """One named part of an observation."""

    names: Callable[[grid_lib.Grid], list[str]]  # one name for each entry
    read: Callable[[grid_lib.Grid, View], chex.Array]


def _per_bus(grid):
    return [f"bus {number}" for number in grid.bus.id]


def _per_branch(grid):
    ids, branch = grid.bus.id, grid.branch
    return [f"{ids[f]}-{ids[t]}" for f, t in zip(branch.from_bus, branch.to_bus)]


def _per_gen(which):
    return lambda grid: [f"bus {grid.bus.id[grid.gen.bus[g]]}" for g in which(grid)]


_all_gens = lambda grid: np.arange(grid.n_gen)
_units = lambda grid: grid.units

BLOCKS: dict[str, Block] = {
    "bus_vm": Block(_per_bus, lambda grid, v: v.vm_pu),
    # Angles against their mean: the reference bus is a convention, not an observation.
    "bus_va": Block(_per_bus, lambda grid, v: v.va_rad - v.va_rad.mean()),
    "bus_p": Block(_per_bus, lambda grid, v: v.bus_p_mw),
    "bus_q": Block(_per_bus, lambda grid, v: v.bus_q_mvar),
    "unit_p": Block(_per_gen(_units), lambda grid, v: v.gen_p_mw[grid.units]),
    "gen_q": Block(_per_gen(_all_gens), lambda grid, v: v.gen_q_mvar),
    # Before control: a value function that saw the load it had itself lowered would take it for a
    # quieter day, and a policy would learn to lower loads.
    "load_p": Block(
        lambda grid: [f"bus {grid.bus.id[b]}" for b in grid.loads], lambda grid, v: v.load_p_mw
    ),
    "branch_rho": Block(_per_branch, lambda grid, v: v.rho),
    "unit_plan": Block(_per_gen(_units), lambda grid, v: v.plan_p_mw[grid.units]),
    "forecast": Block(
        lambda grid: [f"{steps} steps ahead" for steps in FORECAST_STEPS],
        lambda grid, v: v.forecast_mw,
    ),
    "clock": Block(
        lambda grid: ["sine", "cosine"],
        lambda grid, v: jnp.stack(
            [jnp.sin(2 * jnp.pi * v.day_share), jnp.cos(2 * jnp.pi * v.day_share)]
        ),
    ),
}

LAYOUTS: dict[str, tuple[str, ...]] = {
    # What a control room shows: state, plan, forecast and time.
    "operator": (
        "bus_vm", "bus_va", "unit_p", "gen_q", "load_p", "branch_rho", "unit_plan", "forecast",
        "clock",
    ),
    # The network state alone.
    "voltages": ("bus_vm", "bus_va", "bus_p", "bus_q", "unit_p", "load_p"),
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


def make(grid: grid_lib.Grid, blocks: tuple[str, ...]) -> Layout:
    """Returns the layout of the given observation blocks, and of the grid's controls.

    Controls are one for each generator in the order of the case file (active power for a unit,
    voltage set-point for a condenser), then one for each controllable load.
    """
    observation, names = {}, []
    for block in blocks:
        entries = BLOCKS[block].names(grid)
        observation[block] = slice(len(names), len(names) + len(entries))
        names += [f"{block}: {entry}" for entry in entries]
    is_unit = grid.gen.p_max_mw > 0
    generators = [
        f"{'unit power' if unit else 'condenser voltage'}: bus {grid.bus.id[bus]}"
        for unit, bus in zip(is_unit, grid.gen.bus)
    ]
    loads = [f"load: bus {grid.bus.id[b]}" for b in grid.loads[controllable(grid)]]
    action = {
        "generator": slice(0, len(generators)),
        "load": slice(len(generators), len(generators) + len(loads)),
    }
    return Layout(observation, tuple(names), action, tuple(generators + loads))


def controllable(grid: grid_lib.Grid) -> np.ndarray:
    """Returns which of `grid.loads` can be controlled, as indices: those that draw power."""
    return np.flatnonzero(grid.bus.load_p_mw[grid.loads] > 0)


def observe(grid: grid_lib.Grid, blocks: tuple[str, ...], view: View) -> chex.Array:
    """Returns the observation `[observation_size]`."""
    return jnp.concatenate([jnp.atleast_1d(BLOCKS[block].read(grid, view)) for block in blocks])
