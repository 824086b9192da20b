"""What an observation is made of, block by block."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import chex
import jax.numpy as jnp
import numpy as np

from envs.step import frequency_options, layout, prosumers, tariff
from envs.step.layout import Site
from envs.step.options import StepOptions
from envs.step.security import Security
from envs.step.state import State
from envs.step.step_result import StepResult
from envs.time_series import series as series_lib
from envs.time_series.options import MINUTES_PER_DAY


class View(NamedTuple):
    """What an observation may be made of, physical units."""

    state: State  # that the step led to
    result: StepResult
    secure: Security
    ahead: series_lib.TimeSeries  # the next row, whose plan is known
    hour_ahead: series_lib.TimeSeries  # the row whose maintenance is known
    nominal_hz: float
    day_share: chex.Array  # time of day, 0 to 1
    row: Callable[[int], series_lib.TimeSeries]  # so many steps ahead, of which prices are known
    options: StepOptions


def view(
    after: State,
    result: StepResult,
    secure: Security,
    series: series_lib.Series,
    options: StepOptions,
) -> View:
    """Returns what can be observed after a step that led to the state `after`."""
    row = lambda steps: series.at(jnp.minimum(after.t + steps, options.horizon_steps))
    nominal_hz = frequency_options.PRESETS[options.frequency].nominal_hz
    day_share = after.t * (options.step_minutes / MINUTES_PER_DAY)
    return View(
        after, result, secure, row(1), row(series_lib.LEAD_STEPS[-1]), nominal_hz, day_share,
        row, options,
    )  # fmt: skip


class Block(NamedTuple):
    """One named part of an observation."""

    names: Callable[[Site], list[str]]  # one name for each entry
    read: Callable[[Site, View], chex.Array]
    # What is much for an entry, the same share of it on a small grid and a large one; none: 1.
    rating: Callable[[Site], np.ndarray] | None = None


def ratings(site: Site, name: str) -> np.ndarray:
    """Returns the rating of each entry of a block, positive `[n]`, in the block's unit.

    Where an element has none, or it is infinite, the base power of the grid stands for it.
    """
    block = BLOCKS[name]
    count = len(block.names(site))
    if block.rating is None:
        return np.ones(count)
    rating = np.broadcast_to(np.asarray(block.rating(site), float), (count,))
    return np.where(np.isfinite(rating) & (rating > 0), rating, site.grid.base_mva)


def _largest_p(site: Site) -> np.ndarray:
    gen = site.grid.gen
    return np.maximum(gen.p_max_mw, -gen.p_min_mw)


def _largest_q(site: Site) -> np.ndarray:
    gen = site.grid.gen
    return np.maximum(gen.q_max_mvar, -gen.q_min_mvar)


def _nominal_load(site: Site) -> np.ndarray:
    return np.abs(site.grid.bus.load_p_mw[site.grid.loads])


def _per_lead(site: Site) -> list[str]:
    return [f"{steps} steps ahead" for steps in series_lib.LEAD_STEPS]


def _now_and_ahead(site: Site) -> list[str]:
    return ["now", *_per_lead(site)]


def _price(which: str) -> Callable[[Site, View], chex.Array]:
    """Returns what reads one of `tariff.Prices`, now and in LEAD_STEPS."""

    def read(site: Site, v: View) -> chex.Array:
        market = tariff.Market(site.grid, v.options)
        steps = (0, *series_lib.LEAD_STEPS)
        return jnp.stack([getattr(market(v.row(n), v.state.t + n), which) for n in steps])

    return read


def _prosumer_p(site: Site, v: View) -> chex.Array:
    """Returns what each prosumer's connection draws; below zero where it feeds in."""
    net = prosumers.Connections(site.grid, site.fleet).net_mw(v.result)
    return net[site.fleet.prosumers.loads(site.grid)]


def _angles(site: Site, v: View) -> chex.Array:
    """Returns angles against their mean: the reference bus is a convention, not an observation."""
    va_rad, solution = v.state.va_rad, v.result.point.solution
    energised = solution.energised | ~solution.converged
    return jnp.where(energised, va_rad - va_rad.sum() / jnp.maximum(energised.sum(), 1), 0.0)


def _clock(site: Site, v: View) -> chex.Array:
    angle = 2 * jnp.pi * v.day_share
    return jnp.stack([jnp.sin(angle), jnp.cos(angle)])


# Loads are those before control: a value function that saw the load it had itself lowered would
# take it for a quieter day, and a policy would learn to lower loads. Plants are what the weather
# allowed, maintenance is what is planned an hour ahead.
BLOCKS: dict[str, Block] = {
    "bus_vm": Block(layout.per_bus, lambda site, v: v.state.vm_pu),
    "bus_va": Block(layout.per_bus, _angles),
    "bus_p": Block(
        layout.per_bus, lambda site, v: v.result.bus_p_mw, lambda site: site.grid.base_mva
    ),
    "bus_q": Block(
        layout.per_bus, lambda site, v: v.result.bus_q_mvar, lambda site: site.grid.base_mva
    ),
    "unit_p": Block(
        layout.per_unit, lambda site, v: v.state.gen_p_mw[site.grid.units],
        lambda site: _largest_p(site)[site.grid.units],
    ),
    "gen_p": Block(layout.per_gen, lambda site, v: v.state.gen_p_mw, _largest_p),
    "gen_q": Block(layout.per_gen, lambda site, v: v.result.gen_q_mvar, _largest_q),
    "load_p": Block(layout.per_load, lambda site, v: v.result.now.load_p_mw, _nominal_load),
    "controllable_load_p": Block(
        layout.per_controllable, lambda site, v: v.result.now.load_p_mw[site.controllable],
        lambda site: _nominal_load(site)[site.controllable],
    ),
    "prosumer_p": Block(
        layout.per_prosumer, _prosumer_p,
        lambda site: _nominal_load(site)[site.fleet.prosumers.loads(site.grid)],
    ),
    "renewable_p": Block(
        layout.per_renewable, lambda site, v: v.result.now.renewable_mw,
        lambda site: site.fleet.renewables.p_max_mw,
    ),
    "storage_energy": Block(
        layout.per_storage, lambda site, v: v.state.energy_mwh,
        lambda site: site.fleet.storage.energy_mwh,
    ),
    "branch_rho": Block(layout.per_branch, lambda site, v: v.result.rho),
    "branch_closed": Block(layout.per_branch, lambda site, v: v.state.branch.closed),
    "branch_cooldown": Block(layout.per_branch, lambda site, v: v.state.branch.cooldown),
    "branch_maintenance": Block(
        layout.per_branch, lambda site, v: v.hour_ahead.branch_status == series_lib.MAINTENANCE
    ),
    "after_outage_rho": Block(layout.per_branch, lambda site, v: v.secure.loading),
    "unit_plan": Block(
        layout.per_unit, lambda site, v: v.ahead.plan_p_mw[site.grid.units],
        lambda site: _largest_p(site)[site.grid.units],
    ),
    "forecast": Block(
        _per_lead, lambda site, v: v.result.now.load_forecast_mw,
        lambda site: _nominal_load(site).sum(),
    ),
    "renewable_forecast": Block(
        _per_lead, lambda site, v: v.result.now.renewable_forecast_mw,
        lambda site: site.fleet.renewables.p_max_mw.sum(),
    ),
    "wholesale_price": Block(_now_and_ahead, _price("wholesale")),
    "retail_price": Block(_now_and_ahead, _price("retail")),
    "frequency": Block(
        lambda site: ["system"], lambda site, v: v.nominal_hz + v.state.frequency.deviation_hz
    ),
    "clock": Block(lambda site: ["sine", "cosine"], _clock),
}  # fmt: skip


def observe(site: Site, blocks: Iterable[str], view: View) -> chex.Array:
    """Returns the observation `[observation_size]` of `blocks`, in order."""
    parts = [jnp.atleast_1d(BLOCKS[name].read(site, view)) for name in blocks]
    return jnp.concatenate([part.astype(jnp.float32) for part in parts])
