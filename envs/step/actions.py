"""The action of a step: what a controller requests, and what of it limits and ramps let it have."""

from typing import NamedTuple

import chex
import jax.numpy as jnp
import numpy as np

from envs.case.fleet import Fleet, Storage
from envs.case.grid import Grid
from envs.powerflow import base_point
from envs.step import storage
from envs.step.layout import Layout, Site, voltage_controls
from envs.step.options import StepOptions
from envs.step.state import State
from envs.time_series.options import RECORDED
from envs.time_series.series import TimeSeries


class RequestedAction(NamedTuple):
    """An action by kind of control, each in [−1, 1]; zero where the layout has no such control."""

    unit_power: chex.Array  # `[n_gen]`, zero for condensers
    voltage: chex.Array  # `[n_gen]`
    load: chex.Array  # `[n_load]`
    curtailment: chex.Array  # `[n_renewable]`
    storage: chex.Array  # `[n_storage]`
    switch: chex.Array  # `[n_branch]`


class Targets(NamedTuple):
    """What a controller would have, physical units; None for "as planned"."""

    unit_mw: chex.Array | None = None  # `[n_gen]`, read for units
    voltage_pu: chex.Array | None = None  # `[n_bus]`, read where a generator can hold it
    load_mw: chex.Array | None = None  # `[n_load]`
    renewable_mw: chex.Array | None = None  # `[n_renewable]`
    storage_mw: chex.Array | None = None  # `[n_storage]` positive when discharging
    switch: chex.Array | None = None  # `[n_branch]` −1 to open, 1 to close, 0 to leave


class FeasibleAction(NamedTuple):
    """What a step dispatches after projection, physical units."""

    gen_target_mw: chex.Array  # `[n_gen]` within `gen_low_mw` and `gen_high_mw`
    gen_low_mw: chex.Array  # `[n_gen]` what limits and ramps allow
    gen_high_mw: chex.Array  # `[n_gen]`
    load_p_mw: chex.Array  # `[n_load]` after load control
    load_q_mvar: chex.Array  # `[n_load]`
    renewable_mw: chex.Array  # `[n_renewable]` after curtailment
    storage_mw: chex.Array  # `[n_storage]` positive when discharging
    vm_setpoint_pu: chex.Array  # `[n_bus]`
    moved_load_mw: chex.Array
    cut_unit_mw: chex.Array  # how far ramps moved the targets of units in service
    cut_storage_mw: chex.Array  # how far stored energy moved the targets of batteries
    cut_voltage_pu: chex.Array  # how far ramps moved requested set-points, the most


class Limits(NamedTuple):
    """What projection knows of grid and fleet."""

    p_min_mw: chex.Array  # `[n_gen]` zero for condensers
    p_max_mw: chex.Array  # `[n_gen]` zero for condensers
    ramp_mw: chex.Array  # `[n_gen]` per step
    load_share: float
    gen_bus: np.ndarray
    setpoint_pu: chex.Array  # `[n_bus]` of the case
    vm_min_pu: chex.Array
    vm_max_pu: chex.Array
    voltage_ramp: float  # pu per step
    voltage_swing: float  # pu from full load to none
    nominal_load_mw: float
    storage: Storage
    dt_h: float
    follows_plan: bool  # whether units reach their plan whatever their ramps, as recorded ones did


def limits(grid: Grid, fleet: Fleet, options: StepOptions) -> Limits:
    """Returns the limits of `grid` and `fleet`."""
    as_float = lambda x: jnp.asarray(x, jnp.float32)
    load_mw = grid.bus.load_p_mw.sum()
    return Limits(
        p_min_mw=as_float(grid.gen.p_min_mw),
        p_max_mw=as_float(grid.gen.p_max_mw),
        ramp_mw=as_float(fleet.units.ramp_mw_per_min * options.step_minutes),
        load_share=options.load_control_share,
        gen_bus=grid.gen.bus,
        setpoint_pu=as_float(base_point.voltage_setpoints(grid)),
        vm_min_pu=as_float(grid.bus.vm_min_pu),
        vm_max_pu=as_float(grid.bus.vm_max_pu),
        voltage_ramp=options.voltage_ramp,
        voltage_swing=options.voltage_swing,
        # Where the file's loads give more than they take, the size of them all stands for it.
        nominal_load_mw=float(load_mw if load_mw > 0 else np.abs(grid.bus.load_p_mw).sum()),
        storage=fleet.storage,
        dt_h=options.step_minutes / 60.0,
        follows_plan=options.schedule == RECORDED,
    )


def read(layout: Layout, site: Site, action: chex.Array) -> RequestedAction:
    """Returns `action` `[action_size]` by kind of control."""
    grid, fleet = site.grid, site.fleet

    def part(name, size):
        return action[layout.action[name]] if name in layout.action else jnp.zeros(size)

    generator = part("generator", grid.n_gen)
    is_unit = jnp.asarray(grid.gen.is_unit)
    unit_power = jnp.where(is_unit, generator, 0.0)
    voltage = jnp.where(is_unit, 0.0, generator)
    voltage = voltage.at[grid.units].add(part("unit_voltage", grid.units.size))
    moved = part("load", site.controllable.size)
    load = jnp.zeros(grid.loads.size).at[site.controllable].set(moved)
    switch = part("switch", grid.n_branch)
    if "coupling" in layout.action:
        switch = switch.at[fleet.couplings].add(part("coupling", fleet.couplings.size))
    return RequestedAction(
        unit_power=unit_power.at[grid.units].add(part("unit_power", grid.units.size)),
        voltage=voltage,
        load=load,
        curtailment=part("curtailment", fleet.n_renewable),
        storage=part("storage", fleet.n_storage),
        switch=switch,
    )


def write(
    layout: Layout, site: Site, limits: Limits, now: TimeSeries, targets: Targets
) -> chex.Array:
    """Returns the action `[action_size]` in [−1, 1] that requests `targets`: the inverse of `read`.

    Targets out of reach become the nearest action; those that the layout has no control for are
    left out. `now` is the row of the time series that the step will apply.
    """
    grid, fleet = site.grid, site.fleet
    unit, voltage = jnp.zeros(grid.n_gen), jnp.zeros(grid.n_gen)
    if targets.unit_mw is not None:
        unit = _share(targets.unit_mw, now.plan_p_mw, limits.p_min_mw, limits.p_max_mw)
    if targets.voltage_pu is not None:
        scheduled = _voltage_setpoint(limits, voltage, now)
        share = _share(targets.voltage_pu, scheduled, limits.vm_min_pu, limits.vm_max_pu)
        # Controls at one bus add up: the first that the layout has takes it all.
        able = voltage_controls(layout, grid)
        first = np.isin(np.arange(grid.n_gen), able[np.unique(grid.gen.bus[able], True)[1]])
        voltage = jnp.where(first, share[grid.gen.bus], 0.0)
    is_unit = jnp.asarray(grid.gen.is_unit)
    switch = jnp.zeros(grid.n_branch) if targets.switch is None else targets.switch
    parts = {
        "generator": jnp.where(is_unit, unit, voltage),
        "unit_power": unit[grid.units],
        "unit_voltage": voltage[grid.units],
        "load": jnp.zeros(site.controllable.size),
        "curtailment": jnp.zeros(fleet.n_renewable),
        "storage": jnp.zeros(fleet.n_storage),
        "switch": switch,
        "coupling": switch[fleet.couplings],
    }
    if targets.load_mw is not None:
        moved = _change(targets.load_mw, now.load_p_mw)
        parts["load"] = (moved / limits.load_share)[site.controllable]
    if targets.renewable_mw is not None:
        parts["curtailment"] = _change(targets.renewable_mw, now.renewable_mw)
    if targets.storage_mw is not None:
        rated = jnp.asarray(fleet.storage.p_max_mw, jnp.float32)
        parts["storage"] = targets.storage_mw / _not_zero(rated)
    action = jnp.concatenate([parts[name] for name in layout.action])
    return jnp.clip(action, -1.0, 1.0).astype(jnp.float32)


def _change(target, available):
    """Returns by which share `target` is more than `available`, zero where that is nothing."""
    return (target - available) / _not_zero(available)


def _share(target, middle, low, high):
    """Returns where `target` lies between `low` (−1), `middle` (0) and `high` (1)."""
    above = target > middle
    reach = jnp.where(above, high - middle, middle - low)
    return (target - middle) / _not_zero(reach)


def _not_zero(x):
    return jnp.where(jnp.abs(x) > 1e-6, x, jnp.inf)  # what cannot move is left as it is


def project(
    limits: Limits,
    requested: RequestedAction,
    now: TimeSeries,
    before: State,
    *,
    free: bool = False,
) -> FeasibleAction:
    """Returns what of `requested` can be done in a step, which applies the row `now`.

    Ramps do not count where the step is `free`, as the start of an episode is.
    """
    gen_on, vm_pu = now.gen_in_service, before.vm_pu
    # Loads move at constant power factor.
    factor = 1.0 + limits.load_share * requested.load
    load_p, load_q = now.load_p_mw * factor, now.load_q_mvar * factor

    # A unit's action is linear from Pmin to the plan and from the plan to Pmax.
    plan, p_min, p_max = now.plan_p_mw, limits.p_min_mw, limits.p_max_mw
    reach = jnp.where(requested.unit_power > 0, p_max - plan, plan - p_min)
    target = plan + requested.unit_power * reach
    low, high = (p_min, p_max) if free else within_ramps(limits, before.gen_p_mw)
    if limits.follows_plan:
        low, high = jnp.minimum(low, plan), jnp.maximum(high, plan)
    low, high = jnp.where(gen_on, low, 0.0), jnp.where(gen_on, high, 0.0)
    reached = jnp.clip(target, low, high)

    share = jnp.clip(-requested.curtailment, 0.0, 1.0)
    rated = jnp.asarray(limits.storage.p_max_mw, jnp.float32)
    storage_target = requested.storage * rated
    storage_mw = storage.project(limits.storage, before.energy_mwh, storage_target, limits.dt_h)
    requested_setpoint = setpoint = _voltage_setpoint(limits, requested.voltage, now)
    if not free:
        # A bus that was de-energised comes back at the set-point.
        near = jnp.clip(setpoint, vm_pu - limits.voltage_ramp, vm_pu + limits.voltage_ramp)
        setpoint = jnp.where(vm_pu > 0, near, setpoint)
    cut_setpoint = jnp.abs(setpoint - requested_setpoint)[limits.gen_bus]
    return FeasibleAction(
        gen_target_mw=reached,
        gen_low_mw=low,
        gen_high_mw=high,
        load_p_mw=load_p,
        load_q_mvar=load_q,
        renewable_mw=now.renewable_mw * (1.0 - share),
        storage_mw=storage_mw,
        vm_setpoint_pu=setpoint,
        moved_load_mw=jnp.abs(load_p - now.load_p_mw).sum(),
        cut_unit_mw=jnp.where(gen_on, jnp.abs(reached - target), 0.0).sum(),
        cut_storage_mw=jnp.abs(storage_mw - storage_target).sum(),
        cut_voltage_pu=jnp.where(gen_on & (requested.voltage != 0.0), cut_setpoint, 0.0).max(),
    )


def within_ramps(limits: Limits, gen_p_mw: chex.Array) -> tuple[chex.Array, chex.Array]:
    """Returns the least and the most that units in service can produce in a step, `[n_gen]` MW.

    What losses change comes on top of limits, so that a unit may be beyond them before the step: it
    returns at its ramp's pace or, where limits leave nothing else, to the limit.
    """
    low = jnp.maximum(limits.p_min_mw, gen_p_mw - limits.ramp_mw)
    high = jnp.minimum(limits.p_max_mw, gen_p_mw + limits.ramp_mw)
    return jnp.minimum(low, limits.p_max_mw), jnp.maximum(high, limits.p_min_mw)


def _voltage_setpoint(limits: Limits, requested: chex.Array, now: TimeSeries) -> chex.Array:
    """Returns the voltage set-point of every bus `[n_bus]` pu.

    The schedule follows the load that is foreseen, as operators keep voltages lower at night, when
    lightly loaded lines raise them; a control moves it to the bus's limits.
    """
    level = now.day_ahead_load_mw / limits.nominal_load_mw
    setpoint = limits.setpoint_pu - limits.voltage_swing * (1.0 - level)
    setpoint = jnp.clip(setpoint, limits.vm_min_pu, limits.vm_max_pu)
    # Of several generators at a bus, all move its set-point.
    share = jnp.zeros_like(setpoint).at[limits.gen_bus].add(requested)
    share = jnp.clip(share, -1.0, 1.0)
    reach = jnp.where(share > 0, limits.vm_max_pu - setpoint, setpoint - limits.vm_min_pu)
    return setpoint + share * reach
