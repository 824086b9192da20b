"""One decision by DC optimal power flow on the forecast, with AC recourse; what a worker does.

Needs no jax, so that workers start quickly.
"""

import dataclasses
from typing import NamedTuple

import numpy as np

from agents.baselines import dc_program, forecast
from envs.case import fleet as fleet_lib, grid as grid_lib
from envs.powerflow import ac_flow, dc_network
from envs.step.options import StepOptions

_OVER_MVA = 0.01  # beyond a limit, from where on it counts


@dataclasses.dataclass(frozen=True)
class Setting:
    """What stays as it is from decision to decision, picklable."""

    grid: grid_lib.Grid
    fleet: fleet_lib.Fleet
    prices: StepOptions
    step_hours: float
    leads: tuple[int, ...]  # how far ahead forecasts look, steps
    steps: tuple[int, ...]  # the length of each period
    movable_share: np.ndarray  # `[n_load]` by which each load may be moved either way
    curtails: bool  # whether wind and sun may be
    stores: bool  # whether batteries may be used
    rate_share: float  # of a branch's limit that is made use of
    rounds: int  # of recourse: power flows after which limits are tightened


class Situation(NamedTuple):
    """What is known of one grid, MW, MVAr and pu."""

    load_p_mw: np.ndarray  # `[n_load]` in the last step
    load_q_mvar: np.ndarray  # `[n_load]`
    connected: np.ndarray  # share of load that frequency relays have not shed
    renewable_mw: np.ndarray  # `[n_plant]` that the weather allowed in the last step
    load_forecast_mw: np.ndarray  # `[n_lead]` total
    renewable_forecast_mw: np.ndarray  # `[n_lead]` total
    gen_p_mw: np.ndarray  # `[n_gen]` in the last step
    gen_on: np.ndarray  # bool `[n_gen]`
    condenser_mw: np.ndarray  # `[n_gen]` what they draw, negative
    losses_mw: np.ndarray
    energy_mwh: np.ndarray  # `[n_storage]`
    closed: np.ndarray  # bool `[step, n_branch]` as far as is known
    vm_pu: np.ndarray  # `[n_bus]`
    va_rad: np.ndarray  # `[n_bus]`


class Memory(NamedTuple):
    """What one decision leaves to the next."""

    watched: dc_program.Watched  # limits that are in the program from the start
    tightened_mva: np.ndarray  # `[n_branch]` by which AC flows lower the limits
    value: float  # of stored energy, $/MWh


class Setpoints(NamedTuple):
    """What to request for the next step; plants and loads as shares of what they will be."""

    unit_mw: np.ndarray  # `[n_gen]`
    renewable_share: np.ndarray  # `[n_plant]` of what the weather allows
    load_factor: np.ndarray  # `[n_load]`
    storage_mw: np.ndarray  # `[n_storage]` positive when discharging


class Dispatcher:
    """Decides for one grid at a time."""

    def __init__(self, setting: Setting):
        self.setting = setting
        grid, fleet = setting.grid, setting.fleet
        hours = tuple(setting.step_hours * steps for steps in setting.steps)
        self.program = dc_program.Program(
            grid, fleet, setting.prices, hours, 60.0 * fleet.units.ramp_mw_per_min
        )
        self._network = dc_network.DcNetwork(grid)
        self._ac = ac_flow.AcFlow(grid)
        self._ends = np.cumsum(setting.steps)

    def __call__(self, problem: tuple[Situation, Memory]) -> tuple[Setpoints, Memory]:
        """Returns what to do, and what to remember."""
        situation, memory = problem
        # Double precision throughout: the power flow needs more digits than single has.
        exact = lambda x: np.asarray(x, bool if np.asarray(x).dtype == bool else float)
        situation = Situation(*map(exact, situation))
        periods = self.periods(situation)
        plan, memory = self.plan(situation, periods, memory)
        return _setpoints(plan, periods[0]), memory

    def periods(self, situation: Situation) -> list[dc_program.Period]:
        """Returns what the forecast says of each period: of its last step, with what is out in any.

        Each load and each plant has the share of the forecast total that it has now, plants up to
        their rating as far as the total is within all ratings (a day may have plants larger than
        the fleet says); losses have the share of load that they had in the last step.
        """
        setting, grid = self.setting, self.setting.grid
        fleet = setting.fleet
        ramp = 60.0 * fleet.units.ramp_mw_per_min * setting.step_hours
        p_min, p_max = grid.gen.p_min_mw, grid.gen.p_max_mw
        on = situation.gen_on
        draw = np.where(on, situation.condenser_mw, 0.0)
        certain = np.bincount(grid.gen.bus, draw, grid.n_bus) - grid.bus.shunt_p_mw
        now = situation.load_p_mw
        lost = _lost_share(situation)
        periods, begin = [], 0
        for end in self._ends:
            at = lambda totals, end=end: float(np.interp(end, setting.leads, totals))
            load = forecast.scaled(now, at(situation.load_forecast_mw)) * situation.connected
            plants = fleet.renewables
            available = forecast.weather(
                situation.renewable_mw, at(situation.renewable_forecast_mw), plants.p_max_mw
            )
            closed = situation.closed[begin:end].all(0)
            fixed = certain + np.bincount(plants.bus, available, grid.n_bus)
            at_bus = np.bincount(grid.loads, load, grid.n_bus)
            fixed -= at_bus * (1.0 + lost)
            # As the environment projects: a unit outside its limits comes back at once.
            low = np.minimum(np.maximum(p_min, situation.gen_p_mw - end * ramp), p_max)
            high = np.maximum(np.minimum(p_max, situation.gen_p_mw + end * ramp), p_min)
            periods.append(dc_program.Period(
                topology=self._network.topology(closed, on, at_bus),
                fixed_mw=fixed,
                load_mw=load,
                movable_mw=setting.movable_share * np.maximum(load, 0.0),
                spillable_mw=available * setting.curtails,
                low_mw=low * on,
                high_mw=high * on,
                rated_mw=fleet.storage.p_max_mw * setting.stores,
                limit_mw=setting.rate_share * grid.branch.rate_mva,
            ))  # fmt: skip
            begin = end
        return periods

    def plan(
        self, situation: Situation, periods: list[dc_program.Period], memory: Memory
    ) -> tuple[dc_program.Plan, Memory]:
        """Returns the plan, and what to remember.

        After each program an AC power flow tells what its first period leads to. Where a branch is
        beyond its limit, the limit of its DC flow falls by the excess, in all periods, and the
        program is solved again. What turns out not to be needed of that is undone in the next
        decision.
        """
        tightened, watched, rounds = memory.tightened_mva, memory.watched, self.setting.rounds
        energy = np.clip(situation.energy_mwh, 0.0, self.setting.fleet.storage.energy_mwh)
        for left in range(rounds, -1, -1):
            limited = [
                p._replace(limit_mw=np.maximum(p.limit_mw - tightened, 0.0)) for p in periods
            ]
            plan = self.program.solve(limited, energy, memory.value, watched)
            watched = plan.watched
            if not rounds:
                break
            excess = self._excess(situation, periods[0], plan)
            # A branch that the program cannot relieve will not be by asking for more.
            excess[np.abs(plan.flow_mw[0]) > limited[0].limit_mw + _OVER_MVA] = 0.0
            over = excess > _OVER_MVA
            if not left or not over.any():
                tightened = np.maximum(tightened + excess, 0.0)
                break
            tightened = tightened + np.where(over, excess, 0.0)
        return plan, Memory(watched, tightened, memory.value)

    def carried_mva(
        self, situation: Situation, period: dc_program.Period, plan: dc_program.Plan
    ) -> np.ndarray | None:
        """Returns the AC loading `[n_branch]` MVA of a plan's first period, None without solution.

        PV buses have the voltages that they have now; units share by Pmax what losses change.
        """
        grid, topology = self.setting.grid, period.topology
        energised, gen = topology.energised, grid.gen
        on = situation.gen_on & energised[gen.bus]
        pv = np.zeros(grid.n_bus, bool)
        pv[gen.bus[on]] = True
        capacity = np.bincount(gen.bus, gen.capacity_mw * on, grid.n_bus)
        if not capacity.any():
            return None
        factor = (period.load_mw + plan.moved_mw[0]) / _not_zero(situation.load_p_mw)
        q = -np.bincount(grid.loads, situation.load_q_mvar * factor, grid.n_bus)
        # Losses and what shunts take follow from voltages here.
        drawn = np.bincount(grid.loads, period.load_mw * _lost_share(situation), grid.n_bus)
        p = plan.injection_mw[0] + (drawn + grid.bus.shunt_p_mw) * energised
        request = ac_flow.Request(
            p_pu=p / grid.base_mva,
            q_pu=q / grid.base_mva,
            vm_pu=np.where(situation.vm_pu > 0, situation.vm_pu, 1.0),
            va_rad=situation.va_rad,
            share=capacity / capacity.sum(),
            pv=pv,
            closed=topology.closed,
            energised=energised,
        )
        voltages = self._ac.solve(request)
        return None if voltages is None else self._ac.carried_mva(voltages, topology.closed)

    def _excess(self, situation, period, plan) -> np.ndarray:
        """Returns how far AC loadings are above limits `[n_branch]` MVA, or below, negative.

        Zero where there is no limit, and everywhere where the power flow has no solution, which
        tells nothing.
        """
        carried = self.carried_mva(situation, period, plan)
        limited = np.isfinite(period.limit_mw)
        if carried is None:
            return np.zeros(limited.size)
        return np.where(limited, carried - period.limit_mw, 0.0)


def _setpoints(plan: dc_program.Plan, period: dc_program.Period) -> Setpoints:
    """Returns the set-points of the first period of a plan."""
    moved = plan.moved_mw[0] / _not_zero(period.load_mw)
    spilled = plan.spilled_mw[0] / _not_zero(period.spillable_mw)
    return Setpoints(plan.unit_mw[0], 1.0 - spilled, 1.0 + moved, plan.storage_mw[0])


def _lost_share(situation: Situation) -> float:
    """Returns losses per load in the last step."""
    served = float(situation.load_p_mw.sum() * situation.connected)
    return max(float(situation.losses_mw), 0.0) / served if served > 1e-6 else 0.0


def _not_zero(x):
    return np.where(np.abs(x) > 1e-6, x, np.inf)
