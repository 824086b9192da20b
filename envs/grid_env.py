"""The decision process: one grid, operated for a day in five-minute steps.

`docs/mdp.md` states the same in formulas. Functional and stateless: `reset` and `step` can be
jitted, vmapped and scanned.

    env = grid_env.make(EnvOptions(case="case14"))
    state = env.reset(jax.random.PRNGKey(0))
    state = env.step(state, jnp.zeros(env.layout.action_size))  # do nothing: follow the plan
"""

import functools
from typing import NamedTuple

import chex
import jax.numpy as jnp
import numpy as np

from envs.case import case_file, fleet_file
from envs.case.fleet import Fleet
from envs.case.grid import Grid
from envs.inputs import choices
from envs.options import EnvOptions
from envs.powerflow import base_point, lanes, network
from envs.schedule import day_ahead, schedule, secured
from envs.step import (
    actions as actions_lib,
    dispatch,
    earnings,
    frequency as frequency_lib,
    frequency_options,
    frequency_response,
    grid_model,
    islanding,
    layouts,
    metrics,
    observations,
    protection as protection_lib,
    reactive_power,
    reward_terms,
    rewards,
    security,
    solve_and_protect,
    step_result,
    storage,
    switching,
    tariff,
    termination,
)
from envs.step.layout import Layout, Site
from envs.step.options import ALL_ISLANDS, BALANCING, ISLANDS, REFERENCE
from envs.step.state import State
from envs.step.step_result import Detail, StepResult
from envs.step.termination import Reason
from envs.time_series import recorded, synthetic
from envs.time_series.options import RECORDED, SYNTHETIC
from envs.time_series.series import Series, TimeSeries

_AUTO = "auto"  # as the name of a fleet: the case's own, with recorded plants on recorded days
_BASE_LEVEL = 0.75  # of the file's loads: the middle of a day's range
_BASE_OUTPUT = 0.3  # of the ratings of wind and sun


class Specification(NamedTuple):
    """Grid, fleet and layout that the options of an environment name."""

    grid: Grid
    fleet: Fleet
    site: Site
    layout: Layout
    recorded: TimeSeries | None = None  # days `[n_series, …]`; none: synthetic ones
    weights: np.ndarray | None = None  # `[2, n_series]` of drawing them; none: all alike


class GridEnv:
    """Redispatch, voltage set-points, load control, storage, curtailment and switching of one grid.

    Actuators, each in [−1, 1], zero meaning "as planned"; the layout says which there are:

    - generator: a unit's active power, from Pmin (−1) over the plan (0) to Pmax (1), negative for
      a dispatchable load; a condenser's voltage set-point, from the bus's Vmin over the set-point
      of the hour to Vmax.
    - load: a load's power, lowered or raised by up to `load_control_share`, for a price.
    - curtailment: share of a plant's available power given up, from none (0) to all (−1).
    - storage: a battery's power, from charging (−1) to discharging (1) at its rating.
    - unit_voltage: a unit's voltage set-point, as a condenser's.
    - switch, coupling: of any branch, or of one that couples a microgrid: below −0.5 opens it,
      above 0.5 closes one that the controller opened, or that tripped and does not close by
      itself.

    Sensors: the blocks of `layouts.LAYOUTS[options.layout]`.

    Objective: `rewards.REWARDS[options.reward]`.

    Constraints: Pmin, Pmax, ramps, energy limits and cooldowns are enforced; thermal limits are
    priced, and branches that break them for long or by much trip; voltage and reactive limits
    are priced; voltage collapse, a cascade without end, a frequency out of range and the loss
    of too much load end the episode.
    """

    def __init__(self, specification: Specification, options: EnvOptions):
        grid, fleet, self.site, self.layout, days, weights = specification
        self.grid, self.fleet, self.options = grid, fleet, options
        self.horizon = options.horizon_steps
        self.dt_h = options.step_minutes / 60.0
        self.limits = actions_lib.limits(grid, fleet, options)
        # Only where it is observed, priced or requested: it costs as much as the rest of a step.
        assessed = "after_outage_rho" in self.layout.observation or options.screen_outages
        assessed |= options.insecurity_price > 0 or options.confirmed_outages > 0
        assessed |= options.reward in rewards.ASSESSING
        net = _network(grid, fleet, options)
        model = grid_model.grid_model(
            grid, fleet, net, options.tolerance_pu, flows=assessed,
            every_island=options.islands == ALL_ISLANDS,
            reference_first=options.balancing == REFERENCE,
        )  # fmt: skip
        self._assess = security.Assessor(grid, model, options) if assessed else None
        pull_back = functools.partial(solve_and_protect.pull_back, model)
        unprotected = functools.partial(solve_and_protect.unprotected, model)
        self._unprotected = lanes.per_grid(unprotected, pull_back)
        protected = functools.partial(solve_and_protect.operating_point, model, options.protection)
        self._operating_point = lanes.per_grid(protected, pull_back)
        self._frequency_response = frequency_response.FrequencyResponse(grid, fleet, options)
        self._earnings = earnings.Earnings(grid, fleet, options)
        self._reward_terms = reward_terms.RewardTerms(grid, fleet, options)
        self._reward = rewards.REWARDS[options.reward]
        # By split; none where days are synthetic.
        self.recorded_days = days and recorded.by_split(days, grid, options.schedule)
        self._weights = days and recorded.weights_by_split(days, weights)
        self._vm_base = net.vm_base[net.position, 0]
        self._va_base = net.va_base[net.position, 0] - net.va_base[net.reference, 0]

    @property
    def frequency(self) -> frequency_options.FrequencyOptions:
        """The parameters of frequency and its relays."""
        return self._frequency_response.options

    @property
    def assesses(self) -> bool:
        """Whether each step's N-1 security is assessed."""
        return self._assess is not None

    # What a user calls.

    def reset(self, key: chex.PRNGKey, split: str = "train", progress: chex.Numeric = 1.0) -> State:
        """Returns the start of a random day of `split`, when `progress` of training is behind."""
        series = self.sample_series(key, split, progress)
        thresholds = self.sample_protection(key, progress)
        return self.start(series, protection=thresholds).replace(series=series)

    def step(self, state: State, action: chex.Array) -> State:
        """Returns the state after an action `[action_size]`, which is clipped to [−1, 1].

        Stepping past the end of an episode is the caller's mistake.

        Raises:
          ValueError: the state carries no time series, as those of `start` do.
        """
        if state.series is None:
            raise ValueError(
                "the state has no time series, as `start` leaves it: step by `transition(state, "
                "action, series)`, or begin with `start(series).replace(series=series)`"
            )
        return self.transition(state, action, state.series)

    def sample_series(
        self, key: chex.PRNGKey, split: str = "train", progress: chex.Numeric = 1.0
    ) -> TimeSeries:
        """Returns the exogenous data of a random day of `split`.

        Of training, in the course of which scenarios' weights and outages change, `progress`, 0 to
        1, is behind.

        Raises:
          ValueError: there is no such split, or no recorded day belongs to it.
        """
        if self.recorded_days is None:
            return synthetic.sample(key, self.grid, self.fleet, self.options, split, progress)
        return recorded.sample(
            key, self.recorded_days, self.grid, self.options, split, self._weights, progress
        )

    def sample_protection(
        self, key: chex.PRNGKey, progress: chex.Numeric = 1.0
    ) -> protection_lib.Thresholds | None:
        """Returns when protection trips in the episode of `key`; none: by the options always."""
        return protection_lib.draw(key, self.options, progress)

    # The same with the time series apart, for batches of grids that share a pool of time series.

    def start(
        self,
        series: Series,
        row: chex.Array = 0,
        protection: protection_lib.Thresholds | None = None,
    ) -> State:
        """Returns the state at `row` of `series`: units on the plan, loads as they come.

        It does not carry `series`: `transition` takes them, and `step` needs `.replace(series=…)`.

        Branches trip by the thresholds of `protection`, by the options' where there are none.
        """
        grid, zero = self.grid, jnp.zeros(())
        now = series.at(row)
        blank = State(
            t=jnp.asarray(row, jnp.int32) - 1,
            series=None,
            gen_p_mw=now.plan_p_mw,
            gen_on=now.gen_in_service,
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
            protection=protection,
        )
        nothing = jnp.zeros(self.layout.action_size)
        state, _ = self._transition(blank, nothing, series, starting=True)
        # Nothing has been decided yet, so nothing is charged, and no step is counted.
        none = {name: zero for name in state.terms}
        branch = state.branch.replace(overloaded=jnp.zeros_like(state.branch.overloaded))
        return state.replace(reward=zero, terms=none, branch=branch, truncated=jnp.zeros((), bool))

    def transition(self, state: State, action: chex.Array, series: Series) -> State:
        """Returns the state after one step of `series`; `state.series` is not read."""
        return self.detailed(state, action, series)[0]

    def detailed(self, state: State, action: chex.Array, series: Series) -> tuple[State, Detail]:
        """Returns what `transition` does, and what the step was made of."""
        chex.assert_shape(action, (self.layout.action_size,))
        return self._transition(state, jnp.clip(action, -1.0, 1.0), series, starting=False)

    def action_for(self, state: State, series: TimeSeries, targets: actions_lib.Targets):
        """Returns the action `[action_size]` that requests `targets` in the next step.

        What the layout has no control for is left as planned.
        """
        now = series.at(state.t + 1)
        return actions_lib.write(self.layout, self.site, self.limits, now, targets)

    # A step, in the order of `docs/mdp.md`.

    def _transition(self, state: State, action, series, *, starting: bool) -> tuple[State, Detail]:
        grid, fleet = self.grid, self.fleet
        # 1. The time series: what it takes away and gives back.
        now = series.at(state.t + 1)
        gen_on = now.gen_in_service
        disturbance = frequency_response.disturbance(grid, state, gen_on, series)
        branch = switching.advance(
            state.branch, now.branch_status, recloses=self.options.protection.recloses
        )
        # 2. Projection: what the action requests, and what of it can be done.
        requested = actions_lib.read(self.layout, self.site, action)
        switched = switching.switch(branch, requested.switch)
        feasible = actions_lib.project(self.limits, requested, now, state, free=starting)
        # 3. Balance, 4. power flow and 5. protection, of what frequency relays left connected.
        request = dispatch.request(grid, fleet, state, now, feasible, switched.state)
        point = (self._unprotected if starting else self._operating_point)(request)
        # 6. Islands: what they cut off.
        energised = point.solution.energised
        cut_off = islanding.cut_off(grid, fleet, state, feasible, gen_on, energised)
        feasible = islanding.without_cut_off_storage(fleet, feasible, energised)
        # 7. Frequency within the step.
        if starting:
            frequency, outcome = state.frequency, self._frequency_response.none()
        else:
            sudden_mw = disturbance.sudden_mw + cut_off.sudden_mw
            frequency, outcome = self._frequency_response(
                state.frequency, feasible, gen_on, energised,
                disturbance._replace(sudden_mw=sudden_mw),
            )  # fmt: skip
        # 8. What stands after it: operating point, security, reward terms, ending, observation.
        base, solution, solved = grid.base_mva, point.solution, point.solution.converged
        bus_q_mvar = jnp.where(solved, solution.q_pu * base, 0.0)
        result = StepResult(
            now, feasible, switched, point, cut_off, disturbance, outcome,
            bus_p_mw=jnp.where(solved, solution.p_pu * base, 0.0),
            bus_q_mvar=bus_q_mvar,
            gen_q_mvar=reactive_power.generator_mvar(
                grid, state, feasible, gen_on, point, bus_q_mvar
            ),
            rho=jnp.where(solved, solution.rho, 0.0),
        )  # fmt: skip
        after = self._after(state, result, frequency)
        secure = self._security(solution, after)
        completed = self._completed(after, result, secure, series)
        by_element = self._reward_terms.by_element(after, result)
        earned = self._earnings(by_element, completed.terminated, result)
        detail = step_result.detail(
            grid, fleet, state, after, result, secure, request.other_mw, earned
        )
        return completed, detail

    def _after(
        self, state: State, result: StepResult, frequency: frequency_lib.FrequencyState
    ) -> State:
        """Returns the state after a step, but for what is made of it: terms, ending, observation.

        Without a solution the last one stands; nothing that is not finite gets out.
        """
        point, gen_on = result.point, result.now.gen_in_service
        solution, solved = point.solution, point.solution.converged
        gen_p = jnp.where(solved, point.gen_p_mw, state.gen_p_mw)
        condensers = jnp.where(gen_on, state.condenser_mw, 0.0)
        return state.replace(
            t=state.t + 1,
            gen_p_mw=jnp.where(jnp.asarray(self.grid.gen.is_unit), gen_p, condensers),
            gen_on=gen_on,
            condenser_mw=reactive_power.condenser_mw(self.fleet, result.gen_q_mvar, gen_on),
            energy_mwh=storage.advance(
                self.fleet.storage, state.energy_mwh, result.feasible.storage_mw, self.dt_h
            ),
            branch=switching.trip(result.switched.state, point.tripped, result.rho),
            frequency=frequency,
            vm_pu=jnp.where(solved, solution.vm_pu, state.vm_pu),
            va_rad=jnp.where(solved, solution.va_rad, state.va_rad),
            losses_mw=jnp.where(solved, result.bus_p_mw.sum(), state.losses_mw),
            trip_round=point.trip_round,
        )

    def _security(self, solution, after: State) -> security.Security:
        if self._assess is None:
            return security.Security(jnp.zeros(self.grid.n_branch), jnp.zeros(()))
        return self._assess(solution, after.branch.closed, after.gen_on)

    def _completed(self, after: State, result: StepResult, secure, series) -> State:
        """Returns the state with reward terms, ending and observation of its step."""
        terms = self._reward_terms(after, result, secure)
        reason = termination.reason(terms, result, self.dt_h, self.options.blackout_share)
        terminated = reason != Reason.NONE
        terms = termination.charged(terms, terminated, result)
        view = observations.view(after, result, secure, series, self.options)
        return after.replace(
            observation=observations.observe(self.site, self.layout.observation, view),
            reward=self._reward(terms, self.options),
            terms=terms,
            terminated=terminated,
            truncated=~terminated & (after.t >= self.horizon),
            reason=reason.astype(jnp.int32),
            metrics=metrics.metrics(after, result, secure),
        )


def check(options: EnvOptions) -> Specification:
    """Returns what `options` name; touches no device.

    Raises:
      ValueError: an option names something that does not exist, or a file is not usable.
      FileNotFoundError: the case or the fleet is neither shipped nor a file.
    """
    choices.require("env.schedule", options.schedule, (*schedule.SCHEDULES, RECORDED))
    choices.require("env.balancing", options.balancing, BALANCING)
    choices.require("env.reward", options.reward, rewards.REWARDS)
    choices.require("env.islands", options.islands, ISLANDS)
    choices.require("env.frequency", options.frequency, frequency_options.PRESETS)
    choices.require("env.tariff", options.tariff, tariff.PRESETS)
    choices.require("env.layout", options.layout, layouts.LAYOUTS)
    grid = case_file.load(options.case)
    name = options.fleet
    if name == _AUTO:
        name = options.case if options.case in fleet_file.names() else fleet_file.PLAIN
    fleet = fleet_file.load(name, grid)
    if options.fleet == _AUTO and options.time_series != SYNTHETIC:
        fleet = recorded.fleet_with_plants(fleet, grid, options)
    if options.schedule == "secured":
        secured.table(grid)  # refuses grids that it can make no plan for
    spec = layouts.LAYOUTS[options.layout]
    site = layouts.site(grid, fleet, spec)
    days = recorded.read(grid, fleet, options)
    return Specification(grid, fleet, site, layouts.make(site, spec), *days)


def _network(grid: Grid, fleet: Fleet, options: EnvOptions) -> network.Network:
    """Returns the network about a common hour on plan.

    The closer the base point is to most of the day, the fewer iterations power flows take. Where
    the plan has no solution, it is that of loads shared by Pmax.
    """
    load, plants = _BASE_LEVEL * grid.bus.load_p_mw, fleet.renewables
    output = _BASE_OUTPUT * plants.p_max_mw
    demand = day_ahead.demand(grid, jnp.asarray([load.sum()]), jnp.asarray([output.sum()]))
    share = schedule.SCHEDULES.get(options.schedule, schedule.proportional)  # as for recorded plans
    units = np.asarray(share(grid, demand)[0], float)
    p = np.bincount(grid.gen.bus, units, grid.n_bus) - load
    np.add.at(p, plants.bus, output)
    q = -_BASE_LEVEL * grid.bus.load_q_mvar / grid.base_mva
    net = network.build(grid, p_pu=p / grid.base_mva, q_pu=q)
    if net.base.converged:
        return net
    p, q = base_point.nominal_injections(grid, _BASE_LEVEL)
    return network.build(grid, p_pu=p, q_pu=q)


def make(options: EnvOptions) -> GridEnv:
    """Returns the environment that `options` describe; raises what `check` raises."""
    return GridEnv(check(options), options)
