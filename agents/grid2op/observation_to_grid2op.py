"""Grid2Op's observations, made of Gridracer's states."""

import datetime
from typing import Any, NamedTuple

import jax
import numpy as np

from agents.grid2op.elements import match
from envs import grid_env
from envs.powerflow import matrices
from envs.time_series import series as series_lib

_DEAD_PU = 1e-3  # voltages below are of buses without any


class Standing(NamedTuple):
    """What an agent has asked for and what stands of it, as Grid2Op keeps it."""

    dispatch_mw: np.ndarray  # `[n_gen]` target, from the plan
    limit: np.ndarray  # `[n_gen]` curtailment, share of Pmax
    storage_mw: np.ndarray  # `[n_storage]` requested in the last step, positive when charging
    energy_mwh: np.ndarray  # `[n_storage]` before the last step


class Seen(NamedTuple):
    """What observations are made of, of a batch, numpy arrays `[B, …]`."""

    t: np.ndarray  # row of the time series
    vm_pu: np.ndarray  # `[B, n_bus]`
    va_rad: np.ndarray  # `[B, n_bus]`
    closed: np.ndarray  # bool `[B, n_branch]`
    cooldown: np.ndarray  # steps `[B, n_branch]`
    overloaded: np.ndarray  # steps in a row `[B, n_branch]`
    gen_mw: np.ndarray  # `[B, n_gen]`
    plan_mw: np.ndarray  # `[B, n_gen]`
    gen_on: np.ndarray  # bool `[B, n_gen]`
    load_mw: np.ndarray  # `[B, n_load]` served
    load_mvar: np.ndarray  # `[B, n_load]` served
    available_mw: np.ndarray  # `[B, n_renewable]`
    energy_mwh: np.ndarray  # `[B, n_storage]`
    ended: np.ndarray  # bool `[B]`
    reward: np.ndarray  # `[B]`


class _Voltages(NamedTuple):
    """What follows from the voltages of one grid."""

    live: np.ndarray  # bool `[n_bus]`
    kv: np.ndarray  # `[n_bus]` 0 where there is no voltage
    degrees: np.ndarray  # `[n_bus]`
    origin_mva: np.ndarray  # complex `[n_branch]` into each branch at its origin
    end_mva: np.ndarray  # complex `[n_branch]` and at its extremity


def look(state: grid_env.State, now: series_lib.TimeSeries) -> Seen:
    """Returns what is seen of one grid at the row `now` of its time series; to be compiled."""
    branch, connected = state.branch, state.connected_share
    return Seen(
        state.t, state.vm_pu, state.va_rad, branch.closed, branch.cooldown, branch.overloaded,
        state.gen_p_mw, now.plan_p_mw, state.gen_on, connected * now.load_p_mw,
        connected * now.load_q_mvar, now.renewable_mw, state.energy_mwh, state.terminated,
        state.reward,
    )  # fmt: skip


class Maker:
    """Makes observations of the states of one environment."""

    def __init__(self, env: grid_env.GridEnv, theirs: Any):
        """Takes the environment, and Grid2Op's of the same grid, after a reset.

        Raises:
          ValueError: the grids are not the same.
        """
        self._env, self._grid = env, env.grid
        self.elements = match(theirs.observation_space, env.site)
        self._blank = theirs.get_obs()
        self._thermal_limit_a = np.asarray(theirs.get_thermal_limit(), float)
        self._y = matrices.branch_admittance(env.grid)
        space, bus = theirs.observation_space, self.elements
        self._load = np.searchsorted(env.grid.loads, bus.load_bus)
        self._loads_there = np.bincount(bus.load_bus, minlength=env.grid.n_bus)[bus.load_bus]
        shunts = getattr(space, "shunt_to_subid", None)
        self._shunt_bus = bus.sub_bus[shunts] if shunts is not None else np.zeros(0, int)
        self._storage_bus = bus.sub_bus[space.storage_to_subid]

    def standing(self, energy_mwh: np.ndarray) -> Standing:
        """Returns what stands before anything was asked for."""
        blank = self._blank
        none = np.zeros(blank.n_gen), np.ones(blank.n_gen), np.zeros(blank.n_storage)
        return Standing(*none, np.array(energy_mwh, float))

    def __call__(
        self, seen: Seen, standing: Standing, day: int, maintenance: np.ndarray, i: int = 0
    ) -> Any:
        """Returns the observation of grid `i` of a batch, which cannot `simulate` by itself.

        Args:
          seen: the batch.
          standing: what the agent of this grid has asked for.
          day: of the year, from 0.
          maintenance: bool `[rows, n_branch]`, whether each line is in maintenance, as announced.
          i: which grid.
        """
        one = Seen(*(np.asarray(leaf[i]) for leaf in seen))
        at = self._voltages(one)
        observation = self._blank.copy()
        values = {
            **self._clock(one, day), **self._branches(one, at), **_upcoming(maintenance[one.t :]),
            **self._generators(one, at, standing), **self._others(one, at, standing),
        }  # fmt: skip
        for name, value in values.items():
            kept = getattr(observation, name)
            if isinstance(kept, np.ndarray):
                kept[...] = value
            else:
                setattr(observation, name, type(kept)(value))
        if one.ended:
            observation.set_game_over()
        return observation

    def _clock(self, one: Seen, day: int) -> dict[str, Any]:
        # Grid2Op's time stamp is that of the row after the one that it shows.
        start = datetime.datetime(int(self._blank.year), 1, 1)
        now = start + datetime.timedelta(days=day, hours=self._env.dt_h * (int(one.t) + 1))
        return {
            "year": now.year, "month": now.month, "day": now.day, "hour_of_day": now.hour,
            "minute_of_hour": now.minute, "day_of_week": now.weekday(),
            "current_step": int(one.t), "max_step": self._env.horizon,
            "delta_time": 60.0 * self._env.dt_h,
        }  # fmt: skip

    def _voltages(self, one: Seen) -> _Voltages:
        branch = self._grid.branch
        live = one.vm_pu > _DEAD_PU
        voltage = one.vm_pu * np.exp(1j * one.va_rad)
        at_ends = voltage[branch.from_bus], voltage[branch.to_bus]
        powers = self._y.powers(*at_ends, self._grid.base_mva)
        return _Voltages(
            live,
            np.where(live, one.vm_pu * self.elements.base_kv, 0.0),
            np.where(live, np.rad2deg(one.va_rad), 0.0),
            *(np.where(one.closed, power, 0.0) for power in powers),
        )

    def _branches(self, one: Seen, at: _Voltages) -> dict[str, Any]:
        values: dict[str, Any] = {}
        buses = self.elements.origin, self.elements.extremity
        for end, bus, power in zip(("or", "ex"), buses, (at.origin_mva, at.end_mva)):
            kv = np.where(one.closed, at.kv[bus], 0.0)
            some = np.divide(1e3 * np.abs(power), np.sqrt(3.0) * kv, where=kv > 0, out=0.0 * kv)
            values |= {
                f"p_{end}": power.real, f"q_{end}": power.imag, f"v_{end}": kv, f"a_{end}": some,
                f"theta_{end}": np.where(one.closed, at.degrees[bus], 0.0),
            }  # fmt: skip
        topology = np.ones_like(self._blank.topo_vect)
        for places in (self._blank.line_or_pos_topo_vect, self._blank.line_ex_pos_topo_vect):
            topology[places] = np.where(one.closed, 1, -1)
        return {
            **values,
            "rho": values["a_or"] / self._thermal_limit_a,
            "line_status": one.closed,
            "timestep_overflow": one.overloaded,
            "topo_vect": topology,
            "time_before_cooldown_line": one.cooldown,
        }

    def _generators(self, one: Seen, at: _Voltages, standing: Standing) -> dict[str, Any]:
        blank, elements, bus = self._blank, self.elements, self.elements.gen_bus
        before = np.zeros(blank.n_gen)
        before[elements.plants] = one.available_mw
        before *= at.live[bus]
        allowed = np.minimum(before, standing.limit * blank.gen_pmax)
        gen_mw = np.where(self._grid.gen.is_unit, one.gen_mw, allowed) * at.live[bus]
        movable = blank.gen_redispatchable & one.gen_on
        moved = movable & (standing.dispatch_mw != 0)  # what others are off the plan is balance
        rooms = blank.gen_pmax - gen_mw, gen_mw - blank.gen_pmin
        margins = (
            np.where(movable, np.clip(room, 0.0, ramp), 0.0)
            for room, ramp in zip(rooms, (blank.gen_max_ramp_up, blank.gen_max_ramp_down))
        )
        held_back = before > allowed
        return {
            "gen_p": gen_mw,
            "gen_v": at.kv[bus],
            "gen_theta": at.degrees[bus],
            "target_dispatch": standing.dispatch_mw,
            "actual_dispatch": np.where(moved, one.gen_mw - one.plan_mw, 0.0),
            **dict(zip(("gen_margin_up", "gen_margin_down"), margins)),
            "gen_p_before_curtail": before,
            "curtailment": np.where(held_back, (before - allowed) / blank.gen_pmax, 0.0),
            "curtailment_limit": standing.limit,
            "curtailment_limit_effective": np.where(held_back, standing.limit, 1.0),
        }

    def _others(self, one: Seen, at: _Voltages, standing: Standing) -> dict[str, Any]:
        """Returns loads, batteries and shunts, and Q of the generators, which is what is left."""
        grid, bus = self._grid, self.elements.load_bus
        served = [
            at.live[bus] * total[self._load] / self._loads_there
            for total in (one.load_mw, one.load_mvar)
        ]
        fleet = self._env.fleet.storage
        gained = one.energy_mwh - standing.energy_mwh
        lost = np.where(gained > 0, 1.0 / fleet.charge_efficiency, fleet.discharge_efficiency)
        shunts, count = self._shunt_bus, np.bincount(self._shunt_bus, minlength=grid.n_bus)
        square = one.vm_pu**2 * at.live
        consumed = [(value * square / np.maximum(count, 1))[shunts] for value in (
            grid.bus.shunt_p_mw, -grid.bus.shunt_q_mvar,
        )]  # fmt: skip
        leaving = -grid.bus.shunt_q_mvar * square + np.bincount(bus, served[1], grid.n_bus)
        for end, power in ((grid.branch.from_bus, at.origin_mva), (grid.branch.to_bus, at.end_mva)):
            leaving = leaving + np.bincount(end, power.imag, grid.n_bus)
        gens = self.elements.gen_bus
        on = one.gen_on & at.live[gens]
        return {
            "gen_q": on * (leaving / np.maximum(np.bincount(gens, on, grid.n_bus), 1))[gens],
            "load_p": served[0],
            "load_q": served[1],
            "load_v": at.kv[bus],
            "load_theta": at.degrees[bus],
            "storage_charge": one.energy_mwh,
            "storage_power": gained * lost / self._env.dt_h,
            "storage_power_target": standing.storage_mw,
            "storage_theta": at.degrees[self._storage_bus],
            **dict(zip(("_shunt_p", "_shunt_q"), consumed)),
            "_shunt_v": at.kv[shunts],
        }


def _upcoming(maintenance: np.ndarray) -> dict[str, np.ndarray]:
    """Returns when the next maintenance of each line begins and how long it is, in steps.

    Of bool `[rows, n_branch]`, the first row being now; −1 and 0 where there is none.
    """
    some = maintenance.any(0)
    first = np.where(some, maintenance.argmax(0), 0)
    later = np.arange(len(maintenance))[:, None] >= first
    over = later & ~maintenance
    last = np.where(over.any(0), over.argmax(0), len(maintenance))
    return {
        "time_next_maintenance": np.where(some, first, -1),
        "duration_next_maintenance": np.where(some, last - first, 0),
    }


def announced(days: series_lib.TimeSeries) -> np.ndarray:
    """Returns whether each line is in maintenance, bool `[B, rows, n_branch]`."""
    return np.asarray(jax.device_get(days.branch_status)) == series_lib.MAINTENANCE
