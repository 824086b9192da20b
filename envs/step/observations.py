"""What an observation is made of, block by block."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import chex
import jax.numpy as jnp

from envs.step import frequency_options
from envs.step.layout import (
    Site,
    per_branch,
    per_bus,
    per_controllable,
    per_gen,
    per_load,
    per_renewable,
    per_storage,
    per_unit,
)
from envs.step.options import StepOptions
from envs.step.security import Security
from envs.step.state import State
from envs.step.step_result import StepResult
from envs.time_series import series as series_lib
from envs.time_series.options import MINUTES_PER_DAY


class View(NamedTuple):
    """What an observation may be made of, physical units."""

    vm_pu: chex.Array  # `[n_bus]`
    va_rad: chex.Array  # `[n_bus]`
    energised: chex.Array  # bool `[n_bus]`
    bus_p_mw: chex.Array  # `[n_bus]` net injection
    bus_q_mvar: chex.Array  # `[n_bus]`
    gen_p_mw: chex.Array  # `[n_gen]`
    gen_q_mvar: chex.Array  # `[n_gen]`
    load_p_mw: chex.Array  # `[n_load]` of the loads as they come, before control
    renewable_mw: chex.Array  # `[n_renewable]` what the weather allowed
    energy_mwh: chex.Array  # `[n_storage]` stored
    rho: chex.Array  # `[n_branch]` loading over limit
    closed: chex.Array  # bool `[n_branch]`
    cooldown: chex.Array  # `[n_branch]` as in `switching.BranchState`
    maintenance: chex.Array  # bool `[n_branch]`, planned an hour ahead
    plan_p_mw: chex.Array  # `[n_gen]` plan for the next step
    load_forecast_mw: chex.Array  # `[n_lead]` total load
    renewable_forecast_mw: chex.Array  # `[n_lead]` total wind and sun
    frequency_hz: chex.Array
    after_outage_rho: chex.Array  # `[n_branch]` most loaded branch after the loss of each
    day_share: chex.Array  # time of day, 0 to 1


def view(
    after: State,
    result: StepResult,
    secure: Security,
    series: series_lib.TimeSeries | series_lib.PooledTimeSeries,
    options: StepOptions,
) -> View:
    """Returns what can be observed after a step.

    Args:
      after: the state that the step led to.
      result: of the step.
      secure: its security.
      series: the time series, whose plan and maintenance are known ahead.
      options: of the environment.
    """
    now, t, solution = result.now, after.t, result.point.solution
    row = lambda steps: series.at(jnp.minimum(t + steps, options.horizon_steps))
    ahead = row(series_lib.LEAD_STEPS[-1])
    nominal_hz = frequency_options.PRESETS[options.frequency].nominal_hz
    return View(
        vm_pu=after.vm_pu,
        va_rad=after.va_rad,
        energised=solution.energised | ~solution.converged,
        bus_p_mw=result.bus_p_mw,
        bus_q_mvar=result.bus_q_mvar,
        gen_p_mw=after.gen_p_mw,
        gen_q_mvar=result.gen_q_mvar,
        load_p_mw=now.load_p_mw,
        renewable_mw=now.renewable_mw,
        energy_mwh=after.energy_mwh,
        rho=result.rho,
        closed=after.branch.closed,
        cooldown=after.branch.cooldown,
        maintenance=ahead.branch_status == series_lib.MAINTENANCE,
        plan_p_mw=row(1).plan_p_mw,
        load_forecast_mw=now.load_forecast_mw,
        renewable_forecast_mw=now.renewable_forecast_mw,
        frequency_hz=nominal_hz + after.frequency.deviation_hz,
        after_outage_rho=secure.loading,
        day_share=t * (options.step_minutes / MINUTES_PER_DAY),
    )


class Block(NamedTuple):
    """One named part of an observation."""

    names: Callable[[Site], list[str]]  # one name for each entry
    read: Callable[[Site, View], chex.Array]


def _per_lead(site: Site) -> list[str]:
    return [f"{steps} steps ahead" for steps in series_lib.LEAD_STEPS]


BLOCKS: dict[str, Block] = {
    "bus_vm": Block(per_bus, lambda site, v: v.vm_pu),
    # Angles against their mean: the reference bus is a convention, not an observation.
    "bus_va": Block(
        per_bus,
        lambda site, v: jnp.where(
            v.energised, v.va_rad - v.va_rad.sum() / jnp.maximum(v.energised.sum(), 1), 0.0
        ),
    ),
    "bus_p": Block(per_bus, lambda site, v: v.bus_p_mw),
    "bus_q": Block(per_bus, lambda site, v: v.bus_q_mvar),
    "unit_p": Block(per_unit, lambda site, v: v.gen_p_mw[site.grid.units]),
    "gen_p": Block(per_gen, lambda site, v: v.gen_p_mw),
    "gen_q": Block(per_gen, lambda site, v: v.gen_q_mvar),
    # Before control: a value function that saw the load it had itself lowered would take it for a
    # quieter day, and a policy would learn to lower loads.
    "load_p": Block(per_load, lambda site, v: v.load_p_mw),
    "controllable_load_p": Block(per_controllable, lambda site, v: v.load_p_mw[site.controllable]),
    "renewable_p": Block(per_renewable, lambda site, v: v.renewable_mw),
    "storage_energy": Block(per_storage, lambda site, v: v.energy_mwh),
    "branch_rho": Block(per_branch, lambda site, v: v.rho),
    "branch_closed": Block(per_branch, lambda site, v: v.closed.astype(jnp.float32)),
    "branch_cooldown": Block(per_branch, lambda site, v: v.cooldown.astype(jnp.float32)),
    "branch_maintenance": Block(per_branch, lambda site, v: v.maintenance.astype(jnp.float32)),
    "after_outage_rho": Block(per_branch, lambda site, v: v.after_outage_rho),
    "unit_plan": Block(per_unit, lambda site, v: v.plan_p_mw[site.grid.units]),
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


def observe(site: Site, blocks: Iterable[str], view: View) -> chex.Array:
    """Returns the observation `[observation_size]` of `blocks`, in order."""
    parts = [jnp.atleast_1d(BLOCKS[name].read(site, view)) for name in blocks]
    return jnp.concatenate([part.astype(jnp.float32) for part in parts])
