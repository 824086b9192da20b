"""The decision process: one grid, operated for a day in five-minute steps.

`docs/mdp.md` states the same in formulas. Functional and stateless: `reset` and `step` can be
jitted, vmapped and scanned.

    env = grid_env.make(EnvOptions(case="case14"))
    state = env.reset(jax.random.PRNGKey(0))
    state = env.step(state, jnp.zeros(env.layout.action_size))  # do nothing: follow the plan
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import NamedTuple

import chex
import flax.struct
import jax.numpy as jnp
import numpy as np

from envs import options as options_lib
from envs.case import case_file, fleet_file
from envs.case import fleet as fleet_lib
from envs.case import grid as grid_lib
from envs.inputs import choices
from envs.powerflow import base_point, lanes, network
from envs.schedule import day_ahead, schedule, secured
from envs.step import actions as actions_lib
from envs.step import frequency as frequency_lib
from envs.step import (
    frequency_options,
    reward_terms,
    rewards,
    security,
    solve_and_protect,
    storage,
    switching,
)
from envs.step import layout as layout_lib
from envs.step.termination import Reason
from envs.time_series import series as series_lib
from envs.time_series import synthetic
from envs.time_series.options import MINUTES_PER_DAY

_AUTO = "auto"  # as the name of a fleet: the case's own
_BASE_LEVEL = 0.75  # of the file's loads: the middle of a day's range
_BASE_OUTPUT = 0.3  # of the ratings of wind and sun


@flax.struct.dataclass
class State:
    """One grid at one time. All entries are unbatched; physical units."""

    t: chex.Array  # row of the time series that was last applied
    series: (
        series_lib.TimeSeries | None
    )  # the episode's exogenous data; none where it is kept apart
    gen_p_mw: chex.Array  # `[n_gen]`; what condensers draw is negative
    gen_on: chex.Array  # bool `[n_gen]`
    condenser_mw: chex.Array  # `[n_gen]` what condensers will draw in the next step, negative
    energy_mwh: chex.Array  # `[n_storage]` stored
    branch: switching.BranchState
    frequency: frequency_lib.FrequencyState
    vm_pu: chex.Array  # `[n_bus]`
    va_rad: chex.Array  # `[n_bus]`
    losses_mw: chex.Array
    observation: chex.Array  # `[observation_size]`
    reward: chex.Array
    terms: Mapping[str, chex.Array]  # reward terms of the last step, see `rewards.UNITS`
    terminated: chex.Array  # bool
    truncated: chex.Array  # bool
    reason: chex.Array  # `termination.Reason`
    trip_round: chex.Array  # int8 `[n_branch]` round of the cascade in which each tripped, or 0
    metrics: Mapping[str, chex.Array]  # largest loading, voltage range, what projection changed

    @property
    def done(self) -> chex.Array:
        """Whether the episode has ended, either way."""
        return self.terminated | self.truncated


class Detail(NamedTuple):
    """What a step was made of beyond the state it led to, physical units, unbatched."""

    asked: actions_lib.Asked  # after projection
    bus_p_mw: chex.Array  # `[n_bus]` net injection: units after the slack, plants, batteries, loads
    bus_q_mvar: chex.Array  # `[n_bus]` of loads alone; what generators add follows from voltages
    gen_p_mw: chex.Array  # `[n_gen]` units' power after the slack, condensers' draw
    energised: chex.Array  # bool `[n_bus]`
    pv: chex.Array  # bool `[n_bus]` a generator in service holds the voltage
    closed: chex.Array  # bool `[n_branch]` as the power flow had it: after protection
    rho: chex.Array  # `[n_branch]` loading over limit
    renewable_mw: chex.Array  # `[n_renewable]` that reached the grid


class Named(NamedTuple):
    """What the options of an environment name."""

    grid: grid_lib.Grid
    fleet: fleet_lib.Fleet
    site: layout_lib.Site
    layout: layout_lib.Layout


class GridEnv:
    """Redispatch, voltage set-points, load control, storage, curtailment and switching of one grid.

    Actuators, each in [−1, 1], zero meaning "as planned"; the layout says which there are:
      generator: a unit's active power, from Pmin (−1) over the plan (0) to Pmax (1), negative for
        a dispatchable load; a condenser's voltage set-point, from the bus's Vmin over the set-point
        of the hour to Vmax.
      load: a load's power, lowered or raised by up to `load_control_share`, for a price.
      curtailment: share of a plant's available power given up, from none (0) to all (−1).
      storage: a battery's power, from charging (−1) to discharging (1) at its rating.
      unit_voltage: a unit's voltage set-point, as a condenser's.
      switch: below −0.5 opens a branch, above 0.5 closes one that was opened so.
    Sensors: the blocks of `layout.LAYOUTS[options.layout]`.
    Objective: `rewards.REWARDS[options.reward]`.
    Constraints: Pmin, Pmax, ramps, energy limits and cooldowns are enforced; thermal limits are
      priced, and branches that break them for long or by much trip; voltage and reactive limits
      are priced; voltage collapse, a cascade without end, a frequency out of range and the loss
      of too much load end the episode.
    """

    def __init__(self, named: Named, options: options_lib.EnvOptions):
        grid, fleet, self.site, self.layout = named
        self.grid, self.fleet, self.options = grid, fleet, options
        self.spec = layout_lib.LAYOUTS[options.layout]
        self.horizon = options.horizon_steps
        self.frequency = frequency_options.PRESETS[options.frequency]
        self.dt_h = options.step_minutes / 60.0
        self._reward = rewards.REWARDS[options.reward]
        net = _network(grid, fleet, options)
        self.limits = actions_lib.limits(grid, fleet, options)
        self._accounts = reward_terms.Accounts(grid, fleet, options)
        # Only where it is seen, priced or asked for: screening costs as much as the rest of a step.
        shown = "after_outage_rho" in self.spec.observation
        assessed = shown or options.screen_outages or options.insecurity_price > 0
        assessed |= options.confirmed_outages > 0
        plant = solve_and_protect.plant(grid, fleet, net, options.tolerance_pu, flows=assessed)
        self._assess = security.Assessor(grid, plant, options) if assessed else None
        self._begin = lanes.per_grid(functools.partial(solve_and_protect.begin, plant))
        self._settle = lanes.per_grid(
            functools.partial(solve_and_protect.settle, plant, options.protection)
        )
        self._vm_base = net.vm_base[net.position, 0]
        self._va_base = net.va_base[net.position, 0] - net.va_base[net.reference, 0]

    @property
    def assesses(self) -> bool:
        """Whether each step's N-1 security is assessed."""
        return self._assess is not None

    # What a user calls.

    def reset(self, key: chex.PRNGKey, split: str = "train") -> State:
        """Returns the start of a random day of `split`."""
        series = self.sample_series(key, split)
        return self.start(series).replace(series=series)

    def step(self, state: State, action: chex.Array) -> State:
        """Returns the next state. Stepping past the end of an episode is the caller's mistake.

        Args:
          state: the current state.
          action: `[action_size]`, clipped to [−1, 1].
        """
        return self.transition(state, action, state.series)

    def sample_series(self, key: chex.PRNGKey, split: str = "train") -> series_lib.TimeSeries:
        """Returns the exogenous data of a random day of `split`."""
        return synthetic.sample(key, self.grid, self.fleet, self.options, split)

    # The same with the time series apart, for batches of grids that share a pool of time series.

    def start(
        self, series: series_lib.TimeSeries | series_lib.PooledTimeSeries, row: chex.Array = 0
    ) -> State:
        """Returns the state at `row` of `series`: units on the plan, loads as they come."""
        grid, zero = self.grid, jnp.zeros(())
        now = series.at(row)
        blank = State(
            t=jnp.asarray(row, jnp.int32) - 1,
            series=None,
            gen_p_mw=now.plan_p_mw,
            gen_on=now.gen_status == series_lib.IN_SERVICE,
            condenser_mw=jnp.zeros(grid.n_gen),
            energy_mwh=jnp.asarray(0.5 * self.fleet.storage.energy_mwh, jnp.float32),
            branch=switching.initial(grid.n_branch),
            frequency=frequency_lib.initial(),
            vm_pu=self._vm_base,
            va_rad=self._va_base,
            losses_mw=day_ahead.PLANNED_LOSSES * now.load_p_mw.sum(),
            observation=jnp.zeros(self.layout.observation_size),
            reward=zero,
            terms={},
            terminated=jnp.zeros((), bool),
            truncated=jnp.zeros((), bool),
            reason=jnp.int32(Reason.NONE),
            trip_round=jnp.zeros(grid.n_branch, jnp.int8),
            metrics={},
        )
        nothing = jnp.zeros(self.layout.action_size)
        state, _ = self._transition(blank, nothing, series, starting=True)
        # Nothing has been decided yet, so nothing is charged.
        none = {name: zero for name in state.terms}
        return state.replace(reward=zero, terms=none, truncated=jnp.zeros((), bool))

    def transition(
        self,
        state: State,
        action: chex.Array,
        series: series_lib.TimeSeries | series_lib.PooledTimeSeries,
    ) -> State:
        """Returns the state after one step of `series`; `state.series` is not read."""
        return self.detailed(state, action, series)[0]

    def detailed(
        self,
        state: State,
        action: chex.Array,
        series: series_lib.TimeSeries | series_lib.PooledTimeSeries,
    ) -> tuple[State, Detail]:
        """Returns what `transition` does, and what the step was made of."""
        chex.assert_shape(action, (self.layout.action_size,))
        return self._transition(state, jnp.clip(action, -1.0, 1.0), series, starting=False)

    def action_for(self, state: State, series: series_lib.TimeSeries, targets: actions_lib.Targets):
        """Returns the action `[action_size]` that asks for `targets` in the next step.

        What the layout has no control for is left as planned.
        """
        now = series.at(state.t + 1)
        return actions_lib.write(self.layout, self.site, self.limits, now, targets)

    # A step, in the order of `docs/mdp.md`.

    def _transition(self, state: State, action, series, *, starting: bool) -> tuple[State, Detail]:
        options, limits = self.options, self.limits
        now = series.at(state.t + 1)

        # 1. What the time series takes away and gives back; what the action asks for, and what of
        # it can be done.
        gen_on = now.gen_status == series_lib.IN_SERVICE
        draws = jnp.asarray(self.grid.gen.is_dispatchable_load)
        lost_mw = jnp.where(draws, state.gen_p_mw, jnp.maximum(state.gen_p_mw, 0.0))
        lost_mw = jnp.where(state.gen_on & ~gen_on, lost_mw, 0.0).sum()
        surprise_mw = _surprise(series, state.t)
        branch = switching.advance(
            state.branch, now.branch_status, recloses=options.protection.recloses
        )
        wanted = actions_lib.read(self.layout, self.site, action)
        switched = switching.switch(branch, wanted.switch)
        asked = actions_lib.project(
            limits, wanted, now, state.gen_p_mw, gen_on, state.vm_pu, state.energy_mwh,
            free=starting,
        )  # fmt: skip

        # 2. Balance, power flow and protection, on what frequency relays left connected.
        condensers = jnp.where(gen_on, state.condenser_mw, 0.0)
        other = jnp.zeros(self.grid.n_bus).at[self.grid.gen.bus].add(condensers)
        other = other.at[self.fleet.storage.bus].add(asked.storage_mw)
        connected = 1.0 - state.frequency.shed_share
        settled = (self._begin if starting else self._settle)(
            solve_and_protect.Order(
                gen_target_mw=asked.gen_target_mw,
                gen_low_mw=asked.gen_low_mw,
                gen_high_mw=asked.gen_high_mw,
                gen_on=gen_on.astype(jnp.float32),
                load_p_mw=asked.load_p_mw * connected,
                load_q_mvar=asked.load_q_mvar * connected,
                renewable_mw=asked.renewable_mw,
                other_mw=other,
                losses_mw=state.losses_mw,
                vm_setpoint_pu=asked.vm_setpoint_pu,
                vm_start_pu=state.vm_pu,
                va_start_rad=state.va_rad,
                closed=switched.state.closed.astype(jnp.float32),
                overloaded=switched.state.overloaded,
            )
        )

        energised = settled.solution.energised
        islanded = self._accounts.islanded(energised, state.vm_pu > 0, asked, gen_on, connected)
        # A battery on a dead bus neither gives nor takes.
        lit = energised[self.fleet.storage.bus]
        asked = asked._replace(storage_mw=jnp.where(lit, asked.storage_mw, 0.0))

        # 3. Frequency within the step: what was lost at once, and what came unforeseen.
        if starting:
            frequency, swing = state.frequency, self._accounts.still()
        else:
            frequency, swing = self._accounts.swing(
                state.frequency, settled, asked,
                gen_on=gen_on, sudden_mw=lost_mw + islanded.sudden_mw, surprise_mw=surprise_mw,
            )  # fmt: skip

        # 4. The books: operating point, terms, reward, how it ends, what is seen of it.
        base, books = self.grid.base_mva, self._accounts
        solution, ok = settled.solution, settled.solution.converged
        # Without a solution the last one stands; nothing that is not finite gets out.
        vm = jnp.where(ok, solution.vm_pu, state.vm_pu)
        va = jnp.where(ok, solution.va_rad, state.va_rad)
        bus_p = jnp.where(ok, solution.p_pu * base, 0.0)
        bus_q = jnp.where(ok, solution.q_pu * base, 0.0)
        rho = jnp.where(ok, solution.rho, 0.0)
        losses = jnp.where(ok, bus_p.sum(), state.losses_mw)
        gen_p = jnp.where(ok, settled.gen_p_mw, state.gen_p_mw)
        gen_p = jnp.where(jnp.asarray(self.grid.gen.is_unit), gen_p, condensers)
        gen_q = books.generator_reactive(bus_q, asked, settled, gen_on, connected)
        tripped = settled.trip_round > 0
        branch = switching.trip(switched.state, tripped, rho)
        if self._assess is None:
            secure = security.Security(jnp.zeros(self.grid.n_branch), jnp.zeros(()))
        else:
            secure = self._assess(solution, branch.closed, gen_on)

        t = state.t + 1
        terms = books.terms(
            now, asked, settled, swing,
            gen_p=gen_p, gen_q=gen_q, vm=vm, rho=rho, losses=losses,
            operations=switched.operations, tripped=tripped, insecure=secure.insecure,
        )  # fmt: skip
        reason = books.reason(terms, settled, swing, islanded, lost_mw + surprise_mw)
        terminated = reason != Reason.NONE
        blackout_mwh = reward_terms.RESTORATION_HOURS * now.load_p_mw.sum()
        terms["energy_not_served"] = jnp.where(terminated, blackout_mwh, terms["energy_not_served"])
        energy = storage.advance(self.fleet.storage, state.energy_mwh, asked.storage_mw, self.dt_h)
        ahead = series.at(jnp.minimum(t + series_lib.LEAD_STEPS[-1], self.horizon))
        view = layout_lib.View(
            vm_pu=vm,
            va_rad=va,
            energised=solution.energised | ~ok,
            bus_p_mw=bus_p,
            bus_q_mvar=bus_q,
            gen_p_mw=gen_p,
            gen_q_mvar=gen_q,
            load_p_mw=now.load_p_mw,
            renewable_mw=now.renewable_mw,
            energy_mwh=energy,
            rho=rho,
            closed=branch.closed,
            wait=branch.wait,
            maintenance=ahead.branch_status == series_lib.MAINTENANCE,
            plan_p_mw=series.at(jnp.minimum(t + 1, self.horizon)).plan_p_mw,
            load_forecast_mw=now.load_forecast_mw,
            renewable_forecast_mw=now.renewable_forecast_mw,
            frequency_hz=self.frequency.nominal_hz + frequency.deviation_hz,
            after_outage_rho=secure.loading,
            day_share=t * (options.step_minutes / MINUTES_PER_DAY),
        )
        after = state.replace(
            t=t,
            gen_p_mw=gen_p,
            gen_on=gen_on,
            condenser_mw=books.condenser_draw(gen_q, gen_on),
            energy_mwh=energy,
            branch=branch,
            frequency=frequency,
            vm_pu=vm,
            va_rad=va,
            losses_mw=losses,
            observation=layout_lib.observe(self.site, self.spec, view),
            reward=self._reward(terms, options),
            terms=terms,
            terminated=terminated,
            truncated=~terminated & (t >= self.horizon),
            reason=reason.astype(jnp.int32),
            trip_round=settled.trip_round,
            metrics=books.metrics(asked, switched, settled, swing, secure, vm, rho),
        )
        load_bus, energised = self.grid.loads, solution.energised
        served = settled.served * connected
        lit = energised.astype(jnp.float32)
        drawn = jnp.zeros(self.grid.n_bus)
        given = (
            (drawn + other * lit)
            .at[self.grid.gen.bus]
            .add(jnp.where(jnp.asarray(self.grid.gen.is_unit), settled.gen_p_mw, 0.0))
        )
        given = given.at[self.fleet.renewables.bus].add(settled.renewable_mw)
        detail = Detail(
            asked=asked,
            bus_p_mw=given.at[load_bus].add(-asked.load_p_mw * served),
            bus_q_mvar=drawn.at[load_bus].add(-asked.load_q_mvar * served),
            gen_p_mw=gen_p,
            energised=energised,
            pv=jnp.zeros(self.grid.n_bus, bool).at[self.grid.gen.bus].max(gen_on),
            closed=branch.closed,
            rho=rho,
            renewable_mw=settled.renewable_mw,
        )
        return after, detail


def _surprise(
    series: series_lib.TimeSeries | series_lib.PooledTimeSeries, t: chex.Array
) -> chex.Array:
    """Returns what load, less wind and sun, does unforeseen in the step after row `t`, MW.

    Units are balanced with what was there at row t, however wrong it had been foreseen, and follow
    the slope of the newest forecast. Its level does not matter: a forecast that takes an error of
    its own back disturbs nobody.
    """
    before, now = series.at(jnp.maximum(t, 0)), series.at(t + 1)
    drawn = lambda row: row.load_p_mw.sum() - row.renewable_mw.sum()
    foreseen = before.load_forecast_mw - before.renewable_forecast_mw
    slope = (foreseen[1] - foreseen[0]) / (series_lib.LEAD_STEPS[1] - series_lib.LEAD_STEPS[0])
    return jnp.where(t < 0, 0.0, drawn(now) - drawn(before) - slope)


def check(options: options_lib.EnvOptions) -> Named:
    """Returns what `options` name; touches no device.

    Raises:
      ValueError: an option names something that does not exist, or a file is not usable.
      FileNotFoundError: the case or the fleet is neither shipped nor a file.
    """
    choices.require("env.schedule", options.schedule, schedule.SCHEDULES)
    choices.require("env.reward", options.reward, rewards.REWARDS)
    choices.require("env.frequency", options.frequency, frequency_options.PRESETS)
    choices.require("env.layout", options.layout, layout_lib.LAYOUTS)
    grid = case_file.load(options.case)
    name = options.fleet
    if name == _AUTO:
        name = options.case if options.case in fleet_file.names() else fleet_file.PLAIN
    fleet = fleet_file.load(name, grid)
    if options.schedule == "secured":
        secured.table(grid)  # refuses grids that it can make no plan for
    spec = layout_lib.LAYOUTS[options.layout]
    site = layout_lib.site(grid, fleet, spec)
    return Named(grid, fleet, site, layout_lib.make(site, spec))


def _network(
    grid: grid_lib.Grid, fleet: fleet_lib.Fleet, options: options_lib.EnvOptions
) -> network.Network:
    """Returns the network about a common hour on plan.

    The closer the base point is to most of the day, the fewer iterations power flows take. Where
    the plan has no solution, it is that of loads shared by Pmax.
    """
    load, plants = _BASE_LEVEL * grid.bus.load_p_mw, fleet.renewables
    output = _BASE_OUTPUT * plants.p_max_mw
    demand = day_ahead.demand(grid, jnp.asarray([load.sum()]), jnp.asarray([output.sum()]))
    units = np.asarray(schedule.SCHEDULES[options.schedule](grid, demand)[0], float)
    p = np.bincount(grid.gen.bus, units, grid.n_bus) - load
    np.add.at(p, plants.bus, output)
    q = -_BASE_LEVEL * grid.bus.load_q_mvar / grid.base_mva
    net = network.build(grid, p_pu=p / grid.base_mva, q_pu=q)
    if net.base.converged:
        return net
    p, q = base_point.nominal_injections(grid, _BASE_LEVEL)
    return network.build(grid, p_pu=p, q_pu=q)


def make(options: options_lib.EnvOptions) -> GridEnv:
    """Returns the environment that `options` describe; raises what `check` raises."""
    return GridEnv(check(options), options)
